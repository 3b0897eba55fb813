//! The members of this node's topics: how they are found, remembered and kept.
//!
//! Gossip goes to connected peers that are on the topic. Gossipsub does
//! not see to it that there are some: it makes a mesh of peers that happen to be
//! connected. This room does, for each topic that this node has joined, and
//! for some time for each that this host has published to:
//!
//! - **Found**: when fewer members are connected than a mesh has at least, others
//!   are looked for in the DHT, under the key of [`key`]. At once when a topic is
//!   joined, when somebody publishes and nobody is there, when the last member has
//!   gone, and when this node comes back to its network; and again after pauses
//!   that grow to [`ALONE_SEARCH`] while there is nobody ([`VAIN`]), and to [`FEW_SEARCH`]
//!   while there are a few.
//! - **Announced**: a node that has joined a topic announces itself under that key, at
//!   once and again before the nodes that it told may be gone or forget it.
//! - **Remembered**: members that were connected, with their addresses. They are
//!   dialed again, each every [`ALONE_DIAL`] or sooner while nobody is there, so
//!   that an absence or a partition heals soon after the network does; less often
//!   when others are there. Those whose connection broke off are dialed also when
//!   the topic has enough: when a network falls in two, each half has enough, and
//!   it heals only when somebody tries.
//! - **Kept**: connections with members are held (`node::keep`), so that they do
//!   not end as idle: of those that this host publishes to, as many as a mesh has,
//!   for [`PUBLISHED`] after the last message; of a joined topic, as many as its
//!   mesh lacks, and two at least outside of it. The two are what keeps the meshes
//!   of a topic from being islands.
//!
//! Pure: time and chance come as arguments, and what is to be done goes out as
//! [`Deed`]s.
//!
//! # What others learn
//!
//! Gossipsub tells every connected peer the names of the topics that this node
//! has joined. The DHT is told less: some twenty nodes hold, and whoever looks for
//! it finds, that this node is a provider of a key, which is a hash of the topic's
//! name. Whoever knows or guesses the name can find the members, which is the purpose;
//! everybody else learns nothing. A variable that turns this off would hide nothing
//! that the first connected peer is not told, and would bring back nodes that never
//! find each other; a network that is to stay among its own has a key
//! (`P2P_NETWORK_KEY_FILE`) or a DHT of its own (`P2P_NETWORK`). So there is none.
//!
//! # Bounds
//!
//! Of topics: those joined are bounded by `topics`, those only published to by
//! [`MAX_PUBLISHED`]. Of members: those connected by the limits of connections,
//! those remembered by [`topic::MAX_AWAY`] for each topic. Work: [`DIALS`],
//! [`SEARCHES`], [`ANNOUNCEMENTS`] and [`A_TICK`].
//!
//! # Why announcements of topics have no pace of their own
//!
//! Those of content go through `dht::placement`, which paces each receiver and asks it
//! whether it holds the record, because a host may have 100,000 roots and would use
//! up every receiver's budget. Topics are few. With as many as may be joined (256,
//! `topics::MAX_TOPICS`) and all of them joined at once, [`A_TICK`] lets two
//! announcements and two searches begin in a second. An announcement costs a receiver
//! two requests, the walk's question and the record, and a search costs it one: six
//! requests a second in all, of the 100 that a receiver takes by default
//! (`P2P_RATE_FILL`). Content takes 50 of them at most. Later the 256 come round in half
//! an hour, which is one in seven seconds.
//!
//! Nor is it asked whether the record is held. It goes to twenty receivers, of which
//! one is enough for a member to be found; what some of them drop, they are told again
//! after one, five and twenty minutes and then each half hour ([`ANNOUNCE`]); and of
//! two members each looks for the other, so that it is enough when one of them is
//! found.

mod contact;
mod key;
mod pace;
mod topic;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::gossipsub::TopicHash;
use libp2p::{Multiaddr, PeerId};

use contact::Contact;
use topic::Topic;

/// Topics that are not joined and were published to, the latest: as many as may be
/// joined. A program that publishes to thousands is looked after for the latest.
const MAX_PUBLISHED: usize = super::topics::MAX_TOPICS;

/// How long after the last message the members of a topic that is not joined are
/// kept and looked for: a program that says something every minute, and misses one,
/// or four, publishes without a pause.
pub(crate) const PUBLISHED: Duration = Duration::from_secs(300);

