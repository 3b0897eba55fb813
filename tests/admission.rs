//! The limits on connections between real nodes: limits that hold, places that are
//! reserved, peers that fall silent, and connections that nothing uses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/local.rs"]
mod local;

use std::time::{Duration, Instant};

use common::eventually_async as eventually;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, PeerId, StreamProtocol, identify, ping};
use local::{Running, connected, options, run, start};
use p2p_node::node::{Handle, Options};
use p2p_node::peers::limits::{Limits, MAX_PENDING_INBOUND, kept};
use p2p_node::peers::{Policy, Settings};
use p2p_node::transport;

async fn connections(handle: &Handle) -> (u64, u64) {
    let status = handle.status().await.unwrap();
    (status.connections_inbound, status.connections_outbound)
}

/// A peer of another program: it has identify and ping, and never closes a connection.
#[derive(NetworkBehaviour)]
struct Bare {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Dials `to` with so many swarms of one connection each. They stay until the
/// guard is dropped.
fn flood(to: &Multiaddr, count: usize) -> Vec<async_std::task::JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let to = to.clone();
            async_std::task::spawn(async move {
                let identity = Keypair::generate_ed25519();
                let (stack, _) =
                    transport::build(&identity, &transport::Options::default()).unwrap();
                let config = identify::Config::new("test".into(), identity.public());
                let behaviour = Bare {
                    identify: identify::Behaviour::new(config),
                    ping: ping::Behaviour::default(),
                };
                let config = libp2p::swarm::Config::with_executor(|task| {
                    async_std::task::spawn(task);
                })
                .with_idle_connection_timeout(Duration::from_secs(3600));
                let local = identity.public().to_peer_id();
                let mut swarm = libp2p::Swarm::new(stack, behaviour, local, config);
                swarm.dial(to).unwrap();
                loop {
                    swarm.select_next_some().await;
                }
            })
        })
        .collect()
}

#[test]
fn a_flood_fills_what_strangers_may_have_and_the_node_works_on() {
    run(async {
        let limits = Limits {
            total: 40,
            ..Limits::default()
        };
        let for_strangers = u64::from(limits.total - kept(limits.total));
        let node = start(Options {
            limits,
            connection_idle_timeout: Duration::from_secs(3600),
            ..options()
        })
        .await;
        let other = start(options()).await;
        let flooding = flood(&node.address, 100);
        let full = eventually("as many strangers as may be are in", || async {
            let (inbound, outbound) = connections(&node.handle).await;
            assert!(inbound <= for_strangers, "{inbound} inbound");
            assert_eq!(outbound, 0);
            (inbound == for_strangers).then_some(inbound)
        })
        .await;
        assert_eq!(full, 30);
        eventually("the others are refused", || async {
            let refused = &node.metrics.node.connections_refused;
            let refused = refused.with_label_values(&["P2P_MAX_CONNECTIONS"]).get();
            let (inbound, _) = connections(&node.handle).await;
            assert!(inbound <= for_strangers, "{inbound} inbound");
            (refused >= 70).then_some(())
        })
        .await;
        // The node's own work: a dial, and a query through it.
        node.handle.dial(other.address.clone()).await.unwrap();
        eventually("the dialed peer is in the routing table", || async {
            let table = node.handle.routing_table().await.unwrap();
            table.iter().any(|p| p.peer == other.peer).then_some(())
        })
        .await;
        node.handle
            .put_value(b"/k".to_vec(), b"v".to_vec())
            .await
            .unwrap();
        assert_eq!(other.handle.get_value(b"/k".to_vec()).await.unwrap(), b"v");
        assert_eq!(connections(&node.handle).await, (30, 1));
        for task in flooding {
            task.cancel().await;
        }
    });
}

