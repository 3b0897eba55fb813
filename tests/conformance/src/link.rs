//! The axes of the tests: transport, family, direction.

use std::future::Future;
use std::time::Duration;

use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{Multiaddr, PeerId, noise, quic, tcp, tls, websocket, yamux};
use p2p_node::transport::Security;

use crate::node::{Node, Side};
use crate::watch::run;

/// For both sides. Some failures are told by nothing else, so it is not long;
/// and not the 5 s of libp2p-quic: its UDP buffer overflows when two hundred
/// handshakes are answered at once, whoever answers, and resending takes that long.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// A transport with its security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    TcpNoise,
    TcpTls,
    Quic,
    WebSocket,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Link {
    /// What this node offers when it is to use this link.
    pub(crate) fn security(self) -> Security {
        match self {
            Link::TcpNoise => Security::Noise,
            Link::TcpTls => Security::Tls,
            // WebSocket with whatever both sides like best; QUIC brings its own.
            Link::Quic | Link::WebSocket => Security::Both,
        }
    }

    /// An address to listen on, at a port of the kernel's choice.
    pub(crate) fn any(self, family: Family) -> Multiaddr {
        let host = match family {
            Family::V4 => "/ip4/127.0.0.1",
            Family::V6 => "/ip6/::1",
        };
        let rest = match self {
            Link::TcpNoise | Link::TcpTls => "tcp/0",
            Link::Quic => "udp/0/quic-v1",
            Link::WebSocket => "tcp/0/ws",
        };
        format!("{host}/{rest}").parse().unwrap()
    }

    /// libp2p's own transport for this link.
    pub(crate) fn foreign(
        self,
        identity: &Keypair,
        network_key: Option<PreSharedKey>,
    ) -> Boxed<(PeerId, StreamMuxerBox)> {
        let tcp = || tcp::tokio::Transport::new(tcp::Config::default());
        match self {
            Link::Quic => {
                let mut config = quic::Config::new(identity);
                config.handshake_timeout = HANDSHAKE_TIMEOUT;
                quic::tokio::Transport::new(config)
                    .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
                    .boxed()
            }
            Link::WebSocket => self.upgraded(websocket::Config::new(tcp()), identity, network_key),
            Link::TcpNoise | Link::TcpTls => self.upgraded(tcp(), identity, network_key),
        }
    }

    fn upgraded<T>(
        self,
        transport: T,
        identity: &Keypair,
        network_key: Option<PreSharedKey>,
    ) -> Boxed<(PeerId, StreamMuxerBox)>
    where
        T: Transport + Send + Unpin + 'static,
        T::Output: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static,
        T::Error: Send + Sync + 'static,
        T::Dial: Send + 'static,
        T::ListenerUpgrade: Send + 'static,
    {
        let transport = transport.and_then(move |stream, _| async move {
            Ok::<_, libp2p::pnet::PnetError>(match network_key {
                Some(key) => {
                    futures::future::Either::Left(PnetConfig::new(key).handshake(stream).await?)
                }
                None => futures::future::Either::Right(stream),
            })
        });
        match self {
            Link::TcpTls => transport
                .upgrade(Version::V1Lazy)
                .authenticate(tls::Config::new(identity).unwrap())
                .multiplex(yamux::Config::default())
                .timeout(HANDSHAKE_TIMEOUT)
                .boxed(),
            _ => transport
                .upgrade(Version::V1Lazy)
                .authenticate(noise::Config::new(identity).unwrap())
                .multiplex(yamux::Config::default())
                .timeout(HANDSHAKE_TIMEOUT)
                .boxed(),
        }
    }
}

/// Two nodes with a connection between them.
pub(crate) struct Pair {
    pub(crate) link: Link,
    pub(crate) dialer: Node,
    pub(crate) listener: Node,
    /// Where the listener listens.
    pub(crate) address: Multiaddr,
}

impl Pair {
    /// Both nodes, not yet connected.
    pub(crate) async fn new(link: Link, family: Family, dialer: Side) -> Pair {
        let listener = Node::new(dialer.other(), link);
        let address = listener.listen(link.any(family)).await;
        Pair {
            link,
            dialer: Node::new(dialer, link),
            listener,
            address,
        }
    }

    /// Connects them, and checks who is who.
    pub(crate) async fn connect(&self) {
        let peer = self.dialer.dial(&self.address, None).await.unwrap();
        assert_eq!(peer, self.listener.peer);
        self.listener.connected(self.dialer.peer).await;
    }
}

/// Runs a scenario in both directions over both families.
pub(crate) fn each_way<F: Future<Output = ()>>(link: Link, scenario: impl Fn(Pair) -> F) {
    for family in [Family::V4, Family::V6] {
        each_direction(link, family, &scenario);
    }
}

/// Runs a scenario in both directions over IPv4: for what costs time and does
/// not depend on the family.
pub(crate) fn both_directions<F: Future<Output = ()>>(link: Link, scenario: impl Fn(Pair) -> F) {
    each_direction(link, Family::V4, &scenario);
}

/// Runs a scenario over IPv4 with this node as the listener only.
pub(crate) fn foreign_dials<F: Future<Output = ()>>(link: Link, scenario: impl Fn(Pair) -> F) {
    one_direction(link, Family::V4, Side::Foreign, &scenario);
}

fn each_direction<F: Future<Output = ()>>(
    link: Link,
    family: Family,
    scenario: &impl Fn(Pair) -> F,
) {
    for dialer in [Side::Ours, Side::Foreign] {
        one_direction(link, family, dialer, scenario);
    }
}

fn one_direction<F: Future<Output = ()>>(
    link: Link,
    family: Family,
    dialer: Side,
    scenario: &impl Fn(Pair) -> F,
) {
    // Shown when the test fails.
    eprintln!("{link:?} over {family:?}, {dialer:?} dials");
    run(async { scenario(Pair::new(link, family, dialer).await).await });
}

/// Makes a module of each scenario, with a test for each link.
macro_rules! over_every_link {
    ($each:ident: $($scenario:ident),* $(,)?) => {$(
        mod $scenario {
            use $crate::link::Link;

            #[test]
            fn tcp_noise() {
                super::$each(Link::TcpNoise, super::$scenario);
            }

            #[test]
            fn tcp_tls() {
                super::$each(Link::TcpTls, super::$scenario);
            }

            #[test]
            fn quic() {
                super::$each(Link::Quic, super::$scenario);
            }

            #[test]
            fn websocket() {
                super::$each(Link::WebSocket, super::$scenario);
            }
        }
    )*};
}
pub(crate) use over_every_link;
