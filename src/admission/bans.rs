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
//! one subnet (`P2P_SUBNET_PREFIXES`: an IPv4 address, an IPv6 /56) were banned
//! automatically within an hour, the subnet itself is banned, each time for
//! longer. Honest peers may share an address with an attacker, behind a
//! carrier's NAT; so it takes several bans, the ban is at most a day, and it is
//! never made for loopback nor for a subnet from which a trusted peer is
//! connected. Circuits through relays have no address of their own, and a relay
//! does not answer for who comes through it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libp2p::PeerId;

use super::reputation::STRIKE_HALF_LIFE;

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

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Goes on evenly while the process runs.
    pub mono: Instant,
    /// The time of day, which may be set.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Moment {
            mono: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

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
#[derive(Debug)]
pub struct BanList {
    peers: HashMap<PeerId, Entry>,
    nets: HashMap<IpNet, Entry>,
    /// Prefix lengths in use with their number of bans, for IPv4 and IPv6.
    lengths: [Vec<(u8, u32)>; 2],
    operators: usize,
    crowds: HashMap<IpNet, Crowd>,
    unsaved: Vec<Change>,
    /// Where both clocks stood at the last look.
    clock: Option<Moment>,
}

impl Default for BanList {
    fn default() -> Self {
        BanList {
            peers: HashMap::new(),
            nets: HashMap::new(),
            lengths: [Vec::new(), Vec::new()],
            operators: 0,
            crowds: HashMap::new(),
            unsaved: Vec::new(),
            clock: None,
        }
    }
}

impl BanList {
    /// The ban of this peer, if it is in force.
    pub fn peer(&self, peer: &PeerId, now: Instant) -> Option<&Ban> {
        let entry = self.peers.get(peer)?;
        entry.in_force(now).then_some(&entry.ban)
    }

