//! The peers that this node is connected to of its own accord: its bootstrap peers,
//! those of `P2P_PEERING`, and the neighbours that [`crate::neighbours`] chooses.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::kad::KBucketKey;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use crate::dht::refresh::Walk;
use crate::neighbours::neighbour::Neighbour;
use crate::neighbours::{Neighbours, SETTLED, floor};
use crate::node::configured::{Bootstrap, Need, Peering, REMEMBERED_AT_ONCE, peer_of};
use crate::node::dht_intake::DhtIntake;
use crate::node::effect::{Dialer, Effect, View};
use crate::node::keep::{self, Reason};
use crate::node::metrics::as_gauge;
use crate::node::options::Options;
use crate::node::peer_addrs::PeerAddrs;
use crate::node::{Metrics, address_book};
use crate::peers::Policy;

/// With more peers than this, the floor is checked only every fifth second: to look at
/// 10,000 peers takes some ten milliseconds.
const MANY: usize = 1_000;

/// The number of candidates that are considered in one round, of which three are dialed.
const CANDIDATES: usize = 64;

/// See the module's documentation.
pub(in crate::node) struct Neighbourhood {
    metrics: Arc<Metrics>,
    policy: Policy,
    /// The number of connections that are kept even if nothing uses them
    /// (`P2P_MIN_PEERS`).
    floor: usize,
    /// How long a direct and a relayed connection with the same peer are both kept.
    relay_overlap: Duration,
    bootstrap: Bootstrap,
    peering: Peering,
    neighbours: Neighbours,
    /// Whether connections, or agreements about them, have changed since the floor was
    /// last checked.
    changed: bool,
    /// The peers of the last run; as many as the store keeps.
    remembered: Vec<PeerId>,
}

impl Neighbourhood {
    pub(super) fn new(options: &Options, metrics: Arc<Metrics>, now: Instant) -> Self {
        Neighbourhood {
            metrics,
            policy: options.policy.clone(),
            floor: options.min_peers,
            relay_overlap: options.relay_overlap,
            bootstrap: Bootstrap::new(options.bootstrap_peers.clone()),
            peering: Peering::new(options.peering.clone()),
            neighbours: Neighbours::new(now, rand::random),
            changed: true,
            remembered: options.remembered_peers.iter().map(|p| p.peer).collect(),
        }
    }

    /// Puts the peers of the last run into the address book, and dials a few of them in
    /// addition to the configured ones.
    pub(super) fn start(
        &self,
        remembered: Vec<PeerAddrs>,
        book: &mut address_book::Behaviour,
        local: PeerId,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (n, known) in remembered.into_iter().enumerate() {
            let PeerAddrs { peer, addrs } = known;
            if peer == local {
                continue;
            }
            book.add(peer, &addrs, true);
            if n < REMEMBERED_AT_ONCE {
                effects.push(Effect::dial_known(peer, Vec::new()));
            }
        }
        effects
    }

    /// Changes the configured peers and the floor from now on.
    pub(super) fn adjust(
        &mut self,
        bootstrap: &[Multiaddr],
        peering: &[Multiaddr],
        floor: usize,
    ) -> Vec<Effect> {
        self.bootstrap.adjust(bootstrap);
        self.floor = floor;
        self.changed = true;
        let before: Vec<PeerId> = self.peering.peers().collect();
        self.peering.adjust(peering);
        let gone = before.into_iter().filter(|p| !self.peering.contains(p));
        let mut effects: Vec<Effect> = gone
            .map(|peer| Effect::Release {
                peer,
                reason: Reason::Peering,
            })
            .collect();
        // Peers that are not connected are dialed at the next tick.
        effects.extend(self.peering.peers().map(hold_peering));
        effects
    }

