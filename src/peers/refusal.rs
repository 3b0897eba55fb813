//! Why a connection was refused: whose limit, its value, and what raises it.

use std::net::IpAddr;

use ipnet::IpNet;
use libp2p::PeerId;

/// Why this node refused a connection. Each is one line for the log; [`Refusal::limit`]
/// is its name in metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node is stopping.
    #[error("this node is stopping and takes no new connections")]
    Draining,
    /// The address is in a denied network.
    #[error("{ip} is in {network}, which P2P_DENY_CIDRS of this node denies")]
    Denied {
        /// The remote.
        ip: IpAddr,
        /// The rule.
        network: IpNet,
    },
    /// The address is in no allowed network.
    #[error("{ip} is in none of the networks that P2P_ALLOW_CIDRS of this node allows")]
    NotAllowed {
        /// The remote.
        ip: IpAddr,
    },
    /// The address is banned.
    #[error("{ip} is banned by this node ({ban}); see `p2p-node bans`")]
    BannedAddress {
        /// The remote.
        ip: IpAddr,
        /// The ban, in words.
        ban: String,
    },
    /// The peer is banned.
    #[error("{peer} is banned by this node ({ban}); see `p2p-node bans`")]
    BannedPeer {
        /// The remote.
        peer: PeerId,
        /// The ban, in words.
        ban: String,
    },
    /// A name stands for an address of this host or of no host.
    #[error("{name} resolves to {ip}, which is no address of a remote host")]
    NameOfThisHost {
        /// The name.
        name: String,
        /// What it stands for.
        ip: IpAddr,
    },
    /// Its subnet has all the connections that it may.
    #[error(
        "{subnet} has {used} connections with this node; of the {allowed} that P2P_MAX_CONNECTIONS_PER_SUBNET allows, {kept} are kept for this node's own dials"
    )]
    Subnet {
        /// The subnet.
        subnet: IpNet,
        /// What it has.
        used: u32,
        /// The cap.
        allowed: u32,
        /// Of the cap, what inbound connections cannot have; 0 for a dial.
        kept: u32,
    },
    /// Its subnet has all the handshakes under way that it may.
    #[error("{subnet} has {allowed} handshakes under way with this node, the most for one subnet")]
    PendingSubnet {
        /// The subnet.
        subnet: IpNet,
        /// The cap.
        allowed: u32,
    },
    /// As many inbound handshakes are under way as there are places for.
    #[error("{allowed} inbound handshakes are under way, the most that this node makes at once")]
    PendingInbound {
        /// The cap.
        allowed: u32,
    },
    /// As many dials are under way as there are places for.
    #[error("{allowed} dials are under way, the most that this node makes at once")]
    PendingOutbound {
        /// The cap.
        allowed: u32,
    },
    /// Connections come faster than they may.
    #[error(
        "inbound connections come faster than the {allowed} a second that P2P_MAX_INBOUND_RATE allows"
    )]
    Rate {
        /// Connections a second.
        allowed: u32,
    },
    /// Connections come from a subnet faster than they may.
    #[error(
        "connections come from {subnet} faster than the {allowed} a second that P2P_MAX_INBOUND_RATE_PER_SUBNET allows"
    )]
    SubnetRate {
        /// The subnet.
        subnet: IpNet,
        /// Connections a second.
        allowed: u32,
    },
    /// The node has all the connections that it may.
    #[error(
        "this node has {used} connections; of the {allowed} that P2P_MAX_CONNECTIONS allows, {kept} are kept for its own dials"
    )]
    Total {
        /// What it has.
        used: u32,
        /// The cap.
        allowed: u32,
        /// Of the cap, what inbound connections cannot have; 0 for a dial.
        kept: u32,
    },
    /// The node has all the inbound connections that it may.
    #[error(
        "this node has {used} inbound connections; P2P_MAX_INBOUND_CONNECTIONS allows {allowed}"
    )]
    Inbound {
        /// What it has.
        used: u32,
        /// The cap.
        allowed: u32,
    },
    /// The node has all the outbound connections that it may.
    #[error(
        "this node has {used} outbound connections; P2P_MAX_OUTBOUND_CONNECTIONS allows {allowed}"
    )]
    Outbound {
        /// What it has.
        used: u32,
        /// The cap.
        allowed: u32,
    },
    /// The peer has all the connections that it may.
    #[error(
        "{peer} has {used} connections with this node; P2P_MAX_CONNECTIONS_PER_PEER allows {allowed}"
    )]
    PerPeer {
        /// The remote.
        peer: PeerId,
        /// What it has.
        used: u32,
        /// The cap.
        allowed: u32,
    },
    /// Few file descriptors are left.
    #[error(
        "{open} of {limit} file descriptors are in use and the last {kept} are kept; raise LimitNOFILE or lower P2P_MAX_CONNECTIONS"
    )]
    Descriptors {
        /// Open now.
        open: u64,
        /// What the process may have open.
        limit: u64,
        /// What has to stay free.
        kept: u64,
    },
    /// Memory is used up.
    #[error(
        "{} MiB of memory are in use; P2P_MAX_MEMORY leaves {} MiB to {whom}",
        .resident >> 20, .allowed >> 20
    )]
    Memory {
        /// Resident bytes.
        resident: u64,
        /// Bytes up to which a connection of this kind is taken.
        allowed: u64,
        /// `inbound connections` or `dials`.
        whom: &'static str,
    },
}

impl Refusal {
    /// Whether a ban or a rule for networks is the reason, so that the next attempt
    /// is refused as well. Limits may have room a moment later.
    pub fn is_of_rules(&self) -> bool {
        matches!(
            self,
            Refusal::Denied { .. }
                | Refusal::NotAllowed { .. }
                | Refusal::BannedAddress { .. }
                | Refusal::BannedPeer { .. }
        )
    }

    /// Every name of a limit in metrics: what [`Refusal::limit`] tells, and `other`
    /// for a refusal that is not of this node's limits.
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

    /// The name of the limit: the variable that sets it, or another fixed name
    /// where no variable does. A label of metrics, so from a fixed set.
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
