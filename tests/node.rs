//! The node over real sockets on loopback: several event loops in one process,
//! each with its own transport stack, talking libp2p to each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/local.rs"]
mod local;

use std::future::Future;
use std::time::{Duration, Instant};

use common::{Closed, DEADLINE, eventually_async as eventually, own_address};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use local::{Running, Setup, connected, options, run, start};
use p2p_node::node::{Error, Options};
use p2p_node::peers::limits::Limits;
use p2p_node::peers::rules::Rules;
use p2p_node::peers::{Conduct, Policy, Settings};
use p2p_node::system::moment::Moment;
use p2p_node::transport;

async fn start_as(identity: Keypair, listen: &str, options: Options) -> Running {
    let setup = Setup {
        identity,
        listen: listen.into(),
        options,
        ..Setup::default()
    };
    setup.start().await
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match async_std::future::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

#[test]
fn why_a_peer_was_not_reached_is_told_again_when_no_address_of_it_is_left() {
    run(async {
        let (node, gone) = (start(options()).await, PeerId::random());
        let why = |result: Result<(), p2p_node::node::Error>| result.unwrap_err().to_string();
        let unknown = why(node.handle.connect(gone, Vec::new()).await);
        assert!(unknown.contains("no address of it is known"), "{unknown}");
        let nobody = Closed::new();
        let at = nobody.address().parse().unwrap();
        let closed = why(node.handle.connect(gone, vec![at]).await);
        assert!(closed.contains("nothing listens on that port"), "{closed}");
        let again = why(node.handle.connect(gone, Vec::new()).await);
        assert!(again.contains("nothing listens on that port"), "{again}");
        assert!(again.contains("no other address of it is known"), "{again}");
    });
}

#[test]
fn peers_know_each_other_after_connecting_and_part_again() {
    run(async {
        let (a, b) = (start(options()).await, start(options()).await);
        a.handle.dial(b.address.clone()).await.unwrap();
        let seen = eventually("identify and ping of b", || async {
            let peers = a.handle.peers().await.unwrap();
            peers
                .into_iter()
                .find(|p| p.id == b.peer && !p.agent.is_empty() && p.ping.is_some())
        })
        .await;
        assert_eq!(seen.agent, p2p_node::node::options::AGENT);
        assert!(!seen.connections[0].inbound);
        assert_eq!(seen.connections[0].transport, "tcp");
        a.handle.disconnect(b.peer).await.unwrap();
        eventually("b sees the end", || async {
            (!connected(&b.handle, a.peer).await).then_some(())
        })
        .await;
        let again = a.handle.disconnect(b.peer).await.unwrap_err();
        assert!(matches!(again, Error::NotConnected(p) if p == b.peer));
    });
}

#[test]
fn a_dial_that_meets_another_peer_is_refused_and_says_so() {
    run(async {
        let (a, b) = (start(options()).await, start(options()).await);
        let stranger = PeerId::random();
        let mut address = b.address.clone();
        address.pop();
        let wrong = address.with(Protocol::P2p(stranger));
        let error = a.handle.dial(wrong).await.unwrap_err().to_string();
        assert!(error.contains(&stranger.to_string()), "{error}");
        assert!(error.contains(&b.peer.to_string()), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(!connected(&a.handle, b.peer).await);
        let own = a
            .handle
            .dial(a.address.clone())
            .await
            .unwrap_err()
            .to_string();
        assert!(own.contains("this node itself"), "{own}");
    });
}

#[test]
fn a_provider_is_found_and_reached_by_one_who_knows_only_the_bootstrap_peer() {
    run(async {
        let boot = start(options()).await;
        let entry = || Options {
            bootstrap_peers: vec![boot.address.clone()],
            ..options()
        };
        let (provider, seeker) = (start(entry()).await, start(entry()).await);
        for node in [&provider, &seeker] {
            eventually("entry through the bootstrap peer", || async {
                (node.handle.status().await.unwrap().dht.table_size > 0).then_some(())
            })
            .await;
        }
        let key = b"some content".to_vec();
        provider.handle.provide(key.clone()).await.unwrap();
        let found = seeker.handle.find_providers(key).await.unwrap();
        let first = within("a provider", async { found.recv().await.unwrap() }).await;
        assert_eq!(first, provider.peer);
        seeker
            .handle
            .connect(provider.peer, Vec::new())
            .await
            .unwrap();
        assert!(connected(&seeker.handle, provider.peer).await);

        seeker
            .handle
            .put_value(b"/k".to_vec(), b"v".to_vec())
            .await
            .unwrap();
        assert_eq!(
            provider.handle.get_value(b"/k".to_vec()).await.unwrap(),
            b"v"
        );
        let missing = provider
            .handle
            .get_value(b"/none".to_vec())
            .await
            .unwrap_err();
        assert!(
            matches!(missing, Error::Dht { kind: "get", .. }),
            "{missing}"
        );
        let large = provider
            .handle
            .put_value(b"/l".to_vec(), vec![0; 1 << 20])
            .await
            .unwrap_err();
        assert!(large.to_string().contains("larger than"), "{large}");
        let who = provider.handle.find_peer(seeker.peer).await.unwrap();
        assert!(!who.addrs.is_empty());
    });
}

#[test]
fn a_bootstrap_peer_that_comes_late_is_still_found() {
    run(async {
        let identity = Keypair::generate_ed25519();
        let peer = identity.public().to_peer_id();
        // This address is for a node that starts later.
        let listen = own_address();
        let address: Multiaddr = format!("{listen}/p2p/{peer}").parse().unwrap();
        let early = start(Options {
            bootstrap_peers: vec![address],
            ..options()
        })
        .await;
        let failed = early.handle.connect(peer, Vec::new()).await;
        assert!(failed.is_err());
        let late = start_as(identity, &listen, options()).await;
        eventually("the late bootstrap peer is dialed again", || async {
            connected(&early.handle, late.peer).await.then_some(())
        })
        .await;
    });
}

#[test]
fn gossip_reaches_remote_and_local_subscribers() {
    run(async {
        let (a, b) = (start(options()).await, start(options()).await);
        let alone = a
            .handle
            .publish("news".into(), b"x".to_vec())
            .await
            .unwrap_err();
        assert!(
            alone.to_string().contains("no peer is connected"),
            "{alone}"
        );
        a.handle.dial(b.address.clone()).await.unwrap();
        let mut at_b = b.handle.subscribe("news".into()).await.unwrap();
        eventually("a sees b's subscription", || async {
            let peers = a.handle.topic_peers(Some("news".into())).await.unwrap();
            peers.contains(&b.peer).then_some(())
        })
        .await;
        let mut at_a = a.handle.subscribe("news".into()).await.unwrap();
        a.handle
            .publish("news".into(), b"hello".to_vec())
            .await
            .unwrap();
        let remote = within("the message at b", at_b.next()).await.unwrap();
        let local = within("the message at a", at_a.next()).await.unwrap();
        assert_eq!(
            (remote.from, &remote.data[..]),
            (Some(a.peer), &b"hello"[..])
        );
        assert_eq!((local.from, local.seqno), (Some(a.peer), remote.seqno));
        drop(at_b);
        eventually("b leaves the topic", || async {
            b.handle.topics().await.unwrap().is_empty().then_some(())
        })
        .await;
        let long = a.handle.subscribe("x".repeat(5000)).await.unwrap_err();
        assert!(matches!(
            long,
            Error::Gossip {
                what: "subscribe",
                ..
            }
        ));
        let large = a
            .handle
            .publish("other".into(), vec![0; 2 << 20])
            .await
            .unwrap_err();
        assert!(large.to_string().contains("bytes"), "{large}");
    });
}

#[test]
fn streams_carry_bytes_both_ways_and_unknown_protocols_are_named() {
    run(async {
        let (a, b) = (start(options()).await, start(options()).await);
        let echo = StreamProtocol::new("/test/echo/1.0.0");
        let mut incoming = b.handle.accept(echo.clone()).unwrap();
        assert!(matches!(
            b.handle.accept(echo.clone()),
            Err(Error::ProtocolTaken(_))
        ));
        a.handle.dial(b.address.clone()).await.unwrap();
        let server = async_std::task::spawn(async move {
            let (from, mut stream) = incoming.next().await.unwrap();
            let mut buffer = Vec::new();
            stream.read_to_end(&mut buffer).await.unwrap();
            stream.write_all(&buffer).await.unwrap();
            stream.close().await.unwrap();
            from
        });
        let other = StreamProtocol::new("/test/unknown/1.0.0");
        let (mut stream, chosen) = a
            .handle
            .open_stream(b.peer, &[other.clone(), echo.clone()])
            .await
            .unwrap();
        assert_eq!(chosen, echo);
        stream.write_all(&[7; 100_000]).await.unwrap();
        let open = eventually("the stream is counted", || async {
            let peers = a.handle.peers().await.unwrap();
            peers
                .iter()
                .find(|p| p.id == b.peer && p.streams > 0)
                .map(|p| p.streams)
        })
        .await;
        assert!(open >= 1);
        stream.close().await.unwrap();
        let mut back = Vec::new();
        within("the echo", stream.read_to_end(&mut back))
            .await
            .unwrap();
        assert_eq!(back, vec![7; 100_000]);
        assert_eq!(server.await, a.peer);
        let none = a.handle.open_stream(b.peer, &[other]).await.unwrap_err();
        assert!(none.to_string().contains("/test/unknown/1.0.0"), "{none}");
    });
}

#[test]
fn an_idle_connection_closes_and_one_in_a_mesh_stays() {
    run(async {
        let idle = || Options {
            // This test is about connections that nobody keeps.
            min_peers: 0,
            connection_idle_timeout: Duration::from_millis(300),
            ..options()
        };
        let (hub, meshed, outside) = (
            start(idle()).await,
            start(idle()).await,
            start(idle()).await,
        );
        let _here = hub.handle.subscribe("t".into()).await.unwrap();
        let _there = meshed.handle.subscribe("t".into()).await.unwrap();
        meshed.handle.dial(hub.address.clone()).await.unwrap();
        outside.handle.dial(hub.address.clone()).await.unwrap();
        eventually("the connection outside the mesh stands", || async {
            connected(&hub.handle, outside.peer).await.then_some(())
        })
        .await;
        eventually("the connection outside the mesh closes", || async {
            (!connected(&hub.handle, outside.peer).await).then_some(())
        })
        .await;
        assert!(
            connected(&hub.handle, meshed.peer).await,
            "the mesh lost its peer"
        );
    });
}

#[test]
fn a_full_node_refuses_and_trusted_peers_pass() {
    run(async {
        let friend = Keypair::generate_ed25519();
        let full = start(Options {
            limits: Limits {
                total: 1,
                ..Limits::default()
            },
            policy: Policy::new(Settings {
                trusted: vec![friend.public().to_peer_id()],
                ..Settings::default()
            }),
            ..options()
        })
        .await;
        let (first, second) = (start(options()).await, start(options()).await);
        let friend = start_as(friend, "/ip4/127.0.0.1/tcp/0", options()).await;
        first.handle.dial(full.address.clone()).await.unwrap();
        eventually("the first is in", || async {
            connected(&full.handle, first.peer).await.then_some(())
        })
        .await;
        let _ = second.handle.dial(full.address.clone()).await;
        eventually("the second is turned away", || async {
            (!connected(&second.handle, full.peer).await).then_some(())
        })
        .await;
        assert!(!connected(&full.handle, second.peer).await);
        friend.handle.dial(full.address.clone()).await.unwrap();
        eventually("the trusted peer is in", || async {
            connected(&full.handle, friend.peer).await.then_some(())
        })
        .await;
        let status = full.handle.status().await.unwrap();
        let limit = status
            .limits
            .iter()
            .find(|l| l.variable == "P2P_MAX_CONNECTIONS")
            .unwrap();
        assert_eq!((limit.used, limit.allowed), (2, 1));
    });
}

#[test]
fn a_node_without_a_listener_is_reached_through_its_relay_and_then_directly() {
    run(async {
        let relay = start(Options {
            relay_server: true,
            ..options()
        })
        .await;
        let mut external = relay.address.clone();
        external.pop();
        let relay_id = Keypair::generate_ed25519();
        // Its port is free again when it has ended.
        relay.node.stop().await;
        // A relay tells its clients the addresses that it was configured with.
        let relay = start_as(
            relay_id,
            &external.to_string(),
            Options {
                relay_server: true,
                external_addrs: vec![external.clone()],
                ..options()
            },
        )
        .await;
        let short = || Options {
            relay_overlap: Duration::from_secs(1),
            ..options()
        };
        let hidden = start(Options {
            relays: vec![relay.address.clone()],
            ..short()
        })
        .await;
        eventually("a reservation", || async {
            (!hidden.handle.status().await.unwrap().nat.relays.is_empty()).then_some(())
        })
        .await;
        let caller = start(short()).await;
        let circuit = relay
            .address
            .clone()
            .with(Protocol::P2pCircuit)
            .with(Protocol::P2p(hidden.peer));
        caller.handle.dial(circuit).await.unwrap();
        eventually("the hole is punched", || async {
            let peers = caller.handle.peers().await.unwrap();
            let hidden = peers.into_iter().find(|p| p.id == hidden.peer)?;
            hidden
                .connections
                .iter()
                .any(|c| c.transport == "tcp")
                .then_some(())
        })
        .await;

        // Nothing but the node's own protocols uses the relayed connection then, and
        // it is closed; what they had on it goes on.
        let mut heard = hidden.handle.subscribe("news".into()).await.unwrap();
        let _mesh = caller.handle.subscribe("news".into()).await.unwrap();
        eventually("the mesh stands", || async {
            let topics = caller.handle.status().await.unwrap().topics;
            topics.iter().any(|t| t.mesh_peers == 1).then_some(())
        })
        .await;
        for (here, there) in [(&caller, &hidden), (&hidden, &caller)] {
            eventually("only the direct connection is left", || async {
                let peers = here.handle.peers().await.unwrap();
                let peer = peers.into_iter().find(|p| p.id == there.peer)?;
                let mut connections = peer.connections.iter();
                connections.all(|c| c.transport == "tcp").then_some(())
            })
            .await;
        }
        // One of the two did that: the relay would have ended it later, by its limit.
        let closed = |node: &Running| {
            let closed = node
                .metrics
                .node
                .connections_closed
                .with_label_values(&["local"]);
            closed.get()
        };
        assert!(closed(&caller) + closed(&hidden) > 0);
        let before = caller.handle.peers().await.unwrap().len();
        caller
            .handle
            .publish("news".into(), b"direct".to_vec())
            .await
            .unwrap();
        let message = within("the message", heard.next()).await.unwrap();
        assert_eq!(&message.data[..], b"direct");
        assert_eq!(caller.handle.peers().await.unwrap().len(), before);
    });
}

#[test]
fn a_peer_that_cannot_be_reached_leaves_the_routing_table() {
    run(async {
        let (a, b, c) = (
            start(options()).await,
            start(options()).await,
            start(options()).await,
        );
        let routed = |peer| {
            let handle = a.handle.clone();
            async move {
                let table = handle.routing_table().await.unwrap();
                table.iter().any(|p| p.peer == peer)
            }
        };
        for other in [&b, &c] {
            a.handle.dial(other.address.clone()).await.unwrap();
            eventually("routed", || async {
                routed(other.peer).await.then_some(())
            })
            .await;
        }
        within("the stop", c.node.stop()).await;
        eventually("c is off", || async {
            (!connected(&a.handle, c.peer).await).then_some(())
        })
        .await;
        assert!(routed(c.peer).await, "who only left may come back");
        // The query finds this out.
        let _ = within("provide", a.handle.provide(b"k".to_vec())).await;
        eventually("c is forgotten", || async {
            (!routed(c.peer).await).then_some(())
        })
        .await;
        assert!(routed(b.peer).await);
    });
}

#[test]
fn a_dial_of_an_own_address_says_so() {
    run(async {
        let a = start(options()).await;
        let mut address = a.address.clone();
        address.pop();
        let error = a.handle.dial(address).await.unwrap_err();
        assert!(error.to_string().contains("this node itself"), "{error}");
    });
}

#[test]
fn stopping_says_goodbye_and_handles_hear_of_it() {
    run(async {
        let (a, b) = (start(options()).await, start(options()).await);
        a.handle.dial(b.address.clone()).await.unwrap();
        eventually("connected", || async {
            connected(&b.handle, a.peer).await.then_some(())
        })
        .await;
        within("drain", a.handle.drain()).await.unwrap();
        let refused = a.handle.provide(b"k".to_vec()).await.unwrap_err();
        assert!(refused.to_string().contains("draining"), "{refused}");
        within("the stop", a.node.stop()).await;
        eventually("b sees the end", || async {
            (!connected(&b.handle, a.peer).await).then_some(())
        })
        .await;
        assert!(matches!(a.handle.status().await, Err(Error::Stopped)));
    });
}

#[test]
fn a_denied_network_is_turned_away_before_the_handshake() {
    run(async {
        let closed = start(Options {
            policy: Policy::new(Settings {
                rules: Rules {
                    deny: std::iter::once("127.0.0.0/8".parse().unwrap()).collect(),
                    ..Rules::default()
                },
                ..Settings::default()
            }),
            ..options()
        })
        .await;
        let stranger = start(options()).await;
        assert!(stranger.handle.dial(closed.address.clone()).await.is_err());
        assert!(!connected(&closed.handle, stranger.peer).await);
        // The node itself does not dial it either.
        let refused = closed
            .handle
            .dial(stranger.address.clone())
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("P2P_DENY_CIDRS"), "{refused}");
    });
}

#[test]
fn peers_with_keys_of_every_kind_are_understood() {
    run(async {
        let node = start(options()).await;
        let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let mut pkcs8 =
            aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa)
                .unwrap()
                .as_ref()
                .to_vec();
        for identity in [
            Keypair::rsa_from_pkcs8(&mut pkcs8).unwrap(),
            Keypair::generate_secp256k1(),
            Keypair::generate_ecdsa(),
        ] {
            let kind = identity.key_type();
            let other = start_as(identity, "/ip4/127.0.0.1/tcp/0", options()).await;
            node.handle
                .dial(other.address.clone())
                .await
                .unwrap_or_else(|e| panic!("{kind}: {e}"));
            eventually("identify", || async {
                let peers = node.handle.peers().await.unwrap();
                peers
                    .iter()
                    .any(|p| p.id == other.peer && !p.agent.is_empty())
                    .then_some(())
            })
            .await;
        }
    });
}

