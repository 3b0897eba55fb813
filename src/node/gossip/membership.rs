//! The members of this node's topics: what happens is told to [`crate::gossip::members`],
//! and what that decides becomes effects for the event loop.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::gossipsub::TopicHash;
use libp2p::kad::{GetProvidersOk, QueryId, QueryResult, RecordKey};
use libp2p::{Multiaddr, PeerId};

use super::lent::Lent;
use crate::gossip::members::{Deed, Link, Members};
use crate::node::effect::Effect;
use crate::node::keep::Reason;

/// A search that has not ended by then is ended: what it found has been told, and
/// the next one does not ask those that did not answer.
const SEARCH: Duration = Duration::from_secs(20);

/// Members that are taken from one search. Somebody who fills a key with records
/// must not fill this node's queue of dials.
const FOUND: usize = 32;

/// How long a connection is held each time that it is chosen to be kept, which is
/// asked every few seconds.
const HOLD: Duration = Duration::from_secs(20);

/// A query of the DHT for a topic.
#[derive(Debug)]
enum Query {
    Search {
        topic: TopicHash,
        key: RecordKey,
        found: usize,
        since: Instant,
    },
    Announce(TopicHash),
}

/// Members that the DHT names, and under which key.
#[derive(Debug)]
pub(in crate::node) struct Found {
    /// The topic that they are on.
    pub(in crate::node) topic: TopicHash,
    /// Its key.
    pub(in crate::node) key: RecordKey,
    /// Who they are.
    pub(in crate::node) peers: Vec<PeerId>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Membership {
    members: Members,
    /// Bounded by what `members` has under way at once.
    queries: HashMap<QueryId, Query>,
    /// No node of the DHT was met since this node was last without any connection.
    outside: bool,
    /// Somebody came to a topic since the members to keep were chosen.
    newcomer: bool,
}

impl Membership {
    pub(super) fn new(members: Members) -> Self {
        Membership {
            members,
            queries: HashMap::new(),
            outside: true,
            newcomer: false,
        }
    }

    /// This node has joined a topic.
    pub(super) fn joined(&mut self, hash: &TopicHash, name: &str, lent: &mut Lent<'_>) {
        let (on, now) = (lent.subscribers(hash), lent.view.now);
        self.members
            .joined(hash.clone(), name, on.iter().copied(), now);
        on.into_iter().for_each(|peer| self.locate(peer, lent));
        self.tend(lent);
    }

    /// This node has left a topic.
    pub(super) fn left(&mut self, hash: &TopicHash, lent: &mut Lent<'_>) {
        if let Some(key) = self.members.left(hash) {
            lent.wants(Effect::StopProviding(key.into()));
        }
    }

    /// This host publishes to a topic.
    pub(super) fn published(&mut self, hash: &TopicHash, name: &str, lent: &mut Lent<'_>) {
        let on = || lent.subscribers(hash);
        if self.members.published(hash, name, on, lent.view.now) {
            for peer in lent.subscribers(hash) {
                self.locate(peer, lent);
            }
            self.tend(lent);
            self.keep(lent);
        }
    }

    /// A connected peer has said that it is on a topic.
    pub(super) fn subscribed(&mut self, peer: PeerId, hash: &TopicHash, lent: &mut Lent<'_>) {
        self.members.subscribed(peer, hash, lent.view.now);
        if self.members.knows(&peer) {
            self.newcomer = true;
            self.locate(peer, lent);
        }
    }

    /// A connected peer has said that it has left a topic.
    pub(super) fn unsubscribed(&mut self, peer: &PeerId, hash: &TopicHash, now: Instant) {
        self.members.unsubscribed(peer, hash, now);
    }

    /// Whether a peer is, or may be, on some topic of this node.
    pub(super) fn knows(&self, peer: &PeerId) -> bool {
        self.members.knows(peer)
    }

    /// Where a peer can be dialed.
    pub(super) fn learn(&mut self, peer: &PeerId, addrs: &[Multiaddr]) {
        self.members.learn(peer, addrs);
    }

    /// Asks where a peer can be dialed, when it is on a topic of this node.
    fn locate(&self, peer: PeerId, lent: &mut Lent<'_>) {
        if self.members.knows(&peer) {
            lent.wants(Effect::LocateMember(peer));
        }
    }

    /// Whether members of a topic are being looked for.
    pub(super) fn is_looking(&self, hash: &TopicHash, now: Instant) -> bool {
        self.members.is_looking(hash, now)
    }

    /// A peer is connected, whoever dialed.
    pub(super) fn connected(&mut self, peer: &PeerId, now: Instant) {
        self.members.connected(peer, now);
    }

    /// The last connection of a peer has ended. `lost`: it broke off, and nobody had
    /// closed it.
    pub(super) fn disconnected(&mut self, peer: &PeerId, lost: bool, now: Instant) {
        self.members.disconnected(peer, lost, now, rand::random());
    }

    /// A dial of a peer failed, whoever had begun it.
    pub(super) fn dial_failed(&mut self, peer: &PeerId) {
        self.members.failed(peer);
    }

