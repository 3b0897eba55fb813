//! The transport against itself over loopback.

use std::net::UdpSocket;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_std::future::timeout;
use async_std::task::block_on;
use futures::future::{join, poll_fn};
use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::Endpoint as Role;
use libp2p::core::muxing::StreamMuxerExt;
use libp2p::core::transport::{
    DialOpts, ListenerId, PortUse, Transport as _, TransportError, TransportEvent,
};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};

use super::listener::Event;
use super::{Connection, Error, Options, Stream, Transport, address};

const V4: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const V6: &str = "/ip6/::1/udp/0/quic-v1";

/// Far more than any step needs; ends a test that hangs.
const DEADLINE: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out: {what}"),
    }
}

/// A transport of a fresh identity.
struct Node {
    peer: PeerId,
    transport: Transport,
}

impl Node {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let identity = Keypair::generate_ed25519();
        Self {
            peer: identity.public().to_peer_id(),
            transport: Transport::new(&identity, options).unwrap(),
        }
    }

    /// Listens and returns the address without the peer.
    async fn listen(&mut self, address: &str) -> (ListenerId, Multiaddr) {
        let id = ListenerId::next();
        self.transport
            .listen_on(id, address.parse().unwrap())
            .unwrap();
        loop {
            if let TransportEvent::NewAddress {
                listener_id,
                listen_addr,
            } = self.event().await
                && listener_id == id
            {
                return (id, listen_addr);
            }
        }
    }

    async fn event(&mut self) -> Event {
        soon(
            "an event of the transport",
            poll_fn(|cx| Pin::new(&mut self.transport).poll(cx)),
        )
        .await
    }

    fn try_dial(
        &mut self,
        address: Multiaddr,
        role: Role,
        port_use: PortUse,
    ) -> Result<<Transport as libp2p::Transport>::Dial, TransportError<Error>> {
        self.transport.dial(address, DialOpts { role, port_use })
    }

    fn dial(&mut self, address: Multiaddr) -> <Transport as libp2p::Transport>::Dial {
        self.try_dial(address, Role::Dialer, PortUse::Reuse)
            .unwrap()
    }

    /// The next inbound connection, its peer, and the address it came from.
    async fn accept(&mut self) -> Result<(PeerId, Connection, Multiaddr), Error> {
        loop {
            if let TransportEvent::Incoming {
                upgrade,
                send_back_addr,
                ..
            } = self.event().await
            {
                let (peer, connection) = soon("an inbound handshake", upgrade).await?;
                return Ok((peer, connection, send_back_addr));
            }
        }
    }
}

/// Two connected nodes: dialler, listener.
struct Pair {
    dialler: Node,
    listener: Node,
    outbound: Connection,
    inbound: Connection,
    listening: ListenerId,
}

async fn connected(listen: &str, options: Options) -> Pair {
    let (mut dialler, mut listener) = (Node::with(options.clone()), Node::with(options));
    let (listening, address) = listener.listen(listen).await;
    let dial = dialler.dial(address.with_p2p(listener.peer).unwrap());
    let (outbound, inbound) = join(soon("a dial", dial), listener.accept()).await;
    let (outbound_peer, outbound) = outbound.unwrap();
    let (inbound_peer, inbound, _) = inbound.unwrap();
    assert_eq!(outbound_peer, listener.peer);
    assert_eq!(inbound_peer, dialler.peer);
    Pair {
        dialler,
        listener,
        outbound,
        inbound,
        listening,
    }
}

async fn open(connection: &mut Connection) -> Stream {
    soon(
        "a stream to open",
        poll_fn(|cx| connection.poll_outbound_unpin(cx)),
    )
    .await
    .unwrap()
}

async fn inbound(connection: &mut Connection) -> Stream {
    soon(
        "an inbound stream",
        poll_fn(|cx| connection.poll_inbound_unpin(cx)),
    )
    .await
    .unwrap()
}

async fn read_all(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    soon("the end of a stream", stream.read_to_end(&mut bytes)).await?;
    Ok(bytes)
}

/// Sends a message both ways over `a`'s stream to `b`.
async fn exchange(a: &mut Connection, b: &mut Connection) {
    let mut near = open(a).await;
    near.write_all(b"ping").await.unwrap();
    near.close().await.unwrap();
    let mut far = inbound(b).await;
    assert_eq!(read_all(&mut far).await.unwrap(), b"ping");
    // The other half still works.
    far.write_all(b"pong").await.unwrap();
    far.close().await.unwrap();
    assert_eq!(read_all(&mut near).await.unwrap(), b"pong");
}

