//! Timelines that were made up to break the store: each is the story of one fault at the wrong moment.

mod doubt;
mod hung;
mod names;
mod queues;
mod rights;
mod streams;
