//! The gate and what is known of peers, driven in virtual time.
//!
//! In these tests, peers connect, send and misbehave, and time passes. The tests take
//! microseconds and always have the same outcome, so they can expect exact values:
//! nothing in this room reads a clock.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use libp2p::core::ConnectedPoint;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::bans::{Author, SUBNET_AFTER, Target};
use super::bucket::{Budget, Rates};
use super::gate::Gate;
use super::limits::Limits;
use super::record::Connection;
use super::refusal::Refusal;
use super::reputation::{Action, FIRST_BAN};
use super::rules::Rules;
use super::standing::{LATELY, MAX_GOOD, PROVEN, SETTLED, Standing, WANTED_FOR};
use super::state::{Note, Order, Peers, Settings};
use super::{Conduct, OverBudget};
use crate::system::moment::Moment;
use crate::system::resources::Resources;

/// A gate, what is known of peers, a clock, and luck. Nothing is lucky unless a test says
/// so.
pub(super) struct World {
    pub(super) peers: Peers,
    pub(super) gate: Gate,
    pub(super) resources: Resources,
    pub(super) now: Instant,
    pub(super) luck: Cell<f64>,
    pub(super) next: usize,
}

impl World {
    pub(super) fn with_rules(rules: Rules, limits: Limits) -> World {
        let settings = Settings {
            rules,
            ..Settings::default()
        };
        World::with(settings, limits)
    }

    pub(super) fn with(settings: Settings, limits: Limits) -> World {
        let (now, resources) = (Instant::now(), Resources::new());
        let peers = Peers::new(settings);
        World {
            gate: Gate::new(&peers, limits, resources.clone(), now),
            peers,
            resources,
            now,
            luck: Cell::new(0.999),
            next: 0,
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            mono: self.now,
            wall: SystemTime::UNIX_EPOCH,
        }
    }

    pub(super) fn id(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId::new_unchecked(self.next)
    }

    pub(super) fn arrives(&mut self, from: &str) -> Result<ConnectionId, Refusal> {
        self.arrives_from(Some(ip(from))).map(|(id, _)| id)
    }

    /// Also returns the connection whose handshake was given up for it.
    pub(super) fn arrives_from(
        &mut self,
        from: Option<IpAddr>,
    ) -> Result<(ConnectionId, Option<ConnectionId>), Refusal> {
        let id = self.id();
        let luck = &self.luck;
        let arrived = self
            .gate
            .arrives(&self.peers, id, from, self.now, || luck.get());
        arrived.map(|evicted| (id, evicted))
    }

    pub(super) fn proves(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        from: &str,
    ) -> Result<(), Refusal> {
        self.gate
            .established_inbound(&self.peers, id, &peer, Some(ip(from)), self.now)
    }

    /// The swarm reports a connection that is established.
    pub(super) fn opened(&mut self, id: ConnectionId, peer: PeerId, ip: IpAddr, outbound: bool) {
        self.gate.settled(id);
        let connection = Connection::new(&endpoint(ip, outbound), self.now);
        self.peers.opened(peer, id, connection);
    }

    /// A connection arrives and proves to be `peer`.
    pub(super) fn comes_as(&mut self, peer: PeerId, from: &str) -> Result<ConnectionId, Refusal> {
        let id = self.arrives(from)?;
        let allowed = self.proves(id, peer, from);
        match allowed {
            Ok(()) => self.opened(id, peer, ip(from), false),
            Err(_) => self.gate.settled(id),
        }
        allowed.map(|()| id)
    }

    pub(super) fn comes(&mut self, from: &str) -> Result<ConnectionId, Refusal> {
        self.comes_as(PeerId::random(), from)
    }

    /// Begins a dial of an address.
    pub(super) fn begins(
        &mut self,
        peer: Option<&PeerId>,
        to: &[&str],
    ) -> Result<ConnectionId, Refusal> {
        let id = self.id();
        let ips = to.iter().map(|to| ip(to));
        self.gate
            .dials(&self.peers, id, peer, ips, self.now)
            .map(|()| id)
    }

    pub(super) fn reaches(&mut self, peer: &PeerId, to: Option<&str>) -> Result<(), Refusal> {
        self.gate
            .established_outbound(&self.peers, peer, to.map(ip), self.now)
    }

