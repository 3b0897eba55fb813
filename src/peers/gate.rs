//! Who may connect: every decision about a connection, apart from libp2p.
//!
//! # The way of an inbound connection
//!
//! 1. Before the handshake ([`Gate::arrives`]) only its address is known. Denied
//!    networks and bans end it. Then the limits: descriptors and memory left,
//!    room in the total, its subnet's connections and handshakes, places for
//!    handshakes, and the rates. A refusal here costs a closed socket.
//! 2. After it ([`Gate::may_stand_inbound`]) the peer is known: bans of peers,
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

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use ipnet::IpNet;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::limits::{
    GRACE, Limits, MAX_PENDING_INBOUND, MAX_PENDING_OUTBOUND, MAX_PENDING_PER_SUBNET, TRUSTED_LANE,
    TRUSTED_LANE_KNOWN, descriptors_kept, kept, memory_for_inbound,
};
use super::networks::Networks;
use super::rate::{Bucket, Rate, Table};
pub use super::refusal::Refusal;
use super::resources::Resources;
pub use super::subnet::{Prefixes, names_this_host};

/// The chance of an attempt that is over a rate; see the module's page.
pub const LEAK: f64 = 1.0 / 32.0;

/// Handshakes that strangers may begin in the lane of trusted peers: two a
/// second cost next to nothing, and a trusted peer from somewhere new that tries
/// each second is in within seconds unless somebody floods the node.
const LANE_RATE: Rate = Rate {
    per_second: 2.0,
    burst: 8.0,
};

/// Addresses of trusted peers that are remembered: a few for each of the few
/// that an operator lists; the oldest is forgotten.
const MAX_KNOWN: usize = 256;

/// The rules of the gate.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Only these networks, when there are any (`P2P_ALLOW_CIDRS`).
    pub allow: Networks,
    /// None of these (`P2P_DENY_CIDRS`); wins over `allow`.
    pub deny: Networks,
    /// Connections with one subnet (`P2P_MAX_CONNECTIONS_PER_SUBNET`).
    pub per_subnet: u32,
    /// What makes two addresses one subnet (`P2P_SUBNET_PREFIXES`).
    pub prefixes: Prefixes,
    /// Inbound connections a second (`P2P_MAX_INBOUND_RATE`).
    pub rate: u32,
    /// Inbound connections a second from one subnet
    /// (`P2P_MAX_INBOUND_RATE_PER_SUBNET`).
    pub subnet_rate: u32,
    /// Peers that pass the limits.
    pub trusted: HashSet<PeerId>,
    /// Peers that pass the limits, but neither the lists of addresses nor bans
    /// (`P2P_PEERING`).
    pub peering: HashSet<PeerId>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            allow: Networks::default(),
            deny: Networks::default(),
            per_subnet: 64,
            prefixes: Prefixes::default(),
            rate: 64,
            subnet_rate: 8,
            trusted: HashSet::new(),
            peering: HashSet::new(),
        }
    }
}

impl Rules {
    /// Whether the limits of connections do not hold for `peer`.
    fn exempts(&self, peer: &PeerId) -> bool {
        self.trusted.contains(peer) || self.peering.contains(peer)
    }

    fn exempts_somebody(&self) -> bool {
        !self.trusted.is_empty() || !self.peering.is_empty()
    }

    /// Whether an address may connect, or be dialed, at all; `trusted` ones need
    /// not be in the allowed networks.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn address(&self, ip: IpAddr, trusted: bool) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if let Some(network) = self.deny.find(ip) {
            return Err(Refusal::Denied { ip, network });
        }
        if !trusted && !self.allow.is_empty() && self.allow.find(ip).is_none() {
            return Err(Refusal::NotAllowed { ip });
        }
        Ok(())
    }
}