#[test]
fn both_sides_open_streams_over_ipv4_and_ipv6() {
    block_on(async {
        for listen in [V4, V6] {
            let mut pair = connected(listen, Options::default()).await;
            exchange(&mut pair.outbound, &mut pair.inbound).await;
            exchange(&mut pair.inbound, &mut pair.outbound).await;
        }
    })
}

#[test]
fn the_wrong_peer_is_refused_by_name() {
    block_on(async {
        let (mut dialler, mut listener) = (Node::new(), Node::new());
        let (_, address) = listener.listen(V4).await;
        let wanted = PeerId::random();
        let dial = dialler.dial(address.with_p2p(wanted).unwrap());
        let (outbound, inbound) = join(soon("a dial", dial), listener.accept()).await;
        match outbound.unwrap_err() {
            Error::WrongPeer {
                expected, found, ..
            } => assert_eq!((*expected, *found), (wanted, listener.peer)),
            other => panic!("{other}"),
        }
        assert!(matches!(inbound, Err(Error::Handshake { .. })));
    })
}

#[test]
fn a_dial_without_a_peer_learns_who_answers() {
    block_on(async {
        let (mut dialler, mut listener) = (Node::new(), Node::new());
        let (_, address) = listener.listen(V4).await;
        let dial = dialler.dial(address);
        let (outbound, inbound) = join(soon("a dial", dial), listener.accept()).await;
        assert_eq!(outbound.unwrap().0, listener.peer);
        inbound.unwrap();
    })
}

#[test]
fn half_close_lets_the_other_half_go_on() {
    block_on(async {
        let mut pair = connected(V4, Options::default()).await;
        let mut near = open(&mut pair.outbound).await;
        near.close().await.unwrap();
        near.close().await.unwrap();
        assert!(near.write_all(b"x").await.is_err());
        let mut far = inbound(&mut pair.inbound).await;
        assert_eq!(read_all(&mut far).await.unwrap(), b"");
        let body = vec![7; 3 << 20];
        let (sent, received) = join(
            async {
                far.write_all(&body).await?;
                far.close().await
            },
            read_all(&mut near),
        )
        .await;
        sent.unwrap();
        assert!(received.unwrap() == body);
    })
}

#[test]
fn a_stream_dropped_after_its_last_message_still_delivers_it() {
    block_on(async {
        let mut pair = connected(V4, Options::default()).await;
        let mut near = open(&mut pair.outbound).await;
        near.write_all(b"last words").await.unwrap();
        near.flush().await.unwrap();
        drop(near);
        let mut far = inbound(&mut pair.inbound).await;
        assert_eq!(read_all(&mut far).await.unwrap(), b"last words");
    })
}

#[test]
fn a_stream_dropped_in_mid_write_is_reset() {
    block_on(async {
        let options = Options {
            stream_receive_window: 64 << 10,
            ..Options::default()
        };
        let mut pair = connected(V4, options).await;
        let mut near = open(&mut pair.outbound).await;
        // Nobody reads, so that the windows fill up.
        let body = vec![0; 64 << 10];
        let blocked = poll_fn(|cx| {
            while Pin::new(&mut near).poll_write(cx, &body)?.is_ready() {}
            Poll::Ready(std::io::Result::Ok(()))
        });
        blocked.await.unwrap();
        drop(near);
        let mut far = inbound(&mut pair.inbound).await;
        let error = read_all(&mut far).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    })
}

#[test]
fn dropping_a_reader_stops_the_writer() {
    block_on(async {
        let mut pair = connected(V4, Options::default()).await;
        let mut near = open(&mut pair.outbound).await;
        near.write_all(b"x").await.unwrap();
        drop(inbound(&mut pair.inbound).await);
        let body = vec![0; 64 << 10];
        soon("the writer to be stopped", async {
            while near.write_all(&body).await.is_ok() {}
        })
        .await;
        // The connection is none the worse for it.
        exchange(&mut pair.outbound, &mut pair.inbound).await;
    })
}

