//! The blacklist: who is refused, why, by whom and until when.
//!
//! # When a ban ends
//!
//! A ban is written down with the time of day at which it began and ends, and
//! kept in force by the monotonic clock, because a host without a battery-backed
//! clock boots in the past and is set right minutes later:
//!
//! - One made in this run lasts as long as it was meant to, whatever the time of
//!   day does meanwhile. When the clock is stepped, its times are moved along
//!   and written down again.
//! - One that was read from the disk ends at the time of day it says. Read by a
//!   clock that stands before the ban's own beginning, and therefore cannot be
//!   right, it is in force for its whole length from now, and looked at again
//!   when the clock is stepped.
//! - An expired one is kept for a minute before it is removed from the disk, so
//!   that a clock that stood too far ahead at boot and is set back within that
//!   minute ends no ban early. Later than that, it does: nothing else on the
//!   host is right either.
//!
//! # Subnets
//!
//! Peer ids are free, addresses are not. When [`SUBNET_AFTER`] different ids of
//! one subnet were banned automatically within an hour, the subnet itself is
//! banned, each time for longer. It is an IPv4 address or an IPv6 /56; a wider
//! one in `P2P_SUBNET_PREFIXES` is for the limits alone, since five ids are no
//! reason to cut off a whole provider, and a narrower one is taken. Honest peers may share an address with an attacker, behind a
//! carrier's NAT; so it takes several bans, the ban is at most a day, and it is
//! never made for loopback nor for a subnet in which an address of the
//! configuration is (a bootstrap peer's or relay's that is given by its number),
//! or in which a trusted peer was met in this run. Made all the same, it does not
//! hold for a trusted peer once its handshake is done. Circuits through relays have no address of their own, and a relay
//! does not answer for who comes through it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libp2p::PeerId;

use super::reputation::STRIKE_HALF_LIFE;
use crate::system::moment::Moment;

/// Bans that operators may set. Large block lists have some tens of thousands of
/// ranges; about 200 bytes each.
pub const MAX_OPERATOR: usize = 65_536;

/// Bans that the node sets by itself; the one that would end first makes room.
/// Operators' bans never do.
pub const MAX_AUTOMATIC: usize = 4_096;

/// Longest reason kept, in bytes: a sentence.
pub const MAX_REASON: usize = 256;

/// Longest ban with an end; ten years, as the longest duration of the
/// configuration.
pub const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// So many banned ids of one subnet within [`SUBNET_WINDOW`] ban the subnet.
pub const SUBNET_AFTER: usize = 5;

/// See [`SUBNET_AFTER`].
pub const SUBNET_WINDOW: Duration = Duration::from_secs(3600);

/// First ban of a subnet.
const SUBNET_FIRST: Duration = Duration::from_secs(600);

/// Longest ban of a subnet: addresses change hands.
const SUBNET_LONGEST: Duration = Duration::from_secs(86_400);

/// Subnets whose banned ids are counted; the one that was quiet for longest
/// makes room. An attacker with more subnets than this is not stopped by bans
/// of subnets.
const MAX_SUBNETS: usize = 1_024;

/// Expired bans are kept this long; see the module's documentation.
const GRACE: Duration = Duration::from_secs(60);

/// The time of day may differ by so much from what the monotonic clock says
/// before it counts as stepped: NTP slews smaller errors.
const STEP: Duration = Duration::from_secs(5);

/// Whom a ban is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// One peer, wherever it comes from.
    Peer(PeerId),
    /// Whoever comes from these addresses.
    Net(IpNet),
}

impl Target {
    /// A network in the form that it is kept in: without host bits, and an IPv4
    /// network in IPv6 clothes (`::ffff:0:0/96`) as what it is.
    pub fn net(net: IpNet) -> Target {
        if let IpNet::V6(v6) = net
            && v6.prefix_len() >= 96
            && let Some(v4) = v6.addr().to_ipv4_mapped()
            && let Ok(v4) = IpNet::new(v4.into(), v6.prefix_len() - 96)
        {
            return Target::Net(v4.trunc());
        }
        Target::Net(net.trunc())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Peer(peer) => peer.fmt(f),
            Target::Net(net) => net.fmt(f),
        }
    }
}

