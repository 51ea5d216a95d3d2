//! What decides, without a socket, a task or a clock.
//!
//! - [`keys`]: where things lie; [`token`]: the fence as text.
//! - [`append`]: a batch as one call of the script that checks all and then writes all.
//! - [`replies`]: what a server's answer means for what was sent.
//! - [`nodes`], [`routes`]: who owns which slot, as the nodes say themselves.
//! - [`redundancy`]: how many replicas must have a write before it is acknowledged.

pub(super) mod append;
pub(super) mod keys;
pub(super) mod nodes;
pub(super) mod redundancy;
pub(super) mod replies;
pub(super) mod routes;
pub(super) mod token;
