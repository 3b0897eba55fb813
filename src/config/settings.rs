//! The whole configuration, and where each of its values came from.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use libp2p::{Multiaddr, PeerId};

use super::{
    DhtMode, EnvFilePath, LogFormat, MemoryLimit, PeerAddress, Setting, Source, SubnetPrefixes,
    VARIABLES, Variable,
};

/// The whole configuration. Every value is parsed and within its range.
#[derive(Debug, Clone)]
pub struct Config {
    /// `P2P_ENV_FILE`. The file has been read already, see `Inputs::load`.
    pub env_file: Option<EnvFilePath>,
    /// `P2P_LISTEN_ADDRS`: IP addresses with TCP, WebSocket or QUIC v1.
    pub listen_addrs: Vec<Multiaddr>,
    /// `P2P_EXTERNAL_ADDRS`: addresses to advertise as confirmed.
    pub external_addrs: Vec<Multiaddr>,
    /// `P2P_BOOTSTRAP_PEERS`.
    pub bootstrap_peers: Vec<PeerAddress>,
    /// `P2P_BOOTSTRAP`. Its consequences are already in [`Config::dht_mode`],
    /// [`Config::relay_server`] and [`Config::autonat_server`].
    pub bootstrap: bool,
    /// Whether this node answers the autonat probes of others. It follows from
    /// [`Config::bootstrap`], and has no variable of its own.
    pub autonat_server: bool,
    /// `P2P_MAX_CONNECTIONS`: established connections, both directions together.
    pub max_connections: u32,
    /// `P2P_MAX_INBOUND_CONNECTIONS`: established inbound connections; the total holds
    /// too.
    pub max_inbound_connections: u32,
    /// `P2P_MAX_OUTBOUND_CONNECTIONS`: established outbound connections; the total holds
    /// too.
    pub max_outbound_connections: u32,
    /// `P2P_MAX_CONNECTIONS_PER_PEER`.
    pub max_connections_per_peer: u32,
    /// `P2P_MAX_CONNECTIONS_PER_SUBNET`.
    pub max_connections_per_subnet: u32,
    /// `P2P_MAX_INBOUND_RATE`: connections a second.
    pub max_inbound_rate: u32,
    /// `P2P_MAX_INBOUND_RATE_PER_SUBNET`: connections a second.
    pub max_inbound_rate_per_subnet: u32,
    /// `P2P_SUBNET_PREFIXES`.
    pub subnet_prefixes: SubnetPrefixes,
    /// `P2P_MAX_INBOUND_STREAMS`: concurrent streams per connection.
    pub max_inbound_streams: u32,
    /// `P2P_MAX_OUTBOUND_STREAMS`: concurrent streams per connection.
    pub max_outbound_streams: u32,
    /// `P2P_CONNECTION_IDLE_TIMEOUT`.
    pub connection_idle_timeout: Duration,
    /// `P2P_STREAM_IDLE_TIMEOUT`.
    pub stream_idle_timeout: Duration,
    /// `P2P_MAX_MEMORY`.
    pub max_memory: MemoryLimit,
    /// `P2P_TRUSTED_PEERS`: peers that pass the limits.
    pub trusted_peers: Vec<PeerId>,
    /// `P2P_ALLOW_CIDRS`: if it is empty, all are allowed.
    pub allow_cidrs: Vec<IpNet>,
    /// `P2P_DENY_CIDRS`.
    pub deny_cidrs: Vec<IpNet>,
    /// `P2P_MAX_UPLOAD_RATE`: bytes a second; `None` for no ceiling.
    pub max_upload_rate: Option<u64>,
    /// `P2P_MAX_DOWNLOAD_RATE`: bytes a second; `None` for no ceiling.
    pub max_download_rate: Option<u64>,
    /// `P2P_RATE_BURST`: the number of messages that a peer's token bucket holds.
    pub rate_burst: u32,
    /// `P2P_RATE_FILL`: the number of messages a second that flow into it.
    pub rate_fill: u32,
    /// The number of bytes of messages that a peer may send at once.
    pub rate_bytes_burst: u64,
    /// The number of bytes of messages a second that a peer may send over a long time.
    pub rate_bytes_fill: u64,
    /// `P2P_NETWORK`: `[a-z0-9._-]`, 1 to 64 characters.
    pub network: String,
    /// `P2P_KAD_PROTOCOL`: begins with `/`.
    pub kad_protocol: String,
    /// `P2P_DHT_MODE`.
    pub dht_mode: DhtMode,
    /// `P2P_DHT_MAX_RECORDS`.
    pub dht_max_records: usize,
    /// `P2P_NETWORK_KEY_FILE`: the file is not read here.
    pub network_key_file: Option<PathBuf>,
    /// `P2P_TOPICS`: topics that are joined at the start.
    pub topics: Vec<String>,
    /// `P2P_GOSSIP_D`: the degree of the mesh, 3 to 64. Its bounds follow from it.
    pub gossip_d: usize,
    /// `P2P_GOSSIP_HEARTBEAT`.
    pub gossip_heartbeat: Duration,
    /// `P2P_STORE_MAX_BYTES`.
    pub store_max_bytes: u64,
    /// `P2P_BLOCK_TTL`: the default time to live of blocks that are put here.
    pub block_ttl: Duration,
    /// `P2P_MAX_BLOCK_BYTES`.
    pub max_block_bytes: usize,
    /// `P2P_RELAY_SERVER`.
    pub relay_server: bool,
    /// `P2P_PEERING`: peers to which the node is always connected.
    pub peering: Vec<PeerAddress>,
    /// `P2P_MIN_PEERS`.
    pub min_peers: u32,
    /// `P2P_RELAYS`: relays at which the node has a reservation.
    pub relays: Vec<PeerAddress>,
    /// `P2P_MDNS`.
    pub mdns: bool,
    /// `P2P_METRICS_HOST`.
    pub metrics_host: IpAddr,
    /// `P2P_METRICS_PORT`: with 0, any free port is used.
    pub metrics_port: u16,
    /// `P2P_CONTROL_SOCKET`: a path that fits into a Unix socket address.
    pub control_socket: PathBuf,
    /// `P2P_DATA_DIR`.
    pub data_dir: PathBuf,
    /// `P2P_DRAIN_TIMEOUT`.
    pub drain_timeout: Duration,
    /// `P2P_LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `RUST_LOG`: a filter in env_logger's syntax.
    pub rust_log: String,
    pub(super) sources: BTreeMap<&'static str, Source>,
}

