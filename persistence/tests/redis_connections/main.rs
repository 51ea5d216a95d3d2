//! Connections to real servers: as whom, how, and what is said when there is none.

#![expect(clippy::disallowed_methods, reason = "tests have the clock and wait for processes")]

mod checks;
mod logins;
mod places;
mod server;
mod tls;
