//! How many connections this node accepts, and how many it keeps for its own dials.
//!
//! # Room for the node's own work
//!
//! Strangers choose when they connect, and this node chooses when it dials. If strangers
//! could take all places, this node could not run DHT queries or find its way back into
//! the network. So a quarter of `P2P_MAX_CONNECTIONS`, and of
//! `P2P_MAX_CONNECTIONS_PER_SUBNET`, is kept for dials ([`kept`]). Of 400 that is 100,
//! enough for a gossip mesh and some thirty DHT queries at once with three dials each.
//! Dials have pending places of their own, and the last descriptors and the last
//! sixteenth of `P2P_MAX_MEMORY` are kept for them too.

/// The number of inbound connections whose handshakes are under way. Each costs a socket
/// and the memory of a handshake (some 100 KiB) before the peer has proven who it is, so
/// they take 13 MiB in all. The queue of the kernel holds more. It is two seconds of
/// arrivals at the default rate; see [`GRACE`].
pub const MAX_PENDING_INBOUND: u32 = 128;

/// The number of those that one subnet may have: an eighth, so that one subnet alone
/// cannot take all places with slow handshakes.
pub const MAX_PENDING_PER_SUBNET: u32 = 16;

/// How long a handshake is left alone. It takes four round trips at most, which is less
/// than a second even around the world, and the transport gives it ten. When all places
/// are taken, a handshake that has had this time is given up for a newcomer. So peers
/// that are slow on purpose, from however many subnets, push out only slow peers, and 64
/// newcomers a second (the default rate) find a place.
pub const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// The number of dials under way. It is larger than the number of parallel dials of one
/// DHT query times the number of queries that may run at once.
pub const MAX_PENDING_OUTBOUND: u32 = 256;

/// The number of pending places beyond [`MAX_PENDING_INBOUND`] for peers that may be
/// trusted, which is known only when their handshake is done. If the peer turns out to be
/// a stranger, its connection ends at once.
pub const TRUSTED_LANE: u32 = 16;

/// The number of places in the lane that are only for addresses at which a trusted peer
/// has been met (or is configured), so that strangers cannot fill the lane.
pub const TRUSTED_LANE_KNOWN: u32 = 8;

/// Descriptors that are kept for files, the control socket, HTTP and the resolver.
const OWN_DESCRIPTORS: u64 = 128;

/// Descriptors that are kept for dials, in addition to those.
const DIAL_DESCRIPTORS: u64 = 64;

/// Returns the part of a cap that is kept for this node's own dials: a quarter, rounded
/// down, so that a cap of one still allows an inbound connection.
pub const fn kept(cap: u32) -> u32 {
    cap / 4
}

/// Returns the numbers of descriptors that have to stay free when an inbound connection
/// is accepted, and when the node dials. With fewer than 384 descriptors in all, they are
/// half and a third of all.
pub(crate) fn descriptors_kept(limit: u64) -> (u64, u64) {
    let own = OWN_DESCRIPTORS.min(limit / 3);
    let dials = DIAL_DESCRIPTORS.min(limit / 6);
    (own + dials, own)
}

/// The number of descriptors that are needed in addition to those of connections.
pub(crate) const DESCRIPTORS_BESIDE: u64 = OWN_DESCRIPTORS + DIAL_DESCRIPTORS;

/// Returns the number of connections that `limit` descriptors are enough for. It is at
/// least one, since the gate looks at the open descriptors as well.
pub(crate) fn connections_possible(limit: u64) -> u32 {
    let (beside, _) = descriptors_kept(limit);
    u32::try_from(limit - beside).unwrap_or(u32::MAX).max(1)
}

/// Returns the resident bytes from which on inbound connections are refused when
/// `P2P_MAX_MEMORY` is `cap`. The last sixteenth is kept for dials.
pub(crate) fn memory_for_inbound(cap: u64) -> u64 {
    cap - cap / 16
}

/// The limits on the number of connections, and on memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The number of connections in total (`P2P_MAX_CONNECTIONS`).
    pub total: u32,
    /// The number of inbound connections.
    pub inbound: u32,
    /// The number of outbound connections.
    pub outbound: u32,
    /// The number of connections with one peer.
    pub per_peer: u32,
    /// The resident bytes above which new connections are refused; `None` for no limit.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            total: 400,
            inbound: 1024,
            outbound: 512,
            per_peer: 4,
            memory: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_left_for_strangers_whatever_the_limit() {
        for limit in [16, 64, 256, 384, 1024, 1 << 20] {
            let (inbound, dials) = descriptors_kept(limit);
            assert!(
                dials < inbound && inbound <= limit / 2,
                "{limit}: {inbound}"
            );
        }
        assert_eq!(descriptors_kept(1024), (192, 128));
        assert_eq!(connections_possible(1024), 832);
        assert_eq!(connections_possible(0), 1);
        assert_eq!(connections_possible(832 + DESCRIPTORS_BESIDE), 832);
    }
}
