//! The cell by value: what goes in, and exactly what comes out, in order.

mod failures;
mod gate;
mod orders;
mod recovery;
mod stage;
