//! The gate: it makes every decision about a connection, without libp2p.
//!
//! # How an inbound connection is admitted
//!
//! 1. Before the handshake ([`Gate::arrives`]), only the address is known. Denied
//!    networks and bans end the connection. Then the limits are checked: the descriptors
//!    and memory that are left, the room in the total, the connections and handshakes of
//!    the subnet, the places for handshakes, and the rates. A refusal here costs a closed
//!    socket.
//! 2. After the handshake ([`Gate::established_inbound`]), the peer is known. Then its
//!    address is checked once more, the bans of peers and the number of connections of
//!    one peer are checked, and once more the room in the total and in the subnet, since
//!    others were admitted in the meantime.
//!
//! # Trusted peers
//!
//! Trusted peers pass every limit, as do those of `P2P_PEERING`, but whether a peer is
//! one of them is known only in step 2. So when there are any, a connection that a limit
//! refuses in step 1 may take one of a few places that are kept for them:
//! [`TRUSTED_LANE`]. Half of these are for addresses at which a trusted peer has been met
//! or is configured. The rest goes to anybody, at [`LANE_RATE`], for trusted peers that
//! come from somewhere new. In step 2 a stranger in such a place is refused, for the
//! reason for which it got that place.
//!
//! The node's own bans of subnets hold for strangers only (see [`super::standing`]). In
//! step 1 they hold for every address, unless peers behaved well there lately.
//!
//! `P2P_ALLOW_CIDRS` and the node's own bans of subnets do not hold for trusted peers
//! either. In step 1 they hold for every address except those where a trusted peer is
//! configured or was met in this run. A peer that comes from one of those addresses is
//! checked again in step 2. So a trusted peer that comes from somewhere new, outside of
//! the allowed networks, is refused: if everybody were admitted as far as the handshake,
//! the list would have no effect. The deny list and an operator's bans hold for all
//! peers.
//!
//! # A flood cannot shut out an honest address for ever
//!
//! A connection that exceeds a rate is admitted all the same with a chance of one in 32
//! ([`LEAK`]). During a flood, an honest address that tries again and again waits until
//! it is lucky: half of such addresses are admitted after 22 tries, and 99 of 100 after
//! 145 ((31/32)^22 = 0.50, (31/32)^145 = 0.01). With one try each second, that is 22
//! seconds and two and a half minutes. The price is one handshake for each 32 attempts of
//! the flood: at 10,000 attempts a second, 312 handshakes a second, a quarter of what one
//! core can do. An address whose own subnet floods is admitted by chance only while the
//! bucket of the total rate holds at least half of its tokens, so that it cannot use up
//! what others need.
//!
//! A slow handshake holds its place only until somebody else needs it: see [`GRACE`].
//!
//! Loopback is this host: it belongs to no subnet, and no rate applies to it. The limits
//! on the number of connections hold for it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::limits::{
    GRACE, Limits, MAX_PENDING_INBOUND, MAX_PENDING_OUTBOUND, MAX_PENDING_PER_SUBNET, TRUSTED_LANE,
    TRUSTED_LANE_KNOWN, descriptors_kept, kept, memory_for_inbound,
};
use super::rate::{Bucket, Rate, Table};
use super::refusal::Refusal;
use super::rules::Rules;
use super::state::Peers;
use super::subnet::Prefixes;
use crate::system::resources::{Resources, Sample};

/// The chance with which an attempt that exceeds a rate is admitted; see the module's
/// page.
pub const LEAK: f64 = 1.0 / 32.0;

/// The rate at which strangers may begin handshakes in the lane of trusted peers. Two a
/// second cost next to nothing, and a trusted peer from somewhere new that tries each
/// second is admitted within seconds unless somebody floods the node.
const LANE_RATE: Rate = Rate {
    per_second: 2.0,
    burst: 8.0,
};

/// An inbound connection that is not established yet.
#[derive(Debug)]
struct Arrival {
    ip: Option<IpAddr>,
    subnet: Option<IpNet>,
    since: Instant,
    slot: Slot,
}