/// A gossipsub peer that the test controls.
enum Foreign {
    Join(String),
    Leave(String),
}

fn foreign_gossip(to: &Running) -> async_std::channel::Sender<Foreign> {
    use libp2p::gossipsub::{Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity};
    let identity = Keypair::generate_ed25519();
    let (stack, _) = transport::build(&identity, &transport::Options::default()).unwrap();
    let config = ConfigBuilder::default().build().unwrap();
    let privacy = MessageAuthenticity::Signed(identity.clone());
    let gossip: Behaviour = Behaviour::new(privacy, config).unwrap();
    let config = libp2p::swarm::Config::with_executor(|task| {
        async_std::task::spawn(task);
    });
    let local = identity.public().to_peer_id();
    let mut swarm = libp2p::Swarm::new(stack, gossip, local, config);
    swarm.dial(to.address.clone()).unwrap();
    let (tell, told) = async_std::channel::bounded(1);
    async_std::task::spawn(async move {
        loop {
            futures::select! {
                order = futures::FutureExt::fuse(told.recv()) => match order {
                    Ok(Foreign::Join(topic)) => {
                        swarm.behaviour_mut().subscribe(&IdentTopic::new(topic)).unwrap();
                    }
                    Ok(Foreign::Leave(topic)) => {
                        swarm.behaviour_mut().unsubscribe(&IdentTopic::new(topic));
                    }
                    Err(_) => return,
                },
                _ = swarm.select_next_some() => {}
            }
        }
    });
    tell
}

