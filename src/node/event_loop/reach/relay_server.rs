//! What this node relays for others.

use std::collections::HashSet;
use std::sync::Arc;

use libp2p::{PeerId, relay};

use crate::node::Metrics;
use crate::node::metrics::as_gauge;
use crate::node::peers::connected::Connected;

/// The reservations and circuits at this node's relay server. The server bounds them.
#[derive(Debug)]
pub(super) struct RelayServer {
    metrics: Arc<Metrics>,
    /// The peers that have a reservation.
    reserved: HashSet<PeerId>,
    /// The number of connections that are relayed now.
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

    /// Handles an event of the server.
    pub(super) fn event(&mut self, event: &relay::Event, peers: &Connected) {
        self.count(event);
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
                self.reserved.insert(*src_peer_id);
            }
            // This is reported for every connection that ends, with or without a
            // reservation.
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
            // Denied requests are counted above. The others are failures on the way of a
            // request or an answer, which the other side sees.
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
