//! Configured peers, to which the node connects again and again.
//!
//! Each is tried for ever, with backoff and jitter. The time and the chance are
//! arguments.
//!
//! | file | noun |
//! |---|---|
//! | [`bootstrap`] | the peers through which the node enters its network (`P2P_BOOTSTRAP_PEERS`) |
//! | [`peering`] | the peers to which the node is always connected (`P2P_PEERING`) |
//! | [`relays`] | the relays through which the node wants to be reachable (`P2P_RELAYS`) |
//! | [`target`] | an address that the node keeps trying |

mod bootstrap;
mod peering;
mod relays;
mod target;
#[cfg(test)]
mod testing;

pub(super) use bootstrap::{Bootstrap, Need, REMEMBERED_AT_ONCE};
pub(super) use peering::Peering;
pub(super) use relays::Relays;
pub(super) use target::peer_of;

use libp2p::{Multiaddr, PeerId};

/// Returns the addresses that a configuration names, with their peers where these are
/// known, as the policy for peers wants them.
pub(super) fn addresses(
    bootstrap: &[Multiaddr],
    relays: &[Multiaddr],
    peering: &[Multiaddr],
) -> Vec<(Option<PeerId>, Multiaddr)> {
    let all = bootstrap.iter().chain(relays).chain(peering);
    all.map(|address| (peer_of(address), address.clone()))
        .collect()
}