/// The place that an arrival takes up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    /// One of [`MAX_PENDING_INBOUND`], which is counted for the subnet too.
    Common,
    /// A place in the lane of trusted peers, and the reason for which it was given.
    Lane(Box<Refusal>, Lane),
    /// None: it was told to make room, and is about to end.
    None,
}

/// The halves of the lane of trusted peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// The half for addresses of trusted peers.
    Known,
    /// The half for any address.
    Open,
}

/// The numbers of places that are taken, according to `arrivals`. They are counted here
/// because otherwise that map would have to be searched for each connection that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    common: u32,
    known: u32,
    open: u32,
}

impl Taken {
    /// Returns the count of a place, or `None` if it takes up nothing.
    fn of(&mut self, slot: &Slot) -> Option<&mut u32> {
        match slot {
            Slot::Common => Some(&mut self.common),
            Slot::Lane(_, Lane::Known) => Some(&mut self.known),
            Slot::Lane(_, Lane::Open) => Some(&mut self.open),
            Slot::None => None,
        }
    }
}

/// The decisions about connections, without libp2p. The connections that are established
/// are in the [`Peers`] that each call is given, and those that are not yet are here.
/// Every map has at most one entry for each connection that the gate let through.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    resources: Resources,
    closed: bool,
    /// The prefixes that make two addresses one subnet, for the subnets in `arriving`.
    prefixes: Prefixes,
    /// The number of inbound handshakes of each subnet, without those in the lane.
    arriving: HashMap<IpNet, u32>,
    arrivals: HashMap<ConnectionId, Arrival>,
    taken: Taken,
    /// Before this time, no handshake in a common place has had its time.
    none_slow_before: Instant,
    dials: HashSet<ConnectionId>,
    rate: Bucket,
    subnet_rate: Table,
    lane_rate: Bucket,
}

impl Gate {
    /// Returns a gate that no connection has passed yet, with the rules of `peers`.
    pub fn new(peers: &Peers, limits: Limits, resources: Resources, now: Instant) -> Self {
        let rules = peers.rules();
        Gate {
            rate: Bucket::new(Rate::per_second(rules.rate), now),
            subnet_rate: Table::new(Rate::per_second(rules.subnet_rate), now),
            lane_rate: Bucket::new(LANE_RATE, now),
            prefixes: peers.table().prefixes(),
            limits,
            resources,
            closed: false,
            arriving: HashMap::new(),
            arrivals: HashMap::new(),
            taken: Taken::default(),
            none_slow_before: now,
            dials: HashSet::new(),
        }
    }

    /// Refuses every new connection from now on. Established connections stay.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Changes the limits from `now` on, and takes over the rules that `peers` has now.
    /// Established connections stay, even when they exceed a limit: no new ones are
    /// admitted until there is room.
    pub fn adjust(&mut self, peers: &Peers, limits: Limits, now: Instant) {
        let Rules {
            rate, subnet_rate, ..
        } = **peers.rules();
        self.rate.set_rate(Rate::per_second(rate), now);
        self.subnet_rate
            .set_rate(Rate::per_second(subnet_rate), now);
        self.limits = limits;
        let prefixes = peers.table().prefixes();
        if prefixes == self.prefixes {
            return;
        }
        self.prefixes = prefixes;
        self.arriving.clear();
        for arrival in self.arrivals.values_mut() {
            arrival.subnet = arrival.ip.and_then(|ip| prefixes.subnet(ip));
            if let (Some(subnet), Slot::Common) = (arrival.subnet, &arrival.slot) {
                *self.arriving.entry(subnet).or_default() += 1;
            }
        }
    }

    /// Returns the resources as they were when they were last looked at.
    pub fn resources(&self) -> Option<Sample> {
        self.resources.now()
    }