#[test]
fn a_peer_cannot_make_the_node_remember_topics_without_end() {
    run(async {
        let node = start(options()).await;
        let foreign = foreign_gossip(&node);
        let knows = async |topic: &str| {
            let peers = node.handle.topic_peers(Some(topic.to_owned())).await;
            !peers.unwrap().is_empty()
        };
        let settled = async |marker: &str, there: bool| {
            eventually("a subscription arrives", async || {
                (knows(marker).await == there).then_some(())
            })
            .await;
        };
        let long = "x".repeat(2000);
        foreign.send(Foreign::Join(long.clone())).await.unwrap();
        foreign.send(Foreign::Join("marker".into())).await.unwrap();
        settled("marker", true).await;
        assert!(!knows(&long).await, "a name of 2000 bytes is kept");
        for n in 0..400 {
            foreign.send(Foreign::Join(format!("t{n}"))).await.unwrap();
        }
        foreign.send(Foreign::Leave("marker".into())).await.unwrap();
        settled("marker", false).await;
        assert!(knows("t0").await);
        assert!(!knows("t399").await, "400 topics of one peer are kept");
        node.node.stop().await;
    });
}

#[test]
fn whoever_asks_a_node_that_stops_is_told_so() {
    run(async {
        // Many, since what matters is a question that arrives between the loop's
        // last look at its queue and its end.
        for _ in 0..20 {
            let (a, b) = (start(options()).await, start(options()).await);
            a.handle.dial(b.address.clone()).await.unwrap();
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    let handle = a.handle.clone();
                    async_std::task::spawn(async move { while handle.peers().await.is_ok() {} })
                })
                .collect();
            within("the node stops", a.node.stop()).await;
            for asker in asking {
                within("an answer", asker).await;
            }
            within("the other stops", b.node.stop()).await;
        }
    });
}

