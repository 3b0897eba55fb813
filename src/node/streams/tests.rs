//! Real swarms over memory transports, each run by a task; and the behaviour
//! alone where a test has to choose what the swarm tells it.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_std::channel::{Receiver, Sender, unbounded};
use async_std::task;
use futures::future::{join_all, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{MemoryTransport, Transport};
use libp2p::core::{ConnectedPoint, upgrade::Version};
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::{ConnectionEstablished, FromSwarm};
use libp2p::swarm::{
    ConnectionId, DialError, DialFailure, NetworkBehaviour, NotifyHandler, Swarm, SwarmEvent,
    ToSwarm,
    dial_opts::{DialOpts, PeerCondition},
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, identify, noise, swarm};
use prometheus::IntCounter;

use super::acceptors::{MAX_PROTOCOLS, QUEUE};
use super::behaviour::MAX_PENDING;
use super::handler::Order;
use super::{AcceptError, Behaviour, Control, Idle, OpenError, Terms};
use crate::node::Metrics;
use crate::node::accounting::Accounting;
use crate::node::address_book;
use crate::node::bandwidth::{Bandwidth, Class};
use crate::peers::Policy;
use crate::telemetry::{Direction, Register as _};
use crate::transport::yamux;

/// This is far above what any step takes, so that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1.0.0");
/// For futures that outlive the call that makes them.
const ECHOES: &[StreamProtocol] = &[ECHO];
const OTHER: StreamProtocol = StreamProtocol::new("/test/other/1.0.0");
const UNKNOWN: StreamProtocol = StreamProtocol::new("/test/unknown/1.0.0");

#[derive(NetworkBehaviour)]
struct Parts {
    book: address_book::Behaviour,
    identify: identify::Behaviour,
    streams: Behaviour,
}

type Errand = Box<dyn FnOnce(&mut Swarm<Parts>) + Send>;

struct Host {
    peer: PeerId,
    address: Multiaddr,
    control: Control,
    refused: IntCounter,
    metrics: Arc<Metrics>,
    errands: Sender<Errand>,
    events: Receiver<SwarmEvent<PartsEvent>>,
}

struct Setting {
    max_outbound: usize,
    max_negotiating: usize,
    idle: Duration,
    stream_idle: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Setting {
            max_outbound: 256,
            max_negotiating: 128,
            idle: DEADLINE,
            stream_idle: DEADLINE,
        }
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match async_std::future::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

fn counter() -> IntCounter {
    IntCounter::new("refused", "refused").unwrap()
}

fn terms(idle: Duration, metrics: &Metrics) -> Terms {
    Terms {
        bandwidth: Bandwidth::new(None, None, metrics),
        idle: Idle::new(idle, metrics.streams_idle_closed.clone()),
    }
}

async fn host(setting: Setting) -> Host {
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    let refused = counter();
    let metrics = Metrics::new().unwrap();
    let terms = terms(setting.stream_idle, &metrics);
    let accounting = Accounting::new(terms.bandwidth.clone(), metrics.clone(), Policy::default());
    let streams = Behaviour::new(setting.max_outbound, refused.clone(), terms);
    let control = streams.control();
    let parts = Parts {
        book: address_book::Behaviour::new(),
        identify: identify::Behaviour::new(identify::Config::new("test".into(), key.public())),
        streams,
    };
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::new(256, 256))
        .map(move |(peer, muxer), point| {
            let muxer = StreamMuxerBox::new(muxer);
            (peer, accounting.wrap(peer, point.is_relayed(), muxer))
        })
        .boxed();
    let config = swarm::Config::with_executor(|task| {
        task::spawn(task);
    })
    .with_idle_connection_timeout(setting.idle)
    .with_max_negotiating_inbound_streams(setting.max_negotiating);
    let mut swarm = Swarm::new(transport, parts, peer, config);
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
        control,
        refused,
        metrics,
        errands,
        events,
    };
    host.address = host
        .event("listening", |event| match event {
            SwarmEvent::NewListenAddr { address, .. } => Some(address.clone()),
            _ => None,
        })
        .await;
    host
}

