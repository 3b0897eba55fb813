//! The members of this node's topics in the event loop: what happens is told to
//! [`crate::gossip::members`], and what it wants is done.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::gossipsub::TopicHash;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{GetProvidersOk, QueryId, QueryResult, RecordKey};
use libp2p::swarm::ConnectionError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::EventLoop;
use crate::gossip::members::{Deed, Link, Members};
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

/// What the loop keeps of it.
#[derive(Debug)]
pub(in crate::node) struct Tended {
    pub(super) members: Members,
    /// Bounded by what `members` has under way at once.
    queries: HashMap<QueryId, Query>,
    /// No node of the DHT was met since this node was last without any connection.
    outside: bool,
    /// Somebody came to a topic since the members to keep were chosen.
    pub(super) newcomer: bool,
}

impl Tended {
    pub(in crate::node) fn new(members: Members) -> Self {
        Tended {
            members,
            queries: HashMap::new(),
            outside: true,
            newcomer: false,
        }
    }
}

/// Whether a connection ended because the other side could not be reached: nobody
/// closed it, and it will not come back by itself.
pub(super) fn broke_off(silent: bool, cause: Option<&ConnectionError>) -> bool {
    let timed_out = |e: &std::io::Error| {
        e.kind() == std::io::ErrorKind::TimedOut || e.to_string().contains("timed out")
    };
    silent || matches!(cause, Some(ConnectionError::IO(e)) if timed_out(e))
}

impl EventLoop {
    /// This node has joined a topic.
    pub(super) fn topic_joined(&mut self, hash: &TopicHash, name: &str, now: Instant) {
        let on = self.subscribers(hash);
        let members = &mut self.tended.members;
        members.joined(hash.clone(), name, on.iter().copied(), now);
        for peer in on {
            self.learn_addrs(&peer);
        }
        self.tend_members(now);
    }

    /// This node has left a topic.
    pub(super) fn topic_left(&mut self, hash: &TopicHash) {
        if let Some(key) = self.tended.members.left(hash) {
            let kad = &mut self.swarm.behaviour_mut().kad;
            kad.stop_providing(&key.into());
        }
    }

    /// This host publishes to a topic.
    pub(super) fn topic_published(&mut self, hash: &TopicHash, name: &str, now: Instant) {
        let gossip = &self.swarm.behaviour().gossip;
        let on = || {
            let all = gossip.all_peers();
            let on: Vec<PeerId> = all
                .filter(|(_, topics)| topics.contains(&hash))
                .map(|(peer, _)| *peer)
                .collect();
            on
        };
        if self.tended.members.published(hash, name, on, now) {
            for peer in self.subscribers(hash) {
                self.learn_addrs(&peer);
            }
            self.tend_members(now);
            self.keep_members(now);
        }
    }

    /// A connected peer has said that it is on a topic.
    pub(super) fn peer_subscribed(&mut self, peer: PeerId, hash: &TopicHash, now: Instant) {
        self.tended.members.subscribed(peer, hash, now);
        if self.tended.members.knows(&peer) {
            self.tended.newcomer = true;
            self.learn_addrs(&peer);
        }
    }

    /// Tells where a peer can be dialed, when it is on a topic of this node.
    pub(super) fn learn_addrs(&mut self, peer: &PeerId) {
        if self.tended.members.knows(peer) {
            let addrs = self.known_addrs(peer);
            self.tended.members.learn(peer, &addrs);
        }
    }

