//! What ends each inbound handshake, from the moment when the transport announces
//! the handshake until the gate is asked about it.
//!
//! libp2p tells the transport and the behaviour of an inbound connection separately.
//! The transport has the handshake but not the [`ConnectionId`]; the behaviour gets the
//! [`ConnectionId`] but neither the handshake nor the listener. What both know are the
//! two addresses of the connection, so those are the key here. Nothing depends on how
//! many handshakes the swarm announces before it asks the gate about the first. No issue
//! asks that both be told of a connection by the same number.
//!
//! Two handshakes between the same two addresses are possible: a peer may open several
//! QUIC connections from one port, or several connections through one relay. Those are
//! taken in the order in which they were announced. The gate cannot tell them apart in
//! any other way, and whichever it ends, the place that becomes free is one of that
//! same remote.
//!
//! [`ConnectionId`]: libp2p::swarm::ConnectionId

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{AbortHandle, AbortRegistration};
use libp2p::Multiaddr;

/// The local and the remote address of a connection.
type Addresses = (Multiaddr, Multiaddr);

/// Handshakes that were announced and that nobody has asked the gate about yet.
/// Clones share the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    announced: u64,
    /// Bounded by the handshakes that exist: each removes its own entry when it is
    /// dropped. Usually there is one, since the swarm asks at once.
    waiting: HashMap<Addresses, VecDeque<(u64, AbortHandle)>>,
}

impl Pending {
    /// Announces a handshake. The registration ends the handshake when the handle that
    /// [`Pending::take`] returns is used, and the guard belongs into its future.
    pub(super) fn announce(
        &self,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> (AbortRegistration, Announcement) {
        let (handle, registration) = AbortHandle::new_pair();
        let addresses = (local.clone(), remote.clone());
        let mut inner = self.lock();
        inner.announced += 1;
        let number = inner.announced;
        let waiting = inner.waiting.entry(addresses.clone()).or_default();
        waiting.push_back((number, handle));
        let announcement = Announcement {
            pending: self.clone(),
            addresses,
            number,
        };
        (registration, announcement)
    }

    /// What ends the handshake between these addresses. Of several, the one that was
    /// announced first.
    pub(in crate::node) fn take(
        &self,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Option<AbortHandle> {
        let addresses = (local.clone(), remote.clone());
        let mut inner = self.lock();
        let waiting = inner.waiting.get_mut(&addresses)?;
        let first = waiting.pop_front();
        if waiting.is_empty() {
            inner.waiting.remove(&addresses);
        }
        first.map(|(_, handle)| handle)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a handshake that ends before anybody asked the gate about it.
#[derive(Debug)]
pub(super) struct Announcement {
    pending: Pending,
    addresses: Addresses,
    number: u64,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let mut inner = self.pending.lock();
        if let Some(waiting) = inner.waiting.get_mut(&self.addresses) {
            waiting.retain(|(number, _)| *number != self.number);
            if waiting.is_empty() {
                inner.waiting.remove(&self.addresses);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn handshakes_are_told_apart_in_whatever_order_the_gate_is_asked() {
        let pending = Pending::default();
        let local = address("/ip4/192.0.2.1/tcp/4001");
        let remotes = [1, 2, 3].map(|n| address(&format!("/ip4/198.51.100.{n}/tcp/9")));
        let announced = remotes
            .each_ref()
            .map(|remote| pending.announce(&local, remote));
        for chosen in [2, 0, 1] {
            let handle = pending.take(&local, &remotes[chosen]).unwrap();
            handle.abort();
            assert!(announced[chosen].0.handle().is_aborted());
        }
        assert!(pending.take(&local, &remotes[0]).is_none());
        assert!(pending.lock().waiting.is_empty());
    }

    #[test]
    fn handshakes_between_the_same_addresses_are_taken_in_their_order() {
        let pending = Pending::default();
        let (local, remote) = (
            address("/ip4/192.0.2.1/udp/4001/quic-v1"),
            address("/ip4/198.51.100.1/udp/9/quic-v1"),
        );
        let (first, _first) = pending.announce(&local, &remote);
        let (second, _second) = pending.announce(&local, &remote);
        pending.take(&local, &remote).unwrap().abort();
        assert!(first.handle().is_aborted());
        assert!(!second.handle().is_aborted());
        pending.take(&local, &remote).unwrap().abort();
        assert!(second.handle().is_aborted());
    }

    #[test]
    fn a_handshake_that_nobody_asks_about_leaves_nothing_behind() {
        let pending = Pending::default();
        let (local, remote) = (address("/memory/1"), address("/memory/2"));
        let (_, first) = pending.announce(&local, &remote);
        let (second, _second) = pending.announce(&local, &remote);
        drop(first);
        // The one that is left is the other one.
        pending.take(&local, &remote).unwrap().abort();
        assert!(second.handle().is_aborted());
        assert!(pending.lock().waiting.is_empty());
    }
}
