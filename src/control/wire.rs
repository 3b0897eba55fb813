//! Converts the types of [`crate::api`] to and from the messages of the control socket,
//! which are defined in `proto/p2pd.proto`.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use cid::Cid;
use libp2p::{Multiaddr, PeerId};

use super::pb;
use crate::api::{
    AnnouncementStatus, Change, Connection, DhtRole, DhtStatus, Entry, Health, LimitStatus,
    Message, NatStatus, Peer, PeerInfo, Publication, Reachability, Reload, ReloadError, State,
    Status, StoreStatus, StreamInfo, TopicStatus, Unit,
};
use crate::peers::bans::Author;
use crate::peers::{self, Target};
use crate::text::duration::millis;
use crate::text::unix_time::{from_unix_millis, unix_millis};

/// A field that the other side sent is not valid; the text names the field.
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

/// Reads a peer id from its bytes.
pub(crate) fn peer_id(field: &'static str, bytes: &[u8]) -> Result<PeerId, InvalidField> {
    PeerId::from_bytes(bytes).map_err(|e| InvalidField::new(field, e))
}

/// Reads a multiaddr from its bytes.
pub(crate) fn multiaddr(field: &'static str, bytes: &[u8]) -> Result<Multiaddr, InvalidField> {
    Multiaddr::try_from(bytes.to_vec()).map_err(|e| InvalidField::new(field, e))
}

/// Reads multiaddrs from their bytes; the first invalid one is the error.
pub(crate) fn multiaddrs(
    field: &'static str,
    list: &[Bytes],
) -> Result<Vec<Multiaddr>, InvalidField> {
    list.iter().map(|b| multiaddr(field, b)).collect()
}

/// Reads a CID from its bytes.
pub(crate) fn cid(field: &'static str, bytes: &[u8]) -> Result<Cid, InvalidField> {
    Cid::try_from(bytes).map_err(|e| InvalidField::new(field, e))
}

/// Reads a number that is counted and compared with. What is not finite is no such number:
/// NaN is not even equal to itself.
fn finite(field: &'static str, number: f64) -> Result<f64, InvalidField> {
    match number.is_finite() {
        true => Ok(number),
        false => Err(InvalidField::new(field, format!("{number} is not finite"))),
    }
}

/// Returns the bytes of a peer id.
pub(crate) fn id_bytes(peer: &PeerId) -> Bytes {
    Bytes::from(peer.to_bytes())
}