    pub(super) fn dials(&mut self, to: &str) -> Result<(), Refusal> {
        let peer = PeerId::random();
        let id = self.begins(Some(&peer), &[to])?;
        let allowed = self.reaches(&peer, Some(to));
        match allowed {
            Ok(()) => self.opened(id, peer, ip(to), true),
            Err(_) => self.gate.settled(id),
        }
        allowed
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// Returns how the swarm describes a direct connection.
pub(super) fn endpoint(ip: IpAddr, outbound: bool) -> ConnectedPoint {
    let address: Multiaddr = Multiaddr::empty()
        .with(ip.into())
        .with(libp2p::multiaddr::Protocol::Tcp(1));
    match outbound {
        true => ConnectedPoint::Dialer {
            address,
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        },
        false => ConnectedPoint::Listener {
            local_addr: "/ip4/192.0.2.9/tcp/1".parse().unwrap(),
            send_back_addr: address,
        },
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl World {
    /// Takes everything that the event loop has to do now.
    fn orders(&mut self) -> Vec<Order> {
        std::iter::from_fn(|| self.peers.next_order()).collect()
    }

    /// Takes the notes since the last call.
    fn notes(&mut self) -> Vec<Note> {
        self.peers.take_outcome().notes
    }

    fn score(&self, peer: &PeerId) -> f32 {
        self.peers.reputation(peer, self.now).score
    }

    /// Sends `messages` one by one, and returns how many were within the budget.
    fn sends(&mut self, peer: &PeerId, messages: usize) -> usize {
        let now = self.moment();
        let sent = (0..messages).filter(|_| self.peers.allow(peer, 1, now).is_ok());
        sent.count()
    }

    /// A new id comes from an address and misbehaves until it is banned, and its
    /// connection is closed. Returns whether it was let in.
    fn misbehaves_from(&mut self, from: &str) -> bool {
        let peer = PeerId::random();
        let Ok(id) = self.comes_as(peer, from) else {
            return false;
        };
        let now = self.moment();
        while self.peers.ban_of_peer(&peer, self.now).is_none() {
            self.peers.report(&peer, Conduct::InvalidSignature, now);
        }
        self.peers.closed(&peer, id).unwrap();
        true
    }

    /// Reports what a peer did well, so often that its score is at least one.
    fn behaves(&mut self, peer: &PeerId) {
        let now = self.moment();
        for _ in 0..6 {
            self.peers.report(peer, Conduct::BlockDelivered, now);
        }
    }

    /// Closes the connections that are forbidden by now, as the event loop does after a
    /// ban. Returns their peers.
    fn closes(&mut self) -> Vec<PeerId> {
        let asked = self.orders().contains(&Order::Recheck);
        let unwelcome = self.peers.unwelcome(self.now);
        assert!(asked || unwelcome.is_empty());
        for (peer, id) in &unwelcome {
            self.peers.closed(peer, id.unwrap()).unwrap();
        }
        unwelcome.into_iter().map(|(peer, _)| peer).collect()
    }

    /// Returns how many seconds the node's own ban of an address is long, if there is one.
    fn banned_for(&self, address: &str) -> Option<u64> {
        let ban = self
            .peers
            .ban_of_address(ip(address), Standing::Stranger, self.now)?;
        assert_eq!(ban.author, Author::Automatic);
        let until = ban.until.unwrap();
        Some(until.duration_since(ban.since).unwrap().as_secs())
    }

    /// Closes the connections that the orders name, as the event loop does. Returns
    /// whether the peer was cut off.
    fn is_cut_off(&mut self, peer: &PeerId) -> bool {
        let orders = self.orders();
        let cut = orders.iter().any(|order| match order {
            Order::Sanction(sanction) => sanction.peer == *peer && sanction.action > Action::Note,
            Order::Recheck => false,
        });
        if cut {
            let record = self.peers.table().get(peer);
            let ids: Vec<_> = record
                .iter()
                .flat_map(|r| r.connections())
                .map(|(id, _)| id)
                .collect();
            for id in ids {
                self.peers.closed(peer, id).unwrap();
            }
        }
        cut
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Returns a budget of ten messages at once and one a second.
fn frugal() -> Settings {
    Settings {
        rates: Rates {
            messages: Budget { burst: 10, fill: 1 },
            ..Rates::default()
        },
        ..Settings::default()
    }
}

#[test]
fn a_flood_its_ban_the_bans_end_and_a_reload() {
    let mut world = World::with(frugal(), Limits::default());
    let (flooder, honest) = (PeerId::random(), PeerId::random());
    let from = "192.0.2.1";
    world.comes_as(flooder, from).unwrap();
    world.comes_as(honest, "192.0.2.2").unwrap();
    // The burst passes. Ten more messages are dropped and cost nothing. From then on, the
    // eleventh within a second is reported once.
    assert_eq!(world.sends(&flooder, 20), 10);
    assert_eq!(world.score(&flooder), 0.0);
    assert_eq!(world.sends(&flooder, 100), 0);
    assert_eq!(world.score(&flooder), -4.0);
    let dropped = Note::OverBudget(flooder, OverBudget::Messages);
    let notes = world.notes();
    assert_eq!(notes.iter().filter(|note| **note == dropped).count(), 110);
    assert!(notes.contains(&Note::Offence(Conduct::OverBudget)));
    // It goes on with a thousand messages each second, and is reported each second. Its
    // score falls by four each time, while it would take an hour to halve.
    let mut seconds = 1;
    while !world.is_cut_off(&flooder) {
        world.pass(SECOND);
        world.sends(&flooder, 1_000);
        seconds += 1;
    }
    assert_eq!(seconds, 13, "13 times four points reach -50");
    // It connects again and goes on until it is banned, at -80.
    world.comes_as(flooder, from).unwrap();
    while world.peers.ban_of_peer(&flooder, world.now).is_none() {
        world.pass(SECOND);
        world.sends(&flooder, 1_000);
        if world.is_cut_off(&flooder) && world.peers.ban_of_peer(&flooder, world.now).is_none() {
            world.comes_as(flooder, from).unwrap();
        }
        seconds += 1;
    }
    assert_eq!(seconds, 21, "21 times four points reach -80");
    let refusal = world.comes_as(flooder, from).unwrap_err();
    assert_eq!(refusal.limit(), "bans");
    // The honest peer has its whole budget, and others may come from that address.
    assert_eq!(world.sends(&honest, 20), 10);
    world.comes(from).unwrap();

    // The ban lasts exactly ten minutes, to the nanosecond.
    world.pass(FIRST_BAN - Duration::from_nanos(1));
    world.comes_as(flooder, from).unwrap_err();
    world.pass(Duration::from_nanos(1));
    world.comes_as(flooder, from).unwrap();
    // Its offences are not forgiven: its budget is an eighth, which is one message.
    assert_eq!(world.sends(&flooder, 20), 1);

    // After a reload, the peer is trusted, and all peers have another budget from the
    // next message on.
    let reloaded = Settings {
        rates: Rates {
            messages: Budget { burst: 3, fill: 1 },
            ..Rates::default()
        },
        trusted: vec![flooder],
        ..Settings::default()
    };
    world.peers.adjust(reloaded, &[]);
    world
        .gate
        .adjust(&world.peers, Limits::default(), world.now);
    world.pass(60 * SECOND);
    assert_eq!(world.sends(&honest, 20), 3);
    assert_eq!(world.sends(&flooder, 100), 30, "ten times the budget");
    assert!(
        world.peers.trust().is_trusted_at(ip(from)),
        "it was here when it became trusted"
    );
}

#[test]
fn an_operators_ban_is_lifted_with_what_led_to_it() {
    let mut world = World::with(frugal(), Limits::default());
    let peer = PeerId::random();
    world.comes_as(peer, "192.0.2.1").unwrap();
    let now = world.moment();
    world.peers.report(&peer, Conduct::Bomb, now);
    assert_eq!(world.score(&peer), -50.0);
    let hour = 3600 * SECOND;
    let target = Target::Peer(peer);
    world.peers.ban(target, Some(hour), "spam", now).unwrap();
    assert_eq!(world.orders()[0], Order::Recheck);
    world.pass(hour / 2);
    assert!(world.peers.unban(&target, world.now).is_some());
    assert_eq!(world.score(&peer), 0.0);
    assert_eq!(world.sends(&peer, 20), 10);
    let in_force = world.notes().into_iter().rev().find_map(|note| match note {
        Note::InForce(bans) => Some(bans),
        _ => None,
    });
    assert_eq!(in_force, Some(0));
}

#[test]
fn a_score_halves_in_an_hour_and_scales_the_budget() {
    let mut world = World::with(frugal(), Limits::default());
    let peer = PeerId::random();
    let now = world.moment();
    world.peers.report(&peer, Conduct::WrongBlock, now);
    assert_eq!(world.score(&peer), -25.0);
    // At -25, a budget is scaled by 1 - 0.875 / 2 = 0.5625. Nine messages are so few that
    // those which are dropped cost nothing.
    assert_eq!(world.sends(&peer, 9), 5);
    world.pass(3600 * SECOND);
    assert_eq!(world.score(&peer), -12.5);
    assert_eq!(world.sends(&peer, 9), 7, "0.78 of ten");
    world.pass(3600 * SECOND);
    assert_eq!(world.score(&peer), -6.25);
    assert_eq!(world.sends(&peer, 9), 8, "0.89 of ten");
}

/// Returns settings without a limit on how often one address may connect.
fn busy() -> Settings {
    Settings {
        rules: Rules {
            rate: 10_000,
            subnet_rate: 10_000,
            ..Rules::default()
        },
        ..Settings::default()
    }
}

/// The address that an attacker shares with honest peers.
const SHARED: &str = "192.0.2.1";

#[test]
fn a_ban_of_an_address_closes_no_connection_of_a_peer_that_behaved_well() {
    let mut world = World::with(busy(), Limits::default());
    let [merit, settled, dialed, young, tainted] = [(); 5].map(|()| PeerId::random());
    world.comes_as(settled, SHARED).unwrap();
    world.comes_as(merit, SHARED).unwrap();
    world.pass(SETTLED - SECOND);
    world.comes_as(young, SHARED).unwrap();
    for peer in [dialed, tainted] {
        let id = world.begins(Some(&peer), &[SHARED]).unwrap();
        world.reaches(&peer, Some(SHARED)).unwrap();
        world.opened(id, peer, ip(SHARED), true);
    }
    world.pass(SECOND);
    let now = world.moment();
    world.peers.report(&tainted, Conduct::PingLost, now);
    // Nobody there has merit yet, so that five ids are one too many.
    let mut banned = 0;
    while world.banned_for(SHARED).is_none() {
        assert!(world.misbehaves_from(SHARED));
        banned += 1;
    }
    assert_eq!(
        (banned, world.banned_for(SHARED)),
        (SUBNET_AFTER, Some(600))
    );
    // The peer with merit has stood for long enough without it too.
    let mut closed = world.closes();
    closed.sort();
    let mut expected = vec![young, tainted];
    expected.sort();
    assert_eq!(closed, expected);
    assert!(!world.misbehaves_from(SHARED), "strangers are refused");
    // An operator's ban holds for all.
    let target = Target::Net(ip(SHARED).into());
    world.peers.ban(target, None, "", now).unwrap();
    let mut closed = world.closes();
    closed.sort();
    let mut expected = vec![merit, settled, dialed];
    expected.sort();
    assert_eq!(closed, expected);
}

#[test]
fn what_this_node_dials_in_a_banned_subnet_is_judged_by_its_id() {
    let mut world = World::with(busy(), Limits::default());
    let [known, wanted, offender, stranger] = [(); 4].map(|()| PeerId::random());
    // The node knows this peer from another address.
    let id = world.comes_as(known, "192.0.2.7").unwrap();
    world.behaves(&known);
    world.peers.closed(&known, id).unwrap();
    let now = world.moment();
    world.peers.report(&offender, Conduct::Malformed, now);
    for _ in 0..SUBNET_AFTER {
        assert!(world.misbehaves_from(SHARED));
    }
    assert_eq!(world.banned_for(SHARED), Some(600));
    let dial = |world: &mut World, peer: Option<&PeerId>| {
        let begun = world.begins(peer, &[SHARED]).is_ok();
        let allowed = world
            .peers
            .dial(ip(SHARED), Some("x.test"), peer, world.now);
        assert_eq!(begun, allowed.is_ok());
        if let Some(peer) = peer {
            assert_eq!(world.reaches(peer, Some(SHARED)).is_ok(), begun);
        }
        begun
    };
    assert!(dial(&mut world, Some(&known)));
    assert!(!dial(&mut world, Some(&stranger)) && !dial(&mut world, None));
    assert!(!dial(&mut world, Some(&offender)));
    // A program on this host asks for a peer, and then no more.
    world.peers.want(&wanted, world.now);
    assert!(dial(&mut world, Some(&wanted)));
    world.pass(WANTED_FOR);
    assert!(world.banned_for(SHARED).is_none(), "the ban has ended too");
    assert!(dial(&mut world, Some(&wanted)));
    for _ in 0..SUBNET_AFTER {
        assert!(world.misbehaves_from(SHARED));
    }
    assert_eq!(world.banned_for(SHARED), Some(2400));
    assert!(!dial(&mut world, Some(&wanted)));
    world.peers.want(&wanted, world.now);
    assert!(dial(&mut world, Some(&wanted)));
    // A banned id is banned everywhere, and so is everybody for an operator.
    let now = world.moment();
    world
        .peers
        .ban(Target::Peer(wanted), None, "", now)
        .unwrap();
    assert!(world.begins(Some(&wanted), &[SHARED]).is_err());
    let target = Target::Net(ip(SHARED).into());
    world.peers.ban(target, None, "", now).unwrap();
    assert!(!dial(&mut world, Some(&known)));
}

#[test]
fn a_carriers_nat_with_honest_people_is_not_one_person() {
    for (good, expected) in [
        (0, (5, 600)),
        (1, (10, 300)),
        (4, (25, 120)),
        (20, (40, 75)),
    ] {
        let mut world = World::with(busy(), Limits::default());
        let people: Vec<PeerId> = (0..good).map(|_| PeerId::random()).collect();
        for peer in &people {
            // They may have left again.
            let id = world.comes_as(*peer, SHARED).unwrap();
            world.behaves(peer);
            world.peers.closed(peer, id).unwrap();
        }
        let mut banned = 0;
        while world.banned_for(SHARED).is_none() {
            assert!(world.misbehaves_from(SHARED));
            banned += 1;
        }
        assert_eq!((banned, world.banned_for(SHARED).unwrap()), expected);
        // One of them comes back while the address is banned, and strangers do not.
        if let Some(peer) = people.last() {
            world.comes_as(*peer, SHARED).unwrap();
        }
        assert!(!world.misbehaves_from(SHARED));
        // An hour later, their good conduct is forgotten.
        world.pass(LATELY);
        let now = world.moment();
        world.peers.tend_bans(now);
        let mut again = 0;
        while world.banned_for(SHARED).is_none() {
            assert!(world.misbehaves_from(SHARED));
            again += 1;
        }
        // The one that came back has been here without an offence since.
        let here = usize::from(good > 0);
        assert!(here <= MAX_GOOD && PROVEN < LATELY);
        assert_eq!(again, SUBNET_AFTER * (1 + here));
    }
}

#[test]
fn whoever_misbehaves_later_does_not_speak_for_its_subnet() {
    let mut world = World::with(busy(), Limits::default());
    let peer = PeerId::random();
    world.comes_as(peer, SHARED).unwrap();
    world.behaves(&peer);
    let now = world.moment();
    // Its merit is 1.2, and a lost ping costs one point: that does not make it bad.
    world.peers.report(&peer, Conduct::PingLost, now);
    assert_eq!(world.peers.standing(&peer, world.now), Standing::Stranger);
    world.peers.report(&peer, Conduct::Malformed, now);
    let mut banned = 0;
    while world.banned_for(SHARED).is_none() {
        assert!(world.misbehaves_from(SHARED));
        banned += 1;
    }
    assert_eq!(banned, SUBNET_AFTER);
    assert_eq!(world.closes(), [peer]);
}
