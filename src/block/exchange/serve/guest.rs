//! The peer that is served.

use ipnet::IpNet;
use libp2p::PeerId;

/// A peer that is served, and what decides between it and others when there are more of
/// them than can be served.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// The peer.
    pub peer: PeerId,
    /// Its reputation, -100 to 100.
    pub score: f64,
    /// The subnet it counts for, if it is known. Peer ids are free and addresses
    /// are not, so the peers of one subnet share places and memory as one.
    pub subnet: Option<IpNet>,
}

impl Guest {
    /// A peer of which nothing is known.
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

/// Those who share streams and memory as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Peer(PeerId),
    Subnet(IpNet),
}
