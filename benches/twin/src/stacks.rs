//! The two swarms. Everything but the transports and the executor is the same.

use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::{Swarm, SwarmBuilder, noise, tcp, tls, yamux};
use libp2p_stream::Behaviour;

use super::{Result, Transport};

/// Connections stay open without streams for longer than any measurement.
const IDLE: Duration = Duration::from_secs(3600);

pub fn ours(transport: Transport) -> Result<Swarm<Behaviour>> {
    use p2p_node::transport::{Options, Security};
    let identity = Keypair::generate_ed25519();
    let security = match transport {
        Transport::TcpNoise => Security::Noise,
        Transport::TcpTls | Transport::Quic => Security::Tls,
    };
    let options = Options { security, ..Options::default() };
    let (stack, _relay) = p2p_node::transport::build(&identity, &options)?;
    let config = libp2p::swarm::Config::with_executor(|task| {
        async_std::task::spawn(task);
    })
    .with_idle_connection_timeout(IDLE);
    Ok(Swarm::new(stack, Behaviour::new(), identity.public().to_peer_id(), config))
}

pub fn tokio(transport: Transport) -> Result<Swarm<Behaviour>> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let nodelay = tcp::Config::new().nodelay(true);
    macro_rules! finish {
        ($builder:expr) => {
            $builder
                .with_behaviour(|_| Behaviour::new())?
                .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
                .build()
        };
    }
    Ok(match transport {
        Transport::TcpTls => {
            finish!(builder.with_tcp(nodelay, tls::Config::new, yamux::Config::default)?)
        }
        Transport::TcpNoise => {
            finish!(builder.with_tcp(nodelay, noise::Config::new, yamux::Config::default)?)
        }
        Transport::Quic => finish!(builder.with_quic()),
    })
}

pub fn listen_address(quic: bool) -> &'static str {
    if quic { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" }
}
