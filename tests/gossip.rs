//! Gossip among nodes of this network, and with peers that misbehave: event loops
//! in one process over loopback, and a gossipsub of libp2p that a test controls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/local.rs"]
mod local;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_std::channel::Sender;
use common::{DEADLINE, eventually_async as eventually};
use futures::StreamExt;
use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, PublishError,
    ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use local::{Running, options, run};
use p2p_node::control::{Client, client};
use p2p_node::message::{Limits, seal};
use p2p_node::node::Subscription;
use p2p_node::node::streams::PeerStream;
use p2p_node::transport;

/// A topic of this network, and one of another application.
const OWN: &str = "/p2p-node/chat";
const PLAIN: &str = "weather";

async fn start() -> Running {
    start_as(&Keypair::generate_ed25519()).await
}

async fn start_as(identity: &Keypair) -> Running {
    local::start_as(identity.clone(), options()).await
}

impl Running {
    fn verdicts(&self, result: &str) -> u64 {
        self.metrics
            .node
            .gossip_validation
            .with_label_values(&[result])
            .get()
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.metrics
            .node
            .gossip_dropped
            .with_label_values(&[reason])
            .get()
    }

    fn refused(&self, reason: &str) -> u64 {
        self.metrics
            .node
            .messages_refused
            .with_label_values(&[reason])
            .get()
    }

    /// Waits until a peer has lost its reputation, and its connection with it.
    async fn cuts_off(&self, peer: &PeerId) {
        eventually("it is cut off", async || {
            let connected = self.handle.peers().await.unwrap();
            let gone = connected.iter().all(|p| p.id != *peer);
            (gone && self.policy.score_of(peer, Instant::now()) < -45.0).then_some(())
        })
        .await;
    }
}

async fn next(subscription: &mut Subscription) -> (PeerId, Vec<u8>, u64) {
    let message = async_std::future::timeout(DEADLINE, subscription.next())
        .await
        .expect("a message comes")
        .unwrap();
    (
        message.from.unwrap(),
        message.data.to_vec(),
        message.seqno.unwrap(),
    )
}

