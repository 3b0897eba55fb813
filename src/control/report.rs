//! What the node says of itself: IDENTIFY, LIST_PEERS, PEERS, STATUS, HEALTH.

use std::time::Duration;

use super::pb;
use super::session::{Failure, Session, ok};
use super::types::{self, Connection, DhtStatus, Health, LimitStatus, NatStatus, Peer, PeerInfo};
use super::types::{Status, TopicStatus};
use crate::node;

/// How long the event loop may take to say how it is before it does not count
/// as live: above its longest turn, below the patience of a container's probe.
pub(super) const LIVE_WITHIN: Duration = Duration::from_secs(5);

impl Session {
    pub(super) async fn identify(&self) -> Result<pb::Response, Failure> {
        let handle = &self.shared.node.handle;
        let status = handle.status().await?;
        let mut addrs = status.listen_addrs;
        for addr in status.external_addrs {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        Ok(pb::Response {
            identify: Some(pb::IdentifyResponse {
                id: types::id_bytes(&handle.local_peer_id()),
                addrs: types::addr_bytes(&addrs),
            }),
            ..ok()
        })
    }

    pub(super) async fn list_peers(&self) -> Result<pb::Response, Failure> {
        let peers = self.shared.node.handle.peers().await?;
        let peers = peers
            .into_iter()
            .map(|p| {
                let addrs = p.connections.into_iter().map(|c| c.address).collect();
                PeerInfo { id: p.peer, addrs }.to_pb()
            })
            .collect();
        Ok(pb::Response { peers, ..ok() })
    }

    pub(super) async fn peers(&self) -> Result<pb::Response, Failure> {
        let peers = self.shared.node.handle.peers().await?;
        let peer_status = peers
            .into_iter()
            .map(|p| {
                let weight = self.shared.tags.weight(&p.peer);
                let reputation = self.shared.node.keeper.admission().reputation(&p.peer);
                peer(p, weight, reputation).to_pb()
            })
            .collect();
        Ok(pb::Response {
            peer_status,
            ..ok()
        })
    }

    pub(super) async fn status(&self) -> Result<pb::Response, Failure> {
        Ok(pb::Response {
            status: Some(self.status_now().await?.to_pb()),
            ..ok()
        })
    }

    /// Everything that `p2p-node status` shows; asks the event loop.
    pub(super) async fn status_now(&self) -> Result<Status, Failure> {
        let node = &self.shared.node;
        let from = node.handle.status().await?;
        let peers = node.handle.peers().await?;
        let (bans, reputations) = node.keeper.admission().remembered();
        let state = match (node.readiness)() {
            _ if from.draining => "draining",
            Ok(()) => "running",
            Err(_) => "starting",
        };
        let usage = node.store.usage();
        let store = LimitStatus {
            name: "store".into(),
            unit: node::status::BYTES.into(),
            used: usage.disk_bytes,
            allowed: usage.max_bytes,
            variable: "P2P_STORE_MAX_BYTES".into(),
        };
        Ok(Status {
            peer_id: Some(node.handle.local_peer_id()),
            agent: from.agent,
            network: from.network,
            uptime: from.uptime,
            state: state.to_owned(),
            listen_addrs: from.listen_addrs,
            external_addrs: from.external_addrs,
            peers: from.connected_peers as u64,
            connections_inbound: u64::from(from.connections_in),
            connections_outbound: u64::from(from.connections_out),
            connections_pending: u64::from(from.connections_pending),
            streams: peers.iter().map(|p| p.streams as u64).sum(),
            dht: DhtStatus {
                mode: from.dht.mode.to_owned(),
                protocol: from.dht.protocol,
                table_size: from.dht.routing_table_size as u64,
                values: from.dht.values as u64,
                provider_records: from.dht.provider_records as u64,
                queries: from.dht.queries as u64,
            },
            topics: from
                .topics
                .into_iter()
                .map(|t| TopicStatus {
                    topic: t.topic,
                    mesh_peers: t.mesh_peers as u64,
                    peers: t.peers as u64,
                })
                .collect(),
            store: self.store_status(),
            announcements: self.announcement_status(),
            nat: NatStatus {
                state: from.nat.reachability.as_str().to_owned(),
                relays: from.nat.relays,
                hole_punched: from.nat.hole_punched,
            },
            limits: from
                .limits
                .into_iter()
                .map(|l| LimitStatus {
                    name: l.name.to_owned(),
                    unit: l.unit.to_owned(),
                    variable: l.variable.to_owned(),
                    used: l.used,
                    allowed: l.allowed,
                })
                .chain([store])
                .collect(),
            resident_bytes: resident_bytes(),
            bans: bans as u64,
            reputations: reputations as u64,
        })
    }

    pub(super) async fn health(&self) -> Result<pb::Response, Failure> {
        let node = &self.shared.node;
        let mut health = Health::default();
        match async_std::future::timeout(LIVE_WITHIN, node.handle.status()).await {
            Ok(Ok(status)) => {
                health.live = true;
                health.connected_peers = status.connected_peers as u64;
                health.routing_table_size = status.dht.routing_table_size as u64;
                health.uptime = status.uptime;
                health.reason = match (node.readiness)() {
                    _ if status.draining => Some("draining".into()),
                    Ok(()) => None,
                    Err(reason) => Some(reason),
                };
                health.ready = health.reason.is_none();
            }
            Ok(Err(e)) => health.reason = Some(e.to_string()),
            Err(_) => {
                health.reason = Some(format!(
                    "the event loop has not answered for {} s",
                    LIVE_WITHIN.as_secs()
                ));
            }
        }
        Ok(pb::Response {
            health: Some(health.to_pb()),
            ..ok()
        })
    }
}

fn peer(from: node::PeerStatus, weight: i64, reputation: f64) -> Peer {
    Peer {
        id: from.peer,
        agent: from.agent.unwrap_or_default(),
        ping: from.ping,
        connections: from
            .connections
            .into_iter()
            .map(|c| Connection {
                inbound: c.direction == "in",
                transport: c.transport.to_owned(),
                addr: c.address,
                age: c.age,
            })
            .collect(),
        weight,
        streams: from.streams as u64,
        trusted: from.trusted,
        reputation,
        kept_for: from.kept_for.into_iter().map(str::to_owned).collect(),
    }
}

/// Resident memory of this process; zero when the system does not say.
fn resident_bytes() -> u64 {
    // In proc(5): size and resident set, in pages.
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|s| s.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()))
        .unwrap_or(0);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten();
    pages * page.and_then(|n| u64::try_from(n).ok()).unwrap_or(4096)
}