/// A text is neither a peer id nor an address range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a peer id such as 12D3KooW… nor an address or range such as 192.0.2.0/24"
)]
pub struct NotATarget(String);

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Target::net(net));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Target::net(ip.into()));
        }
        text.parse()
            .map(Target::Peer)
            .map_err(|_| NotATarget(text.to_owned()))
    }
}

/// Who set a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// An operator, by command.
    Operator,
    /// The node itself.
    Automatic,
}

impl Author {
    /// `operator` or `automatic`.
    pub fn name(self) -> &'static str {
        match self {
            Author::Operator => "operator",
            Author::Automatic => "automatic",
        }
    }
}

/// One entry of the blacklist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom.
    pub target: Target,
    /// Why, one line; may be empty.
    pub reason: String,
    /// By whom.
    pub author: Author,
    /// Since when.
    pub since: SystemTime,
    /// Until when; `None` for good.
    pub until: Option<SystemTime>,
    /// How often this target was banned automatically, this time included; the
    /// next ban is the longer for it. Zero for an operator's.
    pub times: u32,
}

/// Why a ban was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// There are as many as there may be.
    #[error(
        "this node holds {MAX_OPERATOR} bans of operators already, the most that it keeps; lift some with `p2p-node unban`, or ban wider ranges"
    )]
    Full,
}

#[derive(Clone, Debug)]
struct Entry {
    ban: Ban,
    /// When it ends by the monotonic clock.
    ends: Option<Instant>,
    /// Made in this run, so that its times of day are as right as the clock was.
    fresh: bool,
}

impl Entry {
    fn in_force(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

/// Banned ids of one subnet.
#[derive(Clone, Debug)]
struct Crowd {
    recent: VecDeque<(Instant, PeerId)>,
    strikes: f64,
    at: Instant,
}

/// What has to be written down: a ban to keep, or one to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write it, over an earlier one of the same target.
    Keep(Ban),
    /// Remove it.
    Remove(Target),
}

/// The bans, apart from disk and network. Time is an argument.
///
/// A peer is looked up by its id; an address by one look-up for each prefix
/// length that is in use, of which there are a handful in practice and 33 or 129
/// at the very most. So ten thousand ranges cost what ten do.
#[derive(Debug, Default)]
pub struct BanList {
    peers: HashMap<PeerId, Entry>,
    nets: HashMap<IpNet, Entry>,
    /// Prefix lengths in use with their number of bans, for IPv4 and IPv6.
    lengths: [Vec<(u8, u32)>; 2],
    operators: usize,
    /// How many end when: those in force are counted without a look at each.
    ends: BTreeMap<Instant, usize>,
    crowds: HashMap<IpNet, Crowd>,
    unsaved: Vec<Change>,
    /// Where both clocks stood at the last look.
    clock: Option<Moment>,
}

impl BanList {
    /// The ban of this peer, if it is in force.
    pub fn peer(&self, peer: &PeerId, now: Instant) -> Option<&Ban> {
        let entry = self.peers.get(peer)?;
        entry.in_force(now).then_some(&entry.ban)
    }

    /// A ban that this address falls under, the widest range first.
    pub fn ip(&self, ip: IpAddr, now: Instant) -> Option<&Ban> {
        self.ip_of(ip, now, |_| true)
    }

    /// As [`Self::ip`], of the bans of operators alone.
    pub fn ip_by_operator(&self, ip: IpAddr, now: Instant) -> Option<&Ban> {
        self.ip_of(ip, now, |ban| ban.author == Author::Operator)
    }

    fn ip_of(&self, ip: IpAddr, now: Instant, counts: impl Fn(&Ban) -> bool) -> Option<&Ban> {
        let ip = ip.to_canonical();
        for (length, _) in &self.lengths[usize::from(ip.is_ipv6())] {
            let Ok(net) = IpNet::new(ip, *length) else {
                continue;
            };
            if let Some(entry) = self.nets.get(&net.trunc())
                && entry.in_force(now)
                && counts(&entry.ban)
            {
                return Some(&entry.ban);
            }
        }
        None
    }