/// A message for the foreign peer to send: topic and bytes as they are.
type Order = (&'static str, Vec<u8>);

/// A peer with libp2p's own gossipsub.
struct Foreign {
    key: Keypair,
    peer: PeerId,
    orders: Sender<Order>,
}

impl Foreign {
    /// Connects, with its messages signed or not, and subscribes to both topics.
    async fn connect(to: &Running, signs: bool) -> Foreign {
        let foreign = Foreign::dial(&to.address, signs);
        to.hears(PLAIN, foreign.peer).await;
        to.hears(OWN, foreign.peer).await;
        foreign
    }

    /// Begins to connect to whatever listens there, as a new peer.
    fn dial(to: &Multiaddr, signs: bool) -> Foreign {
        Foreign::dial_as(&Keypair::generate_ed25519(), to, signs)
    }

    fn dial_as(key: &Keypair, to: &Multiaddr, signs: bool) -> Foreign {
        let key = key.clone();
        let peer = key.public().to_peer_id();
        let (stack, _) = transport::build(&key, &transport::Options::default()).unwrap();
        let privacy = match signs {
            true => MessageAuthenticity::Signed(key.clone()),
            false => MessageAuthenticity::Author(peer),
        };
        let config = ConfigBuilder::default()
            .validation_mode(match signs {
                true => ValidationMode::Strict,
                false => ValidationMode::None,
            })
            .max_transmit_size(2 << 20)
            .message_id_fn(|m| MessageId::from(m.sequence_number.unwrap_or_default().to_be_bytes()))
            .build()
            .unwrap();
        let gossip: Behaviour = Behaviour::new(privacy, config).unwrap();
        let config = libp2p::swarm::Config::with_executor(|task| {
            async_std::task::spawn(task);
        });
        let mut swarm = libp2p::Swarm::new(stack, gossip, peer, config);
        for topic in [OWN, PLAIN] {
            let topic = IdentTopic::new(topic);
            swarm.behaviour_mut().subscribe(&topic).unwrap();
        }
        swarm.dial(to.clone()).unwrap();
        let (orders, told) = async_std::channel::bounded::<Order>(1);
        async_std::task::spawn(async move {
            // It is published when the subscription of the node has arrived.
            let mut waiting: std::collections::VecDeque<Order> = Default::default();
            let mut retry = async_io::Timer::interval(Duration::from_millis(10));
            loop {
                while let Some((topic, data)) = waiting.front() {
                    let topic = IdentTopic::new(*topic);
                    match swarm.behaviour_mut().publish(topic, data.clone()) {
                        Err(PublishError::NoPeersSubscribedToTopic) => break,
                        Err(PublishError::AllQueuesFull(_)) => break,
                        _ => drop(waiting.pop_front()),
                    }
                }
                futures::select! {
                    order = futures::FutureExt::fuse(told.recv()) => match order {
                        Ok(order) => waiting.push_back(order),
                        Err(_) => return,
                    },
                    _ = swarm.select_next_some() => {}
                    _ = futures::FutureExt::fuse(retry.next()) => {}
                }
            }
        });
        Foreign { key, peer, orders }
    }

    async fn send(&self, topic: &'static str, data: impl Into<Vec<u8>>) {
        self.orders.send((topic, data.into())).await.unwrap();
    }

    fn seal(&self, topic: &str, number: u64, payload: &'static [u8]) -> Vec<u8> {
        let limits = Limits::of_payload(1 << 20);
        seal(&self.key, topic.as_bytes(), number, payload.into(), limits)
            .unwrap()
            .into()
    }
}

#[test]
fn a_message_on_a_topic_of_this_network_arrives_opened_and_in_order() {
    run(async {
        let (a, b) = (start().await, start().await);
        a.handle.dial(b.address.clone()).await.unwrap();
        let mut here = a.handle.subscribe(OWN.into()).await.unwrap();
        let mut there = b.handle.subscribe(OWN.into()).await.unwrap();
        a.hears(OWN, b.peer).await;
        let large = b"large and the same all over ".repeat(30_000);
        for n in 0..50_u8 {
            a.handle.publish(OWN.into(), vec![n]).await.unwrap();
        }
        a.handle.publish(OWN.into(), large.clone()).await.unwrap();
        let mut last = 0;
        for n in 0..50_u8 {
            let own = next(&mut here).await;
            let came = next(&mut there).await;
            assert_eq!((came.0, &came.1), (a.peer, &vec![n]));
            assert_eq!(own, came, "subscribers on both sides get the same");
            assert!(came.2 > last, "numbers go up");
            last = came.2;
        }
        assert_eq!(next(&mut there).await.1, large);
        assert_eq!(b.verdicts("accepted"), 51);
        assert!(
            b.policy.score_of(&a.peer, Instant::now()) > 0.0,
            "merit is noticed"
        );
        // What is too long is refused here, with the limit.
        let refused = a.handle.publish(OWN.into(), vec![0; 1 << 20]).await;
        assert!(refused.unwrap_err().to_string().contains("at most"));
    });
}

#[test]
fn a_plain_topic_passes_as_it_is_and_costs_nobody_anything() {
    run(async {
        let node = start().await;
        let mut here = node.handle.subscribe(PLAIN.into()).await.unwrap();
        let foreign = Foreign::connect(&node, true).await;
        for n in 0..100_u8 {
            foreign.send(PLAIN, vec![n; 3]).await;
        }
        for n in 0..100_u8 {
            let came = next(&mut here).await;
            assert_eq!((came.0, came.1), (foreign.peer, vec![n; 3]));
        }
        assert_eq!(node.verdicts("accepted"), 100);
        assert!(node.policy.score_of(&foreign.peer, Instant::now()) >= 0.0);
    });
}

/// One field of bytes in protobuf.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn length(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn framed(message: Vec<u8>) -> Vec<u8> {
    let mut frame = Vec::new();
    length(&mut frame, message.len());
    frame.extend(message);
    frame
}