impl Rules {
    /// Whether an address may be dialed, which `name` stood for if it is given.
    /// A name can be anybody's, and so can be what it stands for: one that leads
    /// to this host would turn the node against the services of its own host.
    /// `trusted` is as in [`Self::address`].
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn dial(&self, ip: IpAddr, name: Option<&str>, trusted: bool) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if let Some(name) = name
            && !names_this_host(name)
            && (ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
        {
            return Err(Refusal::NameOfThisHost {
                name: name.to_owned(),
                ip,
            });
        }
        self.address(ip, trusted)
    }
}

/// The rules for dials, which the resolver asks from its own tasks; a reload can
/// change them. Clones are handles to the same ones.
#[derive(Clone, Debug, Default)]
pub struct LiveRules(Arc<RwLock<Arc<Rules>>>);

impl LiveRules {
    /// These, for now.
    pub fn new(rules: Rules) -> Self {
        LiveRules(Arc::new(RwLock::new(Arc::new(rules))))
    }

    /// What they are now.
    pub fn get(&self) -> Arc<Rules> {
        let rules = self.0.read();
        rules.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others from now on.
    pub fn set(&self, rules: Rules) {
        let held = self.0.write();
        *held.unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}

/// Who is banned. Asked by the event loop, so it must answer from memory.
pub trait Blacklist: std::fmt::Debug + Send + Sync {
    /// The ban that holds for an address, in words; for a `trusted` one only an
    /// operator's does.
    fn address(&self, ip: IpAddr, trusted: bool) -> Option<String>;
    /// The ban that holds for a peer, in words.
    fn peer(&self, peer: &PeerId) -> Option<String>;
    /// Whether a trusted peer is configured at `ip` or was met there.
    fn is_trusted_at(&self, ip: IpAddr) -> bool;
}

impl Blacklist for super::Policy {
    fn address(&self, ip: IpAddr, trusted: bool) -> Option<String> {
        let ban = match trusted {
            true => self.banned_ip_by_operator(ip),
            false => self.banned_ip(ip),
        };
        ban.as_ref().map(in_words)
    }
    fn peer(&self, peer: &PeerId) -> Option<String> {
        self.banned_peer(peer).as_ref().map(in_words)
    }
    fn is_trusted_at(&self, ip: IpAddr) -> bool {
        self.is_trusted_at(ip)
    }
}

fn in_words(ban: &super::Ban) -> String {
    match ban.reason.as_str() {
        "" => format!("by {}", ban.author.name()),
        reason => format!("by {}: {reason}", ban.author.name()),
    }
}

/// Nobody is.
#[derive(Clone, Copy, Debug)]
pub struct NobodyBanned;

impl Blacklist for NobodyBanned {
    fn address(&self, _: IpAddr, _: bool) -> Option<String> {
        None
    }
    fn peer(&self, _: &PeerId) -> Option<String> {
        None
    }
    fn is_trusted_at(&self, _: IpAddr) -> bool {
        false
    }
}

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

/// Connections of a subnet.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Established, both directions.
    standing: u32,
    /// Inbound handshakes, without those in the lane.
    arriving: u32,
}

/// The decisions, apart from libp2p. Every map in it has at most one entry for
/// each connection that it let through.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
    limits: Limits,
    resources: Resources,
    bans: Arc<dyn Blacklist>,
    closed: bool,
    subnets: HashMap<IpNet, Count>,
    /// Established connections by address, to count them anew when other prefixes
    /// make the subnets.
    addresses: HashMap<IpAddr, u32>,
    arrivals: HashMap<ConnectionId, Arrival>,
    taken: Taken,
    /// No handshake in a common place has had its time before this.
    none_slow_before: Instant,
    dials: HashSet<ConnectionId>,
    peers: HashMap<PeerId, u32>,
    inbound: u32,
    outbound: u32,
    rate: Bucket,
    subnet_rate: Table,
    lane_rate: Bucket,
    known: VecDeque<IpAddr>,
}