#[test]
fn without_memory_only_trusted_peers_come_in_or_are_dialed() {
    run(async {
        let stays = || Options {
            connection_idle_timeout: Duration::from_secs(3600),
            ..options()
        };
        let (friend, stranger) = (start(stays()).await, start(stays()).await);
        let node = start(Options {
            // This is less memory than any process uses.
            limits: Limits {
                memory: Some(1 << 20),
                ..Limits::default()
            },
            policy: Policy::new(Settings {
                trusted: vec![friend.peer],
                ..Settings::default()
            }),
            ..stays()
        })
        .await;
        // A task of its own measures its memory, so the limit is in force after that.
        let said = eventually("a dial is refused", || async {
            let refused = node.handle.dial(stranger.address.clone()).await.err();
            let _ = node.handle.disconnect(stranger.peer).await;
            refused
        })
        .await;
        assert!(said.to_string().contains("P2P_MAX_MEMORY"), "{said}");
        eventually("the stranger is gone", || async {
            (!connected(&node.handle, stranger.peer).await).then_some(())
        })
        .await;
        let refused = &node.metrics.node.connections_refused;
        let refused = refused.with_label_values(&["P2P_MAX_MEMORY"]);
        let before = refused.get();
        let _ = stranger.handle.dial(node.address.clone()).await;
        eventually("the stranger is refused", || async {
            (refused.get() > before).then_some(())
        })
        .await;
        assert!(!connected(&node.handle, stranger.peer).await);
        friend.handle.dial(node.address.clone()).await.unwrap();
        eventually("the trusted peer is in", || async {
            connected(&node.handle, friend.peer).await.then_some(())
        })
        .await;
        node.handle.disconnect(friend.peer).await.unwrap();
        node.handle.dial(friend.address.clone()).await.unwrap();
        assert!(connected(&node.handle, friend.peer).await);
    });
}

#[test]
fn slow_handshakes_make_room_for_an_honest_one() {
    run(async {
        let node = start(options()).await;
        let port = node.address.iter().find_map(|p| match p {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        // They connect and send nothing. There are more of them than places, so that all
        // places are taken and the last ones are refused.
        let slow: Vec<_> = (0..MAX_PENDING_INBOUND + 20)
            .map(|_| std::net::TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap())
            .collect();
        eventually("all places are taken", || async {
            let refused = &node.metrics.node.connections_refused;
            let refused = refused.with_label_values(&["pending connections"]).get();
            (refused >= 20).then_some(())
        })
        .await;
        let honest = start(options()).await;
        // The slow ones would keep their places for ten seconds, and then come again.
        eventually("the honest one is in", || async {
            let _ = honest.handle.dial(node.address.clone()).await;
            connected(&node.handle, honest.peer).await.then_some(())
        })
        .await;
        drop(slow);
    });
}

/// Connects with `node` and answers nothing: its pings are accepted and never
/// returned.
async fn silent_peer(node: &Running) -> (async_std::task::JoinHandle<()>, PeerId) {
    let identity = Keypair::generate_ed25519();
    let (stack, _) = transport::build(&identity, &transport::Options::default()).unwrap();
    let config = libp2p::swarm::Config::with_executor(|task| {
        async_std::task::spawn(task);
    });
    let local = identity.public().to_peer_id();
    let mut swarm = libp2p::Swarm::new(stack, Mute, local, config);
    swarm.dial(node.address.clone()).unwrap();
    let task = async_std::task::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    (task, local)
}

/// A behaviour that accepts ping streams and keeps them without an answer.
struct Mute;

mod mute {
    use std::collections::VecDeque;
    use std::task::{Context, Poll};

    use libp2p::core::upgrade::ReadyUpgrade;
    use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound};
    use libp2p::swarm::{
        ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, SubstreamProtocol,
    };

    #[derive(Default)]
    pub(super) struct Handler {
        pub(super) held: VecDeque<Stream>,
    }

    impl ConnectionHandler for Handler {
        type FromBehaviour = std::convert::Infallible;
        type ToBehaviour = std::convert::Infallible;
        type InboundProtocol = ReadyUpgrade<StreamProtocol>;
        type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
        type InboundOpenInfo = ();
        type OutboundOpenInfo = ();

        fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
            SubstreamProtocol::new(ReadyUpgrade::new(libp2p::ping::PROTOCOL_NAME), ())
        }

        fn connection_keep_alive(&self) -> bool {
            true
        }

        fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
            match event {}
        }

        fn poll(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
            Poll::Pending
        }

        fn on_connection_event(
            &mut self,
            event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
        ) {
            if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol,
                ..
            }) = event
            {
                self.held.push_back(protocol);
            }
        }
    }
}

