//! The configuration in the form that each module takes.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use libp2p::Multiaddr;

use super::{Error, resources};
use crate::config::{Config, MemoryLimit, PeerAddress};
use crate::control;
use crate::node;
use crate::peers::bucket::{Budget, Rates};
use crate::peers::limits::Limits;
use crate::peers::refusal::Refusal;
use crate::peers::rules::Rules;
use crate::peers::subnet::Prefixes;
use crate::peers::{self, Policy};
use crate::store::KnownPeer;
use crate::system::memory;
use crate::system::sockets::{Binding, Sockets};
use crate::telemetry::Registry;
use crate::telemetry::history::History;
use crate::transport;
use crate::transport::memory::Memory;

fn max_memory(config: &Config) -> Option<u64> {
    match config.max_memory {
        MemoryLimit::Bytes(bytes) => Some(bytes),
        MemoryLimit::Percent(percent) => match memory::limit() {
            Ok(limit) => Some(limit.bytes / 100 * u64::from(percent)),
            Err(e) => {
                log::warn!(error:% = e; "cannot tell how much memory there is; P2P_MAX_MEMORY is not in force");
                None
            }
        },
    }
}

/// Returns the cap on what connections may hold, which the transports and the node share.
pub(super) fn connection_memory(config: &Config) -> Memory {
    Memory::within(max_memory(config))
}

/// `memory` is that of [`connection_memory`].
pub(super) fn transport(
    config: &Config,
    policy: Policy,
    sockets: Sockets,
    memory: Memory,
) -> Result<transport::Options, Error> {
    let network_key = match &config.network_key_file {
        Some(path) => Some(crate::config::network_key::load(path)?),
        None => None,
    };
    Ok(transport::Options {
        network_key,
        max_inbound_streams: config.max_inbound_streams as usize,
        max_outbound_streams: config.max_outbound_streams as usize,
        memory,
        quic: transport::quic::Options {
            policy: policy.clone(),
            ..transport::quic::Options::default()
        },
        dial_filter: {
            transport::dns::DialFilter::new(move |ip, name, peer| {
                policy
                    .dial(ip, name, peer, Instant::now())
                    .map_err(|refusal| match refusal {
                        Refusal::BannedAddress { ip, .. } => {
                            format!("{ip} is banned by this node; see `p2p-node bans`")
                        }
                        other => other.to_string(),
                    })
            })
        },
        sockets,
        ..transport::Options::default()
    })
}

/// Returns what `p2p-node diag` needs in addition to the node itself.
pub(super) fn diagnosis(
    config: &Config,
    registry: Registry,
    history: History,
    settings: control::diag::Settings,
) -> control::diag::Source {
    control::diag::Source {
        registry,
        history,
        settings,
        memory_limit: max_memory(config),
        data_dir: config.data_dir.clone(),
        started: (SystemTime::now(), Instant::now()),
    }
}

/// Returns where this configuration listens, which decides which inherited sockets are of
/// use.
pub(super) fn bindings(config: &Config) -> Vec<Binding> {
    use libp2p::multiaddr::Protocol;
    let mut bindings: Vec<Binding> = config
        .listen_addrs
        .iter()
        .filter_map(|address| {
            let mut parts = address.iter();
            let ip = match parts.next()? {
                Protocol::Ip4(ip) => ip.into(),
                Protocol::Ip6(ip) => ip.into(),
                _ => return None,
            };
            match parts.next()? {
                Protocol::Tcp(port) => Some(Binding::Tcp(SocketAddr::new(ip, port))),
                Protocol::Udp(port) => Some(Binding::Udp(SocketAddr::new(ip, port))),
                _ => None,
            }
        })
        .collect();
    let metrics = SocketAddr::new(config.metrics_host, config.metrics_port);
    bindings.push(Binding::Tcp(metrics));
    bindings.push(Binding::Unix(config.control_socket.clone()));
    bindings
}