    /// The operator has sent a peer away.
    pub(super) fn dismissed(&mut self, peer: &PeerId, now: Instant) {
        self.members.dismissed(peer, now);
    }

    /// The DHT looks for members of a topic.
    pub(super) fn searching(
        &mut self,
        id: QueryId,
        topic: TopicHash,
        key: RecordKey,
        now: Instant,
    ) {
        let query = Query::Search {
            topic,
            key,
            found: 0,
            since: now,
        };
        self.queries.insert(id, query);
    }

    /// The DHT is told that this node is on a topic; `None` when this node holds no
    /// record of that.
    pub(super) fn announcing(&mut self, id: Option<QueryId>, topic: TopicHash, now: Instant) {
        match id {
            Some(id) => drop(self.queries.insert(id, Query::Announce(topic))),
            None => self.members.announced(&topic, false, now, rand::random()),
        }
    }

    /// The members that a step of a DHT query has found, when it is a search for those of
    /// a topic.
    pub(super) fn found_by(&mut self, id: QueryId, result: &QueryResult) -> Option<Found> {
        let Query::Search {
            topic, key, found, ..
        } = self.queries.get_mut(&id)?
        else {
            return None;
        };
        let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
            result
        else {
            return None;
        };
        let room = FOUND.saturating_sub(*found);
        let peers: Vec<PeerId> = providers.iter().take(room).copied().collect();
        *found += peers.len();
        Some(Found {
            topic: topic.clone(),
            key: key.clone(),
            peers,
        })
    }

    /// The DHT names a member of a topic, with addresses.
    pub(super) fn found(
        &mut self,
        topic: &TopicHash,
        peer: PeerId,
        addrs: &[Multiaddr],
        lent: &Lent<'_>,
    ) {
        let connected = lent.view.peers.contains(&peer);
        self.members
            .found(topic, peer, addrs, connected, lent.view.now);
    }

    /// A DHT query has ended. Whether it was one for a topic.
    pub(super) fn query_ended(&mut self, id: QueryId, result: &QueryResult, now: Instant) -> bool {
        match self.queries.remove(&id) {
            Some(Query::Search { topic, .. }) => {
                self.members.searched(&topic, now, rand::random());
            }
            Some(Query::Announce(topic)) => {
                let ok = matches!(result, QueryResult::StartProviding(Ok(_)));
                self.members.announced(&topic, ok, now, rand::random());
            }
            None => return false,
        }
        true
    }

    /// A node of the DHT has said who it is: when it is the first, this node has come
    /// to its network.
    pub(super) fn met_dht_node(&mut self, lent: &mut Lent<'_>) {
        if std::mem::take(&mut self.outside) {
            self.members.entered(lent.view.now);
            self.tend(lent);
        }
    }

    /// Does what is due for the members of topics.
    pub(super) fn tend(&mut self, lent: &mut Lent<'_>) {
        if lent.view.draining {
            return;
        }
        let now = lent.view.now;
        self.outside |= lent.view.peers.len() == 0;
        let over = |since: &Instant| now.saturating_duration_since(*since) >= SEARCH;
        for (id, query) in &self.queries {
            if matches!(query, Query::Search { since, .. } if over(since)) {
                lent.wants(Effect::EndQuery(*id));
            }
        }
        let dht = (lent.knows_dht)();
        let due = self.members.due(now, dht, lent.refuses, rand::random);
        for deed in due {
            match deed {
                Deed::Dial(peer, _) if lent.view.peers.contains(&peer) => {
                    self.members.connected(&peer, now);
                }
                Deed::Dial(peer, addrs) => {
                    log::debug!(peer:% = peer; "dialing a member of a topic");
                    lent.wants(Effect::dial_member(peer, addrs));
                }
                Deed::Search(topic, key) => {
                    log::debug!(topic:% = topic; "looking for members of a topic");
                    let key = key.into();
                    lent.wants(Effect::FindMembers { topic, key });
                }
                Deed::Announce(topic, key) => {
                    let key = key.into();
                    lent.wants(Effect::AnnounceTopic { topic, key });
                }
            }
        }
    }

    /// Whether somebody came to a topic since the members to keep were chosen.
    pub(super) fn has_newcomer(&self) -> bool {
        self.newcomer
    }

    /// Holds the connections with members that are to be kept.
    pub(super) fn keep(&mut self, lent: &mut Lent<'_>) {
        self.newcomer = false;
        if lent.view.draining {
            return;
        }
        let (now, intake) = (lent.view.now, &*lent.intake);
        let meshes: HashMap<&TopicHash, HashSet<&PeerId>> = intake
            .topics()
            .map(|hash| (hash, intake.mesh_peers(hash).collect()))
            .collect();
        let in_mesh = |hash: &TopicHash, peer: &PeerId| {
            meshes.get(hash).is_some_and(|mesh| mesh.contains(peer))
        };
        let links = self.members.links(now, in_mesh, lent.refuses, rand::random);
        for (peer, link) in links {
            let reason = match link {
                Link::Topic => Reason::Topic,
                Link::Publishing => Reason::Publishing,
            };
            let until = Some(now + HOLD);
            lent.wants(Effect::Hold {
                peer,
                reason,
                until,
            });
        }
    }
}
