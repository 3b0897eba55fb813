//! The configured bootstrap peers, and whether they were reached.

use libp2p::Multiaddr;

/// Whether a peer that the configuration names was reached, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A connection is open.
    Connected,
    /// It was dialed for this diagnosis and answered.
    Answered,
    /// It was dialed and did not answer, for this reason.
    Failed(String),
    /// It is banned by this node.
    Banned,
    /// Nobody tried to reach it.
    Unknown,
}

/// One of `P2P_BOOTSTRAP_PEERS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// As configured.
    pub address: Multiaddr,
    /// Whether it answers.
    pub reach: Reach,
}
