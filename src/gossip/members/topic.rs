//! One topic: who is on it, who was, and when others are looked for.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::contact::{Contact, GONE};
use super::pace::Pace;

/// Members remembered of a topic beside those that are connected: two of a default
/// mesh. A node that was cut off needs one of them; that all are gone at once means
/// that the network is another one, which the DHT knows.
pub(super) const MAX_AWAY: usize = 16;

/// A peer that is connected and has not said within this time that it is on the
/// topic is not: subscriptions are the first that gossip says.
const SETTLES: Duration = Duration::from_secs(5);

/// It is not dialed for this topic for so long. What the DHT says of members may be
/// two days old.
const ABSENT: Duration = Duration::from_secs(600);

/// A member that is not connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Away {
    /// It was on the topic, as this node saw; of others the DHT says so.
    pub(super) met: bool,
    /// When it was seen last, or heard of.
    pub(super) since: Instant,
    /// It was connected and not on the topic: not dialed before this.
    pub(super) absent: Option<Instant>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    pub(super) name: String,
    /// This node is on it.
    pub(super) joined: bool,
    /// When this host published to it last, and when that was noted for the holds.
    pub(super) published: Option<Instant>,
    /// Connected peers that are on it; bounded by the limits of connections.
    pub(super) on: HashSet<PeerId>,
    /// At most [`MAX_AWAY`].
    pub(super) away: HashMap<PeerId, Away>,
    pub(super) search: Pace,
    pub(super) announce: Pace,
    /// Connected peers chosen to be kept; at most as many as the mesh's degree.
    pub(super) links: Vec<PeerId>,
}

/// The order in which members are remembered: the first to be forgotten comes last.
fn rank(away: &Away, contact: Option<&Contact>) -> (bool, bool, u32, std::cmp::Reverse<Instant>) {
    let failures = contact.map_or(0, Contact::failures);
    (
        failures >= GONE || away.absent.is_some(),
        !away.met,
        failures,
        std::cmp::Reverse(away.since),
    )
}

impl Topic {
    /// Remembers a member that is not connected. When there are too many, answers
    /// the one that is forgotten for it.
    pub(super) fn remember(
        &mut self,
        peer: PeerId,
        met: bool,
        now: Instant,
        contacts: &HashMap<PeerId, Contact>,
    ) -> Option<PeerId> {
        let entry = self.away.entry(peer).or_insert(Away {
            met,
            since: now,
            absent: None,
        });
        entry.met |= met;
        entry.since = now;
        if met {
            entry.absent = None;
        }
        if self.away.len() <= MAX_AWAY {
            return None;
        }
        let last = self
            .away
            .iter()
            .max_by_key(|(peer, away)| (rank(away, contacts.get(*peer)), **peer));
        let last = last.map(|(peer, _)| *peer)?;
        self.away.remove(&last);
        Some(last)
    }

    /// Notes who is connected and not on the topic.
    pub(super) fn miss(&mut self, now: Instant, contacts: &HashMap<PeerId, Contact>) {
        for (peer, away) in &mut self.away {
            let connected = contacts.get(peer).and_then(|c| c.connected);
            if connected.is_some_and(|t| now.saturating_duration_since(t) >= SETTLES) {
                away.absent = Some(now + ABSENT);
            }
        }
    }

    /// Whether one that is connected may still say that it is on the topic.
    pub(super) fn is_awaited(&self, now: Instant, contacts: &HashMap<PeerId, Contact>) -> bool {
        let fresh = |t: Instant| now.saturating_duration_since(t) < SETTLES;
        let connected = |peer: &PeerId| contacts.get(peer)?.connected;
        self.away.keys().any(|p| connected(p).is_some_and(fresh))
    }

    /// Those to dial now, at most `room`, the most promising first.
    pub(super) fn candidates(
        &self,
        room: usize,
        now: Instant,
        most: Duration,
        contacts: &HashMap<PeerId, Contact>,
        wanted: impl Fn(&PeerId, &Contact) -> bool,
    ) -> Vec<PeerId> {
        if room == 0 {
            return Vec::new();
        }
        let mut due: Vec<_> = self
            .away
            .iter()
            .filter(|(_, away)| away.absent.is_none_or(|t| now >= t))
            .filter_map(|(peer, _)| Some((peer, contacts.get(peer)?)))
            .filter(|(peer, contact)| contact.due(now, most) && wanted(peer, contact))
            .map(|(peer, contact)| (contact.failures(), contact.tried(), *peer))
            .collect();
        due.sort_unstable();
        due.truncate(room);
        due.into_iter().map(|(_, _, peer)| peer).collect()
    }

    /// How many of its members are being dialed.
    pub(super) fn dialing(&self, contacts: &HashMap<PeerId, Contact>) -> usize {
        let dialing = |peer: &&PeerId| contacts.get(*peer).is_some_and(|c| c.dialing);
        self.away.keys().filter(dialing).count()
    }
}