impl Host {
    async fn event<T>(
        &self,
        what: &str,
        wanted: impl Fn(&SwarmEvent<PartsEvent>) -> Option<T>,
    ) -> T {
        within(what, async {
            loop {
                if let Some(found) = wanted(&self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        })
        .await
    }

    /// Runs `errand` on the swarm and waits until that is done.
    async fn tell(&self, errand: impl FnOnce(&mut Swarm<Parts>) + Send + 'static) {
        let (done, is_done) = futures::channel::oneshot::channel();
        let errand = move |swarm: &mut Swarm<Parts>| {
            errand(swarm);
            let _ = done.send(());
        };
        self.errands.send(Box::new(errand)).await.unwrap();
        is_done.await.unwrap();
    }

    /// Lets this host know where `other` listens.
    async fn knows(&self, other: &Host) {
        let (peer, address) = (other.peer, other.address.clone());
        self.tell(move |swarm| swarm.add_peer_address(peer, address))
            .await;
    }

    async fn closed(&self, other: PeerId) {
        self.event("a connection closed", |event| match event {
            SwarmEvent::ConnectionClosed { peer_id, .. } => (*peer_id == other).then_some(()),
            _ => None,
        })
        .await
    }

    async fn connected(&self, other: PeerId) {
        self.event("a connection stands", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => (*peer_id == other).then_some(()),
            _ => None,
        })
        .await
    }

    /// Bytes of streams of this class that passed so far.
    fn moved(&self, direction: Direction, class: Class) -> u64 {
        let labels = [direction.as_str(), class.as_str()];
        self.metrics
            .bandwidth_bytes
            .with_label_values(&labels)
            .get()
    }

    async fn open(
        &self,
        other: &Host,
        protocols: &[StreamProtocol],
    ) -> Result<(super::PeerStream, StreamProtocol), OpenError> {
        within("an answer", self.control.open(other.peer, protocols)).await
    }
}

async fn pair() -> (Host, Host) {
    let (a, b) = (
        host(Setting::default()).await,
        host(Setting::default()).await,
    );
    a.knows(&b).await;
    (a, b)
}

#[test]
fn a_burst_of_streams_waits_for_a_slow_acceptor_and_none_is_lost() {
    task::block_on(async {
        let (a, b) = pair().await;
        let incoming = b.control.accept(ECHO).unwrap();
        let opened = join_all((0..60u8).map(|n| {
            let a = &a;
            let b = &b;
            async move {
                let (mut stream, _) = a.open(b, &[ECHO]).await.unwrap();
                stream.write_all(&[n]).await.unwrap();
                stream.close().await.unwrap();
                stream
            }
        }))
        .await;
        // The acceptor looks only now.
        let mut numbers = HashSet::new();
        let mut incoming = incoming.take(60);
        while let Some((from, mut stream)) = within("a stream", incoming.next()).await {
            assert_eq!(from, a.peer);
            let mut bytes = Vec::new();
            within("its byte", stream.read_to_end(&mut bytes))
                .await
                .unwrap();
            numbers.insert(bytes[0]);
        }
        assert_eq!(numbers.len(), 60);
        assert_eq!(b.refused.get(), 0);
        drop(opened);
    });
}

#[test]
fn bytes_of_a_program_count_as_bulk_and_all_others_as_the_nodes_own() {
    task::block_on(async {
        let (a, b) = pair().await;
        let mut incoming = b.control.accept(ECHO).unwrap();
        let (mut ours, _) = a.open(&b, &[ECHO]).await.unwrap();
        let (_, mut theirs) = within("a stream", incoming.next()).await.unwrap();
        let (request, answer) = (vec![1; 300_000], vec![2; 200_000]);
        let mut read = (vec![0; request.len()], vec![0; answer.len()]);
        let dialer = async {
            ours.write_all(&request).await.unwrap();
            ours.flush().await.unwrap();
            ours.read_exact(&mut read.1).await.unwrap();
        };
        let listener = async {
            theirs.read_exact(&mut read.0).await.unwrap();
            theirs.write_all(&answer).await.unwrap();
            theirs.flush().await.unwrap();
        };
        within("an echo", futures::future::join(dialer, listener)).await;
        // To the byte: neither the negotiation of the stream nor identify, which shares
        // the connection, is among them.
        let (there, back) = (request.len() as u64, answer.len() as u64);
        assert_eq!(a.moved(Direction::Out, Class::Bulk), there);
        assert_eq!(b.moved(Direction::In, Class::Bulk), there);
        assert_eq!(b.moved(Direction::Out, Class::Bulk), back);
        assert_eq!(a.moved(Direction::In, Class::Bulk), back);
        for host in [&a, &b] {
            for direction in Direction::ALL {
                let own = host.moved(direction, Class::Own);
                assert!((1..50_000).contains(&own), "{own} bytes");
            }
        }
    });
}

#[test]
fn streams_beyond_the_queue_are_reset_and_counted_and_later_ones_are_taken_again() {
    task::block_on(async {
        const SURPLUS: usize = 10;
        /// What one peer may have waiting while no other does.
        const ALONE: usize = QUEUE / 2;
        let (a, b) = pair().await;
        let mut incoming = b.control.accept(ECHO).unwrap();
        let opened = join_all((0..ALONE + SURPLUS).map(|_| a.open(&b, ECHOES))).await;
        // The opener learns of a reset when it reads; the others say hello.
        let ends = join_all(opened.into_iter().map(|o| async {
            let (mut stream, _) = o.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.is_ok()
        }));
        let greet = async {
            while b.refused.get() < SURPLUS as u64 {
                task::yield_now().await;
            }
            let mut taken = Vec::new();
            for _ in 0..ALONE {
                let (_, mut stream) = incoming.next().await.unwrap();
                stream.write_all(&[1]).await.unwrap();
                stream.flush().await.unwrap();
                taken.push(stream);
            }
            taken
        };
        let (ends, taken) = within("all ends", futures::future::join(ends, greet)).await;
        assert_eq!(ends.iter().filter(|greeted| **greeted).count(), ALONE);
        assert_eq!(b.refused.get(), SURPLUS as u64);
        drop(taken);
        let (_again, _) = a.open(&b, &[ECHO]).await.unwrap();
        within("a later stream", incoming.next()).await.unwrap();
        assert_eq!(b.refused.get(), SURPLUS as u64);
    });
}

#[test]
fn the_first_protocol_that_the_peer_speaks_is_chosen() {
    task::block_on(async {
        let (a, b) = pair().await;
        let _echo = b.control.accept(ECHO).unwrap();
        let mut other = b.control.accept(OTHER).unwrap();
        let (_s, chosen) = a.open(&b, &[UNKNOWN, OTHER, ECHO]).await.unwrap();
        assert_eq!(chosen, OTHER);
        within("the stream", other.next()).await.unwrap();
        let (_s, chosen) = a.open(&b, &[ECHO, OTHER]).await.unwrap();
        assert_eq!(chosen, ECHO);
        let none = a.open(&b, &[UNKNOWN]).await.unwrap_err();
        assert!(matches!(none, OpenError::Unsupported), "{none}");
        let nothing = a.open(&b, &[]).await.unwrap_err();
        assert!(matches!(nothing, OpenError::NoProtocol), "{nothing}");
    });
}

#[test]
fn a_dial_that_fails_says_why_on_one_line() {
    task::block_on(async {
        let a = host(Setting::default()).await;
        let gone = PeerId::random();
        // Nobody listens at this port, since no transport was given it.
        let address: Multiaddr = "/memory/18446744073709551615".parse().unwrap();
        let there = address.clone();
        a.tell(move |swarm| swarm.add_peer_address(gone, there))
            .await;
        let error = within("an answer", a.control.open(gone, &[ECHO])).await;
        let Err(OpenError::Dial(reason)) = error else {
            panic!("{error:?}");
        };
        let reason = reason.to_string();
        assert!(reason.contains(&address.to_string()), "{reason}");
        assert!(!reason.contains('\n'), "{reason}");
        assert!(!reason.contains(&gone.to_string()), "{reason}");
        let error = within("an answer", a.control.open(PeerId::random(), &[ECHO])).await;
        let reason = error.unwrap_err().to_string();
        assert!(reason.contains("no address of it is known"), "{reason}");
    });
}

#[test]
fn an_ask_shares_the_dial_that_somebody_else_began() {
    task::block_on(async {
        // Nobody has told a where b is: only that dial can bring it there.
        let (a, b) = (
            host(Setting::default()).await,
            host(Setting::default()).await,
        );
        let _incoming = b.control.accept(ECHO).unwrap();
        let (peer, address) = (b.peer, b.address.clone());
        a.tell(move |swarm| {
            let opts = DialOpts::peer_id(peer).addresses(vec![address]).build();
            swarm.dial(opts).unwrap();
        })
        .await;
        a.open(&b, &[ECHO]).await.unwrap();
    });
}

#[test]
fn a_protocol_has_one_acceptor_and_is_free_again_after_its_drop() {
    task::block_on(async {
        let (a, b) = pair().await;
        let first = b.control.accept(ECHO).unwrap();
        assert_eq!(b.control.accept(ECHO).unwrap_err(), AcceptError::Taken);
        let (mut stream, _) = a.open(&b, &[ECHO]).await.unwrap();
        drop(first);
        // The stream that waited was dropped with its acceptor.
        let end = within("its end", stream.read(&mut [0])).await;
        assert!(!matches!(end, Ok(1..)), "{end:?}");
        let none = a.open(&b, &[ECHO]).await.unwrap_err();
        assert!(matches!(none, OpenError::Unsupported), "{none}");
        let mut second = b.control.accept(ECHO).unwrap();
        a.open(&b, &[ECHO]).await.unwrap();
        within("the stream", second.next()).await.unwrap();
        drop(second);
        let many: Vec<_> = (0..MAX_PROTOCOLS)
            .map(|n| StreamProtocol::try_from_owned(format!("/test/{n}")).unwrap())
            .map(|name| b.control.accept(name).unwrap())
            .collect();
        assert_eq!(
            b.control.accept(ECHO).unwrap_err(),
            AcceptError::TooMany(MAX_PROTOCOLS)
        );
        drop(many);
        assert!(b.control.accept(ECHO).is_ok());
    });
}

#[test]
fn a_connection_that_closes_ends_the_opens_on_it() {
    task::block_on(async {
        let a = host(Setting::default()).await;
        // It accepts no streams, so that no protocol is ever negotiated.
        let mute = host(Setting {
            max_negotiating: 0,
            ..Setting::default()
        })
        .await;
        a.knows(&mute).await;
        let opening = a.open(&mute, ECHOES);
        let parting = async {
            mute.connected(a.peer).await;
            let peer = a.peer;
            mute.tell(move |swarm| swarm.disconnect_peer_id(peer).unwrap())
                .await;
        };
        let (opened, ()) = futures::future::join(opening, parting).await;
        let error = opened.unwrap_err();
        assert!(
            matches!(error, OpenError::Closed | OpenError::Io(_)),
            "{error}"
        );
    });
}

#[test]
fn the_limit_of_streams_is_named_and_a_dropped_stream_makes_room() {
    task::block_on(async {
        let a = host(Setting {
            max_outbound: 8,
            ..Setting::default()
        })
        .await;
        let b = host(Setting::default()).await;
        a.knows(&b).await;
        let _incoming = b.control.accept(ECHO).unwrap();
        let mut open = Vec::new();
        // Six of the eight are kept for the node's own protocols.
        for _ in 0..2 {
            open.push(a.open(&b, &[ECHO]).await.unwrap());
        }
        let full = a.open(&b, &[ECHO]).await.unwrap_err().to_string();
        assert!(full.contains("P2P_MAX_OUTBOUND_STREAMS (8"), "{full}");
        open.pop();
        open.push(a.open(&b, &[ECHO]).await.unwrap());
        assert!(a.open(&b, &[ECHO]).await.is_err());
    });
}

#[test]
fn an_open_stream_keeps_its_connection_and_an_idle_one_closes() {
    task::block_on(async {
        let idle = || Setting {
            idle: Duration::from_millis(100),
            ..Setting::default()
        };
        let (a, b, c) = (host(idle()).await, host(idle()).await, host(idle()).await);
        a.knows(&b).await;
        a.knows(&c).await;
        let mut incoming = b.control.accept(ECHO).unwrap();
        let (mut stream, _) = a.open(&b, &[ECHO]).await.unwrap();
        let (_, mut other) = within("the stream", incoming.next()).await.unwrap();
        let (peer, address) = (c.peer, c.address.clone());
        a.tell(move |swarm| {
            let opts = DialOpts::peer_id(peer).addresses(vec![address]).build();
            swarm.dial(opts).unwrap();
        })
        .await;
        // This connection is younger, has no streams, and is closed first.
        a.closed(c.peer).await;
        stream.write_all(b"still here").await.unwrap();
        stream.close().await.unwrap();
        let mut bytes = Vec::new();
        within("the bytes", other.read_to_end(&mut bytes))
            .await
            .unwrap();
        assert_eq!(bytes, b"still here");
        drop((stream, other));
        a.closed(b.peer).await;
    });
}

#[test]
fn connected_peers_are_told_of_a_new_protocol() {
    task::block_on(async {
        let (a, b) = pair().await;
        let told = |name: StreamProtocol| {
            move |event: &SwarmEvent<PartsEvent>| match event {
                SwarmEvent::Behaviour(PartsEvent::Identify(identify::Event::Received {
                    info,
                    ..
                })) => info.protocols.contains(&name).then_some(()),
                _ => None,
            }
        };
        let _echo = b.control.accept(ECHO).unwrap();
        a.open(&b, &[ECHO]).await.unwrap();
        a.event("identify of b", told(ECHO)).await;
        let _other = b.control.accept(OTHER).unwrap();
        a.event("identify push of b", told(OTHER)).await;
    });
}

#[test]
fn when_the_swarm_is_gone_asks_fail_and_acceptors_end() {
    task::block_on(async {
        let (a, b) = pair().await;
        let mut incoming = a.control.accept(ECHO).unwrap();
        a.errands.close();
        assert!(within("the end", incoming.next()).await.is_none());
        let error = within("an answer", a.control.open(b.peer, &[ECHO])).await;
        assert!(matches!(error, Err(OpenError::Stopped)), "{error:?}");
        assert_eq!(a.control.accept(OTHER).unwrap_err(), AcceptError::Stopped);
    });
}

/// Returns what the behaviour tells the swarm next, if anything.
fn next(behaviour: &mut Behaviour) -> Option<ToSwarm<std::convert::Infallible, Order>> {
    task::block_on(poll_fn(|cx| {
        std::task::Poll::Ready(match behaviour.poll(cx) {
            std::task::Poll::Ready(event) => Some(event),
            std::task::Poll::Pending => None,
        })
    }))
}

fn establish(behaviour: &mut Behaviour, peer: PeerId, id: usize, address: &str) -> ConnectionId {
    let connection_id = ConnectionId::new_unchecked(id);
    behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id: peer,
        connection_id,
        endpoint: &ConnectedPoint::Listener {
            local_addr: address.parse().unwrap(),
            send_back_addr: address.parse().unwrap(),
        },
        failed_addresses: &[],
        other_established: 0,
    }));
    connection_id
}

