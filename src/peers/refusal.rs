//! Why a connection was refused: the limit, its value, and what raises it.

use std::net::IpAddr;

use ipnet::IpNet;
use libp2p::PeerId;

/// The reason why this node refused a connection. Each is one line for the log.
/// [`Refusal::limit`] returns its name in metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node is stopping.
    #[error("this node is stopping and takes no new connections")]
    Draining,
    /// The address is in a denied network.
    #[error("{ip} is in {network}, which P2P_DENY_CIDRS of this node denies")]
    Denied {
        /// The address of the remote.
        ip: IpAddr,
        /// The network that is denied.
        network: IpNet,
    },
    /// The address is in no allowed network.
    #[error("{ip} is in none of the networks that P2P_ALLOW_CIDRS of this node allows")]
    NotAllowed {
        /// The address of the remote.
        ip: IpAddr,
    },
    /// The address is banned.
    #[error("{ip} is banned by this node ({ban}); see `p2p-node bans`")]
    BannedAddress {
        /// The address of the remote.
        ip: IpAddr,
        /// A description of the ban.
        ban: String,
    },
    /// The peer is banned.
    #[error("{peer} is banned by this node ({ban}); see `p2p-node bans`")]
    BannedPeer {
        /// The id of the remote peer.
        peer: PeerId,
        /// A description of the ban.
        ban: String,
    },
    /// A name resolves to an address of this host, or to one that belongs to no host.
    #[error("{name} resolves to {ip}, which is no address of a remote host")]
    NameOfThisHost {
        /// The name.
        name: String,
        /// The address that it resolves to.
        ip: IpAddr,
    },
    /// The subnet has as many connections as it may have.
    #[error(
        "{subnet} has {used} connections with this node; of the {allowed} that P2P_MAX_CONNECTIONS_PER_SUBNET allows, {kept} are kept for this node's own dials"
    )]
    Subnet {
        /// The subnet.
        subnet: IpNet,
        /// The number of its connections.
        used: u32,
        /// The limit.
        allowed: u32,
        /// The part of the limit that inbound connections cannot use; 0 for a dial.
        kept: u32,
    },
    /// The subnet has as many handshakes under way as it may have.
    #[error("{subnet} has {allowed} handshakes under way with this node, the most for one subnet")]
    PendingSubnet {
        /// The subnet.
        subnet: IpNet,
        /// The limit.
        allowed: u32,
    },
    /// As many inbound handshakes are under way as there are places.
    #[error("{allowed} inbound handshakes are under way, the most that this node makes at once")]
    PendingInbound {
        /// The limit.
        allowed: u32,
    },
    /// As many dials are under way as there are places.
    #[error("{allowed} dials are under way, the most that this node makes at once")]
    PendingOutbound {
        /// The limit.
        allowed: u32,
    },
    /// Connections arrive faster than they may.
    #[error(
        "inbound connections come faster than the {allowed} a second that P2P_MAX_INBOUND_RATE allows"
    )]
    Rate {
        /// The number of connections a second that is allowed.
        allowed: u32,
    },
    /// Connections arrive from a subnet faster than they may.
    #[error(
        "connections come from {subnet} faster than the {allowed} a second that P2P_MAX_INBOUND_RATE_PER_SUBNET allows"
    )]
    SubnetRate {
        /// The subnet.
        subnet: IpNet,
        /// The number of connections a second that is allowed.
        allowed: u32,
    },
    /// The node has as many connections as it may have.
    #[error(
        "this node has {used} connections; of the {allowed} that P2P_MAX_CONNECTIONS allows, {kept} are kept for its own dials"
    )]
    Total {
        /// The number of its connections.
        used: u32,
        /// The limit.
        allowed: u32,
        /// The part of the limit that inbound connections cannot use; 0 for a dial.
        kept: u32,
    },
    /// The node has as many inbound connections as it may have.
    #[error(
        "this node has {used} inbound connections; P2P_MAX_INBOUND_CONNECTIONS allows {allowed}"
    )]
    Inbound {
        /// The number of its inbound connections.
        used: u32,
        /// The limit.
        allowed: u32,
    },
    /// The node has as many outbound connections as it may have.
    #[error(
        "this node has {used} outbound connections; P2P_MAX_OUTBOUND_CONNECTIONS allows {allowed}"
    )]
    Outbound {
        /// The number of its outbound connections.
        used: u32,
        /// The limit.
        allowed: u32,
    },
    /// The peer has as many connections as it may have.
    #[error(
        "{peer} has {used} connections with this node; P2P_MAX_CONNECTIONS_PER_PEER allows {allowed}"
    )]
    PerPeer {
        /// The id of the remote peer.
        peer: PeerId,
        /// The number of its connections.
        used: u32,
        /// The limit.
        allowed: u32,
    },
    /// Few file descriptors are left.
    #[error(
        "{open} of {limit} file descriptors are in use and the last {kept} are kept; raise LimitNOFILE or lower P2P_MAX_CONNECTIONS"
    )]
    Descriptors {
        /// The number of descriptors that are open now.
        open: u64,
        /// The number of descriptors that the process may have open.
        limit: u64,
        /// The number of descriptors that have to stay free.
        kept: u64,
    },
    /// Too much memory is in use.
    #[error(
        "{} MiB of memory are in use; P2P_MAX_MEMORY leaves {} MiB to {whom}",
        .resident >> 20, .allowed >> 20
    )]
    Memory {
        /// The resident bytes.
        resident: u64,
        /// The resident bytes up to which a connection of this kind is accepted.
        allowed: u64,
        /// `inbound connections` or `dials`.
        whom: &'static str,
    },
}

