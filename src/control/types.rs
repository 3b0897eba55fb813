//! What a program on this host sees of the node, in Rust's own types: the
//! client gives these, the wire form is in `proto/p2pd.proto`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cid::Cid;
use libp2p::{Multiaddr, PeerId};

use super::pb;
use crate::admission::bans::Author;
use crate::admission::{self, Target};

/// A field that the other side sent makes no sense; the text names the field.
#[derive(Debug, thiserror::Error)]
#[error("the field {field} is not valid: {cause}")]
pub struct InvalidField {
    field: &'static str,
    cause: String,
}

impl InvalidField {
    pub(crate) fn new(field: &'static str, cause: impl ToString) -> Self {
        InvalidField {
            field,
            cause: cause.to_string(),
        }
    }
}

/// A peer id from its bytes.
pub(crate) fn peer_id(field: &'static str, bytes: &[u8]) -> Result<PeerId, InvalidField> {
    PeerId::from_bytes(bytes).map_err(|e| InvalidField::new(field, e))
}

/// A multiaddr from its bytes.
pub(crate) fn multiaddr(field: &'static str, bytes: &[u8]) -> Result<Multiaddr, InvalidField> {
    Multiaddr::try_from(bytes.to_vec()).map_err(|e| InvalidField::new(field, e))
}

/// Multiaddrs from their bytes; the first bad one is the error.
pub(crate) fn multiaddrs(
    field: &'static str,
    list: &[Bytes],
) -> Result<Vec<Multiaddr>, InvalidField> {
    list.iter().map(|b| multiaddr(field, b)).collect()
}

/// A CID from its bytes.
pub(crate) fn cid(field: &'static str, bytes: &[u8]) -> Result<Cid, InvalidField> {
    Cid::try_from(bytes).map_err(|e| InvalidField::new(field, e))
}

/// A peer id as the wire carries it.
pub(crate) fn id_bytes(peer: &PeerId) -> Bytes {
    Bytes::from(peer.to_bytes())
}

/// Multiaddrs as the wire carries them.
pub(crate) fn addr_bytes<'a>(list: impl IntoIterator<Item = &'a Multiaddr>) -> Vec<Bytes> {
    list.into_iter().map(|a| Bytes::from(a.to_vec())).collect()
}

pub(super) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn unix_ms(t: SystemTime) -> u64 {
    t.duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// `None` when the point lies outside of what the clock can express.
pub(super) fn from_unix_ms(ms: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

/// A peer and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub id: PeerId,
    /// Where; may be empty.
    pub addrs: Vec<Multiaddr>,
}

impl PeerInfo {
    pub(crate) fn to_pb(&self) -> pb::PeerInfo {
        pb::PeerInfo {
            id: id_bytes(&self.id),
            addrs: addr_bytes(&self.addrs),
        }
    }

    pub(crate) fn from_pb(p: &pb::PeerInfo) -> Result<Self, InvalidField> {
        Ok(PeerInfo {
            id: peer_id("id", &p.id)?,
            addrs: multiaddrs("addrs", &p.addrs)?,
        })
    }
}

/// The other end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Who.
    pub peer: PeerId,
    /// Over which address.
    pub addr: Multiaddr,
    /// The protocol that both agreed on.
    pub proto: String,
}

impl StreamInfo {
    pub(crate) fn to_pb(&self) -> pb::StreamInfo {
        pb::StreamInfo {
            peer: id_bytes(&self.peer),
            addr: Bytes::from(self.addr.to_vec()),
            proto: self.proto.clone(),
        }
    }

    pub(crate) fn from_pb(p: &pb::StreamInfo) -> Result<Self, InvalidField> {
        Ok(StreamInfo {
            peer: peer_id("peer", &p.peer)?,
            addr: multiaddr("addr", &p.addr)?,
            proto: p.proto.clone(),
        })
    }
}

