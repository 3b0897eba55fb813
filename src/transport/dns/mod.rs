//! Names in addresses: `/dns`, `/dns4`, `/dns6` and `/dnsaddr`, anywhere in a
//! multiaddr, resolved and then dialed through an inner transport.
//!
//! [`Transport`] wraps any transport (the union of TCP, QUIC and WebSocket in
//! this node) and dials what the names stand for; [`Resolver`] is the same
//! resolution without a dial, for code that wants the addresses themselves,
//! such as bootstrapping from `/dnsaddr`, where the answers carry the peer ids.
//!
//! An address passes [`Transport`], [`Resolver`] (system files and name servers) and
//! `walk` (which name is next, and when to stop). Then up to [`MAX_DIALS`] addresses are
//! dialed, each with a head start over the next.
//!
//! `/dnsaddr` follows <https://github.com/multiformats/multiaddr/blob/master/protocols/DNSADDR.md>:
//! TXT records `dnsaddr=<multiaddr>` at `_dnsaddr.<name>`, of which only those
//! count that end with whatever follows the name in the address (usually
//! `/p2p/ID`).
//!
//! Which addresses a name stands for is known only here, so [`DialFilter`] is asked here
//! whether an address may be dialed. Otherwise a name that a remote sent could lead to
//! an address that the node's own rules forbid.
//!
//! # Bounds
//!
//! Names come from remotes too (identify, the DHT, nested `/dnsaddr` answers),
//! and whoever runs a domain decides what its answers say. So one address may cost
//! [`MAX_LOOKUPS`] lookups at most, names may stand for names [`MAX_DEPTH`] deep, a
//! resolution returns [`MAX_ADDRESSES`] addresses at most and ends at
//! [`Options::deadline`], and [`MAX_RESOLUTIONS`] run at once.

pub(crate) mod address;
mod dial_filter;
mod error;
mod race;
pub(crate) mod resolver;
mod runtime;
mod system;
pub(crate) mod walk;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use address::has_name;
pub use dial_filter::DialFilter;
pub use error::{Attempt, DialError, Error, Failure};
pub use race::Transport;
pub use resolver::Resolver;

/// How deep a name may stand for a name that stands for a name.
///
/// The public bootstrap list is three deep (list, host, IP address); one more
/// for whoever groups by region, one to spare.
pub const MAX_DEPTH: usize = 5;

/// Lookups for one address. A `/dns` lookup of both families counts as one.
///
/// The public bootstrap list takes about ten, so this leaves room for one three times
/// as long.
pub const MAX_LOOKUPS: usize = 32;

/// Lookups of one address that are under way at once: enough that a list is
/// read in a few round trips, and few enough for a home router.
pub const MAX_CONCURRENT_LOOKUPS: usize = 4;

/// Addresses that one resolution returns.
///
/// A well-connected host publishes about ten addresses (two families, four
/// transports), so this holds a list of six such hosts.
pub const MAX_ADDRESSES: usize = 64;

/// Records of one answer that are looked at. More than [`MAX_ADDRESSES`], since
/// the records of other peers and those of unknown form are left out first.
pub const MAX_RECORDS: usize = 256;

/// Bytes of one `dnsaddr=` record. Real ones, with relay and certificate
/// hashes, stay below 400.
pub const MAX_RECORD_BYTES: usize = 1024;

/// Addresses that one dial tries: one host in both families over every
/// transport of this node, twice over.
pub const MAX_DIALS: usize = 16;

/// Resolutions under way at once in the whole node. Each holds at most
/// `2 × MAX_CONCURRENT_LOOKUPS` sockets for each of two name servers, so this
/// keeps names below some five hundred file descriptors.
pub const MAX_RESOLUTIONS: usize = 32;

/// Where names are looked up, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the name servers come from.
    pub servers: Servers,
    /// The static table of hosts, usually `/etc/hosts`; `None` for none. It is
    /// read again when it changes. A missing file is an empty one.
    pub hosts: Option<PathBuf>,
    /// How long one try of one lookup may take. `None`: what resolv.conf says,
    /// else 5 s.
    pub timeout: Option<Duration>,
    /// How often a lookup without answer is tried again. `None`: what
    /// resolv.conf says, else 2.
    pub retries: Option<usize>,
    /// How long all lookups of one address may take together. What was found
    /// until then is used.
    ///
    /// 12 s by default: two full tries of 5 s, and well below the time that a
    /// dial gets.
    pub deadline: Duration,
    /// How long a dial of one of several addresses is alone before the next one
    /// starts beside it (RFC 8305 recommends 250 ms). A dial that fails starts
    /// the next at once.
    pub head_start: Duration,
}

/// Where the name servers come from.
#[derive(Clone, Debug)]
pub enum Servers {
    /// From a file in the format of resolv.conf(5), read at the start and again
    /// when it changes. While it is missing or names no server, resolving fails
    /// with an error that says so.
    File(PathBuf),
    /// These, each asked over UDP and, when an answer does not fit, TCP.
    Fixed(Vec<SocketAddr>),
}

impl Default for Options {
    /// The system's own files and timeouts.
    fn default() -> Self {
        Options {
            servers: Servers::File(PathBuf::from("/etc/resolv.conf")),
            hosts: Some(PathBuf::from("/etc/hosts")),
            timeout: None,
            retries: None,
            deadline: Duration::from_secs(12),
            head_start: Duration::from_millis(250),
        }
    }
}
