//! How others can reach this node: its listeners, its external addresses, its
//! reservations at relays, and what it knows of a NAT in front of it. Also, what it
//! relays for other peers.
//!
//! | file | noun |
//! |---|---|
//! | [`listeners`] | the listeners of this host's own addresses |
//! | [`relay_server`] | what this node relays for others |

mod listeners;
mod relay_server;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::{Multiaddr, PeerId, autonat, dcutr, relay};

use self::listeners::Listeners;
use self::relay_server::RelayServer;
use crate::api::{NatStatus, Reachability};
use crate::node::Metrics;
use crate::node::configured::Relays;
use crate::node::dial_error::{causes, transport_reason};
use crate::node::effect::{Effect, ListenFor};
use crate::node::error::Error;
use crate::node::peers::connected::Connected;
use crate::node::reply::Reply;
use crate::telemetry::throttle::Throttle;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::node) struct Reach {
    metrics: Arc<Metrics>,
    listeners: Listeners,
    /// The addresses that, according to the configuration, others can dial.
    external: Vec<Multiaddr>,
    relays: Relays,
    nat: NatStatus,
    server: RelayServer,
    lines: Throttle,
}

impl Reach {
    pub(in crate::node) fn new(
        external: Vec<Multiaddr>,
        relays: &[Multiaddr],
        metrics: Arc<Metrics>,
    ) -> Self {
        Reach {
            server: RelayServer::new(metrics.clone()),
            metrics,
            listeners: Listeners::default(),
            external,
            relays: Relays::new(relays.to_vec()),
            nat: NatStatus::default(),
            lines: Throttle::default(),
        }
    }

    /// Returns what has to be done at the start.
    pub(super) fn start(&self) -> Vec<Effect> {
        let external = self.external.iter().cloned();
        external.map(Effect::AddExternalAddress).collect()
    }

    /// Changes the external addresses and relays from now on.
    pub(super) fn adjust(&mut self, external: &[Multiaddr], relays: &[Multiaddr]) -> Vec<Effect> {
        let gone = self.external.iter().filter(|a| !external.contains(a));
        let mut effects: Vec<Effect> = gone.cloned().map(Effect::RemoveExternalAddress).collect();
        let new = external.iter().filter(|a| !self.external.contains(a));
        effects.extend(new.cloned().map(Effect::AddExternalAddress));
        self.external = external.to_vec();
        let gone = self.relays.adjust(relays);
        effects.extend(gone.into_iter().map(Effect::RemoveListener));
        effects
    }

    /// Listens at `address` for this host.
    pub(super) fn listen(&self, address: Multiaddr, reply: Reply<Multiaddr>) -> Effect {
        let wanted_by = ListenFor::Command(reply);
        Effect::Listen { address, wanted_by }
    }

    /// Handles the result of [`Effect::Listen`].
    pub(super) fn begun(
        &mut self,
        address: Multiaddr,
        wanted_by: ListenFor,
        result: Result<ListenerId, TransportError<io::Error>>,
    ) {
        match (wanted_by, result) {
            (ListenFor::Command(reply), Ok(id)) => self.listeners.begun(id, address, reply),
            (ListenFor::Command(reply), Err(e)) => {
                let reason = transport_reason(&e);
                let _ = reply.send(Err(Error::Listen { address, reason }));
            }
            (ListenFor::Relay(index), Ok(id)) => self.relays.asked(index, id),
            (ListenFor::Relay(_), Err(e)) => {
                log::warn!(address:% = address, error:% = e; "cannot ask relay for a reservation");
            }
        }
    }

    /// Returns the requests to the relays that are to be asked for a reservation now.
    pub(super) fn due(&mut self, now: Instant, chance: impl FnMut() -> f64) -> Vec<Effect> {
        let due = self.relays.due(now, chance).into_iter();
        due.map(|(index, address)| Effect::Listen {
            address,
            wanted_by: ListenFor::Relay(index),
        })
        .collect()
    }

    /// Stops listening at the node's own addresses, because the node drains.
    pub(super) fn drain(&mut self) -> Vec<Effect> {
        let all = self.listeners.take().into_iter();
        all.map(Effect::RemoveListener).collect()
    }

    /// Records that a listener has an address.
    pub(super) fn listening(&mut self, id: ListenerId, address: &Multiaddr) {
        log::info!(address:% = address; "listening");
        self.listeners.ready(id, address);
    }

    /// Records that a listener has lost an address.
    pub(super) fn listening_no_more(&self, address: &Multiaddr) {
        log::info!(address:% = address; "listening no more");
    }