    /// A ban that this address falls under, the widest range first.
    pub fn ip(&self, ip: IpAddr, now: Instant) -> Option<&Ban> {
        let ip = ip.to_canonical();
        for (length, _) in &self.lengths[usize::from(ip.is_ipv6())] {
            let Ok(net) = IpNet::new(ip, *length) else {
                continue;
            };
            if let Some(entry) = self.nets.get(&net.trunc())
                && entry.in_force(now)
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

    /// The bans in force, the latest first.
    pub fn list(&self, now: Instant) -> Vec<Ban> {
        let mut list: Vec<Ban> = self
            .peers
            .values()
            .chain(self.nets.values())
            .filter(|e| e.in_force(now))
            .map(|e| e.ban.clone())
            .collect();
        list.sort_by(|a, b| b.since.cmp(&a.since).then(a.target.cmp(&b.target)));
        list
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

    /// Looks at both clocks, and removes what has expired. Says whether a ban
    /// ended or came into force again, so that whoever caches must look anew.
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
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn moment() -> Moment {
        Moment {
            mono: Instant::now() + 1000 * HOUR,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        }
    }

    fn after(m: Moment, by: Duration) -> Moment {
        Moment {
            mono: m.mono + by,
            wall: m.wall + by,
        }
    }

    fn net(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn targets_are_read_in_every_form_and_kept_in_one() {
        let peer = PeerId::random();
        assert_eq!(net(&peer.to_string()), Target::Peer(peer));
        assert_eq!(net("192.0.2.77/24").to_string(), "192.0.2.0/24");
        assert_eq!(net("192.0.2.77").to_string(), "192.0.2.77/32");
        assert_eq!(net("2001:db8::1/32").to_string(), "2001:db8::/32");
        assert_eq!(net("::ffff:192.0.2.1").to_string(), "192.0.2.1/32");
        assert_eq!(net("::ffff:192.0.2.0/120").to_string(), "192.0.2.0/24");
        let wrong = "192.0.2.0/33".parse::<Target>().unwrap_err().to_string();
        assert!(wrong.contains("neither a peer id"), "{wrong}");
    }

    #[test]
    fn a_timed_ban_ends_and_a_permanent_one_does_not() {
        let (mut bans, t, peer) = (BanList::default(), moment(), PeerId::random());
        bans.by_operator(Target::Peer(peer), Some(HOUR), "spam", t)
            .unwrap();
        bans.by_operator(net("192.0.2.0/24"), None, "", t).unwrap();
        assert_eq!(bans.peer(&peer, t.mono).unwrap().reason, "spam");
        let later = after(t, HOUR);
        assert!(bans.peer(&peer, later.mono).is_none());
        assert!(
            bans.ip(ip("192.0.2.9"), (after(t, 900 * HOUR)).mono)
                .is_some()
        );
        bans.take_unsaved();
        bans.tend(after(later, GRACE));
        assert_eq!(bans.take_unsaved(), [Change::Remove(Target::Peer(peer))]);
        assert_eq!(bans.len(), 1);
    }

    #[test]
    fn an_address_is_found_under_every_prefix_length() {
        let (mut bans, t) = (BanList::default(), moment());
        for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::/1"] {
            bans.by_operator(net(text), None, text, t).unwrap();
        }
        let found = |text: &str| bans.ip(ip(text), t.mono).map(|b| b.reason.clone());
        assert_eq!(found("10.255.1.2").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(found("::ffff:10.0.0.1").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(found("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(found("192.0.2.2"), None);
        assert_eq!(found("2001:db8::9").as_deref(), Some("::/1"));
        assert_eq!(found("fe80::1"), None);
        for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::/1"] {
            assert!(bans.lift(&net(text), t.mono).is_some());
        }
        assert!(bans.lengths.iter().all(Vec::is_empty));
        assert!(bans.lift(&net("10.0.0.0/8"), t.mono).is_none());
    }

    #[test]
    fn the_nodes_own_bans_never_push_out_or_shorten_an_operators() {
        let (mut bans, t) = (BanList::default(), moment());
        let theirs = Target::Peer(PeerId::random());
        bans.by_operator(theirs, Some(HOUR), "mine", t).unwrap();
        assert!(bans.automatic(theirs, 48 * HOUR, "x", 1, t).is_none());
        for n in 0..MAX_AUTOMATIC + 100 {
            let long = Duration::from_secs(600 + n as u64);
            let who = Target::Peer(PeerId::random());
            assert!(bans.automatic(who, long, "flood", 1, t).is_some());
        }
        assert_eq!(bans.len(), MAX_AUTOMATIC + 1);
        assert_eq!(bans.list(t.mono).len(), MAX_AUTOMATIC + 1);
        // Those that would have ended first made room.
        let shortest = bans.list(t.mono).into_iter().filter_map(|b| b.until).min();
        assert_eq!(shortest, Some(t.wall + Duration::from_secs(700)));
        // An operator's word replaces the node's.
        let who = bans.list(t.mono)[0].target;
        bans.by_operator(who, None, "for good", t).unwrap();
        assert_eq!(bans.len(), MAX_AUTOMATIC + 1);
    }

    #[test]
    fn a_shorter_automatic_ban_does_not_shorten_a_longer() {
        let (mut bans, t) = (BanList::default(), moment());
        let who = Target::Peer(PeerId::random());
        assert!(bans.automatic(who, HOUR, "a", 1, t).is_some());
        assert!(bans.automatic(who, HOUR / 2, "b", 2, t).is_none());
        let longer = bans.automatic(who, 2 * HOUR, "c", 2, t).unwrap();
        assert_eq!(longer.until, Some(t.wall + 2 * HOUR));
        // What has ended does not count.
        let later = after(t, 3 * HOUR);
        assert!(bans.automatic(who, HOUR, "d", 3, later).is_some());
    }

    #[test]
    fn the_fifth_banned_id_of_a_subnet_within_an_hour_is_one_too_many() {
        let (mut bans, t) = (BanList::default(), moment().mono);
        let subnet: IpNet = "192.0.2.1/32".parse().unwrap();
        let same = PeerId::random();
        for _ in 0..10 {
            assert_eq!(bans.crowd(subnet, &same, t), None, "one id is one id");
        }
        for n in 0..3 {
            assert_eq!(
                bans.crowd(subnet, &PeerId::random(), t + HOUR / 10 * n),
                None
            );
        }
        let first = bans.crowd(subnet, &PeerId::random(), t + HOUR / 2);
        assert_eq!(first, Some((SUBNET_FIRST, 1)));
        // Again: longer, and never longer than a day.
        let mut lengths = Vec::new();
        for _ in 0..5 * SUBNET_AFTER {
            lengths.extend(bans.crowd(subnet, &PeerId::random(), t + HOUR));
        }
        let secs: Vec<u64> = lengths.iter().map(|(l, _)| l.as_secs()).collect();
        assert_eq!(secs, [2400, 9600, 38_400, 86_400, 86_400]);
        // Spread over more than an hour they are no crowd.
        let other: IpNet = "198.51.100.0/24".parse().unwrap();
        for n in 0..20 {
            let at = t + HOUR / 4 * n;
            assert_eq!(bans.crowd(other, &PeerId::random(), at), None, "{n}");
        }
        for _ in 0..2 * MAX_SUBNETS {
            let n: u32 = rand::random();
            let net = IpNet::new(std::net::Ipv4Addr::from(n).into(), 32).unwrap();
            bans.crowd(net, &same, t);
        }
        assert!(bans.crowds.len() <= MAX_SUBNETS);
    }

    #[test]
    fn bans_outlive_a_restart_and_end_when_they_said() {
        let (mut bans, t, peer) = (BanList::default(), moment(), PeerId::random());
        let ban = bans
            .by_operator(Target::Peer(peer), Some(HOUR), "x", t)
            .unwrap();
        assert_eq!(bans.take_unsaved(), [Change::Keep(ban.clone())]);
        let mut again = BanList::default();
        let restart = after(t, HOUR / 2);
        again.restore(ban, restart);
        assert!(again.peer(&peer, after(t, HOUR * 9 / 10).mono).is_some());
        assert!(again.peer(&peer, after(t, HOUR).mono).is_none());
        assert!(!again.is_dirty());
    }

    #[test]
    fn a_clock_that_boots_in_the_past_ends_no_ban_and_lengthens_none_for_long() {
        let (t, peer) = (moment(), PeerId::random());
        let mut old = BanList::default();
        let ban = old
            .by_operator(Target::Peer(peer), Some(HOUR), "x", t)
            .unwrap();
        // Boots in 1970.
        let boot = Moment {
            wall: SystemTime::UNIX_EPOCH,
            ..t
        };
        let mut bans = BanList::default();
        bans.restore(ban, boot);
        assert!(bans.peer(&peer, boot.mono).is_some());
        // Made while the clock was wrong.
        let (fresh, minute) = (PeerId::random(), Duration::from_secs(60));
        bans.by_operator(Target::Peer(fresh), Some(HOUR), "y", after(boot, minute))
            .unwrap();
        bans.take_unsaved();
        // NTP sets it: half of the first ban is over, and the second goes on.
        let set = Moment {
            mono: boot.mono + 2 * minute,
            wall: t.wall + HOUR / 2,
        };
        bans.tend(set);
        assert!(
            bans.peer(&peer, (after(set, HOUR / 2 - minute)).mono)
                .is_some()
        );
        assert!(bans.peer(&peer, (after(set, HOUR / 2)).mono).is_none());
        assert!(
            bans.peer(&fresh, (after(set, HOUR - 2 * minute)).mono)
                .is_some()
        );
        assert!(bans.peer(&fresh, (after(set, HOUR)).mono).is_none());
        // And it is on the disk with its true times.
        match &bans.take_unsaved()[..] {
            [Change::Keep(ban)] => {
                assert_eq!(ban.until, Some(set.wall + HOUR - minute));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_clock_that_boots_ahead_and_is_set_back_within_a_minute_ends_no_ban() {
        let (t, peer) = (moment(), PeerId::random());
        let mut old = BanList::default();
        let ban = old
            .by_operator(Target::Peer(peer), Some(HOUR), "x", t)
            .unwrap();
        let boot = Moment {
            wall: t.wall + 1000 * HOUR,
            ..t
        };
        let mut bans = BanList::default();
        bans.restore(ban, boot);
        assert!(bans.peer(&peer, boot.mono).is_none());
        bans.tend(after(boot, Duration::from_secs(30)));
        let set = after(t, Duration::from_secs(50));
        bans.tend(set);
        assert!(bans.peer(&peer, set.mono).is_some());
        assert!(!bans.is_dirty());
    }

    #[test]
    fn a_slewed_clock_is_not_a_stepped_one() {
        let (mut bans, t) = (BanList::default(), moment());
        bans.by_operator(net("192.0.2.1"), Some(HOUR), "", t)
            .unwrap();
        bans.take_unsaved();
        let mut now = after(t, Duration::from_secs(10));
        now.wall += Duration::from_secs(3);
        bans.tend(now);
        assert!(!bans.is_dirty());
    }

    #[test]
    fn reasons_are_one_bounded_line() {
        let (mut bans, t) = (BanList::default(), moment());
        let long = format!("a\n{}", "ü".repeat(1000));
        let ban = bans.by_operator(net("192.0.2.1"), None, &long, t).unwrap();
        assert!(ban.reason.starts_with("a ü"));
        assert!(ban.reason.len() <= MAX_REASON);
    }
}