    /// Decides about an inbound connection that arrives from `ip`, which is unknown for
    /// some transports. `chance` returns a number from 0 up to 1. If the connection may
    /// go on, returns the connection whose handshake is to be given up for it, if there
    /// is one.
    ///
    /// # Errors
    /// Returns the reason why it may not go on.
    pub fn arrives(
        &mut self,
        peers: &Peers,
        id: ConnectionId,
        ip: Option<IpAddr>,
        now: Instant,
        chance: impl Fn() -> f64,
    ) -> Result<Option<ConnectionId>, Refusal> {
        if self.closed {
            return Err(Refusal::Draining);
        }
        if let Some(ip) = ip {
            peers.unproven(ip, now)?;
        }
        let subnet = ip.and_then(|ip| self.prefixes.subnet(ip));
        let local = ip.is_some_and(|ip| ip.is_loopback());
        let (slot, evict) = match self.stranger(peers, subnet, local, now, &chance) {
            Ok(evict) => (Slot::Common, evict),
            Err(refusal) => match self.lane(peers, ip, now) {
                Some(lane) => (Slot::Lane(Box::new(refusal), lane), None),
                None => return Err(refusal),
            },
        };
        if let Some(arrival) = evict.and_then(|out| self.arrivals.get_mut(&out)) {
            let slot = std::mem::replace(&mut arrival.slot, Slot::None);
            let subnet = arrival.subnet;
            self.free(subnet, &slot);
        }
        if let Some(count) = self.taken.of(&slot) {
            *count += 1;
        }
        if slot == Slot::Common
            && let Some(subnet) = subnet
        {
            *self.arriving.entry(subnet).or_default() += 1;
        }
        self.arrivals.insert(
            id,
            Arrival {
                ip,
                subnet,
                since: now,
                slot,
            },
        );
        self.resources.opened();
        Ok(evict)
    }

    fn free(&mut self, subnet: Option<IpNet>, slot: &Slot) {
        if let Some(count) = self.taken.of(slot) {
            *count = count.saturating_sub(1);
        }
        if *slot == Slot::Common
            && let Some(subnet) = subnet
            && let Entry::Occupied(mut count) = self.arriving.entry(subnet)
        {
            let left = count.get().saturating_sub(1);
            count.insert(left);
            if left == 0 {
                count.remove();
            }
        }
    }

    /// Checks the limits before the handshake. The rates come last, since checking them
    /// uses up tokens.
    fn stranger(
        &mut self,
        peers: &Peers,
        subnet: Option<IpNet>,
        local: bool,
        now: Instant,
        chance: &impl Fn() -> f64,
    ) -> Result<Option<ConnectionId>, Refusal> {
        self.resources_left(true)?;
        self.room_inbound(peers)?;
        let rules = peers.rules();
        let mut evict = None;
        if let Some(subnet) = subnet {
            let arriving = self.arriving.get(&subnet).copied().unwrap_or(0);
            let (allowed, kept) = (rules.per_subnet, kept(rules.per_subnet));
            let used = peers.table().of_subnet(&subnet) + arriving;
            if used >= allowed - kept {
                return Err(Refusal::Subnet {
                    subnet,
                    used,
                    allowed,
                    kept,
                });
            }
            if arriving >= MAX_PENDING_PER_SUBNET {
                let refusal = Refusal::PendingSubnet {
                    subnet,
                    allowed: MAX_PENDING_PER_SUBNET,
                };
                let theirs = |a: &Arrival| a.subnet == Some(subnet);
                evict = Some(self.slow(theirs, now, chance).ok_or(refusal)?);
            }
        }
        if evict.is_none() && self.taken.common >= MAX_PENDING_INBOUND {
            let refusal = Refusal::PendingInbound {
                allowed: MAX_PENDING_INBOUND,
            };
            evict = Some(self.slow(|_| true, now, chance).ok_or(refusal)?);
        }
        if !local {
            self.rates(rules, subnet, now, chance)?;
        }
        Ok(evict)
    }

    fn rates(
        &mut self,
        rules: &Rules,
        subnet: Option<IpNet>,
        now: Instant,
        chance: &impl Fn() -> f64,
    ) -> Result<(), Refusal> {
        if let Some(subnet) = subnet
            && !self.subnet_rate.take(&subnet, now)
            && (self.rate.tokens(now) < self.rate.rate().burst / 2.0 || chance() >= LEAK)
        {
            return Err(Refusal::SubnetRate {
                subnet,
                allowed: rules.subnet_rate,
            });
        }
        if !self.rate.take(now) && chance() >= LEAK {
            return Err(Refusal::Rate {
                allowed: rules.rate,
            });
        }
        Ok(())
    }