/// A message of libp2p's own pubsub, signed, as one frame.
fn signed(key: &Keypair, topic: &str, seqno: u64, data: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 1, &key.public().to_peer_id().to_bytes());
    field(&mut message, 2, data);
    field(&mut message, 3, &seqno.to_be_bytes());
    field(&mut message, 4, topic.as_bytes());
    let signature = key.sign(&[b"libp2p-pubsub:", &message[..]].concat());
    field(&mut message, 5, &signature.unwrap());
    let mut rpc = Vec::new();
    field(&mut rpc, 2, &message);
    framed(rpc)
}

/// Kademlia's announcement that `provider` has `key`, as one frame.
fn announcement(provider: PeerId, key: u32) -> Vec<u8> {
    let mut peer = Vec::new();
    field(&mut peer, 1, &provider.to_bytes());
    field(
        &mut peer,
        2,
        &"/ip4/192.0.2.1/tcp/1"
            .parse::<Multiaddr>()
            .unwrap()
            .to_vec(),
    );
    // Type 2 is ADD_PROVIDER.
    let mut message = vec![1 << 3, 2];
    field(&mut message, 2, &key.to_be_bytes());
    field(&mut message, 9, &peer);
    framed(message)
}

#[test]
fn requests_to_the_dht_over_the_budget_are_not_served() {
    use futures::AsyncWriteExt;
    run(async {
        let (node, other) = (start().await, start().await);
        other.handle.dial(node.address.clone()).await.unwrap();
        let protocol = libp2p::StreamProtocol::new("/p2p-node/kad/1.0.0");
        let (mut stream, _) = other
            .handle
            .open_stream(node.peer, &[protocol])
            .await
            .unwrap();
        let began = Instant::now();
        for n in 0..2000 {
            let sent = stream.write_all(&announcement(other.peer, n)).await;
            // The connection may have been closed already.
            if sent.is_err() {
                break;
            }
        }
        let _ = stream.flush().await;
        let over = eventually("the surplus is counted", async || {
            let over = &node.metrics.policy.over_budget;
            (over.get() > 200).then_some(over.get())
        })
        .await;
        let held = node.handle.status().await.unwrap().dht.provider_records;
        let allowed = 250.0 + 100.0 * began.elapsed().as_secs_f64();
        assert!(held > 0, "the budget itself is served; {over} were over it");
        assert!((held as f64) <= allowed, "{held} of {allowed}");
    });
}

#[test]
fn a_peer_with_hundreds_of_addresses_is_held_to_a_few_and_it_costs_nothing() {
    use futures::AsyncWriteExt;
    run(async {
        let (node, other) = (start().await, start().await);
        other.handle.dial(node.address.clone()).await.unwrap();
        eventually("it has identified", async || {
            let peers = node.handle.peers().await.unwrap();
            peers.iter().any(|p| !p.agent.is_empty()).then_some(())
        })
        .await;
        let protocol = libp2p::StreamProtocol::new("/ipfs/id/push/1.0.0");
        let (mut stream, _) = other
            .handle
            .open_stream(node.peer, &[protocol])
            .await
            .unwrap();
        // As many as the message holds.
        let mut push = Vec::new();
        for port in 1..=380 {
            let address: Multiaddr = format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
            field(&mut push, 2, &address.to_vec());
        }
        stream.write_all(&framed(push)).await.unwrap();
        stream.close().await.unwrap();
        let known = eventually("some of them are known", async || {
            let known = node.handle.known_addrs(other.peer).await.unwrap();
            let told = known.iter().any(|a| a.to_string().contains("192.0.2.1"));
            told.then_some(known)
        })
        .await;
        assert!(known.len() <= 16, "{}", known.len());
        assert!(node.policy.score_of(&other.peer, Instant::now()) >= 0.0);
    });
}

