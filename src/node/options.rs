//! What the node is told when it starts.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

pub use crate::config::DhtMode;
use crate::peers::Policy;
use crate::peers::limits::Limits;
use crate::system::resources::Resources;
use crate::system::watchdog::Watchdog;
use crate::transport::memory::Memory;

/// Settings of the node. `Default` is what the contract's table says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the network; part of the node's own protocol ids.
    pub network: String,
    /// Protocol name of the DHT.
    pub kad_protocol: String,
    /// Part taken in the DHT.
    pub dht_mode: DhtMode,
    /// Cap of stored DHT values, and of keys with provider records.
    pub dht_max_records: usize,
    /// Peers to enter the network through; each ends in `/p2p/…` (or is a `/dnsaddr`).
    pub bootstrap_peers: Vec<Multiaddr>,
    /// Peers met before, from the last routing table.
    pub remembered_peers: Vec<super::peer_addrs::PeerAddrs>,
    /// Addresses to advertise as given.
    pub external_addrs: Vec<Multiaddr>,
    /// Peers that are connected always; each ends in `/p2p/…`. They pass the limits of
    /// connections when the settings of `policy` name them too.
    pub peering: Vec<Multiaddr>,
    /// Connections that are kept although nothing uses them.
    pub min_peers: usize,
    /// Relays to hold a reservation at.
    pub relays: Vec<Multiaddr>,
    /// Whether to relay for others.
    pub relay_server: bool,
    /// Whether to test addresses for others.
    pub autonat_server: bool,
    /// Topics joined at start.
    pub topics: Vec<String>,
    /// Mesh degree; the low and high bounds follow from it.
    pub gossip_d: usize,
    /// Gossip heartbeat.
    pub gossip_heartbeat: Duration,
    /// How many connections.
    pub limits: Limits,
    /// Inbound streams of one connection that may be in negotiation at once.
    pub max_inbound_streams: usize,
    /// Streams of one connection that this node may open, the greater part of them
    /// for programs and content, the rest for its own protocols.
    pub max_outbound_streams: usize,
    /// A connection without streams and outside every mesh is closed after this.
    pub connection_idle_timeout: Duration,
    /// A stream of content or of a program that moves nothing is closed after this.
    pub stream_idle_timeout: Duration,
    /// Bytes of streams a second that the whole node sends and receives at most;
    /// `None` is no ceiling.
    pub max_upload_rate: Option<u64>,
    /// See `max_upload_rate`.
    pub max_download_rate: Option<u64>,
    /// What is known of peers, and whom the operator trusts.
    pub policy: Policy,
    /// What is remembered of sequence numbers on the network's own topics; without
    /// it, only until the node stops.
    pub messages: Option<super::gossip::Messages>,
    /// Time between an answered ping and the next on the same connection.
    pub ping_interval: Duration,
    /// Time that a peer has to answer a ping.
    pub ping_timeout: Duration,
    /// How long a direct connection and one through a relay to the same peer both
    /// stand before the relayed one is closed.
    pub relay_overlap: Duration,
    /// How long a message of a program on this host waits for somebody who hears it.
    pub publish_patience: Duration,
    /// What the event loop beats while it turns.
    pub watchdog: Option<Watchdog>,
    /// What the process has left, when somebody else looks at it; otherwise the
    /// node does, once a second, which is too often for a process with hundreds.
    pub resources: Option<Resources>,
    /// What the multiplexers of the transports hold: the same that
    /// [`crate::transport::Options::memory`] is.
    pub memory: Memory,
}

/// What can change while the node runs: see [`super::Handle::adjust`].
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// See [`Options`].
    pub external_addrs: Vec<Multiaddr>,
    /// See [`Options`].
    pub bootstrap_peers: Vec<Multiaddr>,
    /// See [`Options`].
    pub peering: Vec<Multiaddr>,
    /// See [`Options`].
    pub min_peers: usize,
    /// See [`Options`].
    pub relays: Vec<Multiaddr>,
    /// See [`Options`].
    pub topics: Vec<String>,
    /// See [`Options`].
    pub limits: Limits,
    /// See [`Options`].
    pub stream_idle_timeout: Duration,
    /// See [`Options`].
    pub max_upload_rate: Option<u64>,
    /// See [`Options`].
    pub max_download_rate: Option<u64>,
    /// What the operator sets about peers, for [`Options::policy`], which was made with
    /// the same when the node started. It names the peers of `peering` as well.
    pub trust: crate::peers::Settings,
}

impl Options {
    /// The peers whose connections are kept whenever they ask for it.
    pub(super) fn welcome(&self) -> Vec<PeerId> {
        self.policy
            .read(|peers| peers.trust().exempt().copied().collect())
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            network: "p2p-node".into(),
            kad_protocol: "/p2p-node/kad/1.0.0".into(),
            dht_mode: DhtMode::Auto,
            dht_max_records: 65_536,
            bootstrap_peers: Vec::new(),
            remembered_peers: Vec::new(),
            external_addrs: Vec::new(),
            peering: Vec::new(),
            min_peers: 8,
            relays: Vec::new(),
            relay_server: false,
            autonat_server: false,
            topics: Vec::new(),
            gossip_d: 8,
            gossip_heartbeat: Duration::from_secs(1),
            limits: Limits::default(),
            max_inbound_streams: 128,
            max_outbound_streams: 256,
            connection_idle_timeout: Duration::from_secs(30),
            stream_idle_timeout: Duration::from_secs(60),
            max_upload_rate: None,
            max_download_rate: None,
            policy: Policy::default(),
            messages: None,
            // The defaults of rust-libp2p, whose nodes are most of those met here.
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(20),
            // A direct connection that is dead stands until pings end it, after 55 to
            // 70 s (see `peers/record.rs`); until then the relayed one may be the only one
            // that works. This must be longer. A relay that keeps to the usual limit
            // ends a circuit after two minutes anyway.
            relay_overlap: Duration::from_secs(90),
            publish_patience: crate::gossip::unheard::PATIENCE,
            watchdog: None,
            resources: None,
            memory: Memory::default(),
        }
    }
}

/// What this program calls itself in identify: `p2p-node/<version>`.
pub const AGENT: &str = concat!("p2p-node/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relayed_connection_outlives_a_dead_direct_one() {
        let options = Options::default();
        // What `peers/record.rs` counts: two pauses, one answer that does not come, and
        // two negotiations of 10 s that libp2p gives up.
        let negotiations = 2 * Duration::from_secs(10);
        let dead = 2 * options.ping_interval + options.ping_timeout + negotiations;
        assert_eq!(dead, Duration::from_secs(70));
        assert!(options.relay_overlap > dead);
    }
}