    /// Whether there are no bans of addresses at all.
    pub fn no_nets(&self) -> bool {
        self.nets.is_empty()
    }

    /// Bans for an operator: `length` of `None` is for good. One more ban of the
    /// same target takes the place of the earlier.
    ///
    /// # Errors
    /// [`BanError::Full`].
    pub fn by_operator(
        &mut self,
        target: Target,
        length: Option<Duration>,
        reason: &str,
        now: Moment,
    ) -> Result<Ban, BanError> {
        let had = self
            .entry(&target)
            .is_some_and(|e| e.ban.author == Author::Operator);
        if !had && self.operators >= MAX_OPERATOR {
            return Err(BanError::Full);
        }
        Ok(self.insert(target, Author::Operator, length, reason, 0, now))
    }

    /// Bans by the node itself. An operator's ban of the same target stands, and
    /// so does a longer one of the node's own.
    pub fn automatic(
        &mut self,
        target: Target,
        length: Duration,
        reason: &str,
        times: u32,
        now: Moment,
    ) -> Option<Ban> {
        if let Some(entry) = self.entry(&target).filter(|e| e.in_force(now.mono)) {
            let longer = entry.ends.is_none_or(|ends| ends >= now.mono + length);
            if entry.ban.author == Author::Operator || longer {
                return None;
            }
        }
        let automatic = self.peers.len() + self.nets.len() - self.operators;
        if self.entry(&target).is_none() && automatic >= MAX_AUTOMATIC {
            self.drop_soonest();
        }
        Some(self.insert(target, Author::Automatic, Some(length), reason, times, now))
    }

    /// A peer of the subnet `net` was banned by the node itself. When it is one
    /// too many, answers for how long the subnet is to be banned, and for which
    /// time.
    pub fn crowd(&mut self, net: IpNet, peer: &PeerId, now: Instant) -> Option<(Duration, u32)> {
        if self.crowds.len() >= MAX_SUBNETS
            && !self.crowds.contains_key(&net)
            && let Some(quiet) = self
                .crowds
                .iter()
                .min_by_key(|(_, c)| c.at)
                .map(|(net, _)| *net)
        {
            self.crowds.remove(&quiet);
        }
        let crowd = self.crowds.entry(net).or_insert(Crowd {
            recent: VecDeque::new(),
            strikes: 0.0,
            at: now,
        });
        let quiet = now.saturating_duration_since(crowd.at);
        crowd.strikes *= (-quiet.as_secs_f64() / STRIKE_HALF_LIFE.as_secs_f64()).exp2();
        crowd.at = now;
        crowd
            .recent
            .retain(|(at, id)| now.saturating_duration_since(*at) < SUBNET_WINDOW && id != peer);
        crowd.recent.push_back((now, *peer));
        if crowd.recent.len() < SUBNET_AFTER {
            return None;
        }
        crowd.recent.clear();
        let before = crowd.strikes.round().min(16.0);
        crowd.strikes += 1.0;
        let length = SUBNET_FIRST.mul_f64(4f64.powf(before)).min(SUBNET_LONGEST);
        Some((length, before as u32 + 1))
    }

    /// Lifts a ban; `None` when there is none.
    pub fn lift(&mut self, target: &Target, now: Instant) -> Option<Ban> {
        let entry = self.remove(target)?;
        if let Target::Net(net) = target {
            self.crowds.remove(net);
        }
        self.unsaved.push(Change::Remove(*target));
        entry.in_force(now).then_some(entry.ban)
    }

    /// The bans in force, in no order.
    pub fn list(&self, now: Instant) -> Vec<Ban> {
        let all = self.peers.values().chain(self.nets.values());
        let in_force = all.filter(|entry| entry.in_force(now));
        in_force.map(|entry| entry.ban.clone()).collect()
    }

    /// Bans in force.
    pub fn in_force(&self, now: Instant) -> usize {
        self.len() - self.ends.range(..=now).map(|(_, n)| n).sum::<usize>()
    }