#[test]
fn thousands_of_streams_at_once() {
    block_on(async {
        const STREAMS: usize = 2000;
        let options = Options {
            max_inbound_streams: STREAMS as u32,
            ..Options::default()
        };
        let mut pair = connected(V4, options).await;
        let outbound = async {
            let mut streams = Vec::new();
            for number in 0..STREAMS {
                let mut stream = open(&mut pair.outbound).await;
                stream
                    .write_all(&(number as u32).to_be_bytes())
                    .await
                    .unwrap();
                streams.push(stream);
            }
            for (number, stream) in streams.iter_mut().enumerate() {
                stream.close().await.unwrap();
                assert_eq!(
                    read_all(stream).await.unwrap(),
                    (number as u32).to_be_bytes()
                );
            }
        };
        let inbound = async {
            let mut streams = Vec::new();
            for _ in 0..STREAMS {
                streams.push(inbound(&mut pair.inbound).await);
            }
            for stream in &mut streams {
                let number = read_all(stream).await.unwrap();
                stream.write_all(&number).await.unwrap();
                stream.close().await.unwrap();
            }
            streams
        };
        join(outbound, inbound).await;
    })
}

#[test]
fn the_stream_limit_holds_until_a_stream_ends() {
    block_on(async {
        let options = Options {
            max_inbound_streams: 2,
            ..Options::default()
        };
        let mut pair = connected(V4, options).await;
        let mut streams = vec![
            open(&mut pair.outbound).await,
            open(&mut pair.outbound).await,
        ];
        let waker = futures::task::noop_waker();
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(pair.outbound.poll_outbound_unpin(&mut cx).is_pending());
        let mut ended = streams.remove(0);
        ended.write_all(b"x").await.unwrap();
        ended.close().await.unwrap();
        let mut far = inbound(&mut pair.inbound).await;
        assert_eq!(read_all(&mut far).await.unwrap(), b"x");
        far.close().await.unwrap();
        assert_eq!(read_all(&mut ended).await.unwrap(), b"");
        open(&mut pair.outbound).await;
    })
}

#[test]
fn a_remote_that_uses_its_streams_gets_all_of_them_and_no_more() {
    block_on(async {
        const LIMIT: usize = 100;
        let options = Options {
            max_inbound_streams: LIMIT as u32,
            ..Options::default()
        };
        let mut pair = connected(V4, options).await;
        let outbound = async {
            let mut streams = Vec::new();
            for _ in 0..LIMIT {
                let mut stream = open(&mut pair.outbound).await;
                stream.write_all(b"x").await.unwrap();
                streams.push(stream);
            }
            streams
        };
        let inbound = async {
            let mut streams = Vec::new();
            for _ in 0..LIMIT {
                streams.push(inbound(&mut pair.inbound).await);
            }
            streams
        };
        let (mut near, mut far) = join(outbound, inbound).await;
        // What the remote may open was told before this arrives.
        far[0].write_all(b"y").await.unwrap();
        far[0].close().await.unwrap();
        assert_eq!(read_all(&mut near[0]).await.unwrap(), b"y");
        let mut cx = std::task::Context::from_waker(futures::task::noop_waker_ref());
        assert!(pair.outbound.poll_outbound_unpin(&mut cx).is_pending());
    })
}

#[test]
fn a_listener_is_removed_and_its_connections_live_on() {
    block_on(async {
        let mut pair = connected(V4, Options::default()).await;
        let address = address::format(pair.outbound.remote_address());
        assert!(pair.listener.transport.remove_listener(pair.listening));
        assert!(!pair.listener.transport.remove_listener(pair.listening));
        match pair.listener.event().await {
            TransportEvent::ListenerClosed {
                listener_id,
                reason: Ok(()),
            } => assert_eq!(listener_id, pair.listening),
            other => panic!("{other:?}"),
        }
        exchange(&mut pair.outbound, &mut pair.inbound).await;
        exchange(&mut pair.inbound, &mut pair.outbound).await;

        let options = Options {
            handshake_timeout: Duration::from_millis(300),
            ..Options::default()
        };
        let mut late = Node::with(options);
        let error = soon("a dial", late.dial(address)).await.unwrap_err();
        assert!(matches!(error, Error::HandshakeTimeout { .. }), "{error}");
    })
}

