//! The role of this node in the DHT.

use super::Parsed;

/// The role of this node in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhtMode {
    /// Server while an external address is confirmed, and client otherwise.
    Auto,
    /// A server, which always answers queries.
    Server,
    /// A client, which only asks.
    Client,
}

pub(in crate::config) fn dht_mode(text: &str) -> Parsed<DhtMode> {
    match text {
        "auto" => Ok(DhtMode::Auto),
        "server" => Ok(DhtMode::Server),
        "client" => Ok(DhtMode::Client),
        _ => Err("no such mode".into()),
    }
}

impl std::fmt::Display for DhtMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DhtMode::Auto => "auto",
            DhtMode::Server => "server",
            DhtMode::Client => "client",
        })
    }
}