/// How long they are remembered.
const PUBLISHED_ONCE: Duration = Duration::from_secs(3600);

/// Dials under way at once: a member that is cut off takes ten seconds to fail, so
/// this tries one a second.
const DIALS: usize = 10;

/// Searches under way at once. Each asks some tens of nodes, a few at a time.
const SEARCHES: usize = 4;

/// Announcements under way at once. Each is a search that tells twenty.
const ANNOUNCEMENTS: usize = 2;

/// Searches, and announcements, that begin in one tick, which comes once a second:
/// a node with as many topics as it may have, and alone in all of them, looks in
/// each every two minutes.
const A_TICK: usize = 2;

/// Pauses between searches while nobody is there: the first, by what each is longer
/// than the one before, and the longest.
const ALONE_SEARCH: (Duration, u32, Duration) =
    (Duration::from_secs(2), 2, Duration::from_secs(30));

/// After so many in vain, a quarter of an hour, the longest pause is this. A node that comes
/// later announces itself and finds this node; only one that is found and cannot be
/// dialed waits until this node looks. Each search brings connections to nodes of the
/// DHT that are used for nothing else.
const VAIN: (u32, Duration) = (30, Duration::from_secs(120));

/// The same while there are some, and fewer than a mesh has. Most topics are small
/// and have no more members, so it becomes seldom.
const FEW_SEARCH: (Duration, u32, Duration) =
    (Duration::from_secs(10), 2, Duration::from_secs(900));

/// Searches that begin because somebody publishes to nobody are so far apart.
const WANTED_SEARCH: Duration = Duration::from_secs(10);

/// Pauses between announcements. The first reaches the few nodes that are known
/// then, so it is repeated soon; later ones replace nodes that have gone. A record
/// would stand for a day at least (go-libp2p announces every three hours), but those
/// that hold it come and go, and one walk in half an hour is little.
const ANNOUNCE: (Duration, u32, Duration) = (Duration::from_secs(60), 4, Duration::from_secs(1800));

/// Pauses after announcements that failed.
const ANNOUNCE_AGAIN: (Duration, u32, Duration) =
    (Duration::from_secs(2), 2, Duration::from_secs(60));

/// A node that comes back to its network announces itself again when it last did
/// before this: those that it told may be on the other side of what cut it off.
const ANNOUNCED_LATELY: Duration = Duration::from_secs(60);

/// The longest pause between dials of a member while nobody is there. With what a
/// dial takes, less than half a minute from the healing of a network.
const ALONE_DIAL: Duration = Duration::from_secs(20);

/// The same while there are a few.
const FEW_DIAL: Duration = Duration::from_secs(30);

/// The same while there are enough.
const ENOUGH_DIAL: Duration = Duration::from_secs(120);

/// Peers kept of a joined topic outside of its mesh, at least.
const LINKS: usize = 2;

/// Peers kept for joined topics in all: a sixth of the default of
/// P2P_MAX_CONNECTIONS.
const MAX_LINKS: usize = 64;

/// How long a peer is not dialed that the operator has disconnected.
const DISMISSED: Duration = Duration::from_secs(600);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Dial a member; its end is told by [`Members::connected`] or [`Members::failed`].
    Dial(PeerId, Vec<Multiaddr>),
    /// Look for providers of the key; tell what is found by [`Members::found`] and
    /// the end by [`Members::searched`].
    Search(TopicHash, Vec<u8>),
    /// Provide the key; tell the end by [`Members::announced`].
    Announce(TopicHash, Vec<u8>),
}

/// Why a connection with a member is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    /// It is on a topic that this node has joined.
    Topic,
    /// It is on a topic that this host publishes to and has not joined.
    Publishing,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Members {
    topics: HashMap<TopicHash, Topic>,
    /// Every peer that some topic names.
    contacts: HashMap<PeerId, Contact>,
    /// Members that a mesh has at least, and aims at.
    low: usize,
    degree: usize,
}

impl Members {
    /// For meshes of `low` members at least, and `degree` as their aim.
    pub(crate) fn new(low: usize, degree: usize) -> Self {
        Members {
            topics: HashMap::new(),
            contacts: HashMap::new(),
            low: low.max(1),
            degree: degree.max(1),
        }
    }