/// Everything that `p2p-node status` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// This node's identity; `None` only from a daemon that did not say.
    pub peer_id: Option<PeerId>,
    /// Name and version of the daemon.
    pub agent: String,
    /// Name of the network (`P2P_NETWORK`).
    pub network: String,
    /// Since the daemon's start.
    pub uptime: Duration,
    /// `starting`, `running` or `draining`.
    pub state: String,
    /// Where it listens, wildcards expanded.
    pub listen_addrs: Vec<Multiaddr>,
    /// Where others can reach it, as configured or confirmed by them.
    pub external_addrs: Vec<Multiaddr>,
    /// Connected peers, each counted once.
    pub peers: u64,
    /// Connections that peers made.
    pub connections_inbound: u64,
    /// Connections that this node made.
    pub connections_outbound: u64,
    /// Connections being made, both directions.
    pub connections_pending: u64,
    /// Open streams of all connections.
    pub streams: u64,
    /// The DHT.
    pub dht: DhtStatus,
    /// Topics joined here.
    pub topics: Vec<TopicStatus>,
    /// The block store.
    pub store: StoreStatus,
    /// How the node stands towards NAT.
    pub nat: NatStatus,
    /// How far the files of this host are announced.
    pub announcements: AnnouncementStatus,
    /// What is used of what is allowed.
    pub limits: Vec<LimitStatus>,
    /// Bytes of resident memory of the daemon.
    pub resident_bytes: u64,
    /// Bans in force.
    pub bans: u64,
    /// Peers whose reputation is remembered.
    pub reputations: u64,
}

/// The DHT's part of [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DhtStatus {
    /// `server` or `client`, as it is now.
    pub mode: String,
    /// The DHT's protocol id.
    pub protocol: String,
    /// Peers in the routing table.
    pub table_size: u64,
    /// Values held here.
    pub values: u64,
    /// Provider records held here.
    pub provider_records: u64,
    /// Queries under way.
    pub queries: u64,
}

/// How far the files of the host are announced to the DHT, in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncementStatus {
    /// Files that wait to be announced, those under way included.
    pub waiting: u64,
    /// For how long the most overdue of them has waited.
    pub lateness: Duration,
}

/// One gossip topic in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicStatus {
    /// The topic.
    pub topic: String,
    /// Peers in the topic's mesh.
    pub mesh_peers: u64,
    /// Connected peers that subscribe to it.
    pub peers: u64,
}

/// The block store's part of [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Blocks.
    pub blocks: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// The cap (`P2P_STORE_MAX_BYTES`).
    pub max_bytes: u64,
    /// Files among the blocks.
    pub roots: u64,
    /// Bytes of disk that they take, which is what the cap counts.
    pub disk_bytes: u64,
}

/// The NAT's part of [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatStatus {
    /// `unknown`, `public` or `private`.
    pub state: String,
    /// Relays at which this node holds a reservation.
    pub relays: Vec<String>,
    /// Connections that hole punching made direct.
    pub hole_punched: u64,
}

/// What a reload of the configuration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// In force now.
    pub changed: Vec<Change>,
    /// Differ from what is in force, and take effect with the next start.
    pub restart: Vec<Change>,
}

/// A variable that has another value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub variable: String,
    /// The value in force before.
    pub before: String,
    /// The value that the configuration says now.
    pub after: String,
}

/// Why a reload changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is bad.
    #[error("{0}")]
    Refused(String),
    /// The node could not take it.
    #[error("{0}")]
    Failed(String),
}

impl Reload {
    pub(crate) fn to_pb(&self) -> pb::ReloadResponse {
        let list = |changes: &[Change]| {
            changes
                .iter()
                .map(|c| pb::ChangedVariable {
                    variable: Some(c.variable.clone()),
                    before: Some(c.before.clone()),
                    after: Some(c.after.clone()),
                })
                .collect()
        };
        pb::ReloadResponse {
            changed: list(&self.changed),
            restart: list(&self.restart),
            refused: None,
        }
    }

    pub(crate) fn from_pb(p: pb::ReloadResponse) -> Result<Self, ReloadError> {
        if let Some(why) = p.refused {
            return Err(ReloadError::Refused(why));
        }
        let list = |changes: Vec<pb::ChangedVariable>| {
            changes
                .into_iter()
                .map(|c| Change {
                    variable: c.variable.unwrap_or_default(),
                    before: c.before.unwrap_or_default(),
                    after: c.after.unwrap_or_default(),
                })
                .collect()
        };
        Ok(Reload {
            changed: list(p.changed),
            restart: list(p.restart),
        })
    }
}

