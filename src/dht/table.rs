//! Who gets a place in the routing table: at most so many of one subnet and of one network,
//! in a bucket and in the whole table.
//!
//! Peer ids are free, and an attacker chooses them so that they lie around a key or next
//! to this node. Addresses are not free. So a table in which no subnet has many places
//! leads past the ids of one host or of one provider's block.
//!
//! A place once taken is kept: a peer that has been there for long is likelier to stay, and
//! a newcomer of a full subnet is refused. Peers that cannot be reached any more are
//! removed elsewhere, which frees their places.
//!
//! Loopback and private networks are under no cap, as no rate applies to loopback at the
//! gate: who is on this host or in this house is not a stranger from the internet, and a
//! network of one house is all of one subnet. Trusted peers are under none either.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use libp2p::PeerId;

use crate::peers::subnet::Prefixes;

/// Places of one subnet (`P2P_SUBNET_PREFIXES`) in a bucket, which has twenty: a household
/// or a small cluster behind one address, and four fifths for everybody else.
const SUBNET_IN_BUCKET: usize = 4;

/// Places of one subnet in the table. In a network of a million nodes a table has some
/// 340 peers; this is a twentieth of it.
const SUBNET_IN_TABLE: usize = 16;

/// Places of one network in a bucket: a quarter of it.
const NETWORK_IN_BUCKET: usize = 5;

/// Places of one network in the table: a tenth of one in a large network.
const NETWORK_IN_TABLE: usize = 32;

/// What counts as one network: the smallest block of IPv4 that is routed on the internet,
/// and of IPv6 what a site gets at most. Whoever has one address of it may have them all.
const NETWORK: Prefixes = Prefixes { ipv4: 24, ipv6: 48 };

/// Where a peer of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seat {
    bucket: u32,
    subnet: IpNet,
    network: IpNet,
}

/// The places that are taken by peers under a cap. It has at most as many as the table has
/// peers, and those that left it since [`Seats::keep`].
#[derive(Debug, Default)]
pub(crate) struct Seats {
    taken: HashMap<PeerId, Seat>,
}

impl Seats {
    /// Takes a place for `peer` in `bucket`, at `ip`, and returns whether there is one.
    /// `table` has the peers of the table now.
    pub(crate) fn take(
        &mut self,
        peer: PeerId,
        bucket: u32,
        ip: IpAddr,
        prefixes: Prefixes,
        table: &HashSet<PeerId>,
    ) -> bool {
        let (Some(subnet), Some(network)) = (prefixes.subnet(ip), NETWORK.subnet(ip)) else {
            return true;
        };
        if is_private(ip) {
            return true;
        }
        self.keep(table);
        let seat = Seat {
            bucket,
            subnet,
            network,
        };
        let count = |like: &dyn Fn(&Seat) -> bool| {
            let others = self.taken.iter().filter(|(other, _)| **other != peer);
            others.filter(|(_, seat)| like(seat)).count()
        };
        let free = count(&|s| s.subnet == subnet) < SUBNET_IN_TABLE
            && count(&|s| s.network == network) < NETWORK_IN_TABLE
            && count(&|s| s.subnet == subnet && s.bucket == bucket) < SUBNET_IN_BUCKET
            && count(&|s| s.network == network && s.bucket == bucket) < NETWORK_IN_BUCKET;
        if free {
            self.taken.insert(peer, seat);
        }
        free
    }

    /// Whether the peer has a place that is counted.
    pub(crate) fn has(&self, peer: &PeerId) -> bool {
        self.taken.contains_key(peer)
    }

    /// Forgets those that are not in the table any more.
    fn keep(&mut self, table: &HashSet<PeerId>) {
        self.taken.retain(|peer, _| table.contains(peer));
    }
}

/// Whether an address is of a private network, which is nobody's on the internet.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the peers at these addresses get a place in the buckets.
    fn admitted<'a>(places: impl IntoIterator<Item = (&'a str, u32)>) -> usize {
        let (mut seats, mut table) = (Seats::default(), HashSet::new());
        for (ip, bucket) in places {
            let peer = PeerId::random();
            let ip = ip.parse().unwrap();
            if seats.take(peer, bucket, ip, Prefixes::default(), &table) {
                table.insert(peer);
            }
        }
        table.len()
    }

    #[test]
    fn one_address_has_few_places_in_a_bucket_and_in_the_table() {
        assert_eq!(admitted([("198.51.100.1", 255); 100]), SUBNET_IN_BUCKET);
        let all = (0..256).map(|bucket| ("198.51.100.1", bucket));
        assert_eq!(admitted(all), SUBNET_IN_TABLE);
        // Two addresses of the /56 that one home gets.
        let home = [("2001:db8:0:1::1", 255), ("2001:db8:0:2::1", 255)];
        let home = home.iter().copied().cycle().take(100);
        assert_eq!(admitted(home), SUBNET_IN_BUCKET);
    }

    #[test]
    fn who_enters_a_full_bucket_late_finds_the_places_taken() {
        let (mut seats, mut table) = (Seats::default(), HashSet::new());
        let ip = "198.51.100.1".parse().unwrap();
        let mut take = |peer, table: &HashSet<_>| {
            let has = seats.take(peer, 255, ip, Prefixes::default(), table);
            (has, seats.has(&peer))
        };
        // It has a place and is not in the table, since it waits for a full bucket.
        let late = PeerId::random();
        assert_eq!(take(late, &table), (true, true));
        for _ in 0..SUBNET_IN_BUCKET {
            let peer = PeerId::random();
            assert_eq!(take(peer, &table), (true, true));
            table.insert(peer);
        }
        table.insert(late);
        assert_eq!(take(late, &table), (false, false));
    }

    #[test]
    fn a_whole_block_of_addresses_has_few_places_too() {
        let block: Vec<String> = (0..256).map(|n| format!("198.51.100.{n}")).collect();
        let one = block.iter().map(|ip| (ip.as_str(), 255));
        assert_eq!(admitted(one), NETWORK_IN_BUCKET);
        let all = block.iter().zip(0..).map(|(ip, b)| (ip.as_str(), b));
        assert_eq!(admitted(all), NETWORK_IN_TABLE);
    }

    #[test]
    fn this_host_and_private_networks_are_under_no_cap() {
        for ip in ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.9", "fd00::1"] {
            assert_eq!(admitted([(ip, 255); 100]), 100, "{ip}");
        }
    }

    #[test]
    fn who_leaves_the_table_frees_its_place_and_who_is_in_it_keeps_it() {
        let (mut seats, mut table) = (Seats::default(), HashSet::new());
        let ip = "198.51.100.1".parse().unwrap();
        let mut take =
            |peer, table: &HashSet<PeerId>| seats.take(peer, 255, ip, Prefixes::default(), table);
        let peers: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
        for peer in &peers[..4] {
            assert!(take(*peer, &table));
            table.insert(*peer);
        }
        assert!(!take(peers[4], &table));
        assert!(take(peers[0], &table), "it has a place already");
        table.remove(&peers[1]);
        assert!(take(peers[4], &table));
    }
}