    /// Returns one of the handshakes that have had their time. It is chosen at random, so
    /// that nobody can arrange to be passed over.
    fn slow(
        &mut self,
        among: impl Fn(&Arrival) -> bool,
        now: Instant,
        chance: &impl Fn() -> f64,
    ) -> Option<ConnectionId> {
        // In a flood this is called for each connection, mostly without success.
        if now < self.none_slow_before {
            return None;
        }
        let (mut oldest, mut count) = (None, 0);
        let late = now.checked_sub(GRACE);
        let is_slow = |a: &Arrival| late.is_some_and(|late| a.since <= late) && among(a);
        let arrivals = || self.arrivals.iter().filter(|(_, a)| a.slot == Slot::Common);
        for (_, arrival) in arrivals() {
            oldest = Some(oldest.map_or(arrival.since, |o: Instant| o.min(arrival.since)));
            count += usize::from(is_slow(arrival));
        }
        self.none_slow_before = oldest? + GRACE;
        let index = (chance() * count as f64) as usize;
        arrivals()
            .filter(|(_, a)| is_slow(a))
            .nth(index.min(count.saturating_sub(1)))
            .map(|(id, _)| *id)
    }

    /// Returns the half of the lane of trusted peers that has a free place, if there is
    /// one.
    fn lane(&mut self, peers: &Peers, ip: Option<IpAddr>, now: Instant) -> Option<Lane> {
        if peers.trust().exempts_nobody() {
            return None;
        }
        if self.taken.known < TRUSTED_LANE_KNOWN
            && ip.is_some_and(|ip| peers.trust().is_expected_at(ip))
        {
            return Some(Lane::Known);
        }
        let free = self.taken.open < TRUSTED_LANE - TRUSTED_LANE_KNOWN;
        (free && self.lane_rate.take(now)).then_some(Lane::Open)
    }

    /// Checks the descriptors and the memory that are left.
    fn resources_left(&self, inbound: bool) -> Result<(), Refusal> {
        let Some(sample) = self.resources.now() else {
            return Ok(());
        };
        let (for_inbound, for_dials) = descriptors_kept(sample.descriptors);
        let kept = if inbound { for_inbound } else { for_dials };
        if sample.open.saturating_add(kept) >= sample.descriptors {
            return Err(Refusal::Descriptors {
                open: sample.open,
                limit: sample.descriptors,
                kept,
            });
        }
        let Some(cap) = self.limits.memory else {
            return Ok(());
        };
        let (allowed, whom) = if inbound {
            (memory_for_inbound(cap), "inbound connections")
        } else {
            (cap, "dials")
        };
        if sample.resident >= allowed {
            return Err(Refusal::Memory {
                resident: sample.resident,
                allowed,
                whom,
            });
        }
        Ok(())
    }

    fn room_inbound(&self, peers: &Peers) -> Result<(), Refusal> {
        let table = peers.table();
        let (allowed, kept) = (self.limits.total, kept(self.limits.total));
        let used = table.inbound() + table.outbound();
        if used >= allowed - kept {
            return Err(Refusal::Total {
                used,
                allowed,
                kept,
            });
        }
        if table.inbound() >= self.limits.inbound {
            return Err(Refusal::Inbound {
                used: table.inbound(),
                allowed: self.limits.inbound,
            });
        }
        Ok(())
    }

    fn room_outbound(&self, peers: &Peers) -> Result<(), Refusal> {
        let table = peers.table();
        let used = table.inbound() + table.outbound();
        if used >= self.limits.total {
            return Err(Refusal::Total {
                used,
                allowed: self.limits.total,
                kept: 0,
            });
        }
        if table.outbound() >= self.limits.outbound {
            return Err(Refusal::Outbound {
                used: table.outbound(),
                allowed: self.limits.outbound,
            });
        }
        Ok(())
    }

