//! Who may connect: every decision about a connection, apart from libp2p.
//!
//! # The way of an inbound connection
//!
//! 1. Before the handshake ([`Gate::arrives`]) only its address is known. Denied
//!    networks and bans end it. Then the limits: descriptors and memory left,
//!    room in the total, its subnet's connections and handshakes, places for
//!    handshakes, and the rates. A refusal here costs a closed socket.
//! 2. After it ([`Gate::established_inbound`]) the peer is known: bans of peers,
//!    connections of one peer, and once more the room in the total, since others
//!    came in meanwhile.
//!
//! # Trusted peers
//!
//! They pass every limit, as those of `P2P_PEERING` do, but who is one is known
//! only in step 2. So when there are any, a connection that a limit refuses in
//! step 1 may take one of a few places of their own: [`TRUSTED_LANE`], half of them
//! for addresses at which a trusted peer has been met or is configured. The rest
//! goes to anybody, at [`LANE_RATE`], for trusted peers that come from somewhere
//! new. In step 2 a stranger there is refused for the reason that sent it there.
//!
//! `P2P_ALLOW_CIDRS` and the node's own bans of subnets do not hold for them
//! either. In step 1 they hold for every address but those where a trusted peer
//! is configured or was met in this run; whoever comes from such a one is asked
//! again in step 2. So a trusted peer that comes from somewhere new, outside of
//! the allowed networks, stays out: letting everybody in as far as the handshake
//! would leave nothing of the list. The deny list and an operator's bans hold for
//! all.
//!
//! # A flood cannot shut out an honest address for ever
//!
//! What is over a rate is admitted all the same with a chance of one in 32
//! ([`LEAK`]). Under a flood an honest address that tries again and again waits
//! until it is lucky: half of them are in after 22 tries, 99 of 100 after 145
//! ((31/32)^22 = 0.50, (31/32)^145 = 0.01); with a try each second that is 22
//! seconds and two and a half minutes. The price is a handshake for each 32
//! attempts of the flood: at 10,000 a second 312 a second, a quarter of what one
//! core makes. An address whose own subnet floods leaks only while the total
//! has half of its tokens, so that it cannot spend what others need.
//!
//! And a slow handshake holds its place only until somebody else needs it: see
//! [`GRACE`].
//!
//! Loopback is this host: no subnet, no rate. The caps hold for it.

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

/// The chance of an attempt that is over a rate; see the module's page.
pub const LEAK: f64 = 1.0 / 32.0;

/// Handshakes that strangers may begin in the lane of trusted peers: two a
/// second cost next to nothing, and a trusted peer from somewhere new that tries
/// each second is in within seconds unless somebody floods the node.
const LANE_RATE: Rate = Rate {
    per_second: 2.0,
    burst: 8.0,
};

/// An inbound connection in the making.
#[derive(Debug)]
struct Arrival {
    ip: Option<IpAddr>,
    subnet: Option<IpNet>,
    since: Instant,
    place: Place,
}

/// What an arrival takes up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// One of [`MAX_PENDING_INBOUND`], counted for its subnet too.
    Common,
    /// In the lane of trusted peers, for the reason that is given.
    Lane(Box<Refusal>, Lane),
    /// It was told to make room, and is on its way out.
    None,
}

/// The halves of the lane of trusted peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// For addresses of trusted peers.
    Known,
    /// For anybody.
    Open,
}

/// Places that are taken, as `arrivals` has them: counted here because that map
/// would be walked for each connection that comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    common: u32,
    known: u32,
    open: u32,
}

impl Taken {
    /// The count of a place; `None` for one that takes up nothing.
    fn of(&mut self, place: &Place) -> Option<&mut u32> {
        match place {
            Place::Common => Some(&mut self.common),
            Place::Lane(_, Lane::Known) => Some(&mut self.known),
            Place::Lane(_, Lane::Open) => Some(&mut self.open),
            Place::None => None,
        }
    }
}

/// The decisions about connections, apart from libp2p. What is established is in the
/// [`Peers`] that each call is given; here is what is in the making. Every map has at
/// most one entry for each connection that the gate let through.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    resources: Resources,
    closed: bool,
    /// What makes two addresses one subnet, as `arriving` has them.
    prefixes: Prefixes,
    /// Inbound handshakes of each subnet, without those in the lane.
    arriving: HashMap<IpNet, u32>,
    arrivals: HashMap<ConnectionId, Arrival>,
    taken: Taken,
    /// No handshake in a common place has had its time before this.
    none_slow_before: Instant,
    dials: HashSet<ConnectionId>,
    rate: Bucket,
    subnet_rate: Table,
    lane_rate: Bucket,
}