    /// Records that a listener has ended.
    pub(super) fn closed(
        &mut self,
        id: ListenerId,
        addresses: &[Multiaddr],
        reason: Result<(), io::Error>,
    ) {
        let reason = reason.err().map(|e| causes(&e));
        if self.listeners.closed(id, reason.as_deref()) {
            return;
        }
        if let Some((relay, reserved)) = self.relays.closed(id) {
            self.attempted("relay", false);
            match (reserved, reason) {
                (true, reason) => {
                    let reason = reason.unwrap_or_else(|| "the relay ended it".into());
                    log::warn!(address:% = relay, error:% = reason; "relay reservation ended; asking again");
                }
                (false, Some(reason)) => {
                    log::warn!(address:% = relay, error:% = reason; "the relay gave no reservation; asking again later");
                }
                // The relay was not reached; the dial has reported why.
                (false, None) => {}
            }
        } else if let Some(reason) = reason {
            log::error!(addresses:? = addresses, error:% = reason; "listener failed");
        }
    }

    /// Logs an error of a listener that goes on.
    pub(super) fn listener_error(&mut self, error: &io::Error, now: Instant) {
        // A remote can cause it with any packet that looks almost like a handshake.
        if let Some(more) = self.lines.allow("listener error", now) {
            log::warn!(error:% = error, suppressed = more; "listener error");
        }
    }

    /// Records that others can dial this address.
    pub(super) fn external_found(&mut self, address: &Multiaddr, now: Instant) {
        // The peers that test addresses for this node are remotes.
        if let Some(suppressed) = self.lines.allow("external address found", now) {
            log::info!(address:% = address, suppressed; "others can dial this address");
        }
    }

    /// Records that others cannot dial this address any more. `others` tells whether
    /// there are other addresses.
    pub(super) fn external_lost(&mut self, address: &Multiaddr, others: bool, now: Instant) {
        if !others && self.nat.state == Reachability::Public {
            self.nat.state = Reachability::Private;
        }
        if let Some(suppressed) = self.lines.allow("external address lost", now) {
            log::info!(address:% = address, suppressed; "others can no longer dial this address");
        }
    }

    /// Handles the answer of a relay.
    pub(super) fn relay_client(&mut self, event: &relay::client::Event) {
        match event {
            relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                renewal,
                ..
            } => {
                self.relays.accepted(relay_peer_id);
                self.attempted("relay", true);
                if !renewal {
                    log::info!(peer:% = relay_peer_id; "reachable through relay");
                }
            }
            // The connection through a relay is reported by itself.
            relay::client::Event::OutboundCircuitEstablished { .. }
            | relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    /// Records whether an attempt to punch a hole succeeded.
    pub(super) fn dcutr(&mut self, event: dcutr::Event) {
        self.attempted("dcutr", event.result.is_ok());
        match event.result {
            Ok(_) => {
                self.nat.hole_punched += 1;
                log::debug!(peer:% = event.remote_peer_id; "hole punched: direct connection");
            }
            Err(e) => {
                log::debug!(peer:% = event.remote_peer_id, error:% = e; "hole punching failed")
            }
        }
    }

    /// Records the result of a test of one of this node's addresses.
    pub(super) fn autonat(&mut self, event: autonat::v2::client::Event) {
        let autonat::v2::client::Event {
            tested_addr,
            server,
            result,
            ..
        } = event;
        self.attempted("autonat", result.is_ok());
        match result {
            Ok(()) => {
                self.nat.state = Reachability::Public;
                log::debug!(address:% = tested_addr, peer:% = server; "address is dialable");
            }
            Err(e) => {
                if self.nat.state == Reachability::Unknown {
                    self.nat.state = Reachability::Private;
                }
                log::debug!(address:% = tested_addr, peer:% = server, error:% = e; "address is not dialable");
            }
        }
    }

    /// Handles an event of this node's relay server.
    pub(super) fn relay_server(&mut self, event: &relay::Event, peers: &Connected) {
        self.server.event(event, peers);
    }

    fn attempted(&self, method: &str, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        let attempts = &self.metrics.nat_traversal_attempts;
        attempts.with_label_values(&[method, result]).inc();
    }

    /// Returns whether `peer` is one of the relays of this node.
    pub(super) fn is_relay(&self, peer: &PeerId) -> bool {
        self.relays.contains(peer)
    }

    /// Returns whether others can dial this node directly.
    pub(super) fn is_public(&self) -> bool {
        self.nat.state == Reachability::Public
    }

    /// Returns the number of relays at which this node has a reservation.
    pub(super) fn reserved(&self) -> usize {
        self.relays.reserved().count()
    }

    /// Returns the number of peers that have a reservation at this node.
    pub(super) fn reservations(&self) -> usize {
        self.server.reservations()
    }

    /// Returns the number of connections that this node relays.
    pub(super) fn circuits(&self) -> usize {
        self.server.circuits()
    }

    /// Returns the status that programs on this host see.
    pub(super) fn nat(&self) -> NatStatus {
        let relays = self.relays.reserved().flatten();
        NatStatus {
            relays: relays.map(|peer| peer.to_string()).collect(),
            ..self.nat.clone()
        }
    }
}