    /// This node has joined a topic; `on` are connected peers that are on it.
    pub(crate) fn joined(
        &mut self,
        hash: TopicHash,
        name: &str,
        on: impl IntoIterator<Item = PeerId>,
        now: Instant,
    ) {
        let topic = self.topics.entry(hash.clone()).or_default();
        if topic.joined {
            return;
        }
        name.clone_into(&mut topic.name);
        topic.joined = true;
        topic.search.hurry(now);
        topic.announce.hurry(now);
        for peer in on {
            self.subscribed(peer, &hash, now);
        }
    }

    /// This node has left a topic. The key that it provides no more.
    pub(crate) fn left(&mut self, hash: &TopicHash) -> Option<Vec<u8>> {
        let topic = self.topics.get_mut(hash).filter(|t| t.joined)?;
        topic.joined = false;
        let key = key::key(&topic.name);
        if topic.published.is_none() {
            self.drop_topic(&hash.clone());
        }
        Some(key)
    }

    /// This host publishes to a topic; `on` tells the connected peers that are on
    /// it, and is asked when that is not known here. Whether there is something to
    /// do about it now.
    pub(crate) fn published<I: IntoIterator<Item = PeerId>>(
        &mut self,
        hash: &TopicHash,
        name: &str,
        on: impl FnOnce() -> I,
        now: Instant,
    ) -> bool {
        if let Some(topic) = self.topics.get_mut(hash) {
            let rested = |t: Instant| now.saturating_duration_since(t) >= PUBLISHED;
            let anew = !topic.joined && topic.published.is_none_or(rested);
            topic.published = Some(now);
            let alone = topic.on.is_empty();
            let begun = topic.search.begun();
            if alone && begun.is_none_or(|t| now.saturating_duration_since(t) >= WANTED_SEARCH) {
                topic.search.within(Duration::ZERO, now);
            }
            return anew || alone && topic.search.due(now);
        }
        let published = self.topics.iter().filter(|(_, t)| !t.joined);
        if published.clone().count() >= MAX_PUBLISHED
            && let Some((oldest, _)) = published.min_by_key(|(_, t)| t.published)
        {
            self.drop_topic(&oldest.clone());
        }
        let topic = Topic {
            name: name.to_owned(),
            published: Some(now),
            ..Topic::default()
        };
        self.topics.insert(hash.clone(), topic);
        for peer in on() {
            self.subscribed(peer, hash, now);
        }
        true
    }

    /// A connected peer is on a topic.
    pub(crate) fn subscribed(&mut self, peer: PeerId, hash: &TopicHash, now: Instant) {
        let Some(topic) = self.topics.get_mut(hash) else {
            return;
        };
        topic.away.remove(&peer);
        topic.on.insert(peer);
        let contact = self.contacts.entry(peer).or_default();
        if contact.connected.is_none() {
            contact.connect(now);
        }
    }

    /// A connected peer has left a topic.
    pub(crate) fn unsubscribed(&mut self, peer: &PeerId, hash: &TopicHash, now: Instant) {
        let low = self.low;
        if let Some(topic) = self.topics.get_mut(hash)
            && topic.on.remove(peer)
        {
            fewer(topic, low, now);
            self.forget(*peer);
        }
    }

    /// Whether members of a topic are being looked for: by a search, by a dial, or
    /// because one that is connected since a moment has not told its topics yet.
    pub(crate) fn is_looking(&self, hash: &TopicHash, now: Instant) -> bool {
        self.topics.get(hash).is_some_and(|topic| {
            let under_way = topic.search.is_under_way() || topic.dialing(&self.contacts) > 0;
            under_way || topic.is_awaited(now, &self.contacts)
        })
    }