impl Config {
    /// Returns the state before the defaults of the table are applied. It is never seen
    /// outside.
    pub(super) fn blank() -> Config {
        Config {
            env_file: None,
            listen_addrs: Vec::new(),
            external_addrs: Vec::new(),
            bootstrap_peers: Vec::new(),
            bootstrap: false,
            autonat_server: false,
            max_connections: 0,
            max_inbound_connections: 0,
            max_outbound_connections: 0,
            max_connections_per_peer: 0,
            max_connections_per_subnet: 0,
            max_inbound_rate: 0,
            max_inbound_rate_per_subnet: 0,
            subnet_prefixes: SubnetPrefixes {
                ipv4: 32,
                ipv6: 128,
            },
            max_inbound_streams: 0,
            max_outbound_streams: 0,
            connection_idle_timeout: Duration::ZERO,
            stream_idle_timeout: Duration::ZERO,
            max_memory: MemoryLimit::Percent(100),
            trusted_peers: Vec::new(),
            allow_cidrs: Vec::new(),
            deny_cidrs: Vec::new(),
            max_upload_rate: None,
            max_download_rate: None,
            rate_burst: 0,
            rate_fill: 0,
            rate_bytes_burst: 0,
            rate_bytes_fill: 0,
            network: String::new(),
            kad_protocol: String::new(),
            dht_mode: DhtMode::Auto,
            dht_max_records: 0,
            network_key_file: None,
            topics: Vec::new(),
            gossip_d: 0,
            gossip_heartbeat: Duration::ZERO,
            store_max_bytes: 0,
            block_ttl: Duration::ZERO,
            max_block_bytes: 0,
            relay_server: false,
            peering: Vec::new(),
            min_peers: 0,
            relays: Vec::new(),
            mdns: false,
            metrics_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            metrics_port: 0,
            control_socket: PathBuf::new(),
            data_dir: PathBuf::new(),
            drain_timeout: Duration::ZERO,
            log_format: LogFormat::Auto,
            rust_log: String::new(),
            sources: BTreeMap::new(),
        }
    }

    /// Returns where the value of the variable `name` came from.
    pub fn source(&self, name: &str) -> Source {
        self.sources.get(name).cloned().unwrap_or(Source::Default)
    }

    /// Returns every variable with its effective value, in the order of the table.
    pub fn settings(&self) -> Vec<Setting> {
        VARIABLES
            .iter()
            .map(|variable| Setting {
                variable,
                value: (variable.get)(self),
                source: self.source(variable.name),
            })
            .collect()
    }

    /// Returns the variables that are set although this version does not act on them yet.
    pub fn set_without_effect(&self) -> Vec<&'static Variable> {
        VARIABLES
            .iter()
            .filter(|v| !v.effective)
            .filter(|v| {
                matches!(
                    self.source(v.name),
                    Source::File(_) | Source::Environment | Source::Flag
                )
            })
            .collect()
    }
}
