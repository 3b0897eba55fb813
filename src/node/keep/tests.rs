//! Swarms over memory transports that speak nothing but this protocol; and the
//! behaviour alone for what a remote would have to time exactly.

use std::future::Future;

use async_std::channel::{Receiver, Sender, unbounded};
use async_std::task;
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::{MemoryTransport, Transport};
use libp2p::core::{ConnectedPoint, upgrade::Version};
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{noise, swarm};

use super::*;
use crate::transport::yamux;

/// This is far above what any step takes, so that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

/// This is longer than a question and its answer take on a busy machine.
const IDLE: Duration = Duration::from_secs(3);

const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/keep/1.0.0");

#[derive(NetworkBehaviour)]
struct Parts {
    keep: Toggle<Behaviour>,
}

type Errand = Box<dyn FnOnce(&mut Swarm<Parts>) + Send>;

struct Host {
    peer: PeerId,
    address: Multiaddr,
    errands: Sender<Errand>,
    events: Receiver<SwarmEvent<PartsEvent>>,
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match async_std::future::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

/// Returns a host with room for a part of `connections`. With `None`, it does not speak
/// the protocol.
async fn host(connections: Option<u32>) -> Host {
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    let keep = connections.map(|n| Behaviour::new(peer, PROTOCOL, n, []));
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::new(256, 256))
        .boxed();
    let config = swarm::Config::with_executor(|task| {
        task::spawn(task);
    })
    .with_idle_connection_timeout(IDLE);
    let mut swarm = Swarm::new(transport, Parts { keep: keep.into() }, peer, config);
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let (errands, todo) = unbounded::<Errand>();
    let (told, events) = unbounded();
    task::spawn(async move {
        loop {
            futures::select! {
                errand = todo.recv().fuse() => match errand {
                    Ok(errand) => errand(&mut swarm),
                    Err(_) => return,
                },
                event = swarm.select_next_some() => { let _ = told.send(event).await; }
            }
        }
    });
    let mut host = Host {
        peer,
        address: Multiaddr::empty(),
        errands,
        events,
    };
    let told = host.until("listening", |e| match e {
        SwarmEvent::NewListenAddr { address, .. } => Some(address.clone()),
        _ => None,
    });
    host.address = told.await;
    host
}

impl Host {
    async fn until<T>(
        &self,
        what: &str,
        mut pick: impl FnMut(&SwarmEvent<PartsEvent>) -> Option<T>,
    ) -> T {
        within(what, async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(found) = pick(&event) {
                    return found;
                }
            }
        })
        .await
    }

    async fn keep<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut Behaviour) -> T + Send + 'static,
    ) -> T {
        let (tell, told) = futures::channel::oneshot::channel();
        let errand: Errand = Box::new(move |swarm| {
            let done = errand(swarm.behaviour_mut().keep.as_mut().unwrap());
            let _ = tell.send(done);
        });
        self.errands.send(errand).await.unwrap();
        within("an errand", told).await.unwrap()
    }

    /// Connects to `other`, and holds it for `reason` as soon as it is connected.
    async fn connect(&self, other: &Host, reason: Option<Reason>) {
        let address = other.address.clone();
        let dial: Errand = Box::new(move |swarm| swarm.dial(address).unwrap());
        self.errands.send(dial).await.unwrap();
        let there = other.peer;
        self.until("connected", |e| {
            matches!(e, SwarmEvent::ConnectionEstablished { peer_id, .. } if *peer_id == there)
                .then_some(())
        })
        .await;
        if let Some(reason) = reason {
            let held = self.keep(move |k| k.hold(&there, reason, None, Instant::now()));
            assert!(held.await, "the connection is gone already");
        }
    }

    async fn told(&self, wanted: Event) {
        self.until("an event", |e| {
            matches!(e, SwarmEvent::Behaviour(PartsEvent::Keep(told)) if *told == wanted)
                .then_some(())
        })
        .await;
    }

    /// Waits until the connection with `other` has ended.
    async fn ended(&self, other: &Host) {
        let there = other.peer;
        self.until("the end of a connection", |e| {
            matches!(e, SwarmEvent::ConnectionClosed { peer_id, .. } if *peer_id == there)
                .then_some(())
        })
        .await;
    }

    async fn is_connected(&self, other: &Host) -> bool {
        let there = other.peer;
        self.keep(move |k| k.peers.contains_key(&there)).await
    }

    async fn is_kept(&self, other: &Host) -> bool {
        let there = other.peer;
        self.keep(move |k| k.is_kept(&there)).await
    }
}

/// A whole idle time passes: a connection that nobody holds ends.
async fn idle_time_passes(at: &Host) {
    let passer_by = host(Some(400)).await;
    passer_by.connect(at, None).await;
    passer_by.ended(at).await;
}