/// One limit in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// What is limited, for a person, such as `inbound connections`.
    pub name: String,
    /// `bytes`, `bytes_per_second`, or nothing for plain numbers.
    pub unit: String,
    /// Used now.
    pub used: u64,
    /// Allowed.
    pub allowed: u64,
    /// The variable that raises it, for example `P2P_MAX_CONNECTIONS`.
    pub variable: String,
}

impl Status {
    pub(crate) fn to_pb(&self) -> pb::StatusResponse {
        pb::StatusResponse {
            peer_id: self.peer_id.as_ref().map(id_bytes),
            agent: Some(self.agent.clone()),
            network: Some(self.network.clone()),
            uptime_ms: Some(millis(self.uptime)),
            listen_addrs: addr_bytes(&self.listen_addrs),
            external_addrs: addr_bytes(&self.external_addrs),
            state: Some(self.state.clone()),
            peers: Some(self.peers),
            connections_inbound: Some(self.connections_inbound),
            connections_outbound: Some(self.connections_outbound),
            connections_pending: Some(self.connections_pending),
            streams: Some(self.streams),
            dht: Some(pb::DhtStatus {
                mode: Some(self.dht.mode.clone()),
                protocol: Some(self.dht.protocol.clone()),
                table_size: Some(self.dht.table_size),
                values: Some(self.dht.values),
                provider_records: Some(self.dht.provider_records),
                queries: Some(self.dht.queries),
            }),
            topics: self
                .topics
                .iter()
                .map(|t| pb::TopicStatus {
                    topic: Some(t.topic.clone()),
                    mesh_peers: Some(t.mesh_peers),
                    peers: Some(t.peers),
                })
                .collect(),
            store: Some(pb::StoreStatus {
                blocks: Some(self.store.blocks),
                bytes: Some(self.store.bytes),
                max_bytes: Some(self.store.max_bytes),
                roots: Some(self.store.roots),
                disk_bytes: Some(self.store.disk_bytes),
            }),
            nat: Some(pb::NatStatus {
                state: Some(self.nat.state.clone()),
                relays: self.nat.relays.clone(),
                hole_punched: Some(self.nat.hole_punched),
            }),
            announcements: Some(pb::AnnouncementStatus {
                waiting: Some(self.announcements.waiting),
                lateness_ms: Some(millis(self.announcements.lateness)),
            }),
            limits: self
                .limits
                .iter()
                .map(|l| pb::LimitStatus {
                    name: Some(l.name.clone()),
                    unit: Some(l.unit.clone()).filter(|u| !u.is_empty()),
                    used: Some(l.used),
                    allowed: Some(l.allowed),
                    variable: Some(l.variable.clone()),
                })
                .collect(),
            resident_bytes: Some(self.resident_bytes),
            bans: Some(self.bans),
            reputations: Some(self.reputations),
        }
    }

