//! The table of all variables of the configuration.

use std::time::Duration;

use super::Config;
use super::value::{
    self, Parsed, boolean, duration, list, number, show_duration, show_list, show_size, size,
};

/// One variable of the configuration.
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// Its default, in the form in which it is written; empty when there is none or
    /// when it is derived (see [`Variable::derived`]).
    pub default: &'static str,
    /// How the default is derived, in words; empty when it is not derived.
    pub derived: &'static str,
    /// The placeholder for a value in help, such as `SIZE`.
    pub placeholder: &'static str,
    /// Which values are accepted, for the error line.
    pub accepts: &'static str,
    /// What it does, without a full stop at the end.
    pub help: &'static str,
    /// Whether it can change without a restart.
    pub reloadable: bool,
    /// Whether this version acts on it. Help, `config show` and the log say so of a
    /// variable that is only parsed.
    pub effective: bool,
    /// Parses a text into the configuration. The error says what is wrong.
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    /// Formats the effective value in the form in which it is parsed.
    pub(super) get: fn(&Config) -> String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Variable {
    /// Returns the name of the corresponding flag of `run`, without the dashes.
    pub fn flag(&self) -> String {
        self.name
            .strip_prefix("P2P_")
            .unwrap_or(self.name)
            .to_lowercase()
            .replace('_', "-")
    }

    /// Returns whether it is a boolean, whose flag may be given without a value.
    pub fn is_switch(&self) -> bool {
        self.placeholder == SWITCH
    }

    /// Returns the default in words: its value, how it is derived, or `none`.
    pub fn default_in_words(&self) -> &'static str {
        match (self.default, self.derived) {
            ("", "") => "none",
            ("", derived) => derived,
            (default, _) => default,
        }
    }

    /// Returns the warning for a variable that is set although it has no effect yet.
    pub fn without_effect(&self) -> String {
        format!(
            "{} is set but this version does not enforce it yet",
            self.name
        )
    }

    /// Returns the variable with this name.
    pub fn find(name: &str) -> Option<&'static Variable> {
        VARIABLES.iter().find(|v| v.name == name)
    }
}

const SWITCH: &str = "BOOL";
const YES_OR_NO: &str = "true, false, 1, 0, yes or no";

/// The largest number of connections. More connections than a process can have file
/// descriptors for are a mistake, and the limit of the kernel (`fs.nr_open`) is a
/// million.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// The longest duration: ten years. More is a mistake, and seconds have to fit into 32
/// bits in messages.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

fn put<T>(place: &mut T, value: Parsed<T>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn put_u32(place: &mut u32, value: Parsed<u64>) -> Result<(), String> {
    *place = u32::try_from(value?).map_err(|_| "the number is too large".to_owned())?;
    Ok(())
}

fn optional<T>(text: &str, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    }
}