#[test]
fn a_connection_that_one_side_holds_stays_on_both_until_it_is_released() {
    task::block_on(async {
        let (a, b) = (host(Some(400)).await, host(Some(400)).await);
        a.connect(&b, Some(Reason::Floor)).await;
        a.told(Event::Agreed(b.peer)).await;
        assert!(a.is_kept(&b).await && b.is_kept(&a).await);
        for _ in 0..2 {
            idle_time_passes(&b).await;
            assert!(a.is_connected(&b).await && b.is_connected(&a).await);
        }
        let there = b.peer;
        a.keep(move |k| k.release(&there, Reason::Floor, Instant::now()))
            .await;
        a.ended(&b).await;
        b.ended(&a).await;
        assert!(!b.is_kept(&a).await);
        assert_eq!(b.keep(|k| k.taken.all()).await, 0);
    });
}

#[test]
fn who_has_no_room_refuses_and_is_not_asked_again_at_once() {
    task::block_on(async {
        // Room for one that wants to be present, and for two in all.
        let (full, a, b) = (
            host(Some(2)).await,
            host(Some(400)).await,
            host(Some(400)).await,
        );
        a.connect(&full, Some(Reason::Floor)).await;
        a.told(Event::Agreed(full.peer)).await;
        b.connect(&full, Some(Reason::Floor)).await;
        b.told(Event::Refused(full.peer)).await;
        let there = full.peer;
        let refused = b.keep(move |k| {
            (
                k.is_refused(&there, Instant::now()),
                k.holds(&there, Reason::Floor),
            )
        });
        assert_eq!(refused.await, (true, false));
        // Neither side keeps that connection, and the other one stays.
        b.ended(&full).await;
        assert!(full.is_kept(&a).await);
        // The place is free when the first one gives it up.
        a.keep(move |k| k.release(&there, Reason::Floor, Instant::now()))
            .await;
        a.ended(&full).await;
        full.ended(&a).await;
        b.connect(&full, Some(Reason::Floor)).await;
        b.told(Event::Agreed(full.peer)).await;
    });
}

#[test]
fn whom_a_node_needs_itself_it_keeps_without_room() {
    task::block_on(async {
        let (full, a) = (host(Some(0)).await, host(Some(400)).await);
        a.connect(&full, Some(Reason::Floor)).await;
        a.told(Event::Refused(full.peer)).await;
        let there = a.peer;
        assert!(
            full.keep(move |k| k.hold(&there, Reason::Topic, None, Instant::now()))
                .await
        );
        full.told(Event::Agreed(a.peer)).await;
        idle_time_passes(&a).await;
        assert!(full.is_connected(&a).await);
        // Trusted peers are kept as well.
        let (full, b) = (host(Some(0)).await, host(Some(400)).await);
        let friend = b.peer;
        full.keep(move |k| k.adjust(0, [friend])).await;
        b.connect(&full, Some(Reason::Floor)).await;
        b.told(Event::Agreed(full.peer)).await;
    });
}

#[test]
fn a_peer_that_does_not_know_the_protocol_is_kept_for_as_long_as_it_stays() {
    task::block_on(async {
        let (a, foreign) = (host(Some(400)).await, host(None).await);
        a.connect(&foreign, Some(Reason::Floor)).await;
        within("found to be foreign", async {
            while !a.is_kept(&foreign).await {
                task::yield_now().await;
            }
        })
        .await;
        // It closes connections that are idle on its side.
        foreign.ended(&a).await;
        // This is remembered, so it will not stay the next time either.
        a.told(Event::Refused(foreign.peer)).await;
    });
}

fn endpoint() -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: Multiaddr::empty(),
        send_back_addr: Multiaddr::empty(),
    }
}

fn id(n: usize) -> ConnectionId {
    ConnectionId::new_unchecked(n)
}

fn opened(keep: &mut Behaviour, peer_id: PeerId, n: usize) {
    keep.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id,
        connection_id: id(n),
        endpoint: &endpoint(),
        failed_addresses: &[],
        other_established: 0,
    }));
}

fn closed(keep: &mut Behaviour, peer_id: PeerId, n: usize) {
    keep.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
        peer_id,
        connection_id: id(n),
        endpoint: &endpoint(),
        cause: None,
        remaining_established: 0,
    }));
}

