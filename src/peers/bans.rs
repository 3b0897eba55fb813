//! The blacklist: it records who is refused, why, by whom and until when.
//!
//! # When a ban ends
//!
//! A ban is written to the disk with the times of day at which it began and ends, but the
//! monotonic clock keeps it in force. The reason is that a host without a battery-backed
//! clock boots in the past, and its clock is set right minutes later:
//!
//! - A ban that was made in this run lasts as long as it was meant to, whatever the time
//!   of day does meanwhile. When the clock is stepped, the ban's times are moved by the
//!   same amount and written down again.
//! - A ban that was read from the disk ends at the time of day that it names. If the
//!   clock is earlier than the beginning of the ban, the clock cannot be right. Then the
//!   ban is in force for its whole length from now, and it is looked at again when the
//!   clock is stepped.
//! - An expired ban is kept for a minute before it is removed from the disk, so that no
//!   ban ends early because the clock was too far ahead at boot, if the clock is set back
//!   within that minute. If it is set back later than that, a ban can end early: nothing
//!   else on the host is right then either.
//!
//! # Subnets
//!
//! Peer ids are free, and addresses are not. When [`SUBNET_AFTER`] different ids of one
//! subnet have been banned automatically within an hour, the subnet itself is banned,
//! each time for longer. For each peer of it that behaved well within that hour it takes
//! as many more, and the ban is shorter: see [`super::standing`]. Here, a subnet is an IPv4 address or an IPv6 /56. If
//! `P2P_SUBNET_PREFIXES` sets a wider one, that is used for the limits only, since five
//! ids are no reason to cut off a whole provider. A narrower one is used for bans as
//! well.
//!
//! Honest peers may share an address with an attacker, behind a carrier's NAT. So several
//! bans are needed before a subnet is banned, and its ban lasts a day at most. It refuses
//! strangers only, and closes the connections of strangers only. Loopback
//! is never banned, and neither is a subnet that contains an address of the configuration
//! (of a bootstrap peer or relay that is given by its IP address), or one in which a
//! trusted peer was met in this run. If a subnet is banned nevertheless, the ban does not
//! hold for a trusted peer once its handshake is done. Circuits through relays have no
//! address of their own, and a relay is not responsible for the peers that come through
//! it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libp2p::PeerId;

use super::reputation::STRIKE_HALF_LIFE;
use super::standing::MAX_GOOD;
use crate::system::moment::Moment;

/// The number of bans that operators may set. Large block lists have some tens of
/// thousands of ranges. A ban takes about 200 bytes.
pub const MAX_OPERATOR: usize = 65_536;

/// The number of bans that the node sets by itself. When there are more, the one that
/// would end first is removed. Operators' bans are never removed for this.
pub const MAX_AUTOMATIC: usize = 4_096;

/// The length of the longest reason that is kept, in bytes: one sentence.
pub const MAX_REASON: usize = 256;

/// The longest ban that has an end. It is ten years, as is the longest duration in the
/// configuration.
pub const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The number of ids of one subnet that have to be banned within [`SUBNET_WINDOW`] before
/// the subnet itself is banned, if nobody there behaved well in that time.
pub const SUBNET_AFTER: usize = 5;

/// The time within which the bans of [`SUBNET_AFTER`] ids count together.
pub const SUBNET_WINDOW: Duration = Duration::from_secs(3600);

/// The length of the first ban of a subnet.
const SUBNET_FIRST: Duration = Duration::from_secs(600);

/// The longest ban of a subnet. It is bounded because addresses change hands.
const SUBNET_LONGEST: Duration = Duration::from_secs(86_400);

/// The number of subnets whose banned ids are counted. When there are more, the one that
/// has been quiet for longest is forgotten. An attacker with more subnets than this is
/// not stopped by bans of subnets.
const MAX_SUBNETS: usize = 1_024;

/// How long expired bans are kept; see the module's documentation.
const GRACE: Duration = Duration::from_secs(60);

/// How far the time of day may differ from what the monotonic clock says before it counts
/// as stepped. NTP slews smaller errors.
const STEP: Duration = Duration::from_secs(5);

/// Who is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// One peer, wherever it comes from.
    Peer(PeerId),
    /// All peers that come from these addresses.
    Net(IpNet),
}

impl Target {
    /// Returns the target for a network in the form in which it is kept: without host
    /// bits, and as an IPv4 network if it is one that is mapped to IPv6
    /// (`::ffff:0:0/96`).
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

/// The error for a text that is neither a peer id nor an address range.
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
    /// Returns `operator` or `automatic`.
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
    /// Who is banned.
    pub target: Target,
    /// The reason, as one line; it may be empty.
    pub reason: String,
    /// Who set it.
    pub author: Author,
    /// When it began.
    pub since: SystemTime,
    /// When it ends; `None` if it has no end.
    pub until: Option<SystemTime>,
    /// How often this target has been banned automatically, including this time. The more
    /// often, the longer its next ban is. Zero for an operator's ban.
    pub times: u32,
}

/// Why a ban was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// There are as many bans of operators as are allowed.
    #[error(
        "this node holds {MAX_OPERATOR} bans of operators already, the most that it keeps; lift some with `p2p-node unban`, or ban wider ranges"
    )]
    Full,
}

#[derive(Clone, Debug)]
struct Entry {
    ban: Ban,
    /// When it ends according to the monotonic clock.
    ends: Option<Instant>,
    /// Whether it was made in this run, so that its times of day are as right as the
    /// clock was.
    fresh: bool,
}

