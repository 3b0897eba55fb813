//! The filter that decides which IP addresses may be dialed.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::peers::subnet::ip_of;

type Ask = dyn Fn(IpAddr, Option<&str>, Option<&PeerId>) -> Result<(), String> + Send + Sync;

/// Called before each dial with the IP address, the name that was resolved to it, if there
/// was one, and the peer that is expected there, if the address names it. Returns the reason when the address must not be dialed.
/// The default allows every address. The function must not block.
#[derive(Clone, Default)]
pub struct DialFilter(Option<Arc<Ask>>);

impl DialFilter {
    /// A filter that calls `ask`.
    pub fn new(
        ask: impl Fn(IpAddr, Option<&str>, Option<&PeerId>) -> Result<(), String>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        DialFilter(Some(Arc::new(ask)))
    }

    pub(super) fn ask(&self, address: &Multiaddr, name: Option<&str>) -> Result<(), String> {
        match (&self.0, ip_of(address)) {
            (Some(ask), Some(ip)) => ask(ip, name, peer_of(address).as_ref()),
            _ => Ok(()),
        }
    }
}

/// Returns the peer that an address ends with.
fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

impl fmt::Debug for DialFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "DialFilter(asks)",
            None => "DialFilter(allows all)",
        })
    }
}