    pub(crate) fn from_pb(p: pb::StatusResponse) -> Result<Self, InvalidField> {
        let dht = p.dht.unwrap_or_default();
        let store = p.store.unwrap_or_default();
        let nat = p.nat.unwrap_or_default();
        let announcements = p.announcements.unwrap_or_default();
        Ok(Status {
            peer_id: p.peer_id.map(|b| peer_id("peerId", &b)).transpose()?,
            agent: p.agent.unwrap_or_default(),
            network: p.network.unwrap_or_default(),
            uptime: Duration::from_millis(p.uptime_ms.unwrap_or(0)),
            state: p.state.unwrap_or_default(),
            listen_addrs: multiaddrs("listenAddrs", &p.listen_addrs)?,
            external_addrs: multiaddrs("externalAddrs", &p.external_addrs)?,
            peers: p.peers.unwrap_or(0),
            connections_inbound: p.connections_inbound.unwrap_or(0),
            connections_outbound: p.connections_outbound.unwrap_or(0),
            connections_pending: p.connections_pending.unwrap_or(0),
            streams: p.streams.unwrap_or(0),
            dht: DhtStatus {
                mode: dht.mode.unwrap_or_default(),
                protocol: dht.protocol.unwrap_or_default(),
                table_size: dht.table_size.unwrap_or(0),
                values: dht.values.unwrap_or(0),
                provider_records: dht.provider_records.unwrap_or(0),
                queries: dht.queries.unwrap_or(0),
            },
            topics: p
                .topics
                .into_iter()
                .map(|t| TopicStatus {
                    topic: t.topic.unwrap_or_default(),
                    mesh_peers: t.mesh_peers.unwrap_or(0),
                    peers: t.peers.unwrap_or(0),
                })
                .collect(),
            store: StoreStatus {
                blocks: store.blocks.unwrap_or(0),
                bytes: store.bytes.unwrap_or(0),
                max_bytes: store.max_bytes.unwrap_or(0),
                roots: store.roots.unwrap_or(0),
                disk_bytes: store.disk_bytes.unwrap_or(0),
            },
            nat: NatStatus {
                state: nat.state.unwrap_or_default(),
                relays: nat.relays,
                hole_punched: nat.hole_punched.unwrap_or(0),
            },
            announcements: AnnouncementStatus {
                waiting: announcements.waiting.unwrap_or(0),
                lateness: Duration::from_millis(announcements.lateness_ms.unwrap_or(0)),
            },
            limits: p
                .limits
                .into_iter()
                .map(|l| LimitStatus {
                    name: l.name.clone().unwrap_or_default(),
                    unit: l.unit.clone().unwrap_or_default(),
                    used: l.used.unwrap_or(0),
                    allowed: l.allowed.unwrap_or(0),
                    variable: l.variable.unwrap_or_default(),
                })
                .collect(),
            resident_bytes: p.resident_bytes.unwrap_or(0),
            bans: p.bans.unwrap_or(0),
            reputations: p.reputations.unwrap_or(0),
        })
    }
}

/// One connected peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Who.
    pub id: PeerId,
    /// What it says it is; chosen by the remote, so escape it before printing.
    pub agent: String,
    /// Last round trip of libp2p ping.
    pub ping: Option<Duration>,
    /// Its connections; never empty for a connected peer.
    pub connections: Vec<Connection>,
    /// Sum of the weights of its tags.
    pub weight: i64,
    /// Open streams of all its connections.
    pub streams: u64,
    /// One of `P2P_TRUSTED_PEERS`.
    pub trusted: bool,
    /// -100 to 100; 0 for a stranger.
    pub reputation: f64,
    /// Why the daemon keeps a connection with it, in the words of `p2pd.proto`; empty
    /// when it ends as soon as it is idle.
    pub kept_for: Vec<String>,
}

/// One connection of a [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The peer dialled this node.
    pub inbound: bool,
    /// `tcp`, `quic`, `ws` or `relay`.
    pub transport: String,
    /// Address of the other end.
    pub addr: Multiaddr,
    /// Since it was established.
    pub age: Duration,
}

impl Peer {
    pub(crate) fn to_pb(&self) -> pb::PeerStatus {
        pb::PeerStatus {
            id: Some(id_bytes(&self.id)),
            agent: Some(self.agent.clone()),
            ping_us: self
                .ping
                .map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)),
            connections: self
                .connections
                .iter()
                .map(|c| pb::ConnectionStatus {
                    inbound: Some(c.inbound),
                    transport: Some(c.transport.clone()),
                    addr: Some(Bytes::from(c.addr.to_vec())),
                    age_ms: Some(millis(c.age)),
                })
                .collect(),
            weight: Some(self.weight),
            streams: Some(self.streams),
            trusted: Some(self.trusted),
            reputation: Some(self.reputation),
            kept_for: self.kept_for.clone(),
        }
    }

    pub(crate) fn from_pb(p: pb::PeerStatus) -> Result<Self, InvalidField> {
        Ok(Peer {
            id: peer_id("id", &p.id.unwrap_or_default())?,
            agent: p.agent.unwrap_or_default(),
            ping: p.ping_us.map(Duration::from_micros),
            connections: p
                .connections
                .into_iter()
                .map(|c| {
                    Ok(Connection {
                        inbound: c.inbound.unwrap_or(false),
                        transport: c.transport.unwrap_or_default(),
                        addr: multiaddr("addr", &c.addr.unwrap_or_default())?,
                        age: Duration::from_millis(c.age_ms.unwrap_or(0)),
                    })
                })
                .collect::<Result<_, InvalidField>>()?,
            weight: p.weight.unwrap_or(0),
            streams: p.streams.unwrap_or(0),
            trusted: p.trusted.unwrap_or(false),
            reputation: p.reputation.unwrap_or(0.0),
            kept_for: p.kept_for,
        })
    }
}

