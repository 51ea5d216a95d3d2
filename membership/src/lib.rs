//! Who is in the cluster, and who may act for it at this moment.
//!
//! A cluster is a set of nodes that agree, through one replicated log, on who its members are. Agreement
//! alone does not stop a member that was cut off and has not noticed yet, so each member also holds a
//! *lease*: leave to act that runs out by itself unless a majority keeps renewing it. Before anybody
//! takes over from a member, its lease has surely ended.
//!
//! What is here so far:
//!
//! - [`ids`]: the names of things: clusters, nodes, their incarnations, places in the log.
//! - [`engine`]: the rules, as plain state machines that are told the time and answer with orders.
//!
//! What this crate does **not** know: shards, entities, journals, HTTP. What a member does with its
//! lease, and what is given to others once it is gone, is decided above.

pub mod ids;

pub mod engine;