impl Gate {
    /// A gate that nobody has passed yet.
    pub fn new(
        rules: Rules,
        limits: Limits,
        resources: Resources,
        bans: Arc<dyn Blacklist>,
        now: Instant,
    ) -> Self {
        Gate {
            rate: Bucket::new(Rate::per_second(rules.rate), now),
            subnet_rate: Table::new(Rate::per_second(rules.subnet_rate), now),
            lane_rate: Bucket::new(LANE_RATE, now),
            rules,
            limits,
            resources,
            bans,
            closed: false,
            subnets: HashMap::new(),
            addresses: HashMap::new(),
            arrivals: HashMap::new(),
            taken: Taken::default(),
            none_slow_before: now,
            dials: HashSet::new(),
            peers: HashMap::new(),
            inbound: 0,
            outbound: 0,
            known: VecDeque::new(),
        }
    }

    /// Refuses every new connection from now on. Those that are established stay.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Other rules and limits from `now` on; `known` is where trusted peers are.
    /// What stands, stands, also over a limit: nothing new comes until there is
    /// room. Whoever the rules no longer allow is for the caller to close.
    pub fn adjust(
        &mut self,
        rules: Rules,
        limits: Limits,
        known: impl Iterator<Item = (PeerId, IpAddr)>,
        now: Instant,
    ) {
        self.rate.set_rate(Rate::per_second(rules.rate), now);
        self.subnet_rate
            .set_rate(Rate::per_second(rules.subnet_rate), now);
        let prefixes = rules.prefixes;
        let other_subnets = prefixes != self.rules.prefixes;
        self.rules = rules;
        self.limits = limits;
        if other_subnets {
            self.subnets.clear();
            for (ip, count) in &self.addresses {
                if let Some(subnet) = prefixes.subnet(*ip) {
                    self.subnets.entry(subnet).or_default().standing += count;
                }
            }
            for arrival in self.arrivals.values_mut() {
                arrival.subnet = arrival.ip.and_then(|ip| prefixes.subnet(ip));
                if let (Some(subnet), Place::Common) = (arrival.subnet, &arrival.place) {
                    self.subnets.entry(subnet).or_default().arriving += 1;
                }
            }
        }
        self.known.clear();
        for (peer, ip) in known {
            self.remember(&peer, ip);
        }
    }

    /// Resources as they were last looked at.
    pub fn resources(&self) -> Option<super::resources::Sample> {
        self.resources.now()
    }

