//! The event loop's side of gossip: what it lends to [`Gossip`], and what it looks up for
//! it.

use libp2p::PeerId;
use libp2p::gossipsub::TopicHash;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{QueryId, QueryResult, RecordKey};
use libp2p::swarm::ConnectionError;

use super::{EventLoop, view};
use crate::node::behaviour::Behaviour;
use crate::node::gossip::{Ending, Found, Gossip, Lent, Turn};
use crate::system::moment::Moment;

/// Returns whether a connection ended because the other side could not be reached. Nobody
/// closed such a connection, and it will not come back by itself.
pub(super) fn broke_off(silent: bool, cause: Option<&ConnectionError>) -> bool {
    let timed_out = |e: &std::io::Error| {
        e.kind() == std::io::ErrorKind::TimedOut || e.to_string().contains("timed out")
    };
    silent || matches!(cause, Some(ConnectionError::IO(e)) if timed_out(e))
}

impl EventLoop {
    /// Calls `call` with what gossip borrows for it, and carries out what gossip asks
    /// for.
    pub(super) fn with_gossip(
        &mut self,
        now: Moment,
        call: impl FnOnce(&mut Gossip, &mut Lent<'_>),
    ) {
        let view = view!(self, now);
        let Behaviour {
            gossip: intake,
            kad,
            keep,
            ..
        } = &mut self.swarm.behaviour_mut().0;
        let mut lent = Lent {
            intake,
            knows_dht: &mut || kad.kbuckets().any(|bucket| bucket.num_entries() > 0),
            refuses: &|peer| keep.is_refused(peer, now.mono),
            view,
            effects: Vec::new(),
        };
        call(&mut self.gossip, &mut lent);
        let effects = lent.effects;
        self.carry_out(effects, now);
    }

    /// Handles a turn that belongs to gossip.
    pub(super) fn gossip_turn(&mut self, turn: Turn, now: Moment) {
        let settles = matches!(turn, Turn::Judged(_) | Turn::Recorded(_));
        self.with_gossip(now, |gossip, lent| gossip.turn(turn, lent));
        if settles {
            self.finish_drain(now);
        }
    }

    /// Tells gossip where a peer can be dialed, if the peer is on a topic of this node.
    pub(super) fn learn_addrs(&mut self, peer: &PeerId) {
        if self.gossip.knows(peer) {
            let addrs = self.known_addrs(peer);
            self.gossip.learn(peer, &addrs);
        }
    }

    /// Begins a search for the members of a topic in the DHT.
    pub(super) fn find_members(&mut self, topic: TopicHash, key: RecordKey, now: Moment) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let id = kad.get_providers(key.clone());
        self.gossip.searching(id, topic, key, now.mono);
    }

    /// Begins to announce in the DHT that this node is on a topic.
    pub(super) fn announce_topic(&mut self, topic: TopicHash, key: RecordKey, now: Moment) {
        let id = match self.swarm.behaviour_mut().kad.start_providing(key) {
            Ok(id) => Some(id),
            // Programs on this host provide as many keys as they may
            // (P2P_DHT_MAX_RECORDS).
            Err(e) => {
                log::debug!(topic:% = topic, error:% = e; "cannot announce a topic");
                None
            }
        };
        self.gossip.announcing(id, topic, now.mono);
    }

    /// Handles a step of a DHT query, which may be one for a topic.
    pub(super) fn topic_query(
        &mut self,
        id: QueryId,
        result: &QueryResult,
        last: bool,
        now: Moment,
    ) {
        if let Some(found) = self.gossip.found_by(id, result) {
            self.members_found(found, now);
        }
        if last {
            self.with_gossip(now, |gossip, lent| gossip.query_ended(id, result, lent));
        }
    }

    fn members_found(&mut self, found: Found, now: Moment) {
        let Found { topic, key, peers } = found;
        let local = *self.swarm.local_peer_id();
        // The records that this node itself holds for the DHT come without addresses.
        let records = self.swarm.behaviour_mut().kad.store_mut().providers(&key);
        let near = self.peers.any_near();
        let mut members = Vec::new();
        for peer in peers.into_iter().filter(|p| *p != local) {
            if self.options.policy.is_banned(&peer, now.mono) {
                continue;
            }
            if let Some(record) = records.iter().find(|r| r.provider == peer) {
                let book = &mut self.swarm.behaviour_mut().book;
                book.add(peer, &record.addresses, near);
            }
            members.push((peer, self.known_addrs(&peer)));
        }
        self.with_gossip(now, |gossip, lent| gossip.found(&topic, members, lent));
    }

    /// Takes the verdicts that are under way when the loop ends, so that messages which
    /// were accepted are passed on to the mesh. This does not need the disk.
    pub(super) async fn judge_all(&mut self) {
        let mut ending = Ending::new(self.gossip.results());
        while let Some(turn) = ending.next_verdict(&self.gossip).await {
            self.gossip_turn(turn, Moment::now());
        }
    }

    /// Takes the verdicts that are under way, and what is written down, as long as this
    /// goes on, so that messages which were accepted reach the programs on this host
    /// before the loop ends.
    pub(super) async fn settle_all(&mut self) {
        let mut ending = Ending::new(self.gossip.results());
        while let Some(turn) = ending.next(&self.gossip).await {
            self.gossip_turn(turn, Moment::now());
        }
        if self.gossip.unsettled() > 0 {
            self.gossip.give_up_records();
        }
    }
}