#[test]
fn random_sequence_numbers_are_no_offence_on_a_plain_topic() {
    use futures::AsyncWriteExt;
    run(async {
        let node = start().await;
        let mut here = node.handle.subscribe(PLAIN.into()).await.unwrap();
        // The key of the connection is that of the messages.
        let key = Keypair::generate_ed25519();
        let peer = key.public().to_peer_id();
        let other = start_as(&key).await;
        let _there = other.handle.subscribe(PLAIN.into()).await.unwrap();
        other.handle.dial(node.address.clone()).await.unwrap();
        // Its own gossipsub has opened a stream, which a later one replaces.
        node.hears(PLAIN, peer).await;
        let protocol = libp2p::StreamProtocol::new("/meshsub/1.1.0");
        let (mut stream, _) = other
            .handle
            .open_stream(node.peer, &[protocol])
            .await
            .unwrap();
        let mut seqno = 0x9E37_79B9_7F4A_7C15_u64;
        let mut wanted = std::collections::HashSet::new();
        for _ in 0..150 {
            seqno ^= seqno << 13;
            seqno ^= seqno >> 7;
            seqno ^= seqno << 17;
            wanted.insert(seqno);
            let frame = signed(&key, PLAIN, seqno, b"any");
            stream.write_all(&frame).await.unwrap();
        }
        stream.flush().await.unwrap();
        while !wanted.is_empty() {
            let came = next(&mut here).await;
            assert_eq!((came.0, &came.1[..]), (peer, &b"any"[..]));
            assert!(wanted.remove(&came.2), "each comes once");
        }
        assert!(node.policy.score_of(&peer, Instant::now()) >= 0.0);
        assert!(!node.handle.peers().await.unwrap().is_empty());
    });
}

#[test]
fn what_is_no_envelope_is_rejected_on_a_topic_of_this_network_and_its_sender_cut_off() {
    run(async {
        let (node, honest) = (start().await, start().await);
        let mut here = node.handle.subscribe(OWN.into()).await.unwrap();
        honest.handle.dial(node.address.clone()).await.unwrap();
        honest.hears(OWN, node.peer).await;
        let foreign = Foreign::connect(&node, true).await;
        foreign.send(OWN, b"no envelope at all".to_vec()).await;
        eventually("it is rejected", async || {
            (node.refused("malformed") == 1).then_some(())
        })
        .await;
        let first = node.policy.score_of(&foreign.peer, Instant::now());
        assert!(first < 0.0, "{first}");
        // Everything is right except for the topic, which the signature covers.
        for n in 1..20 {
            foreign
                .send(OWN, foreign.seal("/p2p-node/other", n, b"moved"))
                .await;
        }
        node.cuts_off(&foreign.peer).await;
        assert!(node.refused("bad_signature") >= 1);
        honest
            .handle
            .publish(OWN.into(), b"still here".to_vec())
            .await
            .unwrap();
        let came = next(&mut here).await;
        assert_eq!((came.0, came.1), (honest.peer, b"still here".to_vec()));
    });
}

#[test]
fn a_replay_is_ignored_and_only_a_habit_of_it_costs_reputation() {
    run(async {
        let node = start().await;
        let mut here = node.handle.subscribe(OWN.into()).await.unwrap();
        let foreign = Foreign::connect(&node, true).await;
        let message = foreign.seal(OWN, 7, b"once");
        for _ in 0..4 {
            foreign.send(OWN, message.clone()).await;
        }
        foreign.send(OWN, foreign.seal(OWN, 8, b"next")).await;
        assert_eq!(next(&mut here).await.1, b"once");
        assert_eq!(next(&mut here).await.1, b"next", "and nothing in between");
        assert_eq!(node.refused("replay"), 3);
        assert_eq!(node.verdicts("ignored"), 3);
        assert!(node.policy.score_of(&foreign.peer, Instant::now()) >= 0.0);
        for _ in 0..16 {
            foreign.send(OWN, message.clone()).await;
        }
        eventually("it costs", async || {
            (node.policy.score_of(&foreign.peer, Instant::now()) < 0.0).then_some(())
        })
        .await;
    });
}