    /// Remembers that a trusted peer is at `ip`.
    pub fn remember(&mut self, peer: &PeerId, ip: IpAddr) {
        if !self.rules.exempts(peer) || self.known.contains(&ip) {
            return;
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(ip);
    }

    /// Whether an address may be connected, when it is known whether its peer is
    /// trusted.
    ///
    /// # Errors
    /// The rule or ban that refuses it.
    pub fn address(&self, ip: IpAddr, trusted: bool) -> Result<(), Refusal> {
        self.rules.address(ip, trusted)?;
        let ip = ip.to_canonical();
        match self.bans.address(ip, trusted) {
            Some(ban) => Err(Refusal::BannedAddress { ip, ban }),
            None => Ok(()),
        }
    }

    /// As [`Self::address`], while nobody has proven yet who is there.
    fn unproven(&self, ip: IpAddr) -> Result<(), Refusal> {
        self.address(ip, false).or_else(|refusal| {
            if self.bans.is_trusted_at(ip) {
                return self.address(ip, true);
            }
            Err(refusal)
        })
    }

    fn peer(&self, peer: &PeerId) -> Result<(), Refusal> {
        match self.bans.peer(peer) {
            Some(ban) => Err(Refusal::BannedPeer { peer: *peer, ban }),
            None => Ok(()),
        }
    }

    /// An inbound connection arrives from `ip`, which is unknown for some
    /// transports. `chance` is asked for a number from 0 up to 1. When it may go
    /// on, says whose handshake is to be given up for it, if any.
    ///
    /// # Errors
    /// Why it may not.
    pub fn arrives(
        &mut self,
        id: ConnectionId,
        ip: Option<IpAddr>,
        now: Instant,
        chance: impl Fn() -> f64,
    ) -> Result<Option<ConnectionId>, Refusal> {
        if self.closed {
            return Err(Refusal::Draining);
        }
        if let Some(ip) = ip {
            self.unproven(ip)?;
        }
        let subnet = ip.and_then(|ip| self.rules.prefixes.subnet(ip));
        let local = ip.is_some_and(|ip| ip.is_loopback());
        let (place, evict) = match self.stranger(subnet, local, now, &chance) {
            Ok(evict) => (Place::Common, evict),
            Err(refusal) => match self.lane(ip, now) {
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
            self.subnets.entry(subnet).or_default().arriving += 1;
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
        if *place == Place::Common {
            self.gone(subnet, |count| &mut count.arriving);
        }
    }

    /// The limits before the handshake, the rates last since they are spent.
    fn stranger(
        &mut self,
        subnet: Option<IpNet>,
        local: bool,
        now: Instant,
        chance: &impl Fn() -> f64,
    ) -> Result<Option<ConnectionId>, Refusal> {
        self.resources_left(true)?;
        self.room_inbound()?;
        let mut evict = None;
        if let Some(subnet) = subnet {
            let count = self.subnets.get(&subnet).copied().unwrap_or_default();
            let (allowed, kept) = (self.rules.per_subnet, kept(self.rules.per_subnet));
            let used = count.standing + count.arriving;
            if used >= allowed - kept {
                return Err(Refusal::Subnet {
                    subnet,
                    used,
                    allowed,
                    kept,
                });
            }
            if count.arriving >= MAX_PENDING_PER_SUBNET {
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
            self.rates(subnet, now, chance)?;
        }
        Ok(evict)
    }

    fn rates(
        &mut self,
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
                allowed: self.rules.subnet_rate,
            });
        }
        if !self.rate.take(now) && chance() >= LEAK {
            return Err(Refusal::Rate {
                allowed: self.rules.rate,
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
    fn lane(&mut self, ip: Option<IpAddr>, now: Instant) -> Option<Lane> {
        if !self.rules.exempts_somebody() {
            return None;
        }
        if self.taken.known < TRUSTED_LANE_KNOWN && ip.is_some_and(|ip| self.known.contains(&ip)) {
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

    fn room_inbound(&self) -> Result<(), Refusal> {
        let (allowed, kept) = (self.limits.total, kept(self.limits.total));
        let used = self.inbound + self.outbound;
        if used >= allowed - kept {
            return Err(Refusal::Total {
                used,
                allowed,
                kept,
            });
        }
        if self.inbound >= self.limits.inbound {
            return Err(Refusal::Inbound {
                used: self.inbound,
                allowed: self.limits.inbound,
            });
        }
        Ok(())
    }

    fn room_outbound(&self) -> Result<(), Refusal> {
        let used = self.inbound + self.outbound;
        if used >= self.limits.total {
            return Err(Refusal::Total {
                used,
                allowed: self.limits.total,
                kept: 0,
            });
        }
        if self.outbound >= self.limits.outbound {
            return Err(Refusal::Outbound {
                used: self.outbound,
                allowed: self.limits.outbound,
            });
        }
        Ok(())
    }

    fn room_of_peer(&self, peer: &PeerId) -> Result<(), Refusal> {
        let used = self.peers.get(peer).copied().unwrap_or(0);
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
    /// Why the connection may not stand.
    pub fn may_stand_inbound(
        &self,
        id: ConnectionId,
        peer: &PeerId,
        ip: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let trusted = self.rules.trusted.contains(peer);
        // A ban may have come meanwhile.
        if let Some(ip) = ip {
            self.address(ip, trusted)?;
        }
        self.peer(peer)?;
        if self.rules.exempts(peer) {
            return Ok(());
        }
        if let Some(Place::Lane(why, _)) = self.arrivals.get(&id).map(|a| &a.place) {
            return Err(Refusal::clone(why));
        }
        self.room_of_peer(peer)?;
        self.room_inbound()?;
        let (allowed, kept) = (self.rules.per_subnet, kept(self.rules.per_subnet));
        self.room_in_subnet(ip, allowed, kept)
    }

    /// A dial begins, to `peer` if that is known.
    ///
    /// # Errors
    /// Why it may not.
    pub fn dials(
        &mut self,
        id: ConnectionId,
        peer: Option<&PeerId>,
        ips: impl Iterator<Item = IpAddr>,
    ) -> Result<(), Refusal> {
        for ip in ips {
            self.unproven(ip)?;
        }
        if let Some(peer) = peer {
            self.peer(peer)?;
        }
        if !peer.is_some_and(|peer| self.rules.exempts(peer)) {
            if self.dials.len() >= MAX_PENDING_OUTBOUND as usize {
                return Err(Refusal::PendingOutbound {
                    allowed: MAX_PENDING_OUTBOUND,
                });
            }
            self.resources_left(false)?;
            self.room_outbound()?;
        }
        self.dials.insert(id);
        self.resources.opened();
        Ok(())
    }

    /// The handshake of a dial is done.
    ///
    /// # Errors
    /// Why the connection may not stand.
    pub fn may_stand_outbound(&self, peer: &PeerId, ip: Option<IpAddr>) -> Result<(), Refusal> {
        let trusted = self.rules.trusted.contains(peer);
        if let Some(ip) = ip {
            self.address(ip, trusted)?;
        }
        self.peer(peer)?;
        if self.rules.exempts(peer) {
            return Ok(());
        }
        self.room_of_peer(peer)?;
        self.room_outbound()?;
        self.room_in_subnet(ip, self.rules.per_subnet, 0)
    }

    fn room_in_subnet(&self, ip: Option<IpAddr>, allowed: u32, kept: u32) -> Result<(), Refusal> {
        let Some(subnet) = ip.and_then(|ip| self.rules.prefixes.subnet(ip)) else {
            return Ok(());
        };
        let used = self.subnets.get(&subnet).map_or(0, |c| c.standing);
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

    /// A connection in the making came to nothing.
    pub fn failed(&mut self, id: ConnectionId) {
        self.dials.remove(&id);
        if let Some(arrival) = self.arrivals.remove(&id) {
            self.free(arrival.subnet, &arrival.place);
        }
    }

    /// A connection stands.
    pub fn opened(&mut self, id: ConnectionId, peer: PeerId, ip: Option<IpAddr>, outbound: bool) {
        self.failed(id);
        *self.peers.entry(peer).or_default() += 1;
        if outbound {
            self.outbound += 1;
        } else {
            self.inbound += 1;
        }
        let Some(ip) = ip else { return };
        self.remember(&peer, ip);
        *self.addresses.entry(ip).or_default() += 1;
        if let Some(subnet) = self.rules.prefixes.subnet(ip) {
            self.subnets.entry(subnet).or_default().standing += 1;
        }
    }

    /// A connection that stood has ended.
    pub fn ended(&mut self, peer: &PeerId, ip: Option<IpAddr>, outbound: bool) {
        if let Some(count) = self.peers.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(peer);
            }
        }
        let direction = if outbound {
            &mut self.outbound
        } else {
            &mut self.inbound
        };
        *direction = direction.saturating_sub(1);
        if let Some(ip) = ip
            && let Some(count) = self.addresses.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&ip);
            }
        }
        let subnet = ip.and_then(|ip| self.rules.prefixes.subnet(ip));
        self.gone(subnet, |count| &mut count.standing);
    }

    /// Takes one from a count, and forgets the subnet that has none.
    fn gone(&mut self, subnet: Option<IpNet>, which: impl Fn(&mut Count) -> &mut u32) {
        let Some(subnet) = subnet else { return };
        if let Some(count) = self.subnets.get_mut(&subnet) {
            let number = which(count);
            *number = number.saturating_sub(1);
            if count.standing == 0 && count.arriving == 0 {
                self.subnets.remove(&subnet);
            }
        }
    }
}

#[cfg(test)]
mod tests;