pub(super) fn trust(config: &Config) -> peers::Settings {
    peers::Settings {
        rates: Rates {
            messages: Budget {
                burst: config.rate_burst.into(),
                fill: config.rate_fill.into(),
            },
            bytes: Budget {
                burst: config.rate_bytes_burst,
                fill: config.rate_bytes_fill,
            },
        },
        trusted: config.trusted_peers.clone(),
        peering: config.peering.iter().map(|p| p.peer).collect(),
        prefixes: Prefixes {
            ipv4: config.subnet_prefixes.ipv4,
            ipv6: config.subnet_prefixes.ipv6,
        },
        rules: Rules {
            allow: config.allow_cidrs.iter().copied().collect(),
            deny: config.deny_cidrs.iter().copied().collect(),
            per_subnet: config.max_connections_per_subnet,
            rate: config.max_inbound_rate,
            subnet_rate: config.max_inbound_rate_per_subnet,
        },
    }
}

pub(super) fn node(config: &Config, remembered: Vec<KnownPeer>, policy: Policy) -> node::Options {
    node::Options {
        network: config.network.clone(),
        kad_protocol: config.kad_protocol.clone(),
        dht_mode: config.dht_mode,
        dht_max_records: config.dht_max_records,
        bootstrap_peers: addresses(&config.bootstrap_peers),
        remembered_peers: remembered
            .into_iter()
            .map(|p| node::PeerAddrs {
                peer: p.peer,
                addrs: p.addrs,
            })
            .collect(),
        external_addrs: config.external_addrs.clone(),
        peering: addresses(&config.peering),
        min_peers: config.min_peers as usize,
        relays: addresses(&config.relays),
        relay_server: config.relay_server,
        autonat_server: config.autonat_server,
        topics: config.topics.clone(),
        gossip_d: config.gossip_d,
        gossip_heartbeat: config.gossip_heartbeat,
        limits: limits(config),
        max_inbound_streams: config.max_inbound_streams as usize,
        max_outbound_streams: config.max_outbound_streams as usize,
        connection_idle_timeout: config.connection_idle_timeout,
        stream_idle_timeout: config.stream_idle_timeout,
        max_upload_rate: config.max_upload_rate,
        max_download_rate: config.max_download_rate,
        policy,
        ..node::Options::default()
    }
}

fn addresses(peers: &[PeerAddress]) -> Vec<Multiaddr> {
    peers.iter().map(|p| p.address.clone()).collect()
}

/// Returns the part of [`node()`] that can change while the node runs.
pub(super) fn changes(config: &Config) -> node::Changes {
    node::Changes {
        external_addrs: config.external_addrs.clone(),
        bootstrap_peers: addresses(&config.bootstrap_peers),
        peering: addresses(&config.peering),
        min_peers: config.min_peers as usize,
        relays: addresses(&config.relays),
        topics: config.topics.clone(),
        limits: limits(config),
        stream_idle_timeout: config.stream_idle_timeout,
        max_upload_rate: config.max_upload_rate,
        max_download_rate: config.max_download_rate,
        trust: trust(config),
    }
}

/// Returns the caps of connections, as far as there are enough descriptors for them.
fn limits(config: &Config) -> Limits {
    let total = match resources::connections_possible() {
        Some(most) => config.max_connections.min(most),
        None => config.max_connections,
    };
    Limits {
        total,
        inbound: config.max_inbound_connections.min(total),
        outbound: config.max_outbound_connections.min(total),
        per_peer: config.max_connections_per_peer,
        memory: max_memory(config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connections_may_hold_follows_the_memory_limit() {
        for (limit, mebibytes) in [("32MiB", 16), ("256MiB", 32), ("1GiB", 128), ("64GiB", 256)] {
            let config = Config::from_pairs([("P2P_MAX_MEMORY", limit)]).unwrap();
            assert_eq!(connection_memory(&config).cap(), mebibytes << 20, "{limit}");
        }
    }
}