#[test]
fn an_overheard_envelope_cannot_be_sent_as_ones_own_nor_keep_the_true_one_out() {
    run(async {
        let node = start().await;
        let mut here = node.handle.subscribe(OWN.into()).await.unwrap();
        let author = Foreign::connect(&node, true).await;
        let thief = Foreign::connect(&node, true).await;
        let sealed = author.seal(OWN, 7, b"mine");
        thief.send(OWN, sealed.clone()).await;
        eventually("the theft is rejected", async || {
            (node.verdicts("rejected") == 1).then_some(())
        })
        .await;
        assert!(node.policy.score_of(&thief.peer, Instant::now()) < 0.0);
        author.send(OWN, sealed).await;
        let came = next(&mut here).await;
        assert_eq!((came.0, came.1), (author.peer, b"mine".to_vec()));
    });
}

#[test]
fn messages_without_a_signature_cost_the_peer_its_place() {
    run(async {
        let node = start().await;
        let _here = node.handle.subscribe(PLAIN.into()).await.unwrap();
        let foreign = Foreign::connect(&node, false).await;
        for n in 0..20_u8 {
            foreign.send(PLAIN, vec![n]).await;
        }
        node.cuts_off(&foreign.peer).await;
        assert!(node.dropped("invalid") > 0);
        assert_eq!(node.verdicts("accepted"), 0);
    });
}

#[test]
fn a_flood_is_cut_to_its_budget_while_others_are_heard() {
    run(async {
        let (node, honest) = (start().await, start().await);
        let mut here = node.handle.subscribe(PLAIN.into()).await.unwrap();
        honest.handle.dial(node.address.clone()).await.unwrap();
        honest.hears(PLAIN, node.peer).await;
        let foreign = Foreign::connect(&node, true).await;
        let began = Instant::now();
        for n in 0..3000_u32 {
            foreign.send(PLAIN, n.to_be_bytes()).await;
        }
        // On a slow machine the budget is refilled while these messages are accepted, so
        // the test goes on at a thousand messages a second.
        let sent = AtomicU32::new(3000);
        eventually("the flood is dropped", async || {
            for _ in 0..20 {
                let n = sent.fetch_add(1, Ordering::Relaxed);
                foreign.send(PLAIN, n.to_be_bytes()).await;
            }
            (node.dropped("over_budget") > 500).then_some(())
        })
        .await;
        honest
            .handle
            .publish(PLAIN.into(), b"heard".to_vec())
            .await
            .unwrap();
        let mut flood = 0;
        loop {
            let came = next(&mut here).await;
            if came.0 == honest.peer {
                assert_eq!(came.1, b"heard");
                break;
            }
            flood += 1;
        }
        let allowed = 200.0 + 100.0 * began.elapsed().as_secs_f64();
        assert!(f64::from(flood) <= allowed, "{flood} of {allowed}");
    });
}

/// A connection with a gossip stream that the test writes itself, beside the
/// gossipsub of a node.
async fn by_hand(node: &Running) -> (Running, Keypair, PeerStream) {
    let key = Keypair::generate_ed25519();
    let other = start_as(&key).await;
    other.handle.dial(node.address.clone()).await.unwrap();
    let _there = other.handle.subscribe("/hello".into()).await.unwrap();
    // Its own gossipsub has opened a stream, which a later one replaces.
    node.hears("/hello", other.peer).await;
    let stream = other.handle.open_stream(node.peer, &[gossip()]).await;
    (other, key, stream.unwrap().0)
}

fn gossip() -> libp2p::StreamProtocol {
    libp2p::StreamProtocol::new("/meshsub/1.1.0")
}

