//! The lease: leave to act as a member, which ends by itself.
//!
//! ```text
//!   Holder, on every node                       Grantor, on the leader
//!
//!   Renew(7)            ---- renewal 7 ---->    Received(7)          heard := now
//!   sent(7) := now                              BeginRound           does a majority still follow me?
//!                                               RoundCompleted       as of which index?
//!                                               Applied(that index)  is it Up, and no Down proposed?
//!   Granted(7)          <---- grant 7 ------    Grant(7, index)
//!   own table at index:
//!   held until sent(7) + ttl                    Down at heard + ttl + margin, not before
//! ```
//!
//! Invariant: a member's lease is over before anybody declares the member down. A renewal is sent before
//! it is received, so `sent + ttl` comes before `heard + ttl + margin` as long as clocks run at nearly the
//! same rate. No clock is ever compared with another machine's.
//!
//! A leader that does not know yet that it was deposed is harmless: its round fails, and a round that
//! succeeded lies before the election of the next leader, who waits `ttl + margin` from there.
//!
//! What a lease does not do: protect what is stored. Writes are fenced at the journal, by epochs; the
//! lease keeps two live instances from *answering* at one time.

mod config;
mod message;
mod standing;

pub mod holder;

mod catch_up;
mod roll;
mod rounds;

pub mod grantor;

pub use config::{LeaseConfig, LeaseFault};
pub use message::{Grant, Refusal, RefusalReason, Renewal, RenewalNumber};
pub use rounds::RoundNumber;
pub use standing::{Lease, Standing, SuspensionCause};