    /// Whether a peer is, or may be, on some topic of this node.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.contacts.contains_key(peer)
    }

    /// Where a peer of this room can be dialed.
    pub(crate) fn learn(&mut self, peer: &PeerId, addrs: &[Multiaddr]) {
        if let Some(contact) = self.contacts.get_mut(peer) {
            contact.learn(addrs);
        }
    }

    /// A peer is connected, whoever dialed.
    pub(crate) fn connected(&mut self, peer: &PeerId, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(peer)
            && contact.connected.is_none()
        {
            contact.connect(now);
        }
    }

    /// The last connection of a peer has ended. `lost`: it broke off, and nobody
    /// had closed it.
    pub(crate) fn disconnected(&mut self, peer: &PeerId, lost: bool, now: Instant, chance: f64) {
        let Some(contact) = self.contacts.get_mut(peer) else {
            return;
        };
        contact.disconnect(now, lost, chance);
        let mut forgotten = Vec::new();
        for topic in self.topics.values_mut() {
            if topic.on.remove(peer) {
                forgotten.extend(topic.remember(*peer, true, now, &self.contacts));
                fewer(topic, self.low, now);
            }
        }
        forgotten.into_iter().for_each(|peer| self.forget(peer));
    }

    /// A dial of a peer failed, whoever had begun it.
    pub(crate) fn failed(&mut self, peer: &PeerId) {
        if let Some(contact) = self.contacts.get_mut(peer).filter(|c| c.dialing) {
            contact.failed();
        }
    }

    /// The operator has disconnected a peer: it is not dialed for some time.
    pub(crate) fn dismissed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(peer) {
            contact.shun(now + DISMISSED);
        }
    }

    /// The DHT names a member of a topic, with addresses.
    pub(crate) fn found(
        &mut self,
        hash: &TopicHash,
        peer: PeerId,
        addrs: &[Multiaddr],
        connected: bool,
        now: Instant,
    ) {
        let Some(topic) = self.topics.get_mut(hash) else {
            return;
        };
        if topic.on.contains(&peer) {
            return;
        }
        let contact = self.contacts.entry(peer).or_default();
        contact.learn(addrs);
        if connected && contact.connected.is_none() {
            contact.connect(now);
        }
        if let Some(forgotten) = topic.remember(peer, false, now, &self.contacts) {
            self.forget(forgotten);
        }
    }

    /// A search has ended.
    pub(crate) fn searched(&mut self, hash: &TopicHash, now: Instant, chance: f64) {
        if let Some(topic) = self.topics.get_mut(hash) {
            let (first, factor, longest) = ALONE_SEARCH;
            let pauses = match topic.on.is_empty() {
                true if topic.search.step() >= VAIN.0 => (first, factor, VAIN.1),
                true => (first, factor, longest),
                false => FEW_SEARCH,
            };
            topic.search.end(now, pauses, chance);
        }
    }

    /// An announcement has ended.
    pub(crate) fn announced(&mut self, hash: &TopicHash, ok: bool, now: Instant, chance: f64) {
        if let Some(topic) = self.topics.get_mut(hash) {
            let pauses = if ok { ANNOUNCE } else { ANNOUNCE_AGAIN };
            topic.announce.end(now, pauses, chance);
        }
    }

    /// This node has come to its network, or come back.
    pub(crate) fn entered(&mut self, now: Instant) {
        for topic in self.topics.values_mut() {
            if topic.on.len() < self.low {
                topic.search.hurry(now);
            }
            let begun = topic.announce.begun();
            if begun.is_none_or(|t| now.saturating_duration_since(t) >= ANNOUNCED_LATELY) {
                topic.announce.hurry(now);
            }
        }
    }

    /// What is to be done at `now`; to be asked once a second, and when something
    /// has happened that cannot wait. `dht` says that a node of the DHT is known,
    /// `refuses` that a peer does not want to be kept by this node at present.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        dht: bool,
        refuses: impl Fn(&PeerId) -> bool,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<Deed> {
        let old = |topic: &Topic, age: Duration| {
            let over = |t: Instant| now.saturating_duration_since(t) >= age;
            topic.published.is_none_or(over)
        };
        let over: Vec<TopicHash> = self
            .topics
            .iter()
            .filter(|(_, t)| !t.joined && old(t, PUBLISHED_ONCE))
            .map(|(hash, _)| hash.clone())
            .collect();
        over.iter().for_each(|hash| self.drop_topic(hash));
        let mut deeds = Vec::new();
        let (mut searches, mut announcements) = (SEARCHES, ANNOUNCEMENTS);
        for topic in self.topics.values_mut() {
            topic.miss(now, &self.contacts);
            searches = searches.saturating_sub(topic.search.is_under_way().into());
            announcements = announcements.saturating_sub(topic.announce.is_under_way().into());
        }
        let (mut searches, mut announcements) = (searches.min(A_TICK), announcements.min(A_TICK));
        let dialing = self.contacts.values().filter(|c| c.dialing).count();
        let mut dials = DIALS.saturating_sub(dialing);
        // Where nobody is goes first, then what waits for longest.
        let mut order: Vec<(usize, Option<Instant>, TopicHash)> = self
            .topics
            .iter()
            .filter(|(_, t)| t.joined || !old(t, PUBLISHED))
            .map(|(hash, t)| (t.on.len(), t.search.since(), hash.clone()))
            .collect();
        order.sort_unstable();
        for (on, _, hash) in order {
            let Some(topic) = self.topics.get_mut(&hash) else {
                continue;
            };
            if on < self.low && dht && searches > 0 && topic.search.due(now) {
                searches -= 1;
                topic.search.begin(now);
                deeds.push(Deed::Search(hash.clone(), key::key(&topic.name)));
            }
            if topic.joined && dht && announcements > 0 && topic.announce.due(now) {
                announcements -= 1;
                topic.announce.begin(now);
                deeds.push(Deed::Announce(hash.clone(), key::key(&topic.name)));
            }
            let under_way = topic.dialing(&self.contacts);
            let (lacking, most) = match on {
                0 => (self.low, ALONE_DIAL),
                on if on < self.low => (self.low - on, FEW_DIAL),
                _ => (1, ENOUGH_DIAL),
            };
            let room = lacking.saturating_sub(under_way).min(dials);
            let enough = on >= self.low;
            let chosen = topic.candidates(room, now, most, &self.contacts, |peer, contact| {
                (!enough || contact.lost) && (on == 0 || !refuses(peer))
            });
            for peer in chosen {
                if let Some(contact) = self.contacts.get_mut(&peer) {
                    dials -= 1;
                    contact.dial(now, chance());
                    deeds.push(Deed::Dial(peer, contact.addrs().to_vec()));
                }
            }
        }
        deeds
    }

    /// The connections to keep, and why. `in_mesh` says whether a peer is in the
    /// mesh of a topic, which keeps it already; `refuses` that it does not want to
    /// be kept at present, so that others are kept rather.
    pub(crate) fn links(
        &mut self,
        now: Instant,
        in_mesh: impl Fn(&TopicHash, &PeerId) -> bool,
        refuses: impl Fn(&PeerId) -> bool,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<(PeerId, Link)> {
        let mut publishing = HashSet::new();
        let mut members = HashSet::new();
        for (hash, topic) in &mut self.topics {
            let publishes = topic
                .published
                .is_some_and(|t| now.saturating_duration_since(t) < PUBLISHED);
            let outside = |p: &PeerId| !topic.joined || !in_mesh(hash, p);
            let mesh = topic.on.iter().filter(|p| !outside(p)).count();
            let wanted = match topic.joined {
                true => self.low.saturating_sub(mesh).max(LINKS),
                false if publishes => self.degree,
                false => 0,
            };
            topic
                .links
                .retain(|p| topic.on.contains(p) && outside(p) && !refuses(p));
            topic.links.truncate(wanted);
            for refusing in [false, true] {
                let lacking = wanted - topic.links.len();
                if lacking == 0 {
                    break;
                }
                let mut free: Vec<PeerId> = topic
                    .on
                    .iter()
                    .filter(|p| outside(p) && !topic.links.contains(p) && refuses(p) == refusing)
                    .copied()
                    .collect();
                for _ in 0..lacking.min(free.len()) {
                    let at = (chance() * free.len() as f64) as usize;
                    topic.links.push(free.swap_remove(at.min(free.len() - 1)));
                }
            }
            match topic.joined {
                true => {
                    let room = MAX_LINKS.saturating_sub(members.len());
                    members.extend(topic.links.iter().take(room));
                }
                false => publishing.extend(&topic.links),
            }
        }
        let members = members.into_iter().map(|p| (p, Link::Topic));
        let publishing = publishing.into_iter().map(|p| (p, Link::Publishing));
        members.chain(publishing).collect()
    }

    fn drop_topic(&mut self, hash: &TopicHash) {
        if let Some(topic) = self.topics.remove(hash) {
            let named = topic.on.into_iter().chain(topic.away.into_keys());
            named.for_each(|peer| self.forget(peer));
        }
    }

    /// Drops a peer that no topic names any more.
    fn forget(&mut self, peer: PeerId) {
        let named = |t: &Topic| t.on.contains(&peer) || t.away.contains_key(&peer);
        if !self.topics.values().any(named) {
            self.contacts.remove(&peer);
        }
    }
}

/// A member of the topic has gone: when it leaves too few, others are looked for
/// at once, a few times a minute at most.
fn fewer(topic: &mut Topic, low: usize, now: Instant) {
    let left = topic.on.len();
    if left == 0 || left + 1 == low {
        topic.search.hurry_if_rested(now);
    }
}

#[cfg(test)]
mod tests;