#[test]
fn a_busy_network_loses_no_message_and_no_neighbour_its_good_name() {
    use futures::AsyncWriteExt;
    run(async {
        // Fifty publishers send five messages a second each through two nodes in a row.
        // This is far more than either of the two may publish itself.
        let (first, second) = (start().await, start().await);
        let _first = first.handle.subscribe(PLAIN.into()).await.unwrap();
        let mut there = second.handle.subscribe(PLAIN.into()).await.unwrap();
        first.handle.dial(second.address.clone()).await.unwrap();
        first.hears(PLAIN, second.peer).await;
        second.hears(PLAIN, first.peer).await;
        let (_other, forwarder, mut stream) = by_hand(&first).await;
        let authors: Vec<_> = (0..50).map(|_| Keypair::generate_ed25519()).collect();
        let mut ticks = async_io::Timer::interval(Duration::from_millis(100));
        let send = async {
            for n in 0..1500_u64 {
                if n % 25 == 0 {
                    ticks.next().await;
                }
                let frame = signed(&authors[n as usize % 50], PLAIN, n + 1, &[7; 100]);
                stream.write_all(&frame).await.unwrap();
            }
            stream.flush().await.unwrap();
        };
        let hear = async {
            let mut heard = std::collections::HashSet::new();
            while heard.len() < 1500 {
                let (author, _, number) = next(&mut there).await;
                assert!(heard.insert((author, number)), "each comes once");
            }
        };
        futures::join!(send, hear);
        let forwarder = forwarder.public().to_peer_id();
        for (node, neighbour) in [(&first, forwarder), (&second, first.peer)] {
            assert_eq!(node.dropped("over_budget"), 0);
            assert_eq!(node.dropped("ceiling"), 0);
            assert!(node.policy.score_of(&neighbour, Instant::now()) >= 0.0);
        }
    });
}

#[test]
fn a_peer_whose_score_gossipsub_has_lost_patience_with_is_reported() {
    use futures::AsyncWriteExt;
    run(async {
        let node = start().await;
        let _here = node.handle.subscribe(PLAIN.into()).await.unwrap();
        let (other, _, mut stream) = by_hand(&node).await;
        let mut topic = Vec::new();
        field(&mut topic, 1, PLAIN.as_bytes());
        let (mut graft, mut prune) = (Vec::new(), Vec::new());
        field(&mut graft, 3, &topic);
        field(&mut prune, 4, &topic);
        let control = |parts: &[u8]| {
            let mut rpc = Vec::new();
            field(&mut rpc, 3, parts);
            framed(rpc)
        };
        let mut subscribe = vec![1 << 3, 1];
        field(&mut subscribe, 2, PLAIN.as_bytes());
        let mut rpc = Vec::new();
        field(&mut rpc, 1, &subscribe);
        stream.write_all(&framed(rpc)).await.unwrap();
        // It leaves the mesh and asks to be in it again, many times within the minute in
        // which a peer must not do so.
        stream.write_all(&control(&prune)).await.unwrap();
        let reports = node.metrics.policy.misbehaviour.clone();
        let reported = reports.with_label_values(&["low-gossip-score"]);
        let end = Instant::now() + DEADLINE;
        while reported.get() == 0 {
            assert!(Instant::now() < end, "it is never reported");
            for _ in 0..100 {
                // The connection may have been closed already.
                let _ = stream.write_all(&control(&graft)).await;
            }
            let _ = stream.flush().await;
            async_io::Timer::after(Duration::from_millis(20)).await;
        }
        assert!(node.policy.score_of(&other.peer, Instant::now()) < 0.0);
    });
}

#[test]
fn a_frame_that_is_too_long_ends_its_stream_before_it_is_there() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    run(async {
        let node = start().await;
        let (other, _, mut stream) = by_hand(&node).await;
        // Without any stream the connection would be idle, and would be closed.
        let protocol = libp2p::StreamProtocol::new("/p2p-node/kad/1.0.0");
        let _open = other.handle.open_stream(node.peer, &[protocol]).await;
        // It announces 8 MiB, and sends two of them.
        let mut frame = Vec::new();
        length(&mut frame, 8 << 20);
        frame.resize(2 << 20, 0);
        // It may end while this is written.
        let _ = stream.write_all(&frame).await;
        let _ = stream.flush().await;
        // Well before the minute after which a silent stream ends anyway.
        let patience = Duration::from_secs(45);
        let end = async_std::future::timeout(patience, stream.read(&mut [0; 1])).await;
        assert!(matches!(end.expect("it ends"), Ok(0) | Err(_)));
        assert!(!node.handle.peers().await.unwrap().is_empty());
    });
}

