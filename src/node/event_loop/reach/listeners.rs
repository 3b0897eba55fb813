//! The listeners of this host's own addresses.

use std::collections::HashMap;

use libp2p::Multiaddr;
use libp2p::core::transport::ListenerId;

use crate::node::error::Error;
use crate::node::reply::Reply;

/// See the module's documentation. The listeners are bounded by the addresses of the
/// configuration.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// The listeners that have no address yet, each with the reply that waits for it.
    waiting: HashMap<ListenerId, (Multiaddr, Reply<Multiaddr>)>,
    all: Vec<ListenerId>,
}

impl Listeners {
    /// Records that a listener was begun. `reply` gets its first address.
    pub(super) fn begun(&mut self, id: ListenerId, address: Multiaddr, reply: Reply<Multiaddr>) {
        self.all.push(id);
        self.waiting.insert(id, (address, reply));
    }

    /// Records that a listener has an address.
    pub(super) fn ready(&mut self, id: ListenerId, address: &Multiaddr) {
        if let Some((_, reply)) = self.waiting.remove(&id) {
            let _ = reply.send(Ok(address.clone()));
        }
    }

    /// Records that a listener has ended. If a program waited for it, sends it `reason`
    /// and returns `true`.
    pub(super) fn closed(&mut self, id: ListenerId, reason: Option<&str>) -> bool {
        let Some((address, reply)) = self.waiting.remove(&id) else {
            return false;
        };
        let reason = reason.unwrap_or("the listener closed").to_owned();
        let _ = reply.send(Err(Error::Listen { address, reason }));
        true
    }

    /// Takes all listeners, which are to be removed.
    pub(super) fn take(&mut self) -> Vec<ListenerId> {
        std::mem::take(&mut self.all)
    }
}