impl Gate {
    /// A gate that nobody has passed yet, with the rules of `peers`.
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

    /// Refuses every new connection from now on. Those that are established stay.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Other limits from `now` on, and the rules that `peers` has now. Connections that
    /// are established stay, also over a limit: nothing new comes until there is room.
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
            if let (Some(subnet), Place::Common) = (arrival.subnet, &arrival.place) {
                *self.arriving.entry(subnet).or_default() += 1;
            }
        }
    }

    /// Resources as they were last looked at.
    pub fn resources(&self) -> Option<Sample> {
        self.resources.now()
    }

    /// An inbound connection arrives from `ip`, which is unknown for some
    /// transports. `chance` is asked for a number from 0 up to 1. When it may go
    /// on, says whose handshake is to be given up for it, if any.
    ///
    /// # Errors
    /// Why it may not.
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
        let (place, evict) = match self.stranger(peers, subnet, local, now, &chance) {
            Ok(evict) => (Place::Common, evict),
            Err(refusal) => match self.lane(peers, ip, now) {
                Some(lane) => (Place::Lane(Box::new(refusal), lane), None),
                None => return Err(refusal),
            },
        };
        if let Some(arrival) = evict.and_then(|out| self.arrivals.get_mut(&out)) {
            let place = std::mem::replace(&mut arrival.place, Place::None);
            let subnet = arrival.subnet;
            self.free(subnet, &place);
        }
        if let Some(count) = self.taken.of(&place) {
            *count += 1;
        }
        if place == Place::Common
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
                place,
            },
        );
        self.resources.opened();
        Ok(evict)
    }

    fn free(&mut self, subnet: Option<IpNet>, place: &Place) {
        if let Some(count) = self.taken.of(place) {
            *count = count.saturating_sub(1);
        }
        if *place == Place::Common
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

    /// The limits before the handshake, the rates last since they are spent.
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

    /// One of the handshakes that have had their time, at random, so that nobody
    /// can arrange to be passed over.
    fn slow(
        &mut self,
        among: impl Fn(&Arrival) -> bool,
        now: Instant,
        chance: &impl Fn() -> f64,
    ) -> Option<ConnectionId> {
        // In a flood this is asked for each connection, and most often in vain.
        if now < self.none_slow_before {
            return None;
        }
        let (mut oldest, mut count) = (None, 0);
        let late = now.checked_sub(GRACE);
        let is_slow = |a: &Arrival| late.is_some_and(|late| a.since <= late) && among(a);
        let arrivals = || {
            self.arrivals
                .iter()
                .filter(|(_, a)| a.place == Place::Common)
        };
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

    /// The half of the lane of trusted peers that has a place, if one has.
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

    /// Descriptors and memory.
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

    /// The handshake of an inbound connection is done, and its peer known.
    ///
    /// # Errors
    /// Why the connection may not be established.
    pub fn established_inbound(
        &self,
        peers: &Peers,
        id: ConnectionId,
        peer: &PeerId,
        ip: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        // A ban may have come meanwhile.
        if let Some(ip) = ip {
            peers.address(ip, peers.trust().is_trusted(peer), now)?;
        }
        peers.peer(peer, now)?;
        if peers.trust().is_exempt(peer) {
            return Ok(());
        }
        if let Some(Place::Lane(why, _)) = self.arrivals.get(&id).map(|a| &a.place) {
            return Err(Refusal::clone(why));
        }
        self.room_of_peer(peers, peer)?;
        self.room_inbound(peers)?;
        let allowed = peers.rules().per_subnet;
        self.room_in_subnet(peers, ip, kept(allowed))
    }

    /// A dial begins, to `peer` if that is known.
    ///
    /// # Errors
    /// Why it may not.
    pub fn dials(
        &mut self,
        peers: &Peers,
        id: ConnectionId,
        peer: Option<&PeerId>,
        ips: impl Iterator<Item = IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        for ip in ips {
            peers.unproven(ip, now)?;
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

    /// The handshake of a dial is done.
    ///
    /// # Errors
    /// Why the connection may not be established.
    pub fn established_outbound(
        &self,
        peers: &Peers,
        peer: &PeerId,
        ip: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if let Some(ip) = ip {
            peers.address(ip, peers.trust().is_trusted(peer), now)?;
        }
        peers.peer(peer, now)?;
        if peers.trust().is_exempt(peer) {
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

    /// A connection is no longer in the making: it is established, or it came to
    /// nothing.
    pub fn settled(&mut self, id: ConnectionId) {
        self.dials.remove(&id);
        if let Some(arrival) = self.arrivals.remove(&id) {
            self.free(arrival.subnet, &arrival.place);
        }
    }
}

#[cfg(test)]
mod tests;