/// One entry of the blacklist.
#[derive(Clone, Debug, PartialEq)]
pub struct Ban {
    /// The ban.
    pub ban: admission::Ban,
    /// The score of a banned peer, when the whole list was asked for.
    pub reputation: Option<f64>,
}

impl Ban {
    pub(crate) fn new(ban: admission::Ban, reputation: Option<f64>) -> Self {
        Ban { ban, reputation }
    }

    pub(crate) fn to_pb(&self) -> pb::Ban {
        let ban = &self.ban;
        let (peer, network) = match ban.target {
            Target::Peer(peer) => (Some(id_bytes(&peer)), None),
            Target::Net(net) => (None, Some(net.to_string())),
        };
        pb::Ban {
            peer,
            network,
            reason: Some(ban.reason.clone()),
            automatic: Some(ban.author == Author::Automatic),
            since_unix_ms: Some(unix_ms(ban.since)),
            until_unix_ms: ban.until.map(unix_ms),
            reputation: self.reputation,
        }
    }

    pub(crate) fn from_pb(p: pb::Ban) -> Result<Self, InvalidField> {
        let target = match (p.peer, p.network) {
            (Some(peer), _) => Target::Peer(peer_id("peer", &peer)?),
            (None, network) => network
                .unwrap_or_default()
                .parse()
                .map_err(|e: admission::bans::NotATarget| InvalidField::new("network", e))?,
        };
        let ban = admission::Ban {
            target,
            reason: p.reason.unwrap_or_default(),
            author: match p.automatic.unwrap_or(false) {
                true => Author::Automatic,
                false => Author::Operator,
            },
            since: p.since_unix_ms.and_then(from_unix_ms).unwrap_or(UNIX_EPOCH),
            until: p.until_unix_ms.and_then(from_unix_ms),
            times: 0,
        };
        Ok(Ban::new(ban, p.reputation))
    }
}

/// Answer to a health question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The event loop turns.
    pub live: bool,
    /// The node serves.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Connected peers.
    pub connected_peers: u64,
    /// Peers in the DHT's routing table.
    pub routing_table_size: u64,
    /// Since the daemon's start.
    pub uptime: Duration,
}

impl Health {
    pub(crate) fn to_pb(&self) -> pb::HealthResponse {
        pb::HealthResponse {
            live: Some(self.live),
            ready: Some(self.ready),
            reason: self.reason.clone(),
            connected_peers: Some(self.connected_peers),
            routing_table_size: Some(self.routing_table_size),
            uptime_ms: Some(millis(self.uptime)),
        }
    }

    pub(crate) fn from_pb(p: pb::HealthResponse) -> Self {
        Health {
            live: p.live.unwrap_or(false),
            ready: p.ready.unwrap_or(false),
            reason: p.reason,
            connected_peers: p.connected_peers.unwrap_or(0),
            routing_table_size: p.routing_table_size.unwrap_or(0),
            uptime: Duration::from_millis(p.uptime_ms.unwrap_or(0)),
        }
    }
}