    fn room_of_peer(&self, peers: &Peers, peer: &PeerId) -> Result<(), Refusal> {
        let used = peers.table().of_peer(peer);
        if used >= self.limits.per_peer {
            return Err(Refusal::PerPeer {
                peer: *peer,
                used,
                allowed: self.limits.per_peer,
            });
        }
        Ok(())
    }

    /// Decides about an inbound connection whose handshake is done, so that its peer is
    /// known.
    ///
    /// # Errors
    /// Returns the reason why the connection may not be established.
    pub fn established_inbound(
        &self,
        peers: &Peers,
        id: ConnectionId,
        peer: &PeerId,
        ip: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if is_exempt(peers, peer, ip, now)? {
            return Ok(());
        }
        if let Some(Slot::Lane(why, _)) = self.arrivals.get(&id).map(|a| &a.slot) {
            return Err(Refusal::clone(why));
        }
        self.room_of_peer(peers, peer)?;
        self.room_inbound(peers)?;
        let allowed = peers.rules().per_subnet;
        self.room_in_subnet(peers, ip, kept(allowed))
    }

    /// Decides about a dial that begins, to `peer` if that is known.
    ///
    /// # Errors
    /// Returns the reason why it may not begin.
    pub fn dials(
        &mut self,
        peers: &Peers,
        id: ConnectionId,
        peer: Option<&PeerId>,
        ips: impl Iterator<Item = IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        for ip in ips {
            peers.dial(ip, None, peer, now)?;
        }
        if let Some(peer) = peer {
            peers.peer(peer, now)?;
        }
        if !peer.is_some_and(|peer| peers.trust().is_exempt(peer)) {
            if self.dials.len() >= MAX_PENDING_OUTBOUND as usize {
                return Err(Refusal::PendingOutbound {
                    allowed: MAX_PENDING_OUTBOUND,
                });
            }
            self.resources_left(false)?;
            self.room_outbound(peers)?;
        }
        self.dials.insert(id);
        self.resources.opened();
        Ok(())
    }

    /// Decides about a dial whose handshake is done.
    ///
    /// # Errors
    /// Returns the reason why the connection may not be established.
    pub fn established_outbound(
        &self,
        peers: &Peers,
        peer: &PeerId,
        ip: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if is_exempt(peers, peer, ip, now)? {
            return Ok(());
        }
        self.room_of_peer(peers, peer)?;
        self.room_outbound(peers)?;
        self.room_in_subnet(peers, ip, 0)
    }

    fn room_in_subnet(&self, peers: &Peers, ip: Option<IpAddr>, kept: u32) -> Result<(), Refusal> {
        let Some(subnet) = ip.and_then(|ip| self.prefixes.subnet(ip)) else {
            return Ok(());
        };
        let allowed = peers.rules().per_subnet;
        let used = peers.table().of_subnet(&subnet);
        if used >= allowed - kept {
            return Err(Refusal::Subnet {
                subnet,
                used,
                allowed,
                kept,
            });
        }
        Ok(())
    }

    /// Records that a connection is no longer under way: it has been established, or it
    /// has failed.
    pub fn settled(&mut self, id: ConnectionId) {
        self.dials.remove(&id);
        if let Some(arrival) = self.arrivals.remove(&id) {
            self.free(arrival.subnet, &arrival.slot);
        }
    }
}

/// Returns whether the limits do not hold for a peer that has proved who it is, after the
/// rules and bans that hold for everybody.
///
/// # Errors
/// Returns the rule or ban that refuses it, which may have come during the handshake.
fn is_exempt(
    peers: &Peers,
    peer: &PeerId,
    ip: Option<IpAddr>,
    now: Instant,
) -> Result<bool, Refusal> {
    if let Some(ip) = ip {
        peers.address(ip, peers.standing(peer, now), now)?;
    }
    peers.peer(peer, now)?;
    Ok(peers.trust().is_exempt(peer))
}

#[cfg(test)]
mod tests;
