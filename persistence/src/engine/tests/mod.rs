//! The cell by value: what goes in, and exactly what comes out, in order.

mod behaviours;
mod calls;
mod chaos;
mod conditions;
mod deletion;
mod failures;
mod gate;
mod hostile;
mod orders;
mod overflow;
mod recovery;
mod retention;
mod selection;
mod snapshots_in_recovery;
mod stage;
mod stashes;
mod stopping;
mod timers;