/// Returns what the behaviour told its handlers since the last call.
fn orders(keep: &mut Behaviour) -> Vec<(ConnectionId, Order)> {
    let taken = keep.orders.drain(..);
    taken
        .filter_map(|o| match o {
            ToSwarm::NotifyHandler {
                handler: NotifyHandler::One(id),
                event,
                ..
            } => Some((id, event)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_hold_moves_to_another_connection_and_ends_with_the_last() {
    let (mut keep, peer) = (
        Behaviour::new(PeerId::random(), PROTOCOL, 400, []),
        PeerId::random(),
    );
    let now = Instant::now();
    assert!(!keep.hold(&peer, Reason::Topic, None, now));
    opened(&mut keep, peer, 1);
    opened(&mut keep, peer, 2);
    assert!(keep.hold(&peer, Reason::Topic, None, now));
    assert_eq!(orders(&mut keep), [(id(1), Order::Hold(1, Class::Use))]);
    keep.report(peer, id(1), Report::Agreed(1), now);
    closed(&mut keep, peer, 1);
    assert!(!keep.is_kept(&peer));
    assert_eq!(orders(&mut keep), [(id(2), Order::Hold(2, Class::Use))]);
    // What the earlier connection said last does not count.
    keep.report(peer, id(1), Report::Agreed(1), now);
    assert!(!keep.is_kept(&peer));
    closed(&mut keep, peer, 2);
    opened(&mut keep, peer, 3);
    assert_eq!(orders(&mut keep), []);
}

#[test]
fn who_refused_the_floor_is_asked_again_when_it_is_needed_itself_and_after_the_pause() {
    let (mut keep, peer) = (
        Behaviour::new(PeerId::random(), PROTOCOL, 400, []),
        PeerId::random(),
    );
    let now = Instant::now();
    opened(&mut keep, peer, 1);
    keep.hold(&peer, Reason::Floor, None, now);
    keep.report(peer, id(1), Report::Refused(1), now);
    assert_eq!(
        orders(&mut keep),
        [
            (id(1), Order::Hold(1, Class::Presence)),
            (id(1), Order::Release)
        ]
    );
    keep.hold(&peer, Reason::Publishing, None, now);
    assert_eq!(orders(&mut keep), [(id(1), Order::Hold(2, Class::Use))]);
    keep.report(peer, id(1), Report::Refused(2), now);
    keep.hold(&peer, Reason::Publishing, None, now);
    keep.tend(now);
    assert_eq!(
        orders(&mut keep),
        [],
        "it goes on holding, and does not ask"
    );
    keep.tend(now + Duration::from_secs(120));
    let asked = orders(&mut keep);
    assert_eq!(asked.last(), Some(&(id(1), Order::Hold(3, Class::Use))));
}

#[test]
fn an_ask_that_is_not_answered_counts_as_refused() {
    let (mut keep, peer) = (
        Behaviour::new(PeerId::random(), PROTOCOL, 400, []),
        PeerId::random(),
    );
    let now = Instant::now();
    opened(&mut keep, peer, 1);
    keep.hold(&peer, Reason::Floor, None, now);
    keep.tend(now + PATIENCE / 2);
    assert!(keep.holds(&peer, Reason::Floor));
    keep.tend(now + PATIENCE);
    assert!(!keep.holds(&peer, Reason::Floor));
    assert!(keep.is_refused(&peer, now + PATIENCE));
    assert_eq!(orders(&mut keep).last(), Some(&(id(1), Order::Release)));
}

#[test]
fn accepted_peers_take_room_once_and_give_it_back() {
    let mut keep = Behaviour::new(PeerId::random(), PROTOCOL, 4, []);
    let now = Instant::now();
    let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
    for (n, peer) in peers.iter().enumerate() {
        opened(&mut keep, *peer, n);
        // It says so twice, like a peer that has changed its mind.
        for _ in 0..2 {
            keep.report(*peer, id(n), Report::Asked(Class::Presence), now);
        }
    }
    let answers = |keep: &mut Behaviour| -> Vec<bool> {
        let given = orders(keep).into_iter();
        given
            .filter_map(|(_, o)| match o {
                Order::Answer(yes) => Some(yes),
                _ => None,
            })
            .collect()
    };
    let (yes, no) = (true, false);
    assert_eq!(answers(&mut keep), [yes, yes, yes, yes, no, no, no, no]);
    assert_eq!(keep.taken.all(), 2);
    keep.report(peers[3], id(3), Report::Asked(Class::Use), now);
    assert_eq!(answers(&mut keep), [yes]);
    keep.report(peers[0], id(0), Report::Left, now);
    keep.report(peers[0], id(0), Report::Left, now);
    closed(&mut keep, peers[1], 1);
    assert_eq!(keep.taken.all(), 1);
    keep.close();
    keep.report(peers[2], id(2), Report::Asked(Class::Presence), now);
    assert_eq!(answers(&mut keep), [no]);
}

#[test]
fn who_is_let_in_because_it_is_held_for_a_moment_needs_room_afterwards() {
    let (now, peer) = (Instant::now(), PeerId::random());
    for (connections, stays) in [(0, false), (400, true)] {
        let mut keep = Behaviour::new(PeerId::random(), PROTOCOL, 0, []);
        opened(&mut keep, peer, 1);
        keep.report(peer, id(1), Report::Asked(Class::Use), now);
        assert!(!keep.is_accepted(&peer), "there is no room");
        let end = now + PATIENCE;
        assert!(keep.hold(&peer, Reason::Topic, Some(end), now));
        keep.report(peer, id(1), Report::Asked(Class::Use), now);
        assert!(keep.is_accepted(&peer));
        keep.adjust(connections, []);
        keep.report(peer, id(1), Report::Agreed(1), now);
        orders(&mut keep);
        keep.tend(end);
        assert_eq!(keep.is_accepted(&peer), stays);
        assert_eq!(keep.taken.all(), usize::from(stays));
        let dismissed = orders(&mut keep).contains(&(id(1), Order::Dismiss));
        assert_eq!(dismissed, !stays);
        closed(&mut keep, peer, 1);
        assert_eq!(keep.taken.all(), 0);
    }
}

#[test]
fn who_is_dismissed_is_told() {
    task::block_on(async {
        let (full, a) = (host(Some(0)).await, host(Some(400)).await);
        full.connect(&a, Some(Reason::Topic)).await;
        full.told(Event::Agreed(a.peer)).await;
        let (there, here) = (full.peer, a.peer);
        let held = a.keep(move |k| k.hold(&there, Reason::Publishing, None, Instant::now()));
        assert!(held.await);
        a.told(Event::Agreed(full.peer)).await;
        full.keep(move |k| k.release(&here, Reason::Topic, Instant::now()))
            .await;
        a.told(Event::Refused(full.peer)).await;
    });
}

#[test]
fn of_connections_that_crossed_both_sides_keep_the_same() {
    let ids = [PeerId::random(), PeerId::random()];
    let (now, dialer) = (Instant::now(), |dialed| match dialed {
        true => ConnectedPoint::Dialer {
            address: Multiaddr::empty(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        },
        false => endpoint(),
    });
    let kept = [0, 1].map(|here| {
        let mut keep = Behaviour::new(ids[here], PROTOCOL, 400, []);
        let peer_id = ids[1 - here];
        // The first connection was dialed by the first of the two.
        for n in [0, 1] {
            keep.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id: id(n),
                endpoint: &dialer(n == here),
                failed_addresses: &[],
                other_established: n,
            }));
        }
        keep.hold(&peer_id, Reason::Floor, None, now);
        orders(&mut keep).last().unwrap().0
    });
    let dialed_by_the_smaller = usize::from(ids[1] < ids[0]);
    assert_eq!(kept, [id(dialed_by_the_smaller); 2]);
}

#[test]
fn one_network_of_strangers_does_not_take_the_room_of_those_that_need_this_peer() {
    let mut keep = Behaviour::new(PeerId::random(), PROTOCOL, 400, []);
    let now = Instant::now();
    let mut asked = 0;
    let mut ask = |keep: &mut Behaviour, address: &str, class| {
        let peer_id = PeerId::random();
        asked += 1;
        keep.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id: id(asked),
            endpoint: &ConnectedPoint::Listener {
                local_addr: Multiaddr::empty(),
                send_back_addr: address.parse().unwrap(),
            },
            failed_addresses: &[],
            other_established: 0,
        }));
        keep.report(peer_id, id(asked), Report::Asked(class), now);
        orders(keep).last() == Some(&(id(asked), Order::Answer(true)))
    };
    for host in 0..=255 {
        for class in [Class::Presence, Class::Use] {
            let address = format!("/ip4/198.51.100.{host}/tcp/1");
            ask(&mut keep, &address, class);
        }
    }
    assert_eq!(keep.taken.all(), 29, "an eighth of 225, rounded up");
    for class in [Class::Presence, Class::Use] {
        assert!(!ask(&mut keep, "/ip4/198.51.100.7/tcp/2", class));
        assert!(ask(&mut keep, "/ip4/203.0.113.1/tcp/1", class));
    }
}

#[test]
fn it_can_be_told_why_a_connection_is_kept() {
    let mut keep = Behaviour::new(PeerId::random(), PROTOCOL, 400, []);
    let (now, peer) = (Instant::now(), PeerId::random());
    opened(&mut keep, peer, 1);
    assert_eq!(keep.reasons(&peer), [] as [&str; 0]);
    keep.hold(&peer, Reason::Topic, None, now);
    keep.hold(&peer, Reason::Floor, None, now);
    keep.report(peer, id(1), Report::Asked(Class::Use), now);
    assert_eq!(keep.reasons(&peer), ["floor", "topic", "asked"]);
    keep.release(&peer, Reason::Topic, now);
    keep.report(peer, id(1), Report::Left, now);
    assert_eq!(keep.reasons(&peer), ["floor"]);
}
