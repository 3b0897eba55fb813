//! How many connections this node takes, and what it keeps of them for itself.
//!
//! # Room for the node's own work
//!
//! Strangers choose when they come, this node chooses when it dials. If they
//! could fill everything, its DHT queries and its way back into the network
//! would wait for their mercy. So a quarter of `P2P_MAX_CONNECTIONS`, and of
//! `P2P_MAX_CONNECTIONS_PER_SUBNET`, is kept for dials ([`kept`]): of 400, 100,
//! which is a gossip mesh and some thirty DHT queries at once, three dials each.
//! Dials have pending places of their own, and the last descriptors and the last
//! sixteenth of `P2P_MAX_MEMORY` are theirs too.

/// Inbound connections in the making. Each costs a socket and a handshake's
/// worth of memory (some 100 KiB) before anybody has proven who they are, so
/// 13 MiB in all; the queue of the kernel holds more. It is two seconds of
/// arrivals at the default rate: see [`GRACE`].
pub const MAX_PENDING_INBOUND: u32 = 128;

/// Of those, the most for one subnet: an eighth, so that one alone cannot hold
/// all places by being slow.
pub const MAX_PENDING_PER_SUBNET: u32 = 16;

/// How long a handshake is left alone. One takes four round trips at most, under
/// a second round the world; the transport gives it ten. When all places are
/// taken, one that has had this time makes room for a newcomer. So whoever is
/// slow on purpose, from however many subnets, pushes out only the likes of him,
/// and 64 newcomers a second (the default rate) find a place.
pub const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// Dials in the making. Larger than one DHT query's parallel dials times the
/// queries that may run.
pub const MAX_PENDING_OUTBOUND: u32 = 256;

/// Pending places beyond [`MAX_PENDING_INBOUND`] for whoever may be a trusted
/// peer: that is known only when its handshake is done. A handshake there that
/// turns out a stranger's ends at once.
pub const TRUSTED_LANE: u32 = 16;

/// Of the lane, the places that only addresses can take at which a trusted peer
/// has been met (or is configured), so that strangers cannot fill it.
pub const TRUSTED_LANE_KNOWN: u32 = 8;

/// Descriptors kept for files, the control socket, HTTP and the resolver.
const OWN_DESCRIPTORS: u64 = 128;

/// Descriptors kept for dials, beside those.
const DIAL_DESCRIPTORS: u64 = 64;

/// The part of a cap that is kept for this node's own dials: a quarter, rounded
/// down, so that a cap of one is of use to somebody.
pub const fn kept(cap: u32) -> u32 {
    cap / 4
}

/// Descriptors that have to stay free: for an inbound connection to be taken,
/// and for a dial. With fewer than 384 in all, halves and thirds of that.
pub(crate) fn descriptors_kept(limit: u64) -> (u64, u64) {
    let own = OWN_DESCRIPTORS.min(limit / 3);
    let dials = DIAL_DESCRIPTORS.min(limit / 6);
    (own + dials, own)
}

/// Descriptors that have to be there beside those of connections.
pub(crate) const DESCRIPTORS_BESIDE: u64 = OWN_DESCRIPTORS + DIAL_DESCRIPTORS;

/// Connections that `limit` descriptors are enough for; at least one, since the
/// gate looks at what is open as well.
pub(crate) fn connections_possible(limit: u64) -> u32 {
    let (beside, _) = descriptors_kept(limit);
    u32::try_from(limit - beside).unwrap_or(u32::MAX).max(1)
}

/// Resident bytes from which on inbound connections are refused when `P2P_MAX_MEMORY`
/// is `cap`: the last sixteenth is for dials.
pub(crate) fn memory_for_inbound(cap: u64) -> u64 {
    cap - cap / 16
}

/// How many connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections, in total (`P2P_MAX_CONNECTIONS`).
    pub total: u32,
    /// Connections, inbound.
    pub inbound: u32,
    /// Connections, outbound.
    pub outbound: u32,
    /// Connections with one peer.
    pub per_peer: u32,
    /// Resident bytes above which new connections are refused; `None` for no limit.
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
