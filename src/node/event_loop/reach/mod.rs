//! How others can reach this node: its listeners, its external addresses, its
//! reservations at relays, and what it knows of a NAT before it. And whom it relays for.
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
use super::effect::{Effect, ListenFor};
use super::text::{causes, transport_reason};
use crate::api::{NatStatus, Reachability};
use crate::node::Metrics;
use crate::node::configured::Relays;
use crate::node::handle::{Error, Reply};
use crate::node::peers::connected::Connected;
use crate::telemetry::throttle::Throttle;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::node) struct Reach {
    metrics: Arc<Metrics>,
    listeners: Listeners,
    /// Addresses that the configuration says others can dial.
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

    /// What is to be done at the start.
    pub(super) fn start(&self) -> Vec<Effect> {
        let external = self.external.iter().cloned();
        external.map(Effect::AddExternalAddress).collect()
    }

    /// Other external addresses and relays from now on.
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

    /// This host wants to be reachable at `address`.
    pub(super) fn listen(&self, address: Multiaddr, reply: Reply<Multiaddr>) -> Effect {
        let wanted_by = ListenFor::Command(reply);
        Effect::Listen { address, wanted_by }
    }

    /// What has become of [`Effect::Listen`].
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

    /// Relays that are to be asked for a reservation now.
    pub(super) fn due(&mut self, now: Instant, chance: impl FnMut() -> f64) -> Vec<Effect> {
        let due = self.relays.due(now, chance).into_iter();
        due.map(|(index, address)| Effect::Listen {
            address,
            wanted_by: ListenFor::Relay(index),
        })
        .collect()
    }

    /// The node drains: it listens no more at its own addresses.
    pub(super) fn drain(&mut self) -> Vec<Effect> {
        let all = self.listeners.take().into_iter();
        all.map(Effect::RemoveListener).collect()
    }

    /// A listener has an address.
    pub(super) fn listening(&mut self, id: ListenerId, address: &Multiaddr) {
        log::info!(address:% = address; "listening");
        self.listeners.ready(id, address);
    }

    /// A listener has an address no more.
    pub(super) fn listening_no_more(&self, address: &Multiaddr) {
        log::info!(address:% = address; "listening no more");
    }

    /// A listener has ended.
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
                // It was not reached; the dial has said why.
                (false, None) => {}
            }
        } else if let Some(reason) = reason {
            log::error!(addresses:? = addresses, error:% = reason; "listener failed");
        }
    }

    /// A listener met an error and goes on.
    pub(super) fn listener_error(&mut self, error: &io::Error, now: Instant) {
        // A remote provokes it with any packet that is nearly a handshake.
        if let Some(more) = self.lines.allow("listener error", now) {
            log::warn!(error:% = error, suppressed = more; "listener error");
        }
    }

    /// Others can dial this address.
    pub(super) fn external_found(&mut self, address: &Multiaddr, now: Instant) {
        // Who tests addresses for this node is a remote.
        if let Some(suppressed) = self.lines.allow("external address found", now) {
            log::info!(address:% = address, suppressed; "others can dial this address");
        }
    }

    /// Others can dial this address no more; `others` says whether there are others.
    pub(super) fn external_lost(&mut self, address: &Multiaddr, others: bool, now: Instant) {
        if !others && self.nat.state == Reachability::Public {
            self.nat.state = Reachability::Private;
        }
        if let Some(suppressed) = self.lines.allow("external address lost", now) {
            log::info!(address:% = address, suppressed; "others can no longer dial this address");
        }
    }

    /// A relay has answered.
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
            // The connection through a relay tells of itself.
            relay::client::Event::OutboundCircuitEstablished { .. }
            | relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    /// A hole was punched, or not.
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

    /// An address of this node was tested.
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

    /// Something has happened at this node's relay server.
    pub(super) fn relay_server(&mut self, event: &relay::Event, peers: &Connected) {
        self.server.event(event, peers);
    }

    fn attempted(&self, method: &str, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        let attempts = &self.metrics.nat_traversal_attempts;
        attempts.with_label_values(&[method, result]).inc();
    }

    /// Whether `peer` is one of the relays of this node.
    pub(super) fn is_relay(&self, peer: &PeerId) -> bool {
        self.relays.contains(peer)
    }

    /// Whether others can dial this node directly.
    pub(super) fn is_public(&self) -> bool {
        self.nat.state == Reachability::Public
    }

    /// At how many relays this node has a reservation.
    pub(super) fn reserved(&self) -> usize {
        self.relays.reserved().count()
    }

    /// Peers that have a reservation at this node.
    pub(super) fn reservations(&self) -> usize {
        self.server.reservations()
    }

    /// Connections that this node relays.
    pub(super) fn circuits(&self) -> usize {
        self.server.circuits()
    }

    /// What programs on this host are told.
    pub(super) fn nat(&self) -> NatStatus {
        let relays = self.relays.reserved().flatten();
        NatStatus {
            relays: relays.map(|peer| peer.to_string()).collect(),
            ..self.nat.clone()
        }
    }
}
