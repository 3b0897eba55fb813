//! The node's place in its network: what [`crate::neighbours`] decides, done.

use std::collections::HashSet;
use std::time::Instant;

use libp2p::kad::KBucketKey;
use libp2p::{Multiaddr, PeerId};

use super::effect::Effect;
use super::{EventLoop, as_gauge};
use crate::dht::refresh::Walk;
use crate::neighbours::neighbour::Neighbour;
use crate::neighbours::{SETTLED, floor};
use crate::node::keep::{self, Reason};
use crate::node::standing::Need;

/// With more peers than this the floor is looked at in every fifth second only: to
/// look at 10,000 takes some ten milliseconds.
const MANY: usize = 1_000;

/// Candidates looked at in one round; three of them are dialed.
const CANDIDATES: usize = 64;

impl EventLoop {
    /// What is due once a second. Answers how badly peers are needed.
    pub(super) fn tend_place(&mut self, now: Instant, table: usize) -> Need {
        self.place.tend(now);
        let often = self.peers.len() <= MANY || self.ticks.is_multiple_of(5);
        let changed = std::mem::take(&mut self.place_changed);
        if often && (changed || self.ticks.is_multiple_of(10)) {
            self.tend_floor(now);
        } else {
            self.place_changed = changed;
        }
        for (peer, addresses) in self
            .peering
            .due(now, |p| self.peers.contains(p), rand::random)
        {
            log::debug!(peer:% = peer; "dialing a peer of P2P_PEERING");
            self.carry_out([Effect::dial_known(peer, addresses)], now);
        }
        if let Some((peer, addresses)) = self.place.lost.due(now, rand::random()) {
            self.carry_out([Effect::dial_known(peer, addresses)], now);
        }
        let missing = self.place.missing;
        self.record_missing(missing, now);
        let candidates = match missing {
            0 => Vec::new(),
            _ => self.candidates(now),
        };
        let nobody = candidates.is_empty();
        for peer in self
            .place
            .search
            .due(missing, &candidates, now, rand::random)
        {
            self.carry_out([Effect::dial_known(peer, Vec::new())], now);
        }
        let wanting = missing > 0 && nobody;
        if self.peers.len() > 0
            && let Some(walk) = self.place.refresh.due(wanting, now, rand::random)
        {
            self.walk(walk);
        }
        match (self.peers.len(), table) {
            (0, _) => Need::Alone,
            (_, 0) => Need::Few,
            _ if wanting => Need::Few,
            _ => Need::None,
        }
    }

    /// Tells how many neighbours are missing that there could be. In a network with
    /// fewer peers than the floor none are: all that it knows are kept. Kademlia
    /// forgets who cannot be reached, so whoever stays in its table is there. Who is
    /// banned can be no neighbour, so that nobody is missing there.
    fn record_missing(&mut self, missing: usize, now: Instant) {
        let others = match missing {
            0 => 0,
            _ => {
                let (peers, bootstrap) = (&self.peers, &self.bootstrap);
                let policy = &self.options.policy;
                let table = self.swarm.behaviour_mut().kad.kbuckets();
                let away = |peer: &PeerId| {
                    let known = peers.contains(peer) || bootstrap.contains(peer);
                    !known && !policy.is_banned(peer, now)
                };
                let known = table.map(|b| {
                    let keys = b.iter().map(|e| *e.node.key.preimage());
                    keys.filter(away).count()
                });
                self.place.refused + known.sum::<usize>()
            }
        };
        let missing = as_gauge(missing.min(others));
        self.metrics.connections_missing.set(missing);
    }

    fn walk(&mut self, walk: Walk) {
        log::debug!(walk:? = walk; "refreshing the routing table");
        let local = *self.swarm.local_peer_id();
        let kad = &mut self.swarm.behaviour_mut().kad;
        match walk {
            Walk::Near => {
                kad.get_closest_peers(local);
            }
            // Nobody is known: there is nothing to refresh.
            Walk::All => drop(kad.bootstrap()),
        }
    }

    /// Holds and releases peers as the floor wants it.
    fn tend_floor(&mut self, now: Instant) {
        let neighbours = self.neighbours(now);
        let plan = floor::plan(self.options.min_peers, &neighbours);
        let keep = &mut self.swarm.behaviour_mut().keep;
        for peer in &plan.release {
            keep.release(peer, Reason::Floor);
        }
        for peer in &plan.hold {
            keep.hold(peer, Reason::Floor, None, now);
        }
        let held = neighbours.iter().filter(|n| n.held).map(|n| n.peer);
        let released: HashSet<&PeerId> = plan.release.iter().collect();
        let held = held.filter(|peer| !released.contains(peer));
        self.place.kept = held.chain(plan.hold.iter().copied()).collect();
        self.place.missing = plan.missing;
        let refused = |n: &&Neighbour| n.refused && n.direct && !n.bootstrap;
        let refused = neighbours.iter().filter(refused);
        self.place.refused = refused.filter(|n| !n.held && !n.accepted).count();
    }