/// One file in the local store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub cid: Cid,
    /// Its length in bytes.
    pub size: u64,
    /// Blocks of its tree.
    pub blocks: u64,
    /// Those of them that are in the local store.
    pub blocks_here: u64,
    /// It was put here, and stays until it expires.
    pub pinned: bool,
    /// When it came into the store.
    pub added: Option<SystemTime>,
    /// When it may be dropped; `None` is never.
    pub expires: Option<SystemTime>,
    /// The name that it was put under, for people. Escape it before printing.
    pub name: Option<String>,
    /// After a put: why it could not be announced to the DHT yet. The node goes
    /// on trying.
    pub announce_error: Option<String>,
    /// After a put: files of the host of which no peer was told yet, which are
    /// announced in the background; 0 when this one is announced.
    pub announcing: u64,
    /// Who signed the root block; known to `stat` only.
    pub publication: Option<Publication>,
}

/// What the publisher of content says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Who signed it.
    pub publisher: PeerId,
    /// When it was put, by its publisher's clock.
    pub at: SystemTime,
    /// Until when it is served.
    pub until: SystemTime,
}

impl Entry {
    pub(crate) fn to_pb(&self) -> pb::BlockEntry {
        let said = self.publication.as_ref();
        pb::BlockEntry {
            cid: Some(Bytes::from(self.cid.to_bytes())),
            size: Some(self.size),
            blocks: Some(self.blocks),
            blocks_here: Some(self.blocks_here),
            pinned: Some(self.pinned),
            added_unix_ms: self.added.map(unix_ms),
            expires_unix_ms: self.expires.map(unix_ms),
            name: self.name.clone(),
            announce_error: self.announce_error.clone(),
            announcing: Some(self.announcing).filter(|n| *n > 0),
            publisher: said.map(|p| p.publisher.to_bytes().into()),
            published_unix_ms: said.map(|p| unix_ms(p.at)),
            published_until_unix_ms: said.map(|p| unix_ms(p.until)),
        }
    }

    pub(crate) fn from_pb(p: pb::BlockEntry) -> Result<Self, InvalidField> {
        let at = p.published_unix_ms.and_then(from_unix_ms);
        let until = p.published_until_unix_ms.and_then(from_unix_ms);
        let publication = match (p.publisher, at, until) {
            (Some(publisher), Some(at), Some(until)) => Some(Publication {
                publisher: peer_id("publisher", &publisher)?,
                at,
                until,
            }),
            _ => None,
        };
        Ok(Entry {
            cid: cid("cid", &p.cid.unwrap_or_default())?,
            size: p.size.unwrap_or(0),
            blocks: p.blocks.unwrap_or(0),
            blocks_here: p.blocks_here.unwrap_or(0),
            pinned: p.pinned.unwrap_or(false),
            added: p.added_unix_ms.and_then(from_unix_ms),
            expires: p.expires_unix_ms.and_then(from_unix_ms),
            name: p.name,
            announce_error: p.announce_error,
            announcing: p.announcing.unwrap_or(0),
            publication,
        })
    }
}

/// How a fetch goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file that are here and verified.
    pub done: u64,
    /// The file's length, once the root has been read.
    pub total: Option<u64>,
    /// Peers that are asked for blocks now.
    pub providers: u64,
    /// Bytes of blocks that came from peers; the rest was here already.
    pub received: u64,
}

/// Whom a published message went to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Connected peers that it was queued for.
    pub peers: u64,
    /// Programs on the daemon's host that subscribe to the topic.
    pub listeners: u64,
}

/// One gossip message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who published it; `None` when it is not signed.
    pub from: Option<PeerId>,
    /// Its payload.
    pub data: Bytes,
    /// The publisher's sequence number, as its bytes.
    pub seqno: Bytes,
    /// On which topic it came.
    pub topic: String,
}

impl Message {
    pub(crate) fn from_pb(p: pb::PsMessage) -> Result<Self, InvalidField> {
        Ok(Message {
            from: match p.from {
                Some(b) if !b.is_empty() => Some(peer_id("from", &b)?),
                _ => None,
            },
            data: p.data.unwrap_or_default(),
            seqno: p.seqno.unwrap_or_default(),
            topic: p.topic_i_ds.into_iter().next().unwrap_or_default(),
        })
    }
}