#[test]
fn a_direct_connection_is_taken_before_a_relayed_one_and_the_less_used_before_the_other() {
    let mut behaviour = Behaviour::new(13, counter(), terms(DEADLINE, &Metrics::new().unwrap()));
    let control = behaviour.control();
    let peer = PeerId::random();
    let relay = PeerId::random();
    let relayed = establish(
        &mut behaviour,
        peer,
        1,
        &format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit"),
    );
    let mut taken = Vec::new();
    let mut ask = |behaviour: &mut Behaviour| {
        let mut opening = Box::pin(async { control.open(peer, &[ECHO]).await });
        assert!(opening.as_mut().now_or_never().is_none());
        match next(behaviour) {
            Some(ToSwarm::NotifyHandler {
                handler: NotifyHandler::One(id),
                event,
                ..
            }) => {
                taken.push((opening, event));
                Some(id)
            }
            None => {
                let refused = opening.now_or_never().unwrap().unwrap_err();
                assert!(matches!(refused, OpenError::TooManyStreams { .. }));
                None
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(&mut behaviour), Some(relayed));
    let first = establish(&mut behaviour, peer, 2, "/ip4/192.0.2.2/tcp/1");
    assert_eq!(ask(&mut behaviour), Some(first));
    let second = establish(&mut behaviour, peer, 3, "/ip4/192.0.2.2/tcp/2");
    assert_eq!(ask(&mut behaviour), Some(second));
    // Six and six more fill the direct ones; then the relayed one serves.
    for _ in 0..12 {
        assert_ne!(ask(&mut behaviour), Some(relayed));
    }
    for _ in 0..6 {
        assert_eq!(ask(&mut behaviour), Some(relayed));
    }
    assert_eq!(ask(&mut behaviour), None);
}

#[test]
fn asks_that_wait_for_a_dial_are_bounded_and_cancelled_ones_make_room() {
    let mut behaviour = Behaviour::new(256, counter(), terms(DEADLINE, &Metrics::new().unwrap()));
    let control = behaviour.control();
    let peer = PeerId::random();
    let ask = |behaviour: &mut Behaviour| {
        let control = control.clone();
        let mut opening = Box::pin(async move { control.open(peer, &[ECHO]).await });
        assert!(opening.as_mut().now_or_never().is_none());
        (opening, next(behaviour))
    };
    let (first, dial) = ask(&mut behaviour);
    assert!(matches!(dial, Some(ToSwarm::Dial { .. })), "{dial:?}");
    let mut waiting = vec![first];
    for _ in 1..MAX_PENDING {
        let (opening, event) = ask(&mut behaviour);
        assert!(event.is_none(), "one dial is enough: {event:?}");
        waiting.push(opening);
    }
    let (refused, _) = ask(&mut behaviour);
    let error = refused.now_or_never().unwrap().unwrap_err();
    assert!(
        matches!(error, OpenError::TooManyPending(MAX_PENDING)),
        "{error}"
    );
    // Another peer is not in the way of this one's limit.
    let control = behaviour.control();
    let mut other = Box::pin(async { control.open(PeerId::random(), &[ECHO]).await });
    assert!(other.as_mut().now_or_never().is_none());
    assert!(matches!(next(&mut behaviour), Some(ToSwarm::Dial { .. })));
    waiting.pop();
    let (opening, _) = ask(&mut behaviour);
    assert!(opening.now_or_never().is_none());
}

#[test]
fn an_ask_ends_with_its_own_dial_or_with_the_one_that_kept_it_from_dialing() {
    let failed = |behaviour: &mut Behaviour, peer, id, error: &DialError| {
        behaviour.on_swarm_event(FromSwarm::DialFailure(DialFailure {
            peer_id: Some(peer),
            error,
            connection_id: id,
        }));
    };
    let (first, second) = (
        ConnectionId::new_unchecked(usize::MAX - 1),
        ConnectionId::new_unchecked(usize::MAX),
    );
    let not_dialed = DialError::DialPeerConditionFalse(PeerCondition::DisconnectedAndNotDialing);
    for somebody_dials in [false, true] {
        let mut behaviour =
            Behaviour::new(256, counter(), terms(DEADLINE, &Metrics::new().unwrap()));
        let control = behaviour.control();
        let peer = PeerId::random();
        let mut opening = Box::pin(async { control.open(peer, &[ECHO]).await });
        assert!(opening.as_mut().now_or_never().is_none());
        let Some(ToSwarm::Dial { opts }) = next(&mut behaviour) else {
            panic!("no dial");
        };
        let own = opts.connection_id();
        assert!(own != first && own != second);
        if somebody_dials {
            failed(&mut behaviour, peer, own, &not_dialed);
        }
        // The swarm refuses other dials of the peer as well, which ends no attempt.
        failed(&mut behaviour, peer, first, &not_dialed);
        assert!(opening.as_mut().now_or_never().is_none());
        failed(&mut behaviour, peer, second, &DialError::NoAddresses);
        if !somebody_dials {
            assert!(opening.as_mut().now_or_never().is_none());
            failed(&mut behaviour, peer, own, &DialError::Aborted);
        }
        let error = opening.now_or_never().unwrap().unwrap_err();
        assert!(matches!(error, OpenError::Dial(_)), "{error}");
    }
}

#[test]
fn a_connection_is_used_at_both_ends_while_a_stream_is_open_on_it() {
    task::block_on(async {
        let (a, b) = pair().await;
        let mut incoming = b.control.accept(ECHO).unwrap();
        let (at_a, _) = a.open(&b, &[ECHO]).await.unwrap();
        let (_, at_b) = within("a stream", incoming.next()).await.unwrap();
        let established = |event: &SwarmEvent<PartsEvent>| match event {
            SwarmEvent::ConnectionEstablished { connection_id, .. } => Some(*connection_id),
            _ => None,
        };
        let id_at_a = a.event("a connection stands", established).await;
        let id_at_b = b.event("a connection stands", established).await;
        let used = async |here: &Host, there: PeerId, id: ConnectionId| {
            let (told, used) = futures::channel::oneshot::channel();
            here.tell(move |swarm| {
                let _ = told.send(swarm.behaviour().streams.is_used(&there, id));
            })
            .await;
            used.await.unwrap()
        };
        assert!(used(&a, b.peer, id_at_a).await);
        assert!(used(&b, a.peer, id_at_b).await);
        drop(at_a);
        assert!(!used(&a, b.peer, id_at_a).await);
        assert!(used(&b, a.peer, id_at_b).await);
        drop(at_b);
        assert!(!used(&b, a.peer, id_at_b).await);
        let unknown = ConnectionId::new_unchecked(usize::MAX);
        assert!(!used(&a, b.peer, unknown).await);
    });
}
