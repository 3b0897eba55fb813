//! Peers that do not speak the protocol: each of them results in an error and not in a
//! panic, and the listener continues to serve others.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use async_io::Async;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::connections::serves;
use crate::link::{Family, Link, Pair};
use crate::node::{Node, Side};
use crate::watch::run;

/// What multistream-select begins with.
pub(crate) const MULTISTREAM: &[u8] = b"\x13/multistream/1.0.0\n";

/// A request to speak WebSocket, as any client sends it.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Bytes without order, but the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(len)
    .collect()
}

/// What a peer sends before it closes its side.
fn scripts() -> Vec<(&'static str, Vec<u8>)> {
    let after = |protocol: &[u8], rest: &[u8]| [MULTISTREAM, protocol, rest].concat();
    let noise_protocol: &[u8] = b"\x07/noise\n";
    let tls_protocol: &[u8] = b"\x0b/tls/1.0.0\n";
    vec![
        ("nothing", vec![]),
        ("one byte", vec![0x13]),
        ("noise", noise(4096)),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("truncated multistream", MULTISTREAM[..12].to_vec()),
        ("empty messages", vec![0; 64]),
        (
            "oversize length",
            b"\xff\xff\xff\xff\x0f/multistream/1.0.0\n".to_vec(),
        ),
        ("endless length", vec![0x80; 64]),
        ("no line end", b"\x13/multistream/1.0.0x".to_vec()),
        ("unknown protocol", after(b"\x0b/nonsense/\n", b"")),
        (
            "many unknown protocols",
            after(&b"\x0b/nonsense/\n".repeat(2000), b""),
        ),
        ("Noise: truncated", after(noise_protocol, b"\x00\x20abc")),
        ("Noise: empty message", after(noise_protocol, b"\x00\x00")),
        (
            "Noise: oversize message",
            after(
                noise_protocol,
                &[&[0xff, 0xff][..], &noise(70_000)].concat(),
            ),
        ),
        (
            "Noise: noise",
            after(noise_protocol, &[&[0x00, 0x20][..], &noise(32)].concat()),
        ),
        ("TLS: noise", after(tls_protocol, &noise(4096))),
        (
            "TLS: oversize record",
            after(tls_protocol, b"\x16\x03\x01\xff\xff"),
        ),
        (
            "TLS: truncated hello",
            after(
                tls_protocol,
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            ),
        ),
        (
            "TLS: alert",
            after(tls_protocol, b"\x15\x03\x03\x00\x02\x02\x28"),
        ),
    ]
}