impl NetworkBehaviour for Mute {
    type ConnectionHandler = mute::Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: libp2p::swarm::ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<mute::Handler, libp2p::swarm::ConnectionDenied> {
        Ok(mute::Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: libp2p::swarm::ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: libp2p::core::Endpoint,
        _: libp2p::core::transport::PortUse,
    ) -> Result<mute::Handler, libp2p::swarm::ConnectionDenied> {
        Ok(mute::Handler::default())
    }

    fn on_swarm_event(&mut self, _: libp2p::swarm::FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: libp2p::swarm::ConnectionId,
        event: std::convert::Infallible,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<libp2p::swarm::ToSwarm<std::convert::Infallible, std::convert::Infallible>>
    {
        std::task::Poll::Pending
    }
}

#[test]
fn a_peer_that_answers_no_ping_is_let_go() {
    run(async {
        let policy = Policy::default();
        let node = start(Options {
            policy: policy.clone(),
            // The connection must not end because it is idle.
            connection_idle_timeout: Duration::from_secs(3600),
            ping_interval: Duration::from_millis(50),
            ping_timeout: Duration::from_millis(100),
            ..options()
        })
        .await;
        let healthy = start(Options {
            connection_idle_timeout: Duration::from_secs(3600),
            ..options()
        })
        .await;
        healthy.handle.dial(node.address.clone()).await.unwrap();
        let (silent, silent_id) = silent_peer(&node).await;
        eventually("the silent one is let go for its silence", || async {
            let closed = node
                .metrics
                .node
                .connections_closed
                .with_label_values(&["ping"]);
            (closed.get() == 1).then_some(())
        })
        .await;
        assert!(connected(&node.handle, healthy.peer).await);
        assert!(
            policy.score_of(&silent_id, Instant::now()) < 0.0,
            "a lost ping is remembered"
        );
        assert!(policy.score_of(&healthy.peer, Instant::now()) >= 0.0);
        silent.cancel().await;
    });
}

#[test]
fn what_nothing_uses_closes_and_a_mesh_and_a_stream_stay() {
    run(async {
        let idle = || Options {
            // This test is about connections that nobody keeps.
            min_peers: 0,
            connection_idle_timeout: Duration::from_millis(500),
            ..options()
        };
        let hub = start(idle()).await;
        // The hub has to close the connections of peers that would stay.
        let stays = || Options {
            min_peers: 0,
            connection_idle_timeout: Duration::from_secs(3600),
            ..options()
        };
        let (meshed, streaming, outside, asking) = (
            start(idle()).await,
            start(idle()).await,
            start(stays()).await,
            start(stays()).await,
        );
        let _here = hub.handle.subscribe("t".into()).await.unwrap();
        let _there = meshed.handle.subscribe("t".into()).await.unwrap();
        meshed.handle.dial(hub.address.clone()).await.unwrap();
        let echo = StreamProtocol::new("/test/held/1.0.0");
        let mut incoming = hub.handle.accept(echo.clone()).unwrap();
        streaming.handle.dial(hub.address.clone()).await.unwrap();
        let (mut stream, _) = streaming
            .handle
            .open_stream(hub.peer, &[echo])
            .await
            .unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        let (_, mut held) = incoming.next().await.unwrap();

        // This peer only answers identify and ping, and would stay.
        let bare = flood(&hub.address, 1);
        // This peer subscribes to another topic: it has gossip streams, but no mesh.
        let _other = outside.handle.subscribe("other".into()).await.unwrap();
        outside.handle.dial(hub.address.clone()).await.unwrap();
        // This peer asks the DHT.
        asking.handle.dial(hub.address.clone()).await.unwrap();
        eventually("the asking one knows whom to ask", || async {
            let table = asking.handle.routing_table().await.unwrap();
            (!table.is_empty()).then_some(())
        })
        .await;
        asking
            .handle
            .put_value(b"/k".to_vec(), b"v".to_vec())
            .await
            .unwrap();
        let opened = &hub.metrics.node.connections_opened;
        eventually("all have been there", || async {
            (opened.get() >= 5).then_some(())
        })
        .await;
        eventually("only the mesh and the stream are left", || async {
            let peers = hub.handle.peers().await.unwrap();
            let left: Vec<PeerId> = peers.iter().map(|p| p.id).collect();
            assert!(left.contains(&meshed.peer), "the mesh lost its peer");
            assert!(left.contains(&streaming.peer), "the stream lost its peer");
            (left.len() == 2).then_some(())
        })
        .await;
        let idled = hub
            .metrics
            .node
            .connections_closed
            .with_label_values(&["idle"]);
        // The hub may have dialed one of them back, so that it had two connections.
        assert!(idled.get() >= 3, "the other sides would have stayed");
        // The stream is alive.
        stream.write_all(b"y").await.unwrap();
        stream.flush().await.unwrap();
        let mut got = [0; 2];
        held.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"xy");
        for task in bare {
            task.cancel().await;
        }
    });
}