#[test]
fn closing_and_dropping_tell_the_remote() {
    block_on(async {
        for drop_it in [false, true] {
            let Pair {
                outbound,
                mut inbound,
                dialler: _dialler,
                listener: _listener,
                ..
            } = connected(V4, Options::default()).await;
            if drop_it {
                drop(outbound);
            } else {
                soon("closing", outbound.close()).await.unwrap();
            }
            let ended = poll_fn(|cx| inbound.poll_inbound_unpin(cx));
            match soon("the remote to notice", ended).await {
                Err(Error::Connection(quinn::ConnectionError::ApplicationClosed(close))) => {
                    assert_eq!(close.error_code, 0u32.into());
                }
                other => panic!("{other:?}"),
            }
        }
    })
}

#[test]
fn closing_a_busy_connection_tells_the_remote() {
    block_on(async {
        // Nobody reads what is written below.
        let options = Options {
            stream_receive_window: 9 << 20,
            ..Options::default()
        };
        let Pair {
            mut outbound,
            mut inbound,
            dialler: _dialler,
            listener: _listener,
            ..
        } = connected(V4, options).await;
        let mut near = open(&mut outbound).await;
        // Far more than the congestion window waits to be sent.
        let body = vec![0; 1 << 20];
        for _ in 0..8 {
            near.write_all(&body).await.unwrap();
        }
        soon("closing", outbound.close()).await.unwrap();
        let told = poll_fn(|cx| match inbound.poll_inbound_unpin(cx) {
            Poll::Ready(Ok(_)) => inbound.poll_inbound_unpin(cx),
            other => other,
        });
        assert!(matches!(
            soon("the remote to notice", told).await,
            Err(Error::Connection(
                quinn::ConnectionError::ApplicationClosed(_)
            ))
        ));
    })
}

fn port(address: &Multiaddr) -> u16 {
    super::address::parse(address).unwrap().0.port()
}

#[test]
fn dials_leave_from_the_listening_socket_when_asked_to() {
    block_on(async {
        let (mut dialler, mut listener) = (Node::new(), Node::new());
        let (_, own) = dialler.listen(V4).await;
        let (_, address) = listener.listen(V4).await;
        for (port_use, same) in [(PortUse::Reuse, true), (PortUse::New, false)] {
            let dial = dialler
                .try_dial(address.clone(), Role::Dialer, port_use)
                .unwrap();
            let (outbound, inbound) = join(soon("a dial", dial), listener.accept()).await;
            outbound.unwrap();
            let (_, _, from) = inbound.unwrap();
            assert_eq!(port(&from) == port(&own), same, "{port_use:?}");
        }
    })
}

#[test]
fn one_socket_a_family_dials_where_nothing_listens() {
    block_on(async {
        let (mut dialler, mut listener) = (Node::new(), Node::new());
        let (_, address) = listener.listen(V4).await;
        let mut ports = Vec::new();
        for port_use in [PortUse::Reuse, PortUse::New] {
            let dial = dialler
                .try_dial(address.clone(), Role::Dialer, port_use)
                .unwrap();
            let (outbound, inbound) = join(soon("a dial", dial), listener.accept()).await;
            outbound.unwrap();
            ports.push(port(&inbound.unwrap().2));
        }
        assert_eq!(ports[0], ports[1]);
    })
}

#[test]
fn a_hole_punch_meets_the_dial_from_the_other_side() {
    block_on(async {
        let (mut server, mut client) = (Node::new(), Node::new());
        let (_, server_address) = server.listen(V4).await;
        let (_, client_address) = client.listen(V4).await;
        let punch = server
            .try_dial(
                client_address.clone().with_p2p(client.peer).unwrap(),
                Role::Listener,
                PortUse::Reuse,
            )
            .unwrap();
        let again = server.try_dial(client_address, Role::Listener, PortUse::Reuse);
        assert!(matches!(
            again.map(drop),
            Err(TransportError::Other(Error::HolePunchInProgress { .. }))
        ));
        let dial = client.dial(server_address.with_p2p(server.peer).unwrap());
        // The arrival is handed to the punch, so that no event may come out of here.
        let quiet = async {
            let event = poll_fn(|cx| Pin::new(&mut server.transport).poll(cx)).await;
            panic!("{event:?}");
        };
        let both = async { join(punch, dial).await };
        let (both, quiet) = (std::pin::pin!(both), std::pin::pin!(quiet));
        let meeting = futures::future::select(both, quiet);
        let (punched, dialled) = match soon("the hole punch", meeting).await {
            futures::future::Either::Left((results, _)) => results,
            futures::future::Either::Right((never, _)) => never,
        };
        let (peer, mut inbound) = punched.unwrap();
        assert_eq!(peer, client.peer);
        let (peer, mut outbound) = dialled.unwrap();
        assert_eq!(peer, server.peer);
        exchange(&mut outbound, &mut inbound).await;
    })
}