/// The same for WebSocket, where the handshake of HTTP comes first.
fn websocket_scripts() -> Vec<(&'static str, Vec<u8>)> {
    let after = |rest: &[u8]| [UPGRADE, rest].concat();
    let mut scripts = vec![
        ("nothing", vec![]),
        ("noise", noise(4096)),
        ("multistream without WebSocket", MULTISTREAM.to_vec()),
        ("truncated request", UPGRADE[..40].to_vec()),
        (
            "endless headers",
            [&UPGRADE[..30], &b"X-A: b\r\n".repeat(20_000)].concat(),
        ),
        ("noise instead of frames", after(&noise(4096))),
        (
            "oversize frame",
            after(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"),
        ),
        ("unmasked frame", after(b"\x82\x14\x13/multistream/1.0.0\n")),
        ("reserved bits", after(b"\xf2\x80\0\0\0\0")),
        ("close frame", after(b"\x88\x80\0\0\0\0")),
    ];
    // The rest in proper frames, with a mask of zeros.
    scripts.extend(
        self::scripts()
            .into_iter()
            .filter(|(_, s)| !s.is_empty())
            .map(|(name, bytes)| {
                let mut frame = vec![0x82, 0xff];
                frame.extend((bytes.len() as u64).to_be_bytes());
                frame.extend([0; 4]);
                (name, after(&[frame, bytes].concat()))
            }),
    );
    scripts
}

fn scripts_for(link: Link) -> Vec<(&'static str, Vec<u8>)> {
    if link == Link::WebSocket {
        websocket_scripts()
    } else {
        scripts()
    }
}

/// The socket address in a multiaddr.
pub(crate) fn socket(address: &Multiaddr) -> SocketAddr {
    let port = address.iter().find_map(|p| match p {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    (address.ip_addr().unwrap(), port.unwrap()).into()
}

/// The multiaddr of a socket address, for this link.
pub(crate) fn address(link: Link, socket: SocketAddr) -> Multiaddr {
    link.any(Family::V4)
        .into_iter()
        .map(|part| match part {
            Protocol::Tcp(_) => Protocol::Tcp(socket.port()),
            Protocol::Udp(_) => Protocol::Udp(socket.port()),
            part => part,
        })
        .collect()
}

/// Sends, closes its side, and waits for the other to close too.
async fn play(mut stream: Async<TcpStream>, script: &[u8]) {
    // The other side may be done with us before all is sent.
    let _ = stream.write_all(script).await;
    let _ = stream.get_ref().shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

fn listener_survives(link: Link) {
    run(async {
        let pair = Pair::new(link, Family::V4, Side::Foreign).await;
        for (name, script) in scripts_for(link) {
            eprintln!("{link:?}: {name}");
            let stream = Async::<TcpStream>::connect(socket(&pair.address))
                .await
                .unwrap();
            play(stream, &script).await;
            assert!(!pair.listener.refusal().await.is_empty());
        }
        // All at once, and gone before the answer.
        for (_, script) in scripts_for(link) {
            let mut stream = Async::<TcpStream>::connect(socket(&pair.address))
                .await
                .unwrap();
            let _ = stream.write_all(&script).await;
        }
        pair.connect().await;
        serves(&pair).await;
    });
}

fn dialer_survives(link: Link) {
    run(async {
        let node = Node::new(Side::Ours, link);
        for (name, script) in scripts_for(link) {
            eprintln!("{link:?}: {name}");
            let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = address(link, listener.get_ref().local_addr().unwrap());
            let peer = async_std::task::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                play(stream, &script).await;
            });
            assert!(!node.dial(&address, None).await.unwrap_err().is_empty());
            peer.await;
        }
        let honest = Node::new(Side::Foreign, link);
        let address = honest.listen(link.any(Family::V4)).await;
        node.dial(&address, Some(honest.peer)).await.unwrap();
    });
}

#[test]
fn listener_on_tcp_with_noise() {
    listener_survives(Link::TcpNoise);
}

#[test]
fn listener_on_tcp_with_tls() {
    listener_survives(Link::TcpTls);
}

#[test]
fn listener_on_websocket() {
    listener_survives(Link::WebSocket);
}

#[test]
fn dialer_on_tcp_with_noise() {
    dialer_survives(Link::TcpNoise);
}

#[test]
fn dialer_on_tcp_with_tls() {
    dialer_survives(Link::TcpTls);
}

#[test]
fn dialer_on_websocket() {
    dialer_survives(Link::WebSocket);
}

/// A peer that connects and says nothing is let go, and so is one that is
/// dialed and says nothing.
#[test]
fn silence_is_not_waited_for_for_ever() {
    run(async {
        let pair = Pair::new(Link::TcpTls, Family::V4, Side::Foreign).await;
        let silent = Async::<TcpStream>::connect(socket(&pair.address))
            .await
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = address(Link::TcpTls, listener.local_addr().unwrap());
        let (refused, dialed) =
            futures::join!(pair.listener.refusal(), pair.listener.dial(&address, None));
        assert!(!refused.is_empty());
        assert!(dialed.is_err());
        drop(silent);
    });
}

/// Datagrams that are no QUIC, and QUIC that is cut or of another version.
fn datagrams() -> Vec<Vec<u8>> {
    let long = |version: u32, rest: &[u8]| {
        let mut packet = vec![0xc3];
        packet.extend(version.to_be_bytes());
        packet.extend(rest);
        packet.resize(1200, 0);
        packet
    };
    vec![
        vec![],
        vec![0],
        noise(3),
        noise(1200),
        noise(60_000),
        vec![0xff; 1200],
        // Version 1: an Initial with lengths that point beyond the packet.
        long(
            1,
            &[&[20][..], &noise(20), &[20], &noise(20), &[0xff; 20]].concat(),
        ),
        long(1, &[&[255][..], &noise(255)].concat()),
        long(
            1,
            &[&[8][..], &noise(8), &[0], &[0x44, 0xd0], &noise(1100)].concat(),
        ),
        // Versions unknown, reserved, and zero (version negotiation).
        long(0x0a0a_0a0a, &[8, 1, 2, 3, 4, 5, 6, 7, 8, 0]),
        long(0xff00_001d, &[8, 1, 2, 3, 4, 5, 6, 7, 8, 0]),
        long(0, &[8, 1, 2, 3, 4, 5, 6, 7, 8, 0]),
        // A short header of no known connection.
        [&[0x40][..], &noise(60)].concat(),
    ]
}

#[test]
fn listener_on_quic() {
    run(async {
        let pair = Pair::new(Link::Quic, Family::V4, Side::Foreign).await;
        let socket_address = socket(&pair.address);
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for datagram in datagrams() {
            udp.send_to(&datagram, socket_address).unwrap();
        }
        pair.connect().await;
        serves(&pair).await;
        // In the midst of a connection, from elsewhere.
        for datagram in datagrams() {
            udp.send_to(&datagram, socket_address).unwrap();
        }
        serves(&pair).await;
    });
}

#[test]
fn dialer_on_quic() {
    run(async {
        let node = Node::new(Side::Ours, Link::Quic);
        let udp = Async::<UdpSocket>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = address(Link::Quic, udp.get_ref().local_addr().unwrap());
        // Answers everything with everything.
        let peer = async_std::task::spawn(async move {
            let mut packet = [0; 2048];
            while let Ok((_, from)) = udp.recv_from(&mut packet).await {
                for datagram in datagrams() {
                    let _ = udp.send_to(&datagram, from).await;
                }
            }
        });
        assert!(node.dial(&address, None).await.is_err());
        peer.cancel().await;

        let honest = Node::new(Side::Foreign, Link::Quic);
        let address = honest.listen(Link::Quic.any(Family::V4)).await;
        node.dial(&address, Some(honest.peer)).await.unwrap();
    });
}
