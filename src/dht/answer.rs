//! Answers of the DHT: this node's are cut to what a packet holds, and those of others to
//! what one peer may say.
//!
//! Other nodes refuse an answer of more than 16 KiB as a whole, and this node would
//! send one: a record may name sixteen addresses of 512 bytes, so that two such records
//! on a key would keep everybody from reading it. Addresses are left out first, since
//! one that can be dialed is enough, then the peers closest to the key. A provider or a
//! value is never left out.

use libp2p::kad;

/// Most bytes of an answer's lists and record. A packet holds 16 KiB
/// (`DEFAULT_MAX_PACKET_SIZE` of libp2p-kad); the rest is for its type and lengths.
const MOST: usize = 15 << 10;

/// Bytes of a peer beside its addresses: its id, how it is connected, and the
/// lengths of these.
const PEER: usize = 48;

/// Bytes of an address beside itself: its length and the field's number.
const ADDRESS: usize = 4;

/// Addresses of each peer that are tried in turn, the most first.
const ADDRESSES: [usize; 4] = [8, 4, 2, 1];

/// Providers and closer peers that are taken from the answer of one peer. A node of this
/// program names twenty of each, and others name every provider that they know. One that
/// lies could name hundreds in one packet, and so be heard instead of all others: a query
/// asks some twenty peers, and a fetch remembers a thousand providers.
const MOST_TAKEN: usize = 50;

/// Cuts the lists of another node's answer.
pub(crate) fn take(closer: &mut Vec<kad::KadPeer>, providers: &mut Vec<kad::KadPeer>) {
    closer.truncate(MOST_TAKEN);
    providers.truncate(MOST_TAKEN);
}

fn size(peers: &[kad::KadPeer]) -> usize {
    let of = |peer: &kad::KadPeer| {
        let addresses = peer.multiaddrs.iter().map(|a| a.len() + ADDRESS);
        PEER + addresses.sum::<usize>()
    };
    peers.iter().map(of).sum()
}

/// Cuts the lists of an answer that also carries a value of `beside` bytes.
pub(crate) fn fit(closer: &mut Vec<kad::KadPeer>, providers: &mut [kad::KadPeer], beside: usize) {
    let room = MOST.saturating_sub(beside);
    for most in ADDRESSES {
        if size(closer) + size(providers) <= room {
            return;
        }
        for peer in closer.iter_mut().chain(providers.iter_mut()) {
            peer.multiaddrs.truncate(most);
        }
    }
    while size(closer) + size(providers) > room && closer.pop().is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::{Multiaddr, PeerId};

    /// Peers with so many addresses of some 500 bytes each.
    fn peers(count: usize, addresses: usize) -> Vec<kad::KadPeer> {
        let long: Multiaddr = format!("/dns4/{}/tcp/4001", "a".repeat(490))
            .parse()
            .unwrap();
        let peer = || kad::KadPeer {
            node_id: PeerId::random(),
            multiaddrs: vec![long.clone(); addresses],
            connection_ty: kad::ConnectionType::NotConnected,
        };
        std::iter::repeat_with(peer).take(count).collect()
    }

    #[test]
    fn an_answer_that_fits_stays_as_it_is() {
        let (mut closer, mut providers) = (peers(4, 2), peers(4, 2));
        let before = (closer.clone(), providers.clone());
        fit(&mut closer, &mut providers, 0);
        assert_eq!((closer, providers), before);
    }

    #[test]
    fn fat_records_keep_nobody_from_reading_a_key() {
        let (mut closer, mut providers) = (peers(20, 16), peers(20, 16));
        fit(&mut closer, &mut providers, 0);
        assert_eq!(providers.len(), 20, "every provider is named");
        assert!(providers.iter().all(|p| p.multiaddrs.len() == 1));
        assert_eq!(closer.len(), 8);
        assert!(size(&closer) + size(&providers) <= MOST);
    }

    #[test]
    fn one_liar_is_not_heard_instead_of_all_others() {
        let (mut closer, mut providers) = (peers(300, 1), peers(300, 1));
        take(&mut closer, &mut providers);
        assert_eq!((closer.len(), providers.len()), (MOST_TAKEN, MOST_TAKEN));
    }

    #[test]
    fn beside_a_large_value_fewer_peers_are_named() {
        let mut closer = peers(20, 1);
        fit(&mut closer, &mut [], 14 << 10);
        assert_eq!(closer.len(), 1);
    }
}
