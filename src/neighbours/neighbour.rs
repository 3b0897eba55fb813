//! A connected peer, among which neighbours are chosen.

use std::time::Duration;

use ipnet::IpNet;
use libp2p::PeerId;

/// A connected peer as the choice for the floor sees it.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) peer: PeerId,
    /// The age of its oldest connection.
    pub(crate) age: Duration,
    /// `None` for this host, and for peers reached through relays.
    pub(crate) subnet: Option<IpNet>,
    /// This node dialed it.
    pub(crate) dialed: bool,
    /// There is a connection that does not lead through a relay.
    pub(crate) direct: bool,
    /// It is among those of the connected peers that are closest in the DHT.
    pub(crate) near: bool,
    /// It is on a topic that this node is on.
    pub(crate) gossip: bool,
    /// It is a configured bootstrap peer.
    pub(crate) bootstrap: bool,
    /// It was lost without a goodbye and is back.
    pub(crate) returned: bool,
    /// It refused lately to be kept.
    pub(crate) refused: bool,
    /// This node keeps it for the floor already.
    pub(crate) held: bool,
    /// It asked to be kept, and is.
    pub(crate) accepted: bool,
}
