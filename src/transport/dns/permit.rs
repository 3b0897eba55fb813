//! Who is asked before an address is dialed.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use libp2p::Multiaddr;

use crate::peers::subnet::ip_of;

type Ask = dyn Fn(IpAddr, Option<&str>) -> Result<(), String> + Send + Sync;

/// Asked with the IP address of each dial, and with the name that stood for it,
/// if one did. Says why not. The default permits all. Must not block.
#[derive(Clone, Default)]
pub struct Permit(Option<Arc<Ask>>);

impl Permit {
    /// One that asks `ask`.
    pub fn new(
        ask: impl Fn(IpAddr, Option<&str>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Permit(Some(Arc::new(ask)))
    }

    pub(super) fn ask(&self, address: &Multiaddr, name: Option<&str>) -> Result<(), String> {
        match (&self.0, ip_of(address)) {
            (Some(ask), Some(ip)) => ask(ip, name),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Permit(asks)",
            None => "Permit(all)",
        })
    }
}