    /// Does what is due once a second. `ticks` counts the seconds, and `on_topics`
    /// contains the peers that are on topics of this node.
    pub(super) fn tend(
        &mut self,
        view: View<'_>,
        ticks: u64,
        kad: &mut DhtIntake,
        keep: &keep::Behaviour,
        on_topics: impl FnOnce() -> HashSet<PeerId>,
    ) -> Vec<Effect> {
        let View { now, peers, .. } = view;
        let table: usize = kad.kbuckets().map(|b| b.num_entries()).sum();
        let mut effects = Vec::new();
        self.neighbours.tend(now);
        let often = peers.len() <= MANY || ticks.is_multiple_of(5);
        if often && (self.changed || ticks.is_multiple_of(10)) {
            self.changed = false;
            let list = self.list(view, keep, on_topics());
            self.tend_floor(&list, &mut effects);
        }
        for (peer, addresses) in self.peering.due(now, |p| peers.contains(p), rand::random) {
            log::debug!(peer:% = peer; "dialing a peer of P2P_PEERING");
            effects.push(Effect::dial_known(peer, addresses));
        }
        if let Some((peer, addresses)) = self.neighbours.lost.due(now, rand::random()) {
            effects.push(Effect::dial_known(peer, addresses));
        }
        let missing = self.neighbours.missing;
        self.record_missing(missing, view, kad);
        let candidates = match missing {
            0 => Vec::new(),
            _ => self.candidates(view, kad, keep),
        };
        let nobody = candidates.is_empty();
        let search = &mut self.neighbours.search;
        let dials = search.due(missing, &candidates, now, rand::random);
        effects.extend(dials.into_iter().map(|p| Effect::dial_known(p, Vec::new())));
        let wanting = missing > 0 && nobody;
        if peers.len() > 0
            && let Some(walk) = self.neighbours.refresh.due(wanting, now, rand::random)
        {
            refresh(walk, view.local, kad);
        }
        let need = match (peers.len(), table) {
            (0, _) => Need::Alone,
            (_, 0) => Need::Few,
            _ if wanting => Need::Few,
            _ => Need::None,
        };
        self.tend_bootstrap(need, view, &mut effects);
        effects
    }

    fn tend_bootstrap(&mut self, need: Need, view: View<'_>, effects: &mut Vec<Effect>) {
        let connected = |peer: &PeerId| view.peers.contains(peer);
        for address in self.bootstrap.due(view.now, need, connected, rand::random) {
            log::debug!(address:% = address; "dialing bootstrap peer");
            let opts = match peer_of(&address) {
                Some(peer) => DialOpts::peer_id(peer)
                    .addresses(vec![address.clone()])
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .build(),
                None => DialOpts::unknown_peer_id().address(address.clone()).build(),
            };
            effects.push(Effect::Dial {
                opts: Box::new(opts),
                by: Dialer::Bootstrap(address),
            });
        }
    }

    /// Records how many neighbours are missing that the node could have. In a network
    /// with fewer peers than the floor none are missing: all known peers are kept.
    /// Kademlia forgets peers that cannot be reached, so those that stay in its table can
    /// be reached. A banned peer cannot be a neighbour, so it does not count as missing.
    fn record_missing(&self, missing: usize, view: View<'_>, kad: &mut DhtIntake) {
        let others = match missing {
            0 => 0,
            _ => {
                let away = |peer: &PeerId| {
                    let known = view.peers.contains(peer) || self.bootstrap.contains(peer);
                    !known && !self.policy.is_banned(peer, view.now)
                };
                let known = kad.kbuckets().map(|b| {
                    let keys = b.iter().map(|e| *e.node.key.preimage());
                    keys.filter(away).count()
                });
                self.neighbours.refused + known.sum::<usize>()
            }
        };
        let missing = as_gauge(missing.min(others));
        self.metrics.connections_missing.set(missing);
    }