#[test]
fn a_hole_punch_sends_packets_and_gives_up_in_time() {
    block_on(async {
        let options = Options {
            handshake_timeout: Duration::from_millis(500),
            ..Options::default()
        };
        let mut node = Node::with(options);
        let remote = UdpSocket::bind("127.0.0.1:0").unwrap();
        remote.set_read_timeout(Some(DEADLINE)).unwrap();
        let address = address::format(remote.local_addr().unwrap());
        let refused = node.try_dial(address.clone(), Role::Listener, PortUse::Reuse);
        assert!(matches!(
            refused.map(drop),
            Err(TransportError::Other(Error::NoListener { .. }))
        ));
        let (_, own) = node.listen(V4).await;
        let punch = node
            .try_dial(address, Role::Listener, PortUse::Reuse)
            .unwrap();
        let error = soon("the hole punch to give up", punch).await.unwrap_err();
        assert!(matches!(error, Error::HolePunchTimeout { .. }), "{error}");
        let mut buffer = [0; 128];
        let (length, from) = remote.recv_from(&mut buffer).unwrap();
        assert_eq!((length, from.port()), (64, port(&own)));
    })
}

#[test]
fn garbage_is_ignored() {
    block_on(async {
        let mut pair = connected(V4, Options::default()).await;
        let remote = pair.outbound.remote_address();
        let vandal = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut state = 1u32;
        for length in [0, 1, 5, 21, 64, 1199, 1200, 1452, 9000] {
            for first in [0x00, 0x40, 0x80, 0xc0, 0xc3, 0xff] {
                let mut packet: Vec<u8> = (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 24) as u8
                    })
                    .collect();
                if let Some(byte) = packet.first_mut() {
                    *byte = first;
                }
                if packet.len() > 5 {
                    // Version 1, so that some are taken for an Initial.
                    packet[1..5].copy_from_slice(&[0, 0, 0, 1]);
                }
                vandal.send_to(&packet, remote).unwrap();
            }
        }
        exchange(&mut pair.outbound, &mut pair.inbound).await;
        let mut another = Node::new();
        let dial = another.dial(address::format(remote));
        let (outbound, inbound) = join(soon("a dial", dial), pair.listener.accept()).await;
        outbound.unwrap();
        inbound.unwrap();
    })
}

#[test]
fn addresses_of_other_transports_are_left_to_them() {
    block_on(async {
        let mut node = Node::new();
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1/quic",
            "/ip4/127.0.0.1/udp/0/quic-v1",
            "/ip4/0.0.0.0/udp/1/quic-v1",
        ] {
            let dial = node.try_dial(text.parse().unwrap(), Role::Dialer, PortUse::Reuse);
            assert!(
                matches!(
                    dial.map(drop),
                    Err(TransportError::MultiaddrNotSupported(_))
                ),
                "{text}"
            );
        }
        let id = ListenerId::next();
        let listen = node
            .transport
            .listen_on(id, "/ip4/127.0.0.1/tcp/0".parse().unwrap());
        assert!(matches!(
            listen,
            Err(TransportError::MultiaddrNotSupported(_))
        ));
    })
}

#[test]
fn a_taken_port_is_named() {
    block_on(async {
        let (mut first, mut second) = (Node::new(), Node::new());
        let (_, address) = first.listen(V4).await;
        let error = second
            .transport
            .listen_on(ListenerId::next(), address.clone())
            .unwrap_err();
        let TransportError::Other(error @ Error::Bind { .. }) = error else {
            panic!("{error:?}")
        };
        assert!(
            error.to_string().contains(&port(&address).to_string()),
            "{error}"
        );
    })
}

