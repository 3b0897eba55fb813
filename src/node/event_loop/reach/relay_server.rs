//! What this node relays for others.

use std::collections::HashSet;
use std::sync::Arc;

use libp2p::{PeerId, relay};

use crate::node::Metrics;
use crate::node::event_loop::as_gauge;
use crate::node::peers::connected::Connected;

/// The reservations and circuits at this node's relay server, which bounds them.
#[derive(Debug)]
pub(super) struct RelayServer {
    metrics: Arc<Metrics>,
    /// Peers that hold a reservation.
    reserved: HashSet<PeerId>,
    /// Connections that are relayed now.
    circuits: usize,
}

impl RelayServer {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        RelayServer {
            metrics,
            reserved: HashSet::new(),
            circuits: 0,
        }
    }

    pub(super) fn reservations(&self) -> usize {
        self.reserved.len()
    }

    pub(super) fn circuits(&self) -> usize {
        self.circuits
    }

    /// Something has happened at the server.
    pub(super) fn event(&mut self, event: &relay::Event, peers: &Connected) {
        self.count(event);
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
                self.reserved.insert(*src_peer_id);
            }
            // Told of every connection that ends, with a reservation or without.
            relay::Event::ReservationClosed { src_peer_id } if peers.contains(src_peer_id) => {}
            relay::Event::ReservationClosed { src_peer_id }
            | relay::Event::ReservationTimedOut { src_peer_id } => {
                self.reserved.remove(src_peer_id);
            }
            relay::Event::CircuitReqAccepted { .. } => {
                self.circuits += 1;
                self.metrics.relay_connections_active.inc();
            }
            relay::Event::CircuitClosed { .. } => {
                self.circuits = self.circuits.saturating_sub(1);
                self.metrics.relay_connections_active.dec();
            }
            // What was denied is counted above; the rest are failures on the way of a
            // request, and of an answer, that the other side sees.
            _ => {}
        }
        let active = as_gauge(self.reserved.len());
        self.metrics.relay_reservations_active.set(active);
    }

    fn count(&self, event: &relay::Event) {
        let (kind, result) = match event {
            relay::Event::ReservationReqAccepted { renewed: false, .. } => {
                ("reservation", "accepted")
            }
            relay::Event::ReservationReqDenied { .. } => ("reservation", "denied"),
            relay::Event::CircuitReqAccepted { .. } => ("circuit", "accepted"),
            relay::Event::CircuitReqDenied { .. } => ("circuit", "denied"),
            _ => return,
        };
        let requests = &self.metrics.relay_requests;
        requests.with_label_values(&[kind, result]).inc();
    }
}
