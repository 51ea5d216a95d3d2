//! A proxy between a client and one server, which does to their talk what networks and crashes do.
//!
//! ```no_run
//! # async fn example(server: std::net::SocketAddr) -> anyhow::Result<()> {
//! use abide_chaos_tests::proxy::{Fault, Proxy, Weather};
//! let proxy = Proxy::to(server).await?; // the client is given `proxy.address()`
//! let mut trap = proxy.trap(|request| request.is("EVALSHA"), Fault::LoseReply);
//! let request = trap.sprung().await?; // executed, and the client will never hear of it
//! proxy.replay(&[request]).await?; // a late copy, on a connection of its own
//! proxy.set_weather(Weather::Silent); // nothing passes until it is `Weather::Fair` again
//! # Ok(())
//! # }
//! ```
//!
//! - [`Weather`] is what happens to all that passes; it needs not know what is said;
//! - a [`Fault`] is done to one request and its reply: the first that a [`Trap`] waits for, or each that a
//!   rule picks;
//! - [`Proxies`] stand before all servers of a ground.
//!
//! It knows where requests and replies end, in RESP2 and RESP3, and counts on one reply for each request. What
//! speaks TLS goes through [`Proxy::opaque_to`], which has weather and no faults.

mod frame;
mod link;
mod proxies;
mod server;
mod trap;

pub use proxies::Proxies;
pub use server::{Proxy, Weather};
pub use trap::{Fault, Request, Trap};