    /// A step of a DHT query, which may be one for a topic.
    pub(super) fn topic_query(
        &mut self,
        id: QueryId,
        result: &QueryResult,
        last: bool,
        now: Instant,
    ) {
        let Some(query) = self.tended.queries.get_mut(&id) else {
            return;
        };
        if let Query::Search {
            topic, key, found, ..
        } = query
            && let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders {
                providers, ..
            })) = result
        {
            let room = FOUND.saturating_sub(*found);
            let new: Vec<PeerId> = providers.iter().take(room).copied().collect();
            *found += new.len();
            let (topic, key) = (topic.clone(), key.clone());
            self.members_found(&topic, &key, new, now);
        }
        if !last {
            return;
        }
        match self.tended.queries.remove(&id) {
            Some(Query::Search { topic, .. }) => {
                self.tended.members.searched(&topic, now, rand::random());
            }
            Some(Query::Announce(topic)) => {
                let ok = matches!(result, QueryResult::StartProviding(Ok(_)));
                let members = &mut self.tended.members;
                members.announced(&topic, ok, now, rand::random());
            }
            None => {}
        }
        self.publish_unheard(now);
    }

    /// A node of the DHT has said who it is: when it is the first, this node has come
    /// to its network.
    pub(super) fn members_entered(&mut self, now: Instant) {
        if std::mem::take(&mut self.tended.outside) {
            self.tended.members.entered(now);
            self.tend_members(now);
        }
    }

    fn members_found(
        &mut self,
        topic: &TopicHash,
        key: &RecordKey,
        peers: Vec<PeerId>,
        now: Instant,
    ) {
        let local = *self.swarm.local_peer_id();
        // What this node holds itself for the DHT comes without its addresses.
        let held = self.swarm.behaviour_mut().kad.store_mut().providers(key);
        let near = self.peers.any_near();
        for peer in peers.into_iter().filter(|p| *p != local) {
            if self.options.policy.is_banned(&peer, Instant::now()) {
                continue;
            }
            if let Some(record) = held.iter().find(|r| r.provider == peer) {
                let book = &mut self.swarm.behaviour_mut().book;
                book.add(peer, &record.addresses, near);
            }
            let addrs = self.known_addrs(&peer);
            let connected = self.peers.contains(&peer);
            let members = &mut self.tended.members;
            members.found(topic, peer, &addrs, connected, now);
        }
        self.tend_members(now);
    }

    /// Does what is due for the members of topics.
    pub(super) fn tend_members(&mut self, now: Instant) {
        if self.drain.is_draining() {
            return;
        }
        self.tended.outside |= self.peers.len() == 0;
        let slow: Vec<QueryId> = self
            .tended
            .queries
            .iter()
            .filter(|(_, q)| {
                let over = |since: &Instant| now.saturating_duration_since(*since) >= SEARCH;
                matches!(q, Query::Search { since, .. } if over(since))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in slow {
            if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                query.finish();
            }
        }
        let dht = self.routing_table_size() > 0;
        let keep = &self.swarm.behaviour().keep;
        let refuses = |peer: &PeerId| keep.is_refused(peer, now);
        let due = self.tended.members.due(now, dht, refuses, rand::random);
        for deed in due {
            match deed {
                Deed::Dial(peer, addrs) => self.dial_member(peer, addrs, now),
                Deed::Search(topic, key) => {
                    log::debug!(topic:% = topic; "looking for members of a topic");
                    let kad = &mut self.swarm.behaviour_mut().kad;
                    let key = RecordKey::from(key);
                    let id = kad.get_providers(key.clone());
                    let query = Query::Search {
                        topic,
                        key,
                        found: 0,
                        since: now,
                    };
                    self.tended.queries.insert(id, query);
                }
                Deed::Announce(topic, key) => {
                    let kad = &mut self.swarm.behaviour_mut().kad;
                    match kad.start_providing(key.into()) {
                        Ok(id) => {
                            self.tended.queries.insert(id, Query::Announce(topic));
                        }
                        // Programs of this host provide as many keys as they may
                        // (P2P_DHT_MAX_RECORDS).
                        Err(e) => {
                            log::debug!(topic:% = topic, error:% = e; "cannot announce a topic");
                            let members = &mut self.tended.members;
                            members.announced(&topic, false, now, rand::random());
                        }
                    }
                }
            }
        }
    }

    fn dial_member(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, now: Instant) {
        log::debug!(peer:% = peer; "dialing a member of a topic");
        let opts = DialOpts::peer_id(peer)
            .addresses(addrs)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        if self.peers.contains(&peer) {
            self.tended.members.connected(&peer, now);
            return;
        }
        match self.swarm.dial(opts) {
            // Somebody else's dial of it is under way, whose end will be told.
            Ok(()) | Err(libp2p::swarm::DialError::DialPeerConditionFalse(_)) => {}
            Err(_) => self.tended.members.failed(&peer),
        }
    }

    /// Holds the connections with members that are to be kept.
    pub(super) fn keep_members(&mut self, now: Instant) {
        self.tended.newcomer = false;
        if self.drain.is_draining() {
            return;
        }
        let behaviour = self.swarm.behaviour();
        let meshes: HashMap<&TopicHash, HashSet<&PeerId>> = self
            .topics
            .iter()
            .map(|(hash, _)| (hash, behaviour.gossip.mesh_peers(hash).collect()))
            .collect();
        let in_mesh = |hash: &TopicHash, peer: &PeerId| {
            meshes.get(hash).is_some_and(|mesh| mesh.contains(peer))
        };
        let refuses = |peer: &PeerId| behaviour.keep.is_refused(peer, now);
        let members = &mut self.tended.members;
        let links = members.links(now, in_mesh, refuses, rand::random);
        let keep = &mut self.swarm.behaviour_mut().keep;
        for (peer, link) in links {
            let reason = match link {
                Link::Topic => Reason::Topic,
                Link::Publishing => Reason::Publishing,
            };
            keep.hold(&peer, reason, Some(now + HOLD), now);
        }
    }

    fn subscribers(&self, hash: &TopicHash) -> Vec<PeerId> {
        let all = self.swarm.behaviour().gossip.all_peers();
        all.filter(|(_, topics)| topics.contains(&hash))
            .map(|(peer, _)| *peer)
            .collect()
    }
}
