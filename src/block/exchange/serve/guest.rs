//! A peer that is served.

use ipnet::IpNet;
use libp2p::PeerId;

/// A peer that is served, with what decides between it and others when there are more
/// peers than can be served.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// The peer.
    pub peer: PeerId,
    /// Its reputation, from -100 to 100.
    pub score: f64,
    /// The subnet that it counts for, if that is known. Peer ids are free but addresses
    /// are not, so that the peers of one subnet share places and memory as if they were
    /// one.
    pub subnet: Option<IpNet>,
}

impl Guest {
    /// Creates a peer about which nothing is known.
    pub fn new(peer: PeerId) -> Self {
        Guest {
            peer,
            score: 0.0,
            subnet: None,
        }
    }

    pub(super) fn origin(&self) -> Origin {
        match self.subnet {
            Some(subnet) => Origin::Subnet(subnet),
            None => Origin::Peer(self.peer),
        }
    }
}

/// The unit that shares streams and memory as if it were one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Peer(PeerId),
    Subnet(IpNet),
}