/// Every variable, in the order in which people read them.
pub static VARIABLES: &[Variable] = &[
    Variable {
        name: super::ENV_FILE,
        default: "",
        derived: "",
        placeholder: "FILE",
        accepts: "the path of an environment file, preceded by - if the file may be missing",
        help: "File with NAME=VALUE lines, read at start and at reload; the environment and flags take precedence over it",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.env_file, optional(t, value::env_file)),
        get: |c| {
            c.env_file
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
        },
    },
    Variable {
        name: "P2P_LISTEN_ADDRS",
        default: "/ip4/0.0.0.0/tcp/4001",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of /ip4/IP or /ip6/IP with /tcp/PORT, /tcp/PORT/ws or /udp/PORT/quic-v1",
        help: "Addresses to listen on",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.listen_addrs, list(t, value::listen_addr)),
        get: |c| show_list(&c.listen_addrs),
    },
    Variable {
        name: "P2P_EXTERNAL_ADDRS",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that others can dial",
        help: "Addresses to advertise",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.external_addrs, list(t, value::external_addr)),
        get: |c| show_list(&c.external_addrs),
    },
    Variable {
        name: "P2P_BOOTSTRAP_PEERS",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that end in /p2p/PEER_ID",
        help: "Peers through which to join the network; /dnsaddr is supported",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.bootstrap_peers, list(t, value::peer_address)),
        get: |c| show_list(&c.bootstrap_peers),
    },
    Variable {
        name: "P2P_PEERING",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that end in /p2p/PEER_ID",
        help: "Peers to stay connected to at all times. They are dialed again without end, and are exempt from the limits on the number and the rate of connections, from the limits on subnets, from refusals for lack of memory or file descriptors, and from the idle timeout. P2P_ALLOW_CIDRS, P2P_DENY_CIDRS and bans do apply to them",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.peering, list(t, value::peer_address)),
        get: |c| show_list(&c.peering),
    },
    Variable {
        name: "P2P_MIN_PEERS",
        default: "8",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 0 to 1000",
        help: "Number of connections that are kept even when nothing uses them, so that this node stays part of its network; peers that asked to be kept count for at most half of it, and 0 keeps none",
        reloadable: true,
        effective: true,
        // Why eight: with it, 1 node in 15,000 loses all its neighbours when 3 of 10 nodes
        // die at once; with four, 1 in 123 does, and sixteen cost twice as much. See `neighbours`.
        set: |c, t| put_u32(&mut c.min_peers, number(t, 0, 1_000)),
        get: |c| c.min_peers.to_string(),
    },
    Variable {
        name: "P2P_BOOTSTRAP",
        default: "false",
        derived: "",
        placeholder: SWITCH,
        accepts: YES_OR_NO,
        help: "Serve as a bootstrap node: DHT server, relay service, autonat server",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.bootstrap, boolean(t)),
        get: |c| c.bootstrap.to_string(),
    },
    Variable {
        name: "P2P_MAX_CONNECTIONS",
        default: "400",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 1000000",
        help: "Maximum number of established connections, both directions together; a quarter is reserved for peers that this node dials, so strangers get 300 of 400",
        reloadable: true,
        effective: true,
        set: |c, t| put_u32(&mut c.max_connections, number(t, 1, MOST_CONNECTIONS)),
        get: |c| c.max_connections.to_string(),
    },
    Variable {
        name: "P2P_MAX_INBOUND_CONNECTIONS",
        default: "1024",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 0 to 1000000",
        help: "Maximum number of established inbound connections, within P2P_MAX_CONNECTIONS",
        reloadable: true,
        effective: true,
        set: |c, t| {
            put_u32(
                &mut c.max_inbound_connections,
                number(t, 0, MOST_CONNECTIONS),
            )
        },
        get: |c| c.max_inbound_connections.to_string(),
    },
    Variable {
        name: "P2P_MAX_OUTBOUND_CONNECTIONS",
        default: "512",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 0 to 1000000",
        help: "Maximum number of established outbound connections, within P2P_MAX_CONNECTIONS",
        reloadable: true,
        effective: true,
        set: |c, t| {
            put_u32(
                &mut c.max_outbound_connections,
                number(t, 0, MOST_CONNECTIONS),
            )
        },
        get: |c| c.max_outbound_connections.to_string(),
    },
    Variable {
        name: "P2P_MAX_CONNECTIONS_PER_PEER",
        default: "4",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 1000",
        help: "Maximum number of established connections with one peer",
        reloadable: true,
        effective: true,
        set: |c, t| put_u32(&mut c.max_connections_per_peer, number(t, 1, 1_000)),
        get: |c| c.max_connections_per_peer.to_string(),
    },
    Variable {
        name: "P2P_MAX_CONNECTIONS_PER_SUBNET",
        default: "64",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 1000000",
        help: "Maximum number of established connections with one subnet; a quarter is reserved for peers that this node dials, so strangers get 48 of 64; loopback and trusted peers are exempt",
        reloadable: true,
        effective: true,
        set: |c, t| {
            put_u32(
                &mut c.max_connections_per_subnet,
                number(t, 1, MOST_CONNECTIONS),
            )
        },
        get: |c| c.max_connections_per_subnet.to_string(),
    },
    Variable {
        name: "P2P_MAX_INBOUND_RATE",
        default: "64",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 100000",
        help: "Maximum number of inbound connections a second; one in 32 of those above it is accepted nevertheless",
        reloadable: true,
        effective: true,
        // A handshake takes about a millisecond of one core, so 64 a second take a
        // fifteenth of a core, and all the inbound connections that a node has by
        // default are back five seconds after it starts again.
        set: |c, t| put_u32(&mut c.max_inbound_rate, number(t, 1, 100_000)),
        get: |c| c.max_inbound_rate.to_string(),
    },
    Variable {
        name: "P2P_MAX_INBOUND_RATE_PER_SUBNET",
        default: "8",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 100000",
        help: "Maximum number of inbound connections a second from one subnet; loopback and trusted peers are exempt",
        reloadable: true,
        effective: true,
        // An eighth of P2P_MAX_INBOUND_RATE, so that it takes eight flooding subnets to use
        // up that rate. Sixteen peers behind one address can come back at the same moment.
        set: |c, t| put_u32(&mut c.max_inbound_rate_per_subnet, number(t, 1, 100_000)),
        get: |c| c.max_inbound_rate_per_subnet.to_string(),
    },
    Variable {
        name: "P2P_SUBNET_PREFIXES",
        default: "32,56",
        derived: "",
        placeholder: "V4,V6",
        accepts: "two numbers such as 32,56: 1 to 32 for IPv4, 1 to 128 for IPv6",
        help: "Prefix lengths for IPv4 and IPv6 within which addresses count as one subnet; an automatic ban covers at most a /32 or a /56",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.subnet_prefixes, value::subnet_prefixes(t)),
        get: |c| c.subnet_prefixes.to_string(),
    },
    Variable {
        name: "P2P_MAX_INBOUND_STREAMS",
        default: "128",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 8 to 65536",
        help: "Maximum number of concurrent inbound streams on one connection",
        reloadable: false,
        effective: true,
        // Identify, ping, the DHT and gossip alone keep several open at the same time.
        set: |c, t| put_u32(&mut c.max_inbound_streams, number(t, 8, 65_536)),
        get: |c| c.max_inbound_streams.to_string(),
    },
    Variable {
        name: "P2P_MAX_OUTBOUND_STREAMS",
        default: "256",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 8 to 65536",
        help: "Maximum number of concurrent outbound streams on one connection; an eighth, and at least 6, is reserved for the node itself",
        reloadable: false,
        effective: true,
        set: |c, t| put_u32(&mut c.max_outbound_streams, number(t, 8, 65_536)),
        get: |c| c.max_outbound_streams.to_string(),
    },
    Variable {
        name: "P2P_CONNECTION_IDLE_TIMEOUT",
        default: "30s",
        derived: "",
        placeholder: "DURATION",
        accepts: "a duration such as 500ms, 30s, 10m or 24h, from 1s to 24h",
        help: "Close a connection that nothing has used for this long and that neither side keeps (P2P_MIN_PEERS, P2P_PEERING)",
        reloadable: false,
        effective: true,
        set: |c, t| {
            put(
                &mut c.connection_idle_timeout,
                duration(t, secs(1), secs(86_400)),
            )
        },
        get: |c| show_duration(c.connection_idle_timeout),
    },
    Variable {
        name: "P2P_STREAM_IDLE_TIMEOUT",
        default: "60s",
        derived: "",
        placeholder: "DURATION",
        accepts: "a duration such as 500ms, 30s, 10m or 24h, from 1s to 24h",
        help: "Close a stream of content or of a program on which no data has moved for this long; this cannot be turned off",
        reloadable: true,
        effective: true,
        set: |c, t| {
            put(
                &mut c.stream_idle_timeout,
                duration(t, secs(1), secs(86_400)),
            )
        },
        get: |c| show_duration(c.stream_idle_timeout),
    },
    Variable {
        name: "P2P_MAX_MEMORY",
        default: "80%",
        derived: "",
        placeholder: "SIZE|%",
        accepts: "1% to 100% of the cgroup's or the machine's memory, or a size such as 512MiB, from 32MiB",
        help: "Memory use above which new connections are refused",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.max_memory, value::memory(t)),
        get: |c| value::show_memory(c.max_memory),
    },
    Variable {
        name: "P2P_TRUSTED_PEERS",
        default: "",
        derived: "",
        placeholder: "PEER,…",
        accepts: "a list of peer ids such as 12D3KooW…",
        help: "Peers that are exempt from the limits on the number and the rate of connections, from the limits on subnets, from refusals for lack of memory or file descriptors, and from automatic bans, and whose budgets are ten times as large. The limits on streams and bandwidth, P2P_DENY_CIDRS and an operator's bans do apply to them. Outside P2P_ALLOW_CIDRS they can connect from, and are dialed at, only an IP address that is given in P2P_BOOTSTRAP_PEERS or P2P_RELAYS, or at which they were connected since the start",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.trusted_peers, list(t, value::peer_id)),
        get: |c| show_list(&c.trusted_peers),
    },
    Variable {
        name: "P2P_ALLOW_CIDRS",
        default: "",
        derived: "",
        placeholder: "CIDR,…",
        accepts: "a list of address ranges such as 10.0.0.0/8 or 2001:db8::/32",
        help: "The only addresses to connect with, apart from known addresses of P2P_TRUSTED_PEERS; empty means all",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.allow_cidrs, list(t, value::cidr)),
        get: |c| show_list(&c.allow_cidrs),
    },
    Variable {
        name: "P2P_DENY_CIDRS",
        default: "",
        derived: "",
        placeholder: "CIDR,…",
        accepts: "a list of address ranges such as 10.0.0.0/8 or 2001:db8::/32",
        help: "Addresses never to connect with",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.deny_cidrs, list(t, value::cidr)),
        get: |c| show_list(&c.deny_cidrs),
    },
    Variable {
        name: "P2P_MAX_UPLOAD_RATE",
        default: "unlimited",
        derived: "",
        placeholder: "SIZE",
        accepts: "bytes a second such as 10MiB, from 16KiB, or unlimited",
        help: "Maximum number of bytes a second that the whole node sends on streams, shared fairly between peers",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.max_upload_rate, value::rate(t)),
        get: |c| value::show_rate(c.max_upload_rate),
    },
    Variable {
        name: "P2P_MAX_DOWNLOAD_RATE",
        default: "unlimited",
        derived: "",
        placeholder: "SIZE",
        accepts: "bytes a second such as 10MiB, from 16KiB, or unlimited",
        help: "Maximum number of bytes a second that the whole node receives on streams, shared fairly between peers",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.max_download_rate, value::rate(t)),
        get: |c| value::show_rate(c.max_download_rate),
    },
    Variable {
        name: "P2P_RATE_BURST",
        default: "200",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 1000000",
        help: "Number of its own messages that a peer may send at once; scaled by its reputation",
        reloadable: true,
        effective: true,
        set: |c, t| put_u32(&mut c.rate_burst, number(t, 1, 1_000_000)),
        get: |c| c.rate_burst.to_string(),
    },
    Variable {
        name: "P2P_RATE_FILL",
        default: "100",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 1000000",
        help: "Number of its own messages a second that a peer may send continuously; scaled by its reputation",
        reloadable: true,
        effective: true,
        set: |c, t| put_u32(&mut c.rate_fill, number(t, 1, 1_000_000)),
        get: |c| c.rate_fill.to_string(),
    },
    Variable {
        name: "P2P_RATE_BYTES_BURST",
        // Eight gossip messages of the largest size at once, so that a peer whose
        // reputation reduces it to an eighth can still send one.
        default: "8MiB",
        derived: "",
        placeholder: "SIZE",
        accepts: "a size such as 8MiB, from 1MiB to 1TiB",
        help: "Bytes of messages that a peer may send at once; content does not count",
        reloadable: true,
        effective: true,
        // With less than one gossip message of the largest size, none could ever pass.
        set: |c, t| put(&mut c.rate_bytes_burst, size(t, 1 << 20, 1 << 40)),
        get: |c| show_size(c.rate_bytes_burst),
    },
    Variable {
        name: "P2P_RATE_BYTES_FILL",
        // A hundred messages a second, as in P2P_RATE_FILL, of 10 KiB each;
        // gossip and DHT messages are a tenth of that size.
        default: "1MiB",
        derived: "",
        placeholder: "SIZE",
        accepts: "a size such as 1MiB, from 16KiB to 1TiB",
        help: "Bytes of messages a second that a peer may send continuously",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.rate_bytes_fill, size(t, 16 << 10, 1 << 40)),
        get: |c| show_size(c.rate_bytes_fill),
    },
    Variable {
        name: "P2P_NETWORK",
        default: "p2p-node",
        derived: "",
        placeholder: "NAME",
        accepts: "1 to 64 characters of a-z, 0-9, dot, underscore and dash",
        help: "Name of the network, which is part of its protocol ids",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.network, value::network_name(t)),
        get: |c| c.network.clone(),
    },
    Variable {
        name: "P2P_KAD_PROTOCOL",
        default: "",
        derived: "/<network>/kad/1.0.0",
        placeholder: "ID",
        accepts: "a protocol id that begins with /, such as /ipfs/kad/1.0.0",
        help: "Protocol id of the DHT; /ipfs/kad/1.0.0 is that of the public IPFS DHT",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.kad_protocol, value::protocol_id(t)),
        get: |c| c.kad_protocol.clone(),
    },
    Variable {
        name: "P2P_DHT_MODE",
        default: "auto",
        derived: "",
        placeholder: "MODE",
        accepts: "auto, server or client",
        help: "Role of this node in the DHT",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.dht_mode, value::dht_mode(t)),
        get: |c| c.dht_mode.to_string(),
    },
    Variable {
        name: "P2P_DHT_MAX_RECORDS",
        default: "65536",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 16777216",
        help: "Maximum number of DHT records stored for others",
        reloadable: false,
        effective: true,
        set: |c, t| {
            put(
                &mut c.dht_max_records,
                number(t, 1, 1 << 24).map(|n| n as usize),
            )
        },
        get: |c| c.dht_max_records.to_string(),
    },
    Variable {
        name: "P2P_NETWORK_KEY_FILE",
        default: "",
        derived: "",
        placeholder: "FILE",
        accepts: "the path of a file with a pre-shared key (/key/swarm/psk/1.0.0/)",
        help: "Pre-shared key of a private network",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.network_key_file, optional(t, value::path)),
        get: |c| {
            c.network_key_file
                .as_ref()
                .map(|p| p.display().to_string())
                .unwrap_or_default()
        },
    },
    Variable {
        name: "P2P_TOPICS",
        default: "",
        derived: "",
        placeholder: "TOPIC,…",
        accepts: "a list of topic names of at most 256 bytes",
        help: "Gossip topics to join at start",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.topics, list(t, value::topic)),
        get: |c| show_list(&c.topics),
    },
    Variable {
        name: "P2P_GOSSIP_D",
        default: "8",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 3 to 64",
        help: "Desired number of peers in a gossip mesh; its lower and upper bounds are derived from it",
        reloadable: false,
        effective: true,
        // Below 3, a mesh falls apart when one peer leaves; above 64, every message is
        // sent so often that a mesh is no better than flooding.
        set: |c, t| put(&mut c.gossip_d, number(t, 3, 64).map(|n| n as usize)),
        get: |c| c.gossip_d.to_string(),
    },
    Variable {
        name: "P2P_GOSSIP_HEARTBEAT",
        default: "1s",
        derived: "",
        placeholder: "DURATION",
        accepts: "a duration such as 700ms or 1s, from 100ms to 60s",
        help: "Interval of the maintenance of gossip meshes",
        reloadable: false,
        effective: true,
        set: |c, t| {
            put(
                &mut c.gossip_heartbeat,
                duration(t, Duration::from_millis(100), secs(60)),
            )
        },
        get: |c| show_duration(c.gossip_heartbeat),
    },
    Variable {
        name: "P2P_STORE_MAX_BYTES",
        default: "10GiB",
        derived: "",
        placeholder: "SIZE",
        accepts: "a size such as 512MiB or 10GiB, from 1MiB",
        help: "Maximum size of the block store",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.store_max_bytes, size(t, 1 << 20, u64::MAX)),
        get: |c| show_size(c.store_max_bytes),
    },
    Variable {
        name: "P2P_BLOCK_TTL",
        default: "24h",
        derived: "",
        placeholder: "DURATION",
        accepts: "a duration such as 30s, 10m, 24h or 7d, from 1s to 3650d",
        help: "Time to live of blocks that are put on this node, unless `put --ttl` sets another",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.block_ttl, duration(t, secs(1), LONGEST)),
        get: |c| show_duration(c.block_ttl),
    },
    Variable {
        name: "P2P_MAX_BLOCK_BYTES",
        default: "2MiB",
        derived: "",
        placeholder: "SIZE",
        accepts: "a size such as 2MiB, from 1MiB to 16MiB",
        help: "Maximum size of a block; larger blocks are refused, also from the network",
        reloadable: false,
        effective: true,
        // Files are cut into chunks of 1 MiB. Several blocks are in flight with every
        // peer, so each of them must be a small fraction of memory.
        set: |c, t| {
            put(
                &mut c.max_block_bytes,
                size(t, 1 << 20, 16 << 20).map(|n| n as usize),
            )
        },
        get: |c| show_size(c.max_block_bytes as u64),
    },
    Variable {
        name: "P2P_RELAY_SERVER",
        default: "false",
        derived: "",
        placeholder: SWITCH,
        accepts: YES_OR_NO,
        help: "Relay connections for peers that cannot be dialed",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.relay_server, boolean(t)),
        get: |c| c.relay_server.to_string(),
    },
    Variable {
        name: "P2P_RELAYS",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that end in /p2p/PEER_ID",
        help: "Relays through which this node is reachable",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.relays, list(t, value::peer_address)),
        get: |c| show_list(&c.relays),
    },
    Variable {
        name: "P2P_MDNS",
        default: "false",
        derived: "",
        placeholder: SWITCH,
        accepts: YES_OR_NO,
        help: "Discover peers on the local network",
        reloadable: false,
        effective: false,
        set: |c, t| put(&mut c.mdns, boolean(t)),
        get: |c| c.mdns.to_string(),
    },
    Variable {
        name: "P2P_METRICS_HOST",
        default: "127.0.0.1",
        derived: "",
        placeholder: "IP",
        accepts: "an IP address",
        help: "Address of the HTTP server for metrics and health",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.metrics_host, value::ip(t)),
        get: |c| c.metrics_host.to_string(),
    },
    Variable {
        name: "P2P_METRICS_PORT",
        default: "9100",
        derived: "",
        placeholder: "PORT",
        accepts: "a port number, 0 for any free one",
        help: "Port of the HTTP server for metrics and health",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.metrics_port, number(t, 0, 65_535).map(|n| n as u16)),
        get: |c| c.metrics_port.to_string(),
    },
    Variable {
        name: "P2P_CONTROL_SOCKET",
        default: "",
        derived: "$RUNTIME_DIRECTORY/control.sock, or else control.sock in the data folder",
        placeholder: "PATH",
        accepts: "a path of at most 107 bytes",
        help: "Unix socket for commands and programs",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.control_socket, value::path(t)),
        get: |c| c.control_socket.display().to_string(),
    },
    Variable {
        name: "P2P_DATA_DIR",
        default: "",
        derived: "$STATE_DIRECTORY, or else /var/lib/p2p-node for root and p2p-node in the XDG data folder for others",
        placeholder: "DIR",
        accepts: "a path",
        help: "Folder for the identity, the database and the blocks",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.data_dir, value::path(t)),
        get: |c| c.data_dir.display().to_string(),
    },
    Variable {
        name: "P2P_DRAIN_TIMEOUT",
        default: "10s",
        derived: "",
        placeholder: "DURATION",
        accepts: "a duration such as 10s, from 0s to 10m",
        help: "Time that running work is given to finish when the node stops",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.drain_timeout, duration(t, Duration::ZERO, secs(600))),
        get: |c| show_duration(c.drain_timeout),
    },
    Variable {
        name: "P2P_LOG_FORMAT",
        default: "auto",
        derived: "",
        placeholder: "FORMAT",
        accepts: "auto, journal, text or json",
        help: "Format of the log: journal for journald, text for people, json for Loki and ELK",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.log_format, value::log_format(t)),
        get: |c| c.log_format.to_string(),
    },
    Variable {
        name: "RUST_LOG",
        default: "info",
        derived: "",
        placeholder: "FILTER",
        accepts: "a level (error, warn, info, debug, trace, off) or a list of TARGET=LEVEL",
        help: "What is logged",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.rust_log, value::log_filter(t)),
        get: |c| c.rust_log.clone(),
    },
];

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
