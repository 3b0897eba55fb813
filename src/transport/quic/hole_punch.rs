//! Opens this node's NAT for an inbound QUIC connection.
//!
//! This is the part of DCUtR for the side that will be the server: the remote dials, and
//! its packets pass this side's NAT only after a packet went the other way. So
//! packets of random bytes go to the remote at random intervals until its
//! connection arrives (libp2p specification `relay/DCUtR`, "QUIC").

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures_timer::Delay;
use libp2p::PeerId;
use quinn::AsyncUdpSocket;
use quinn::udp::Transmit;

use super::connecting::Connecting;
use super::socket::Socket;
use super::{Connection, Error};

/// Bytes of a punching packet. Any number would do, since a NAT looks at headers only.
const PACKET: usize = 64;

/// Punches a hole to `remote` until `arrival` brings the connection that came
/// from there, for `allowed` at most, and finishes its handshake. The peer must
/// be `expected` when that is given.
pub(super) async fn run(
    socket: Arc<Socket>,
    remote: SocketAddr,
    expected: Option<PeerId>,
    arrival: oneshot::Receiver<Connecting>,
    allowed: Duration,
) -> Result<(PeerId, Connection), Error> {
    let timeout = || Error::HolePunchTimeout {
        remote,
        after: allowed,
    };
    let attempt = async {
        let punching = std::pin::pin!(punch(socket, remote));
        let connecting = match select(arrival, punching).await {
            Either::Left((arrived, _)) => arrived.map_err(|_| timeout())?,
            Either::Right((never, _)) => match never {},
        };
        let (found, connection) = connecting.await?;
        match expected {
            Some(expected) if expected != found => Err(Error::WrongPeer {
                remote,
                expected: expected.into(),
                found: found.into(),
            }),
            _ => Ok((found, connection)),
        }
    };
    match select(std::pin::pin!(attempt), Delay::new(allowed)).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => Err(timeout()),
    }
}

async fn punch(socket: Arc<Socket>, remote: SocketAddr) -> Infallible {
    loop {
        let mut packet = [0; PACKET];
        // The packet opens the NAT without random bytes too.
        let _ = aws_lc_rs::rand::fill(&mut packet);
        // A packet that cannot be sent now counts as lost.
        let _ = socket.try_send(&Transmit {
            destination: remote,
            ecn: None,
            contents: &packet,
            segment_size: None,
            src_ip: None,
        });
        // 10 to 200 ms, as the specification asks.
        let pause = 10 + u64::from(packet[0]) * 190 / 255;
        Delay::new(Duration::from_millis(pause)).await;
    }
}