    /// Holds and releases peers as the floor requires.
    fn tend_floor(&mut self, list: &[Neighbour], effects: &mut Vec<Effect>) {
        let plan = floor::plan(self.floor, list);
        let reason = Reason::Floor;
        let release = plan.release.iter();
        effects.extend(release.map(|&peer| Effect::Release { peer, reason }));
        effects.extend(plan.hold.iter().map(|&peer| Effect::Hold {
            peer,
            reason,
            until: None,
        }));
        let held = list.iter().filter(|n| n.held).map(|n| n.peer);
        let released: HashSet<&PeerId> = plan.release.iter().collect();
        let held = held.filter(|peer| !released.contains(peer));
        let neighbours = &mut self.neighbours;
        neighbours.kept = held.chain(plan.hold.iter().copied()).collect();
        neighbours.missing = plan.missing;
        let refused = |n: &&Neighbour| n.refused && n.direct && !n.bootstrap;
        let refused = list.iter().filter(refused);
        neighbours.refused = refused.filter(|n| !n.held && !n.accepted).count();
    }

    /// Returns the connected peers with what the floor needs to know of them, the closest
    /// to this node first.
    fn list(
        &self,
        view: View<'_>,
        keep: &keep::Behaviour,
        on_topics: HashSet<PeerId>,
    ) -> Vec<Neighbour> {
        let View { now, peers, .. } = view;
        let local = KBucketKey::from(view.local);
        let mut list: Vec<_> = peers
            .bearings(now)
            .iter()
            // A peer that has not said who it is yet may disconnect in a moment.
            .filter(|(_, bearing)| bearing.identified)
            .map(|(peer, bearing)| {
                let neighbour = Neighbour {
                    peer: *peer,
                    age: bearing.age,
                    subnet: self.policy.subnet_of(peer),
                    dialed: bearing.dialed,
                    direct: bearing.direct,
                    near: false,
                    gossip: on_topics.contains(peer),
                    bootstrap: self.bootstrap.contains(peer),
                    returned: self.neighbours.is_returned(peer),
                    refused: keep.is_refused(peer, now),
                    held: keep.holds(peer, Reason::Floor),
                    accepted: keep.is_accepted(peer),
                };
                (local.distance(&KBucketKey::from(*peer)), neighbour)
            })
            .collect();
        list.sort_by_key(|(distance, _)| *distance);
        let regular = list.iter_mut().filter(|(_, n)| !n.bootstrap);
        for (_, neighbour) in regular.take(self.floor) {
            neighbour.near = true;
        }
        list.into_iter().map(|(_, neighbour)| neighbour).collect()
    }