    fn neighbours(&mut self, now: Instant) -> Vec<Neighbour> {
        let floor = self.options.min_peers;
        let local = KBucketKey::from(*self.swarm.local_peer_id());
        let behaviour = self.swarm.behaviour();
        let gossip: HashSet<PeerId> = behaviour
            .gossip
            .all_peers()
            .filter(|(_, topics)| topics.iter().any(|t| self.topics.contains(t)))
            .map(|(peer, _)| *peer)
            .collect();
        let mut list: Vec<_> = self
            .peers
            .bearings(now)
            .iter()
            // One that has not said who it is yet may be gone in a moment.
            .filter(|(_, bearing)| bearing.identified)
            .map(|(peer, bearing)| {
                let neighbour = Neighbour {
                    peer: *peer,
                    age: bearing.age,
                    subnet: self.options.policy.subnet_of(peer),
                    dialed: bearing.dialed,
                    direct: bearing.direct,
                    near: false,
                    gossip: gossip.contains(peer),
                    bootstrap: self.bootstrap.contains(peer),
                    returned: self.place.is_returned(peer),
                    refused: behaviour.keep.is_refused(peer, now),
                    held: behaviour.keep.holds(peer, Reason::Floor),
                    accepted: behaviour.keep.is_accepted(peer),
                };
                (local.distance(&KBucketKey::from(*peer)), neighbour)
            })
            .collect();
        list.sort_by_key(|(distance, _)| *distance);
        let regular = list.iter_mut().filter(|(_, n)| !n.bootstrap);
        for (_, neighbour) in regular.take(floor) {
            neighbour.near = true;
        }
        list.into_iter().map(|(_, neighbour)| neighbour).collect()
    }

    /// Peers to dial in order to keep them, the best first: the closest ones in the
    /// DHT and any others by turns.
    fn candidates(&mut self, now: Instant) -> Vec<PeerId> {
        let local = KBucketKey::from(*self.swarm.local_peer_id());
        let remembered = self.remembered.clone();
        let policy = &self.options.policy;
        let behaviour = self.swarm.behaviour_mut();
        let table: Vec<PeerId> = behaviour
            .kad
            .kbuckets()
            .flat_map(|b| b.iter().map(|e| *e.node.key.preimage()).collect::<Vec<_>>())
            .collect();
        let keep = &behaviour.keep;
        let mut known: Vec<PeerId> = table
            .into_iter()
            .chain(remembered)
            .filter(|p| !self.peers.contains(p) && !keep.is_refused(p, now))
            .filter(|p| !self.bootstrap.contains(p) && !policy.is_banned(p, now))
            .collect();
        known.sort_by_cached_key(|p| local.distance(&KBucketKey::from(*p)));
        // The same peer has the same distance.
        known.dedup();
        let mut chosen = Vec::new();
        while !known.is_empty() && chosen.len() < CANDIDATES {
            chosen.push(known.remove(0));
            if !known.is_empty() {
                let any = rand::random_range(0..known.len());
                chosen.push(known.remove(any));
            }
        }
        chosen
    }

    /// Closes connections through a relay to peers that are connected directly as well:
    /// a hole was punched, or one side was dialed in the meantime. What the node's own
    /// protocols had on it, such as gossip and the agreement to keep the peer, goes on
    /// over the direct one. Content and programs do not know of the two, so their
    /// streams end first. Kademlia asks over either of the two; a request that is lost
    /// here fails as if the peer had not answered, and its query goes on with others.
    pub(super) fn close_superseded(&mut self, now: Instant) {
        for (peer, id) in self.peers.superseded(self.options.relay_overlap, now) {
            if !self.swarm.behaviour().streams.is_used(&peer, id) {
                log::debug!(peer:% = peer; "closing a relayed connection: there is a direct one");
                self.carry_out([Effect::Close(id)], now);
            }
        }
    }

    /// A connection with `peer` stands.
    pub(super) fn place_opened(&mut self, peer: &PeerId, now: Instant) {
        self.place_changed = true;
        self.place.connected(peer, now);
        if self.peering.contains(peer) {
            let keep = &mut self.swarm.behaviour_mut().keep;
            keep.hold(peer, Reason::Peering, None, now);
        }
    }

    /// The last connection with `peer` broke, which had stood since `since` and could
    /// be dialed at `addresses`.
    pub(super) fn place_lost(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        since: Instant,
        now: Instant,
    ) {
        // Only whom this node chose itself: strangers that come and break off would
        // push the true neighbours out of this memory.
        let chosen = self.place.kept.contains(&peer) || self.peering.contains(&peer);
        if chosen && now.saturating_duration_since(since) >= SETTLED {
            self.place.lost.add(peer, addresses, now, rand::random());
        }
    }

    pub(super) fn keep_event(&mut self, event: keep::Event, now: Instant) {
        self.place_changed = true;
        match event {
            keep::Event::Agreed(peer) => self.bootstrap.kept(&peer),
            keep::Event::Refused(peer) => {
                log::debug!(peer:% = peer; "the peer does not keep the connection");
                self.bootstrap.turned_away(&peer, now, rand::random());
            }
        }
    }
}