    /// Bans kept, expired ones that were not yet removed included.
    pub fn len(&self) -> usize {
        self.peers.len() + self.nets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in a ban that an earlier run wrote down.
    pub fn restore(&mut self, mut ban: Ban, now: Moment) {
        self.clock.get_or_insert(now);
        if let Target::Net(net) = ban.target {
            ban.target = Target::net(net);
        }
        ban.reason = bounded(&ban.reason);
        let full = match ban.author {
            Author::Operator => self.operators >= MAX_OPERATOR,
            Author::Automatic => self.len() - self.operators >= MAX_AUTOMATIC,
        };
        if full && self.entry(&ban.target).is_none() {
            self.unsaved.push(Change::Remove(ban.target));
            return;
        }
        if let (Target::Net(net), Author::Automatic) = (ban.target, ban.author) {
            let crowd = Crowd {
                recent: VecDeque::new(),
                strikes: f64::from(ban.times.min(16)),
                at: now.mono,
            };
            if self.crowds.len() < MAX_SUBNETS {
                self.crowds.insert(net, crowd);
            }
        }
        let entry = Entry {
            ends: ban
                .until
                .map(|until| now.mono + remaining(&ban, until, now)),
            ban,
            fresh: false,
        };
        self.put(entry);
    }

    /// Looks at both clocks, and removes what has expired.
    pub fn tend(&mut self, now: Moment) {
        let step = match self.clock.replace(now) {
            Some(before) => stepped(before, now),
            None => None,
        };
        if let Some(step) = step {
            self.follow(step, now);
        }
        let gone: Vec<Target> = self
            .peers
            .values()
            .chain(self.nets.values())
            .filter(|e| e.ends.is_some_and(|ends| ends + GRACE <= now.mono))
            .map(|e| e.ban.target)
            .collect();
        for target in gone {
            self.remove(&target);
            self.unsaved.push(Change::Remove(target));
        }
        self.crowds.retain(|_, crowd| {
            let quiet = now.mono.saturating_duration_since(crowd.at);
            quiet < SUBNET_WINDOW || (crowd.strikes >= 0.5 && quiet < STRIKE_HALF_LIFE)
        });
    }

    /// What has to be written down, in order. It counts as written from here on.
    pub fn take_unsaved(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.unsaved)
    }

    /// Puts back what could not be written, before what came since.
    pub fn put_back(&mut self, mut changes: Vec<Change>) {
        changes.append(&mut self.unsaved);
        self.unsaved = changes;
        if self.unsaved.len() > 4 * MAX_AUTOMATIC {
            // A disk that is away for days: the list itself says all that counts.
            let all = self.peers.values().chain(self.nets.values());
            self.unsaved = all.map(|e| Change::Keep(e.ban.clone())).collect();
        }
    }

