//! Keeps the addresses of peers from gossipsub.
//!
//! # What libp2p lacks
//!
//! Gossipsub keeps an entry for each IP address that it has ever seen, for the scoring of
//! peers at one address (P6), also when that scoring is off, as it is here (see
//! [`scoring`](crate::gossip::scoring)). Somebody who connects from ever new addresses,
//! which is easy with IPv6, would fill the memory.
//!
//! # What is done instead
//!
//! Gossipsub is told an endpoint without an IP address.
//!
//! # What would make this superfluous
//!
//! A libp2p-gossipsub that keeps no addresses while
//! `PeerScoreParams::ip_colocation_factor_weight` is zero, or forgets each with its last
//! peer. No issue asks for it.

use std::sync::LazyLock;

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::FromSwarm;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};

/// An endpoint without an IP address.
pub(super) static NOWHERE: LazyLock<ConnectedPoint> = LazyLock::new(|| ConnectedPoint::Listener {
    local_addr: Multiaddr::empty(),
    send_back_addr: Multiaddr::empty(),
});

/// The same event without the remote's address; `None` when it tells nothing else.
pub(in crate::node) fn hide(event: FromSwarm<'_>) -> Option<FromSwarm<'_>> {
    Some(match event {
        FromSwarm::ConnectionEstablished(e) => {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                endpoint: &NOWHERE,
                ..e
            })
        }
        FromSwarm::ConnectionClosed(e) => FromSwarm::ConnectionClosed(ConnectionClosed {
            endpoint: &NOWHERE,
            ..e
        }),
        FromSwarm::AddressChange(_) => return None,
        other => other,
    })
}