impl Refusal {
    /// Returns whether a ban or a rule for networks is the reason, so that the next
    /// attempt will be refused as well. Limits, on the other hand, may have room a moment
    /// later.
    pub fn is_of_rules(&self) -> bool {
        matches!(
            self,
            Refusal::Denied { .. }
                | Refusal::NotAllowed { .. }
                | Refusal::BannedAddress { .. }
                | Refusal::BannedPeer { .. }
        )
    }

    /// Every name of a limit in metrics: all that [`Refusal::limit`] returns, and `other`
    /// for a refusal that does not come from this node's limits.
    pub const LIMITS: [&str; 16] = [
        "P2P_ALLOW_CIDRS",
        "P2P_DENY_CIDRS",
        "P2P_MAX_CONNECTIONS",
        "P2P_MAX_CONNECTIONS_PER_PEER",
        "P2P_MAX_CONNECTIONS_PER_SUBNET",
        "P2P_MAX_INBOUND_CONNECTIONS",
        "P2P_MAX_INBOUND_RATE",
        "P2P_MAX_INBOUND_RATE_PER_SUBNET",
        "P2P_MAX_MEMORY",
        "P2P_MAX_OUTBOUND_CONNECTIONS",
        "LimitNOFILE",
        "bans",
        "draining",
        "name of this host",
        "other",
        "pending connections",
    ];

    /// Returns the name of the limit: the variable that sets it, or another fixed name
    /// where no variable does. It is used as a label of metrics, so it is from a fixed
    /// set.
    pub fn limit(&self) -> &'static str {
        match self {
            Refusal::Draining => "draining",
            Refusal::Denied { .. } => "P2P_DENY_CIDRS",
            Refusal::NotAllowed { .. } => "P2P_ALLOW_CIDRS",
            Refusal::BannedAddress { .. } | Refusal::BannedPeer { .. } => "bans",
            Refusal::NameOfThisHost { .. } => "name of this host",
            Refusal::Subnet { .. } => "P2P_MAX_CONNECTIONS_PER_SUBNET",
            Refusal::PendingSubnet { .. }
            | Refusal::PendingInbound { .. }
            | Refusal::PendingOutbound { .. } => "pending connections",
            Refusal::Rate { .. } => "P2P_MAX_INBOUND_RATE",
            Refusal::SubnetRate { .. } => "P2P_MAX_INBOUND_RATE_PER_SUBNET",
            Refusal::Total { .. } => "P2P_MAX_CONNECTIONS",
            Refusal::Inbound { .. } => "P2P_MAX_INBOUND_CONNECTIONS",
            Refusal::Outbound { .. } => "P2P_MAX_OUTBOUND_CONNECTIONS",
            Refusal::PerPeer { .. } => "P2P_MAX_CONNECTIONS_PER_PEER",
            Refusal::Descriptors { .. } => "LimitNOFILE",
            Refusal::Memory { .. } => "P2P_MAX_MEMORY",
        }
    }
}