#[test]
fn a_wildcard_listens_on_every_interface_and_on_several_ports() {
    block_on(async {
        let mut node = Node::new();
        let mut dialler = Node::new();
        for (listen, loopback) in [
            ("/ip4/0.0.0.0/udp/0/quic-v1", "127.0.0.1"),
            ("/ip6/::/udp/0/quic-v1", "::1"),
        ] {
            let id = ListenerId::next();
            node.transport
                .listen_on(id, listen.parse().unwrap())
                .unwrap();
            let address = loop {
                match node.event().await {
                    TransportEvent::NewAddress { listen_addr, .. } => {
                        let (address, _) = address::parse(&listen_addr).unwrap();
                        assert!(!address.ip().is_unspecified());
                        if address.ip() == loopback.parse::<std::net::IpAddr>().unwrap() {
                            break listen_addr;
                        }
                    }
                    other => panic!("{other:?}"),
                }
            };
            let dial = dialler.dial(address);
            let (outbound, inbound) = join(soon("a dial", dial), node.accept()).await;
            outbound.unwrap();
            inbound.unwrap();
        }
    })
}

#[test]
fn a_connection_refused_before_its_handshake_has_cost_none() {
    block_on(async {
        let (mut dialler, mut listener) = (Node::new(), Node::new());
        let (_, address) = listener.listen(V4).await;
        let dial = dialler.dial(address);
        let refuse = async {
            while !matches!(listener.event().await, TransportEvent::Incoming { .. }) {}
            // Who refuses drops it. The listener's socket is still served.
        };
        let (refused, ()) = join(soon("the refusal", dial), refuse).await;
        // CONNECTION_REFUSED is what a server says that has done nothing yet (RFC
        // 9000, section 20.1); a handshake begun and given up ends otherwise.
        let Err(Error::Handshake {
            source: quinn::ConnectionError::ConnectionClosed(close),
            ..
        }) = refused
        else {
            panic!("not refused: {refused:?}")
        };
        assert_eq!(
            close.error_code,
            quinn_proto::TransportErrorCode::CONNECTION_REFUSED
        );
    });
}

#[test]
fn a_full_house_asks_for_a_retry_and_serves_everyone() {
    block_on(async {
        let options = Options {
            retry_above: 0,
            max_pending_handshakes: 1,
            ..Options::default()
        };
        let mut listener = Node::with(options);
        let (_, address) = listener.listen(V4).await;
        let mut diallers: Vec<Node> = (0..20).map(|_| Node::new()).collect();
        let dials: Vec<_> = diallers
            .iter_mut()
            .map(|d| d.dial(address.clone()))
            .collect();
        let accept = async {
            let mut connections = Vec::new();
            for _ in 0..20 {
                connections.push(listener.accept().await.unwrap());
            }
            connections
        };
        let (outbound, inbound) =
            join(soon("all dials", futures::future::join_all(dials)), accept).await;
        for result in outbound {
            result.unwrap();
        }
        assert_eq!(inbound.len(), 20);
    })
}

/// A bare quinn endpoint with settings of its own, to misbehave with.
fn raw_endpoint(server: Option<quinn::ServerConfig>) -> quinn::Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    quinn::Endpoint::new(
        quinn::EndpointConfig::default(),
        server,
        socket,
        std::sync::Arc::new(super::runtime::AsyncStd {
            polls: Default::default(),
        }),
    )
    .unwrap()
}

mod bad_certificates {
    use std::sync::Arc;

    use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
    use quinn::rustls;

    use super::*;

    /// Presents a certificate that belongs to another key.
    #[derive(Debug)]
    struct Mismatched(Arc<rustls::sign::CertifiedKey>);

    impl Mismatched {
        fn new() -> Self {
            let (certificate, _) =
                libp2p_tls::certificate::generate(&Keypair::generate_ed25519()).unwrap();
            let (_, key) = libp2p_tls::certificate::generate(&Keypair::generate_ed25519()).unwrap();
            let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
            Self(Arc::new(rustls::sign::CertifiedKey::new(
                vec![certificate],
                key,
            )))
        }

        /// Damaged in the middle: no longer signed by anyone.
        fn damaged() -> Self {
            let (certificate, key) =
                libp2p_tls::certificate::generate(&Keypair::generate_ed25519()).unwrap();
            let mut bytes = certificate.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
            Self(Arc::new(rustls::sign::CertifiedKey::new(
                vec![bytes.into()],
                key,
            )))
        }

