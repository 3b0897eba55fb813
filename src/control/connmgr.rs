//! CONNMANAGER: programs tag peers, and the connections of the least valuable peers are
//! closed on request.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use libp2p::PeerId;

use super::pb;
use super::pb::conn_manager_request::Type;
use super::session::{Failure, Session, ok};
use super::wire;
use crate::api::Peer;

/// The maximum number of tagged peers. It is ten times the number of connections that a
/// node has by default because tags outlive connections, as in go-libp2p.
const MAX_PEERS: usize = 4096;

/// The maximum number of tags of one peer, which allows one for each of many programs.
const MAX_TAGS: usize = 32;

/// The maximum length of a tag in bytes. A tag is only a name.
const MAX_TAG: usize = 128;

/// The tags of peers. They are kept in memory only, since they come from programs that
/// are running now.
#[derive(Debug, Default)]
pub(super) struct Tags(Mutex<HashMap<PeerId, HashMap<String, i64>>>);

impl Tags {
    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, HashMap<String, i64>>> {
        // No code panics while it holds the lock, and an insert that was interrupted
        // leaves a valid map.
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn tag(&self, peer: PeerId, tag: &str, weight: i64) -> Result<(), Failure> {
        let mut peers = self.lock();
        if !peers.contains_key(&peer) && peers.len() >= MAX_PEERS {
            return Err(Failure(format!(
                "{MAX_PEERS} peers have tags already, which is the limit; untag some"
            )));
        }
        let tags = peers.entry(peer).or_default();
        if !tags.contains_key(tag) && tags.len() >= MAX_TAGS {
            return Err(Failure(format!(
                "{peer} has {MAX_TAGS} tags already, which is the limit; remove some"
            )));
        }
        tags.insert(tag.to_owned(), weight);
        Ok(())
    }

    fn untag(&self, peer: &PeerId, tag: &str) {
        let mut peers = self.lock();
        if let Some(tags) = peers.get_mut(peer) {
            tags.remove(tag);
            if tags.is_empty() {
                peers.remove(peer);
            }
        }
    }

    /// Returns the sum of a peer's weights, which is zero without tags.
    pub(super) fn weight(&self, peer: &PeerId) -> i64 {
        self.lock().get(peer).map_or(0, |tags| {
            tags.values().fold(0, |sum: i64, w| sum.saturating_add(*w))
        })
    }
}

/// Returns the peers to disconnect so that at most `keep` connections are left. The
/// smallest weight comes first and, among equals, the youngest connection, because one
/// that has lasted is likely to last. Trusted peers are never disconnected.
fn surplus(peers: &[Peer], tags: &Tags, keep: usize) -> Vec<PeerId> {
    let mut connections: usize = peers.iter().map(|p| p.connections.len()).sum();
    let age = |p: &Peer| {
        p.connections
            .iter()
            .map(|c| c.age)
            .max()
            .unwrap_or(Duration::ZERO)
    };
    let mut candidates: Vec<_> = peers
        .iter()
        .filter(|p| !p.trusted && !p.peering)
        .map(|p| (tags.weight(&p.id), age(p), p))
        .collect();
    candidates.sort_by_key(|(weight, age, _)| (*weight, *age));
    let mut leave = Vec::new();
    for (_, _, p) in candidates {
        if connections <= keep {
            break;
        }
        connections -= p.connections.len();
        leave.push(p.id);
    }
    leave
}

impl Session {
    pub(super) async fn connmgr(
        &self,
        ask: pb::ConnManagerRequest,
    ) -> Result<pb::Response, Failure> {
        let shared = &self.shared;
        let who = || -> Result<(PeerId, String), Failure> {
            let peer = wire::peer_id("peer", ask.peer.as_deref().unwrap_or_default())?;
            match ask.tag.as_deref() {
                None | Some("") => Err("malformed request: tag is missing".into()),
                Some(tag) if tag.len() > MAX_TAG => Err(Failure(format!(
                    "a tag of {} bytes is longer than the limit of {MAX_TAG}",
                    tag.len()
                ))),
                Some(tag) => Ok((peer, tag.to_owned())),
            }
        };
        match Type::try_from(ask.r#type) {
            Ok(Type::TagPeer) => {
                let (peer, tag) = who()?;
                shared.tags.tag(peer, &tag, ask.weight.unwrap_or(0))?;
            }
            Ok(Type::UntagPeer) => {
                let (peer, tag) = who()?;
                shared.tags.untag(&peer, &tag);
            }
            Ok(Type::Trim) => {
                let keep = ask.keep.map_or_else(
                    || shared.node.low_water.load(Ordering::Relaxed),
                    |n| n as usize,
                );
                let peers = shared.node.handle.peers().await?;
                let leave = surplus(&peers, &shared.tags, keep);
                let closed = leave.len();
                for peer in leave {
                    // The peer may have gone by itself in the meantime, which is just as
                    // good.
                    match shared.node.handle.disconnect(peer).await {
                        Ok(()) | Err(crate::node::Error::NotConnected(_)) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                log::info!(closed = closed, keep = keep; "trimmed connections on a client's request");
            }
            Err(_) => return Err("unknown kind of CONNMANAGER request".into()),
        }
        Ok(ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Connection;

    fn peer(connections: usize, age: u64, trusted: bool) -> Peer {
        Peer {
            id: PeerId::random(),
            connections: (0..connections)
                .map(|_| Connection {
                    inbound: true,
                    transport: "tcp".into(),
                    addr: libp2p::Multiaddr::empty(),
                    age: Duration::from_secs(age),
                })
                .collect(),
            agent: String::new(),
            ping: None,
            weight: 0,
            streams: 0,
            trusted,
            peering: false,
            reputation: 0.0,
            kept_for: Vec::new(),
            exchanges: Vec::new(),
        }
    }

    #[test]
    fn the_least_worth_and_youngest_leave_first() {
        let peers = [
            peer(1, 100, false),
            peer(1, 5, false),
            peer(2, 50, false),
            peer(1, 1, true),
        ];
        let tags = Tags::default();
        tags.tag(peers[1].id, "precious", 10).unwrap();
        tags.tag(peers[0].id, "annoying", -1).unwrap();
        assert!(surplus(&peers, &tags, 5).is_empty());
        assert_eq!(surplus(&peers, &tags, 4), [peers[0].id]);
        assert_eq!(surplus(&peers, &tags, 3), [peers[0].id, peers[2].id]);
        // The trusted peer is kept even when no connection should be left.
        assert_eq!(surplus(&peers, &tags, 0).len(), 3);
        tags.untag(&peers[1].id, "precious");
        assert_eq!(surplus(&peers, &tags, 3), [peers[0].id, peers[1].id]);
    }

    #[test]
    fn tags_add_up_and_are_bounded() {
        let tags = Tags::default();
        let peer = PeerId::random();
        tags.tag(peer, "a", i64::MAX).unwrap();
        tags.tag(peer, "b", i64::MAX).unwrap();
        assert_eq!(tags.weight(&peer), i64::MAX);
        tags.tag(peer, "a", 1).unwrap();
        tags.tag(peer, "b", 2).unwrap();
        assert_eq!(tags.weight(&peer), 3);
        for i in 2..MAX_TAGS {
            tags.tag(peer, &i.to_string(), 0).unwrap();
        }
        assert!(tags.tag(peer, "one more", 0).is_err());
        tags.tag(peer, "a", 5).unwrap();
        for _ in 1..MAX_PEERS {
            tags.tag(PeerId::random(), "x", 0).unwrap();
        }
        assert!(tags.tag(PeerId::random(), "x", 0).is_err());
        for i in ["a", "b"]
            .map(str::to_owned)
            .into_iter()
            .chain((2..MAX_TAGS).map(|i| i.to_string()))
        {
            tags.untag(&peer, &i);
        }
        assert_eq!(tags.weight(&peer), 0);
        tags.tag(PeerId::random(), "x", 0).unwrap();
    }
}
