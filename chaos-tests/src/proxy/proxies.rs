//! A proxy before each server of a ground.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::server::{Proxy, Weather};
use crate::redis::{Ground, Node};

/// A proxy before each server. Servers tell their clients their own addresses, so a client must be made to
/// connect by [`Proxies::map`].
pub struct Proxies {
    all: Vec<Proxy>,
}

impl Proxies {
    /// Stands before all servers of a ground, its Sentinels too.
    ///
    /// # Errors
    /// If there are no free ports.
    pub async fn before(ground: &Ground) -> Result<Self> {
        let mut all = Vec::new();
        for node in ground.nodes().iter().chain(ground.sentinels()) {
            all.push(match ground.certificates() {
                None => Proxy::to(node.address()).await?,
                Some(_) => Proxy::opaque_to(node.address()).await?,
            });
        }
        Ok(Self { all })
    }

    /// The address of the proxy before a server, by the server's address; of others their own.
    pub fn map(&self, host: &str, port: u16) -> (String, u16) {
        let proxy = host.parse().ok().and_then(|ip| self.at(SocketAddr::new(ip, port)));
        match proxy {
            Some(proxy) => (proxy.address().ip().to_string(), proxy.address().port()),
            None => (host.to_owned(), port),
        }
    }

    /// The proxy before a server.
    ///
    /// # Errors
    /// If the server is not of this ground.
    pub fn of(&self, node: &Node) -> Result<&Proxy> {
        self.at(node.address()).with_context(|| format!("no proxy stands before {node:?}"))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Proxy> {
        self.all.iter()
    }

    /// The same weather everywhere, but before some servers: who is cut off together with a client still
    /// talks to it.
    pub fn set_weather_except(&self, spared: &[&Node], weather: Weather) {
        for proxy in &self.all {
            if !spared.iter().any(|node| node.address() == proxy.server()) {
                proxy.set_weather(weather);
            }
        }
    }

    fn at(&self, server: SocketAddr) -> Option<&Proxy> {
        self.all.iter().find(|proxy| proxy.server() == server)
    }
}