        fn garbage() -> Self {
            let (_, key) = libp2p_tls::certificate::generate(&Keypair::generate_ed25519()).unwrap();
            let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
            Self(Arc::new(rustls::sign::CertifiedKey::new(
                vec![vec![0x30; 40].into()],
                key,
            )))
        }
    }

    impl rustls::client::ResolvesClientCert for Mismatched {
        fn resolve(
            &self,
            _: &[&[u8]],
            _: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(self.0.clone())
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    impl rustls::server::ResolvesServerCert for Mismatched {
        fn resolve(
            &self,
            _: rustls::server::ClientHello<'_>,
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    fn all() -> [Mismatched; 3] {
        [
            Mismatched::new(),
            Mismatched::damaged(),
            Mismatched::garbage(),
        ]
    }

    #[test]
    fn of_a_server_fail_the_dial() {
        block_on(async {
            for certificate in all() {
                let mut config =
                    libp2p_tls::make_server_config(&Keypair::generate_ed25519()).unwrap();
                config.cert_resolver = Arc::new(certificate);
                let crypto = QuicServerConfig::try_from(config).unwrap();
                let server = raw_endpoint(Some(quinn::ServerConfig::with_crypto(Arc::new(crypto))));
                let address = address::format(server.local_addr().unwrap());
                let accept = async { server.accept().await.unwrap().await.map(drop) };
                let mut dialler = Node::new();
                let dial = soon("a dial", dialler.dial(address));
                let (outbound, inbound) = join(dial, soon("the server", accept)).await;
                let error = outbound.unwrap_err();
                assert!(matches!(error, Error::Handshake { .. }), "{error}");
                assert!(inbound.is_err());
            }
        })
    }

    #[test]
    fn of_a_client_fail_the_handshake_and_nothing_else() {
        block_on(async {
            let mut listener = Node::new();
            let (_, address) = listener.listen(V4).await;
            let (remote, _) = address::parse(&address).unwrap();
            for certificate in all() {
                let mut config =
                    libp2p_tls::make_client_config(&Keypair::generate_ed25519(), None).unwrap();
                config.client_auth_cert_resolver = Arc::new(certificate);
                let crypto = QuicClientConfig::try_from(config).unwrap();
                let client = raw_endpoint(None);
                let connecting = client
                    .connect_with(quinn::ClientConfig::new(Arc::new(crypto)), remote, "l")
                    .unwrap();
                // TLS 1.3 lets a client finish before its certificate is looked at.
                let dial = soon("a dial", async {
                    match connecting.await {
                        Ok(connection) => connection.closed().await,
                        Err(error) => error,
                    }
                });
                let (_, inbound) = join(dial, listener.accept()).await;
                let error = inbound.unwrap_err();
                assert!(matches!(error, Error::Handshake { .. }), "{error}");
            }
            let mut honest = Node::new();
            let dial = honest.dial(address);
            let (outbound, inbound) = join(soon("a dial", dial), listener.accept()).await;
            outbound.unwrap();
            inbound.unwrap();
        })
    }

    #[test]
    fn a_client_without_one_is_refused() {
        block_on(async {
            let mut listener = Node::new();
            let (_, address) = listener.listen(V4).await;
            let (remote, _) = address::parse(&address).unwrap();
            let mut config =
                libp2p_tls::make_client_config(&Keypair::generate_ed25519(), None).unwrap();
            config.client_auth_cert_resolver = Arc::new(NoCertificate);
            let crypto = QuicClientConfig::try_from(config).unwrap();
            let client = raw_endpoint(None);
            let connecting = client
                .connect_with(quinn::ClientConfig::new(Arc::new(crypto)), remote, "l")
                .unwrap();
            let dial = soon("a dial", async {
                match connecting.await {
                    Ok(connection) => connection.closed().await,
                    Err(error) => error,
                }
            });
            let (_, inbound) = join(dial, listener.accept()).await;
            assert!(matches!(inbound.unwrap_err(), Error::Handshake { .. }));
        })
    }

    #[derive(Debug)]
    struct NoCertificate;

    impl rustls::client::ResolvesClientCert for NoCertificate {
        fn resolve(
            &self,
            _: &[&[u8]],
            _: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }

        fn has_certs(&self) -> bool {
            false
        }
    }
}