/// Returns the bytes of multiaddrs.
pub(crate) fn addr_bytes<'a>(list: impl IntoIterator<Item = &'a Multiaddr>) -> Vec<Bytes> {
    list.into_iter().map(|a| Bytes::from(a.to_vec())).collect()
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

impl Status {
    pub(crate) fn to_pb(&self) -> pb::StatusResponse {
        pb::StatusResponse {
            peer_id: self.peer_id.as_ref().map(id_bytes),
            agent: Some(self.agent.clone()),
            network: Some(self.network.clone()),
            uptime_ms: Some(millis(self.uptime)),
            listen_addrs: addr_bytes(&self.listen_addrs),
            external_addrs: addr_bytes(&self.external_addrs),
            state: Some(self.state.as_str().to_owned()),
            peers: Some(self.peers),
            connections_inbound: Some(self.connections_inbound),
            connections_outbound: Some(self.connections_outbound),
            connections_pending: Some(self.connections_pending),
            streams: Some(self.streams),
            dht: Some(pb::DhtStatus {
                mode: Some(self.dht.mode.as_str().to_owned()),
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
                state: Some(self.nat.state.as_str().to_owned()),
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
                    unit: Some(l.unit.as_str().to_owned()).filter(|u| !u.is_empty()),
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
            state: State::of(p.state.as_deref().unwrap_or_default()),
            listen_addrs: multiaddrs("listenAddrs", &p.listen_addrs)?,
            external_addrs: multiaddrs("externalAddrs", &p.external_addrs)?,
            peers: p.peers.unwrap_or(0),
            connections_inbound: p.connections_inbound.unwrap_or(0),
            connections_outbound: p.connections_outbound.unwrap_or(0),
            connections_pending: p.connections_pending.unwrap_or(0),
            streams: p.streams.unwrap_or(0),
            dht: DhtStatus {
                mode: DhtRole::of(dht.mode.as_deref().unwrap_or_default()),
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
                state: Reachability::of(nat.state.as_deref().unwrap_or_default()),
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
                    name: l.name.unwrap_or_default(),
                    unit: Unit::of(l.unit.as_deref().unwrap_or_default()),
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
            peering: false,
            reputation: finite("reputation", p.reputation.unwrap_or(0.0))?,
            kept_for: p.kept_for,
            exchanges: Vec::new(),
        })
    }
}

/// One entry of the blacklist.
#[derive(Clone, Debug, PartialEq)]
pub struct Ban {
    /// The ban.
    pub ban: peers::Ban,
    /// The score of a banned peer, when the whole list was asked for.
    pub reputation: Option<f64>,
}

impl Ban {
    pub(crate) fn new(ban: peers::Ban, reputation: Option<f64>) -> Self {
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
            since_unix_ms: Some(unix_millis(ban.since)),
            until_unix_ms: ban.until.map(unix_millis),
            reputation: self.reputation,
        }
    }

    pub(crate) fn from_pb(p: pb::Ban) -> Result<Self, InvalidField> {
        let target = match (p.peer, p.network) {
            (Some(peer), _) => Target::Peer(peer_id("peer", &peer)?),
            (None, network) => network
                .unwrap_or_default()
                .parse()
                .map_err(|e: peers::bans::NotATarget| InvalidField::new("network", e))?,
        };
        let ban = peers::Ban {
            target,
            reason: p.reason.unwrap_or_default(),
            author: match p.automatic.unwrap_or(false) {
                true => Author::Automatic,
                false => Author::Operator,
            },
            since: p.since_unix_ms.map(from_unix_millis).unwrap_or(UNIX_EPOCH),
            until: p.until_unix_ms.map(from_unix_millis),
            times: 0,
        };
        let reputation = p.reputation.map(|n| finite("reputation", n)).transpose()?;
        Ok(Ban::new(ban, reputation))
    }
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

impl Entry {
    pub(crate) fn to_pb(&self) -> pb::BlockEntry {
        let said = self.publication.as_ref();
        pb::BlockEntry {
            cid: Some(Bytes::from(self.cid.to_bytes())),
            size: Some(self.size),
            blocks: Some(self.blocks),
            blocks_here: Some(self.blocks_here),
            pinned: Some(self.pinned),
            added_unix_ms: self.added.map(unix_millis),
            expires_unix_ms: self.expires.map(unix_millis),
            name: self.name.clone(),
            announce_error: self.announce_error.clone(),
            announcing: Some(self.announcing).filter(|n| *n > 0),
            publisher: said.map(|p| p.publisher.to_bytes().into()),
            published_unix_ms: said.map(|p| unix_millis(p.at)),
            published_until_unix_ms: said.map(|p| unix_millis(p.until)),
        }
    }

    pub(crate) fn from_pb(p: pb::BlockEntry) -> Result<Self, InvalidField> {
        let at = p.published_unix_ms.map(from_unix_millis);
        let until = p.published_until_unix_ms.map(from_unix_millis);
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
            added: p.added_unix_ms.map(from_unix_millis),
            expires: p.expires_unix_ms.map(from_unix_millis),
            name: p.name,
            announce_error: p.announce_error,
            announcing: p.announcing.unwrap_or(0),
            publication,
        })
    }
}

impl Message {
    pub(crate) fn from_pb(p: pb::PsMessage) -> Result<Self, InvalidField> {
        Ok(Message {
            from: match p.from {
                Some(b) if !b.is_empty() => Some(peer_id("from", &b)?),
                _ => None,
            },
            data: p.data.unwrap_or_default(),
            // Other daemons with this protocol may send a number of another length.
            seqno: p
                .seqno
                .and_then(|n| n[..].try_into().ok())
                .map(u64::from_be_bytes),
            topic: p.topic_i_ds.into_iter().next().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reputation_that_is_not_finite_is_refused() {
        let id = Some(id_bytes(&PeerId::random()));
        for (number, good) in [
            (0.0, true),
            (-1.5, true),
            (f64::MAX, true),
            (f64::NAN, false),
            (f64::INFINITY, false),
            (f64::NEG_INFINITY, false),
        ] {
            let peer = pb::PeerStatus {
                id: id.clone(),
                reputation: Some(number),
                ..Default::default()
            };
            let ban = pb::Ban {
                peer: id.clone(),
                reputation: Some(number),
                ..Default::default()
            };
            assert_eq!(Peer::from_pb(peer).is_ok(), good, "{number}");
            assert_eq!(Ban::from_pb(ban).is_ok(), good, "{number}");
        }
    }
}
