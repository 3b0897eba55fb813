//! Sets of networks in which each address is looked up, such as `P2P_DENY_CIDRS`.
//!
//! Two networks are either disjoint or one contains the other. So when those that lie in
//! another one are left out of a sorted list, at most one of the rest can contain an
//! address: the last one that begins at or before it. Finding it takes one step for each
//! doubling of the list: fourteen for ten thousand networks, which an operator may well
//! paste from a block list. (The blacklist of [`super::bans`] uses hash tables instead,
//! because it changes while the node runs and its entries end.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::bans::Target;

/// A set of networks that does not change. Its clones share the memory.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    v4: Arc<[Ipv4Net]>,
    v6: Arc<[Ipv6Net]>,
}

impl Networks {
    /// Returns the network that contains an address; the widest if there are several.
    pub fn find(&self, ip: IpAddr) -> Option<IpNet> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let net = last_before(&self.v4, |net| net.addr() <= ip)?;
                net.contains(&ip).then_some(IpNet::V4(*net))
            }
            IpAddr::V6(ip) => {
                let net = last_before(&self.v6, |net| net.addr() <= ip)?;
                net.contains(&ip).then_some(IpNet::V6(*net))
            }
        }
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn last_before<N>(sorted: &[N], begins: impl Fn(&N) -> bool) -> Option<&N> {
    sorted[..sorted.partition_point(begins)].last()
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(list: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in list {
            // An IPv4-mapped network counts as IPv4, as do the addresses that are looked
            // up.
            match Target::net(net) {
                Target::Net(IpNet::V4(net)) => v4.push(net),
                Target::Net(IpNet::V6(net)) => v6.push(net),
                Target::Peer(_) => {}
            }
        }
        // Where several networks begin at the same address, the wider ones come first.
        v4.sort_unstable_by_key(|n: &Ipv4Net| (Ipv4Addr::to_bits(n.addr()), n.prefix_len()));
        v6.sort_unstable_by_key(|n: &Ipv6Net| (Ipv6Addr::to_bits(n.addr()), n.prefix_len()));
        // `dedup_by` compares each with the last one that was kept.
        v4.dedup_by(|net, kept| kept.contains(&*net));
        v6.dedup_by(|net, kept| kept.contains(&*net));
        Networks {
            v4: v4.into(),
            v6: v6.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates networks that often contain each other, and addresses that are often in
    /// them.
    fn v4() -> impl Strategy<Value = IpNet> {
        (0..1024_u32, 16..=32_u8).prop_map(|(bits, prefix)| {
            IpNet::new(Ipv4Addr::from_bits(0xc000_0000 | bits << 4).into(), prefix).unwrap()
        })
    }

    fn v6() -> impl Strategy<Value = IpNet> {
        (0..1024_u128, 32..=128_u8).prop_map(|(bits, prefix)| {
            let ip = Ipv6Addr::from_bits(0x2001_0db8 << 96 | bits << 60);
            IpNet::new(ip.into(), prefix).unwrap()
        })
    }

    proptest! {
        #[test]
        fn it_says_what_a_look_at_each_one_says(
            list in proptest::collection::vec(prop_oneof![v4(), v6()], 0..40),
            asked in proptest::collection::vec(prop_oneof![v4(), v6()], 1..40),
        ) {
            let set: Networks = list.iter().copied().collect();
            for ip in asked.iter().chain(&list).map(IpNet::addr) {
                let widest = list.iter().filter(|n| n.contains(&ip)).min_by_key(|n| n.prefix_len());
                prop_assert_eq!(set.find(ip), widest.map(IpNet::trunc), "{}", ip);
            }
        }
    }

    #[test]
    fn both_ends_of_a_network_are_in_it_and_their_neighbours_are_not() {
        let set: Networks = ["192.0.2.64/26", "::ffff:198.51.100.0/120", "2001:db8::/32"]
            .map(|n| n.parse::<IpNet>().unwrap())
            .into_iter()
            .collect();
        let find = |ip: &str| set.find(ip.parse().unwrap()).map(|n| n.to_string());
        for (ip, net) in [
            ("192.0.2.63", None),
            ("192.0.2.64", Some("192.0.2.64/26")),
            ("192.0.2.127", Some("192.0.2.64/26")),
            ("::ffff:192.0.2.127", Some("192.0.2.64/26")),
            ("192.0.2.128", None),
            ("198.51.100.255", Some("198.51.100.0/24")),
            (
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                Some("2001:db8::/32"),
            ),
            ("2001:db9::", None),
            ("::1", None),
        ] {
            assert_eq!(find(ip).as_deref(), net, "{ip}");
        }
        assert!(!set.is_empty() && Networks::default().is_empty());
    }
}