    /// Returns peers to dial in order to keep them, the best first: the closest ones in
    /// the DHT and any others by turns.
    fn candidates(
        &self,
        view: View<'_>,
        kad: &mut DhtIntake,
        keep: &keep::Behaviour,
    ) -> Vec<PeerId> {
        let local = KBucketKey::from(view.local);
        let table: Vec<PeerId> = kad
            .kbuckets()
            .flat_map(|b| b.iter().map(|e| *e.node.key.preimage()).collect::<Vec<_>>())
            .collect();
        let remembered = self.remembered.iter().copied();
        let mut known: Vec<PeerId> = table
            .into_iter()
            .chain(remembered)
            .filter(|p| !view.peers.contains(p) && !keep.is_refused(p, view.now))
            .filter(|p| !self.bootstrap.contains(p) && !self.policy.is_banned(p, view.now))
            .collect();
        known.sort_by_cached_key(|p| local.distance(&KBucketKey::from(*p)));
        // Equal peers are next to each other, since they have the same distance.
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

    /// Returns connections through a relay with peers that are connected directly as
    /// well, because a hole was punched, or one side was dialed in the meantime. They are
    /// to be closed. What the node's own protocols did on such a connection, such as
    /// gossip and the agreement to keep the peer, goes on over the direct one. Content
    /// and programs do not know that there are two, so their streams have to end first
    /// (`is_used` tells whether there are any). Kademlia may use either of the two. A
    /// request that is lost here fails as if the peer had not answered, and its query
    /// goes on with other peers.
    pub(super) fn superseded(
        &self,
        view: View<'_>,
        is_used: impl Fn(&PeerId, ConnectionId) -> bool,
    ) -> Vec<Effect> {
        let superseded = view.peers.superseded(self.relay_overlap, view.now);
        let unused = superseded
            .into_iter()
            .filter(|(peer, id)| !is_used(peer, *id));
        unused
            .map(|(peer, id)| {
                log::debug!(peer:% = peer; "closing a relayed connection: there is a direct one");
                Effect::Close(id)
            })
            .collect()
    }

    /// Records that a connection with `peer` was established.
    pub(super) fn opened(&mut self, peer: &PeerId, now: Instant) -> Option<Effect> {
        self.bootstrap.connected(peer, now, rand::random());
        self.changed = true;
        self.neighbours.connected(peer, now);
        self.peering.contains(peer).then(|| hold_peering(*peer))
    }

    /// Records that a peer has said who it is.
    pub(super) fn identified(&mut self) {
        self.changed = true;
    }

    /// Records that a connection was closed.
    pub(super) fn closed(&mut self) {
        self.changed = true;
    }

    /// Records that the last connection with `peer`, established at `since`, broke off.
    /// The peer could be dialed at `addresses`.
    pub(super) fn broke(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        since: Instant,
        now: Instant,
    ) {
        // This is only for peers that this node chose itself. Strangers that connect and
        // break off would push the true neighbours out of this memory.
        let chosen = self.neighbours.kept.contains(&peer) || self.peering.contains(&peer);
        if chosen && now.saturating_duration_since(since) >= SETTLED {
            let lost = &mut self.neighbours.lost;
            lost.add(peer, addresses, now, rand::random());
        }
    }

    /// Records that the last connection with `peer` ended with an error.
    pub(super) fn lost(&mut self, peer: &PeerId) {
        self.bootstrap.lost(peer);
    }

    /// Records that the last connection of all has ended.
    pub(super) fn alone(&mut self, now: Instant) {
        self.bootstrap.alone(now, rand::random);
    }

    /// Records that a peer has agreed to keep the connection, or has refused.
    pub(super) fn keep_event(&mut self, event: keep::Event, now: Instant) {
        self.changed = true;
        match event {
            keep::Event::Agreed(peer) => self.bootstrap.kept(&peer),
            keep::Event::Refused(peer) => {
                log::debug!(peer:% = peer; "the peer does not keep the connection");
                self.bootstrap.refused(&peer, now, rand::random());
            }
        }
    }

    /// Tries the bootstrap peers soon, because a program on this host has something to
    /// say and no peer is connected.
    pub(super) fn bootstrap_wanted(&mut self) {
        self.bootstrap.wanted();
    }

    /// Does the same as [`Self::bootstrap_wanted`], and looks for neighbours soon, too.
    pub(super) fn wanted(&mut self, now: Instant) {
        self.bootstrap.wanted();
        self.neighbours.search.wanted(now);
    }

    /// Returns whether `peer` is a bootstrap peer.
    pub(super) fn is_bootstrap(&self, peer: &PeerId) -> bool {
        self.bootstrap.contains(peer)
    }

    /// Returns the peers to which the node is always connected.
    pub(super) fn peering(&self) -> &Peering {
        &self.peering
    }
}

fn hold_peering(peer: PeerId) -> Effect {
    Effect::Hold {
        peer,
        reason: Reason::Peering,
        until: None,
    }
}

fn refresh(walk: Walk, local: PeerId, kad: &mut DhtIntake) {
    log::debug!(walk:? = walk; "refreshing the routing table");
    match walk {
        Walk::Near => {
            kad.get_closest_peers(local);
        }
        // This fails if no peer is known; then there is nothing to refresh.
        Walk::All => drop(kad.bootstrap()),
    }
}