    /// Whether something waits to be written down.
    pub fn is_dirty(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// The time of day was stepped.
    fn follow(&mut self, step: Step, now: Moment) {
        let mut rewritten = Vec::new();
        for entry in self.peers.values_mut().chain(self.nets.values_mut()) {
            if entry.fresh {
                entry.ban.since = step.apply(entry.ban.since);
                entry.ban.until = entry.ban.until.map(|until| step.apply(until));
                rewritten.push(Change::Keep(entry.ban.clone()));
            } else if let Some(until) = entry.ban.until {
                entry.ends = Some(now.mono + remaining(&entry.ban, until, now));
            }
        }
        self.unsaved.extend(rewritten);
        self.ends.clear();
        for entry in self.peers.values().chain(self.nets.values()) {
            if let Some(ends) = entry.ends {
                *self.ends.entry(ends).or_default() += 1;
            }
        }
    }

    fn entry(&self, target: &Target) -> Option<&Entry> {
        match target {
            Target::Peer(peer) => self.peers.get(peer),
            Target::Net(net) => self.nets.get(net),
        }
    }

    fn insert(
        &mut self,
        target: Target,
        author: Author,
        length: Option<Duration>,
        reason: &str,
        times: u32,
        now: Moment,
    ) -> Ban {
        self.clock.get_or_insert(now);
        let length = length.map(|l| l.min(LONGEST));
        let ban = Ban {
            target,
            reason: bounded(reason),
            author,
            since: now.wall,
            until: length.and_then(|l| now.wall.checked_add(l)),
            times,
        };
        self.put(Entry {
            ban: ban.clone(),
            ends: length.map(|l| now.mono + l),
            fresh: true,
        });
        self.unsaved.push(Change::Keep(ban.clone()));
        ban
    }

    fn put(&mut self, entry: Entry) {
        self.remove(&entry.ban.target);
        self.operators += usize::from(entry.ban.author == Author::Operator);
        if let Some(ends) = entry.ends {
            *self.ends.entry(ends).or_default() += 1;
        }
        match entry.ban.target {
            Target::Peer(peer) => {
                self.peers.insert(peer, entry);
            }
            Target::Net(net) => {
                let lengths = &mut self.lengths[usize::from(matches!(net, IpNet::V6(_)))];
                match lengths.binary_search_by_key(&net.prefix_len(), |l| l.0) {
                    Ok(at) => lengths[at].1 += 1,
                    Err(at) => lengths.insert(at, (net.prefix_len(), 1)),
                }
                self.nets.insert(net, entry);
            }
        }
    }

    fn remove(&mut self, target: &Target) -> Option<Entry> {
        let entry = match target {
            Target::Peer(peer) => self.peers.remove(peer)?,
            Target::Net(net) => {
                let entry = self.nets.remove(net)?;
                let lengths = &mut self.lengths[usize::from(matches!(net, IpNet::V6(_)))];
                if let Ok(at) = lengths.binary_search_by_key(&net.prefix_len(), |l| l.0) {
                    lengths[at].1 -= 1;
                    if lengths[at].1 == 0 {
                        lengths.remove(at);
                    }
                }
                entry
            }
        };
        self.operators -= usize::from(entry.ban.author == Author::Operator);
        if let Some(ends) = entry.ends
            && let Some(count) = self.ends.get_mut(&ends)
        {
            *count -= 1;
            if *count == 0 {
                self.ends.remove(&ends);
            }
        }
        Some(entry)
    }

    /// Makes room among the node's own bans.
    fn drop_soonest(&mut self) {
        let soonest = self
            .peers
            .values()
            .chain(self.nets.values())
            .filter(|e| e.ban.author == Author::Automatic)
            .min_by_key(|e| e.ends)
            .map(|e| e.ban.target);
        if let Some(target) = soonest {
            self.remove(&target);
            self.unsaved.push(Change::Remove(target));
        }
    }
}

/// How long a ban that was written down in an earlier run is still in force.
fn remaining(ban: &Ban, until: SystemTime, now: Moment) -> Duration {
    let length = until.duration_since(ban.since).unwrap_or_default();
    if now.wall < ban.since {
        return length.min(LONGEST);
    }
    until.duration_since(now.wall).unwrap_or_default()
}

/// By how much the time of day was set.
#[derive(Clone, Copy, Debug)]
struct Step {
    by: Duration,
    ahead: bool,
}

impl Step {
    fn apply(self, time: SystemTime) -> SystemTime {
        let moved = if self.ahead {
            time.checked_add(self.by)
        } else {
            time.checked_sub(self.by)
        };
        moved.unwrap_or(time)
    }
}

fn stepped(before: Moment, now: Moment) -> Option<Step> {
    let elapsed = now.mono.saturating_duration_since(before.mono);
    let expected = before.wall.checked_add(elapsed)?;
    let step = match now.wall.duration_since(expected) {
        Ok(by) => Step { by, ahead: true },
        Err(e) => Step {
            by: e.duration(),
            ahead: false,
        },
    };
    (step.by > STEP).then_some(step)
}

/// A reason as it is kept: one line, of bounded length.
fn bounded(reason: &str) -> String {
    let mut text: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.len() > MAX_REASON {
        let mut end = MAX_REASON;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