#[test]
fn misbehaviour_disconnects_then_bans_both_ways_and_a_trusted_peer_is_spared() {
    run(async {
        // Nobody closes a connection because it is idle.
        let patient = || Options {
            connection_idle_timeout: Duration::from_secs(3600),
            ..options()
        };
        let (b, friend) = (start(patient()).await, start(patient()).await);
        let policy = Policy::new(Settings {
            trusted: vec![friend.peer],
            ..Settings::default()
        });
        let a = start(Options {
            policy: policy.clone(),
            ..patient()
        })
        .await;
        let judge = &a.handle;
        for peer in [&b, &friend] {
            peer.handle.dial(a.address.clone()).await.unwrap();
            eventually("a sees it", || async {
                connected(judge, peer.peer).await.then_some(())
            })
            .await;
            policy.report(&peer.peer, Conduct::Bomb, Moment::now());
        }
        let gone = || async { (!connected(judge, b.peer).await).then_some(()) };
        eventually("b is cut off", gone).await;
        // It may come back on probation.
        eventually("b has seen the end", || async {
            (!connected(&b.handle, a.peer).await).then_some(())
        })
        .await;
        b.handle.dial(a.address.clone()).await.unwrap();
        eventually("b is back", || async {
            connected(judge, b.peer).await.then_some(())
        })
        .await;
        policy.report(&b.peer, Conduct::Bomb, Moment::now());
        eventually("b is cut off again", gone).await;
        assert!(policy.ban_of_peer(&b.peer, Instant::now()).is_some());
        let refused = a.handle.dial(b.address.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("bans"), "{refused}");
        // The refusal comes after the handshake, and then the connection ends.
        let _ = b.handle.dial(a.address.clone()).await;
        eventually("b stays out", || async {
            (!connected(&b.handle, a.peer).await).then_some(())
        })
        .await;
        assert!(!connected(judge, b.peer).await);

        policy.report(&friend.peer, Conduct::Bomb, Moment::now());
        assert!(connected(judge, friend.peer).await);
        assert!(policy.ban_of_peer(&friend.peer, Instant::now()).is_none());
        // A ban by an operator applies to trusted peers as well.
        let target = p2p_node::peers::Target::Peer(friend.peer);
        policy.ban(target, None, "", Moment::now()).unwrap();
        eventually("the friend is gone", || async {
            (!connected(judge, friend.peer).await).then_some(())
        })
        .await;
    });
}
