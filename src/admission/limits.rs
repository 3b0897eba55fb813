//! How many connections this node takes, by libp2p's own limits.

use libp2p::PeerId;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::memory_connection_limits;
use libp2p::swarm::behaviour::toggle::Toggle;

/// Connections being made at once. Each costs a socket and a handshake's worth
/// of memory before anybody has proven who they are; the queue of the kernel
/// holds more. Outbound is larger than one DHT query's parallel dials times the
/// queries that may run, so that strangers cannot starve our own work.
const MAX_PENDING_INCOMING: u32 = 128;
const MAX_PENDING_OUTGOING: u32 = 256;

/// How many connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections, in total (`P2P_MAX_CONNECTIONS`).
    pub total: u32,
    /// Connections, inbound.
    pub inbound: u32,
    /// Connections, outbound.
    pub outbound: u32,
    /// Connections with one peer.
    pub per_peer: u32,
    /// Resident bytes above which new connections are refused; `None` for no limit.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            total: 400,
            inbound: 1024,
            outbound: 512,
            per_peer: 4,
            memory: None,
        }
    }
}

impl Limits {
    /// The behaviour that counts connections; `trusted` peers are not held to it.
    pub fn connections(&self, trusted: &[PeerId]) -> connection_limits::Behaviour {
        let mut behaviour = connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_pending_incoming(Some(MAX_PENDING_INCOMING))
                .with_max_pending_outgoing(Some(MAX_PENDING_OUTGOING))
                .with_max_established(Some(self.total))
                .with_max_established_incoming(Some(self.inbound))
                .with_max_established_outgoing(Some(self.outbound))
                .with_max_established_per_peer(Some(self.per_peer)),
        );
        for peer in trusted {
            behaviour.bypass_peer_id(peer);
        }
        behaviour
    }

    /// The behaviour that looks at memory.
    pub fn memory(&self) -> Toggle<memory_connection_limits::Behaviour> {
        self.memory
            .map(|bytes| {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                memory_connection_limits::Behaviour::with_max_bytes(bytes)
            })
            .into()
    }
}