impl Entry {
    fn in_force(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

/// The banned ids of one subnet.
#[derive(Clone, Debug)]
struct Crowd {
    recent: VecDeque<(Instant, PeerId)>,
    strikes: f64,
    at: Instant,
}

/// What follows when one id too many of a subnet has been banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// How many different ids of it were banned.
    pub ids: usize,
    /// How long the subnet is to be banned.
    pub length: Duration,
    /// How often it has been banned with this time.
    pub times: u32,
}

/// A change that has to be written to the disk: a ban to keep, or one to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write this ban, and replace an earlier one of the same target.
    Keep(Ban),
    /// Remove the ban of this target.
    Remove(Target),
}

/// All bans, without the disk and the network. The time is an argument.
///
/// A peer is looked up by its id. An address takes one look-up for each prefix length
/// that is in use, of which there are a handful in practice and 33 (IPv4) or 129 (IPv6)
/// at most. So ten thousand ranges cost as much as ten.
#[derive(Debug, Default)]
pub struct BanList {
    peers: HashMap<PeerId, Entry>,
    nets: HashMap<IpNet, Entry>,
    /// The prefix lengths in use and the number of bans with each, for IPv4 and IPv6.
    lengths: [Vec<(u8, u32)>; 2],
    operators: usize,
    /// How many bans end at each time, so that those in force can be counted without
    /// looking at each of them.
    ends: BTreeMap<Instant, usize>,
    crowds: HashMap<IpNet, Crowd>,
    unsaved: Vec<Change>,
    /// The times of both clocks when they were last looked at.
    clock: Option<Moment>,
}

impl BanList {
    /// Returns the ban of this peer, if one is in force.
    pub fn peer(&self, peer: &PeerId, now: Instant) -> Option<&Ban> {
        let entry = self.peers.get(peer)?;
        entry.in_force(now).then_some(&entry.ban)
    }

    /// Returns a ban that covers this address; the one with the widest range if there are
    /// several.
    pub fn ip(&self, ip: IpAddr, now: Instant) -> Option<&Ban> {
        self.ip_of(ip, now, |_| true)
    }

    /// Does the same as [`Self::ip`], but considers only the bans of operators.
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

    /// Returns whether there are no bans of addresses at all.
    pub fn no_nets(&self) -> bool {
        self.nets.is_empty()
    }

    /// Sets a ban for an operator. If `length` is `None`, the ban has no end. A new ban
    /// of the same target replaces the earlier one.
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

    /// Sets a ban for the node itself. It does not replace an operator's ban of the same
    /// target, nor a longer one of the node's own.
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

    /// Records that the node itself has banned a peer of the subnet `net`, in which `good`
    /// peers behaved well lately. Returns what follows when that is one peer too many.
    pub fn crowd(
        &mut self,
        net: IpNet,
        peer: &PeerId,
        good: usize,
        now: Instant,
    ) -> Option<Excess> {
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
        // Everybody there counts as much as an attacker who has the subnet alone.
        let shares = 1 + good.min(MAX_GOOD);
        let ids = crowd.recent.len();
        if ids < SUBNET_AFTER * shares {
            return None;
        }
        crowd.recent.clear();
        let before = crowd.strikes.round().min(16.0);
        crowd.strikes += 1.0;
        let length = SUBNET_FIRST.mul_f64(4f64.powf(before)).min(SUBNET_LONGEST);
        Some(Excess {
            ids,
            length: length.div_f64(shares as f64),
            times: before as u32 + 1,
        })
    }

    /// Lifts a ban and returns it, or returns `None` when there is none.
    pub fn lift(&mut self, target: &Target, now: Instant) -> Option<Ban> {
        let entry = self.remove(target)?;
        if let Target::Net(net) = target {
            self.crowds.remove(net);
        }
        self.unsaved.push(Change::Remove(*target));
        entry.in_force(now).then_some(entry.ban)
    }

    /// Returns the bans in force, in no order.
    pub fn list(&self, now: Instant) -> Vec<Ban> {
        let all = self.peers.values().chain(self.nets.values());
        let in_force = all.filter(|entry| entry.in_force(now));
        in_force.map(|entry| entry.ban.clone()).collect()
    }

    /// Returns the number of bans in force.
    pub fn in_force(&self, now: Instant) -> usize {
        self.len() - self.ends.range(..=now).map(|(_, n)| n).sum::<usize>()
    }

    /// Returns the number of bans that are kept, including expired ones that have not
    /// been removed yet.
    pub fn len(&self) -> usize {
        self.peers.len() + self.nets.len()
    }

    /// Returns whether there are no bans.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a ban that an earlier run wrote to the disk.
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

    /// Looks at both clocks, and removes the bans that have expired.
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

    /// Takes the changes that have to be written to the disk, in order. They count as
    /// written from now on.
    pub fn take_unsaved(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.unsaved)
    }

    /// Puts back changes that could not be written, before those that were made since.
    pub fn put_back(&mut self, mut changes: Vec<Change>) {
        changes.append(&mut self.unsaved);
        self.unsaved = changes;
        if self.unsaved.len() > 4 * MAX_AUTOMATIC {
            // The disk has been away for days. The list of bans itself contains
            // everything that is needed.
            let all = self.peers.values().chain(self.nets.values());
            self.unsaved = all.map(|e| Change::Keep(e.ban.clone())).collect();
        }
    }

    /// Returns whether there are changes that have to be written to the disk.
    pub fn is_dirty(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Moves the bans after the time of day was stepped.
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

    /// Removes the automatic ban that would end first, to make room for another.
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

/// Returns how much longer a ban that an earlier run wrote to the disk is in force.
fn remaining(ban: &Ban, until: SystemTime, now: Moment) -> Duration {
    let length = until.duration_since(ban.since).unwrap_or_default();
    if now.wall < ban.since {
        return length.min(LONGEST);
    }
    until.duration_since(now.wall).unwrap_or_default()
}

/// How far the time of day was stepped.
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

/// Returns a reason in the form in which it is kept: one line of bounded length.
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