#[test]
fn what_came_in_is_judged_and_told_before_a_node_ends() {
    use futures::AsyncWriteExt;
    run(async {
        let node = start().await;
        let mut here = node.handle.subscribe(OWN.into()).await.unwrap();
        let (_other, key, mut stream) = by_hand(&node).await;
        // Small on the wire, and work to open.
        let limits = Limits::of_payload(1 << 20);
        for n in 1..=60 {
            let payload = vec![n as u8; 900_000].into();
            let sealed = seal(&key, OWN.as_bytes(), n, payload, limits).unwrap();
            let frame = signed(&key, OWN, n, &sealed);
            stream.write_all(&frame).await.unwrap();
        }
        stream.flush().await.unwrap();
        next(&mut here).await;
        let taken = node.metrics.clone();
        node.node.stop().await;
        let mut told = 1;
        while let Ok(Some(_)) = async_std::future::timeout(DEADLINE, here.next()).await {
            told += 1;
        }
        let came = taken
            .node
            .traffic
            .messages
            .with_label_values(&["in", "gossip"])
            .get();
        assert!(came > 0);
        assert_eq!(came, told + here.dropped());
    });
}

/// The next message of the topic at a daemon.
async fn hear(subscription: &mut client::Subscription) -> (PeerId, Vec<u8>, u64) {
    let message = async_std::future::timeout(DEADLINE, subscription.next())
        .await
        .expect("a message comes")
        .unwrap();
    let number = message.seqno.unwrap();
    (message.from.unwrap(), message.data.to_vec(), number)
}

#[test]
fn a_killed_publisher_is_heard_again_and_repeats_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let ears = common::Daemon::start(&dir.path().join("ears"), &[]);
    let at = ears.address("tcp");
    let home = dir.path().join("mouth");
    let known = [("P2P_BOOTSTRAP_PEERS", at.as_str())];
    let socket = ears.socket();
    let mut subscription = async_std::task::block_on(async {
        let client = Client::connect(&socket).await.unwrap();
        client.subscribe(&[OWN]).await.unwrap()
    });
    let mut last = 0;
    for round in 0..3_u8 {
        let mut mouth = common::Daemon::start(&home, &known);
        let socket = mouth.socket();
        async_std::task::block_on(async {
            let mut client = Client::connect(&socket).await.unwrap();
            for n in 0..5_u8 {
                eventually("somebody hears it", async || {
                    let mut client = Client::connect(&socket).await.unwrap();
                    let peers = client.topic_peers(OWN).await.unwrap();
                    (!peers.is_empty()).then_some(())
                })
                .await;
                client.publish(OWN, vec![round, n].into()).await.unwrap();
                let (_, data, number) = hear(&mut subscription).await;
                assert_eq!(data, [round, n]);
                assert!(number > last, "{number} after {last}");
                last = number;
            }
        });
        mouth.kill();
    }
}

#[test]
fn what_was_heard_before_a_kill_is_a_replay_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("daemon");
    let mut daemon = common::Daemon::start(&home, &[]);
    let socket = daemon.socket();
    let subscribe = async || {
        let client = Client::connect(&socket).await.unwrap();
        client.subscribe(&[OWN]).await.unwrap()
    };
    let key = Keypair::generate_ed25519();
    let limits = Limits::of_payload(1 << 20);
    let sealed = |number: u64, payload: &'static [u8]| -> Vec<u8> {
        seal(&key, OWN.as_bytes(), number, payload.into(), limits)
            .unwrap()
            .into()
    };
    let speak = |daemon: &common::Daemon, orders: Vec<Vec<u8>>, wanted: &[u8]| {
        let address: Multiaddr = daemon.address("tcp").parse().unwrap();
        async_std::task::block_on(async {
            let mut subscription = subscribe().await;
            let foreign = Foreign::dial_as(&key, &address, true);
            for order in orders {
                foreign.send(OWN, order).await;
            }
            assert_eq!(hear(&mut subscription).await.1, wanted);
        });
    };
    let old = sealed(7, b"old");
    speak(&daemon, vec![old.clone()], b"old");
    daemon.kill();
    let daemon = common::Daemon::start(&home, &[]);
    speak(&daemon, vec![old, sealed(8, b"new")], b"new");
}
