//! Addresses that this node may be reachable at, as remotes report them, on
//! their way to being tested by autonat.
//!
//! libp2p's autonat client remembers every address that it ever heard of, and
//! walks all untested ones once a second in the event loop. Any peer can report
//! any address, a new one with each connection, so what reaches it is bounded
//! here.

use std::collections::HashSet;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::autonat::v2::client;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Addresses taken at once: a host with a handful of interfaces and transports,
/// seen through a few NATs.
const AT_ONCE: usize = 64;

/// After those one more is taken this often: a host that moves gets its new
/// address tested, and a flood of false ones stays a trickle.
const ONE_MORE_EVERY: Duration = Duration::from_secs(600);

/// Addresses taken in all, four weeks of the above. A few hundred bytes each.
const AT_MOST: usize = 4096;

/// Which addresses were let through. Pure.
#[derive(Debug, Default)]
struct Taken {
    since: Option<Instant>,
    known: HashSet<Multiaddr>,
}

impl Taken {
    /// Whether a report of `address` at `now` goes on. Further reports of one
    /// that did always do: they say that it is likely.
    fn takes(&mut self, address: &Multiaddr, now: Instant) -> bool {
        if self.known.contains(address) {
            return true;
        }
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_secs() / ONE_MORE_EVERY.as_secs();
        let allowed = AT_ONCE.saturating_add(usize::try_from(passed).unwrap_or(usize::MAX));
        if self.known.len() >= allowed.min(AT_MOST) {
            return false;
        }
        self.known.insert(address.clone())
    }
}

/// The autonat client behind that bound.
pub(super) struct Behaviour {
    inner: client::Behaviour,
    taken: Taken,
}

impl Behaviour {
    pub(super) fn new(inner: client::Behaviour) -> Self {
        Behaviour {
            inner,
            taken: Taken::default(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <client::Behaviour as NetworkBehaviour>::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(candidate) = &event
            && !self.taken.takes(candidate.addr, Instant::now())
        {
            return;
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Multiaddr {
        let ip = std::net::Ipv4Addr::from(n);
        format!("/ip4/{ip}/tcp/4001").parse().unwrap()
    }

    #[test]
    fn a_flood_of_addresses_becomes_a_trickle_and_known_ones_pass() {
        let (mut taken, start) = (Taken::default(), Instant::now());
        let passed = (0..10_000).filter(|n| taken.takes(&address(*n), start));
        assert_eq!(passed.count(), AT_ONCE);
        assert!(taken.takes(&address(0), start));
        let later = start + 3 * ONE_MORE_EVERY;
        let passed = (20_000..30_000).filter(|n| taken.takes(&address(*n), later));
        assert_eq!(passed.count(), 3);
        let at_last = start + Duration::from_secs(365 * 24 * 3600);
        for n in 40_000..60_000 {
            taken.takes(&address(n), at_last);
        }
        assert_eq!(taken.known.len(), AT_MOST);
    }
}
