//! The table of connected peers: one record for each, and counts over all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ipnet::IpNet;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::record::{Connection, Record};
use super::subnet::Prefixes;

/// The connected peers, and how they are connected. The table is bounded by the limits of
/// connections. The node's behaviour for peers fills it, and all other code only reads
/// it.
#[derive(Debug, Default)]
pub struct Table {
    records: HashMap<PeerId, Record>,
    subnets: HashMap<IpNet, u32>,
    prefixes: Prefixes,
    inbound: u32,
    outbound: u32,
}

/// A connection that has ended.
#[derive(Clone, Debug)]
pub struct Closed {
    /// What was known of it.
    pub connection: Connection,
    /// Whether it was the peer's last one.
    pub last: bool,
}

impl Table {
    /// Records a connection that was established.
    pub(super) fn opened(&mut self, peer: PeerId, id: ConnectionId, connection: Connection) {
        *self.direction(connection.outbound) += 1;
        let subnet = connection.counted.and_then(|ip| self.prefixes.subnet(ip));
        if let Some(subnet) = subnet {
            *self.subnets.entry(subnet).or_default() += 1;
        }
        let record = self.records.entry(peer).or_default();
        record.connections.push((id, connection));
    }

    /// Removes a connection that has ended, and returns what was known of it.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> Option<Closed> {
        let record = self.records.get_mut(peer)?;
        let at = record.connections.iter().position(|(at, _)| *at == id)?;
        let (_, connection) = record.connections.remove(at);
        let last = record.connections.is_empty();
        if last {
            self.records.remove(peer);
        }
        let direction = self.direction(connection.outbound);
        *direction = direction.saturating_sub(1);
        let subnet = connection.counted.and_then(|ip| self.prefixes.subnet(ip));
        if let Some(subnet) = subnet
            && let Entry::Occupied(mut count) = self.subnets.entry(subnet)
        {
            let left = count.get().saturating_sub(1);
            count.insert(left);
            if left == 0 {
                count.remove();
            }
        }
        Some(Closed { connection, last })
    }

    fn direction(&mut self, outbound: bool) -> &mut u32 {
        match outbound {
            true => &mut self.outbound,
            false => &mut self.inbound,
        }
    }

    /// Changes the prefixes that make two addresses one subnet.
    pub(super) fn set_prefixes(&mut self, prefixes: Prefixes) {
        if prefixes == self.prefixes {
            return;
        }
        self.prefixes = prefixes;
        self.subnets.clear();
        let all = self.records.values().flat_map(|r| &r.connections);
        let subnets = all.filter_map(|(_, c)| prefixes.subnet(c.counted?));
        for subnet in subnets {
            *self.subnets.entry(subnet).or_default() += 1;
        }
    }

    /// Returns the prefixes that make two addresses one subnet.
    pub fn prefixes(&self) -> Prefixes {
        self.prefixes
    }

    /// Returns the record of a connected peer.
    pub fn get(&self, peer: &PeerId) -> Option<&Record> {
        self.records.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Record> {
        self.records.get_mut(peer)
    }

    /// Returns whether a connection with the peer is established.
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.records.contains_key(peer)
    }

    /// Returns the connected peers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &Record)> {
        self.records.iter()
    }

    /// Returns the number of connected peers.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether no peer is connected.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the number of connections that peers opened.
    pub fn inbound(&self) -> u32 {
        self.inbound
    }

    /// Returns the number of connections that this node dialed.
    pub fn outbound(&self) -> u32 {
        self.outbound
    }

    /// Returns the number of connections with a peer.
    pub fn of_peer(&self, peer: &PeerId) -> u32 {
        let count = self.records.get(peer).map_or(0, |r| r.connections.len());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Returns the number of connections with a subnet.
    pub fn of_subnet(&self, subnet: &IpNet) -> u32 {
        self.subnets.get(subnet).copied().unwrap_or(0)
    }

    /// Returns the subnet that a connected peer counts for. Returns `None` if the peer is
    /// on this host, is connected through a relay, or is not connected.
    pub fn subnet(&self, peer: &PeerId) -> Option<IpNet> {
        self.prefixes.subnet(self.get(peer)?.ip()?)
    }

    /// Returns whether some peer is connected over this host's loopback interface. If so,
    /// there is a network on this host (a test, several nodes on one machine), and
    /// loopback addresses that peers name mean something here.
    pub fn any_near(&self) -> bool {
        self.records.values().any(Record::is_near)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use libp2p::core::ConnectedPoint;

    use super::*;

    fn inbound(local: &str, remote: &str) -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: local.parse().unwrap(),
            send_back_addr: remote.parse().unwrap(),
        }
    }

    fn outbound(address: &str) -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: address.parse().unwrap(),
            role_override: libp2p::core::Endpoint::Dialer,
            port_use: libp2p::core::transport::PortUse::Reuse,
        }
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    const HERE: &str = "/ip4/192.0.2.9/tcp/1";

    #[test]
    fn loopback_addresses_mean_something_only_beside_a_peer_on_this_host() {
        let mut table = Table::default();
        for (n, (remote, near)) in [("192.0.2.1", false), ("127.0.0.1", true)]
            .into_iter()
            .enumerate()
        {
            let endpoint = inbound(HERE, &format!("/ip4/{remote}/tcp/2"));
            let connection = Connection::new(&endpoint, Instant::now());
            table.opened(PeerId::random(), id(n), connection);
            assert_eq!(table.any_near(), near, "{remote}");
        }
    }

    #[test]
    fn a_relayed_connection_is_superseded_by_a_direct_one_that_is_as_old_as_asked() {
        let (mut table, peer) = (Table::default(), PeerId::random());
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let direct = "/ip4/192.0.2.1/tcp/1".to_owned();
        let circuit = format!("{direct}/p2p/{}/p2p-circuit", PeerId::random());
        let mut open = |peer, n, address: &str, now| {
            table.opened(peer, id(n), Connection::new(&outbound(address), now));
        };
        open(peer, 1, &circuit, now);
        open(peer, 2, &direct, now + second);
        open(peer, 3, &circuit, now + 9 * second);
        // A peer that is connected through relays only cannot be reached in another way.
        let twice = PeerId::random();
        open(twice, 5, &circuit, now);
        open(twice, 6, &circuit, now);
        let age = 10 * second;
        let superseded = |table: &Table, peer, at| {
            let record = table.get(peer).unwrap();
            record.superseded(age, at).collect::<Vec<_>>()
        };
        assert_eq!(superseded(&table, &peer, now + age), []);
        assert_eq!(superseded(&table, &peer, now + second + age), [id(1)]);
        assert_eq!(superseded(&table, &peer, now + 2 * age), [id(1), id(3)]);
        assert_eq!(superseded(&table, &twice, now + 2 * age), []);
        table.closed(&peer, id(2)).unwrap();
        assert_eq!(superseded(&table, &peer, now + 2 * age), []);
    }

    #[test]
    fn an_inbound_circuit_beside_another_or_a_direct_connection() {
        let now = Instant::now();
        let age = Duration::from_secs(10);
        let direct = "/ip4/192.0.2.1/tcp/1".to_owned();
        let circuit = format!("{direct}/p2p/{}/p2p-circuit", PeerId::random());
        let peer = PeerId::random();
        let circuit_in = inbound(&circuit, &format!("/p2p/{peer}"));
        let circuit_out = outbound(&format!("{circuit}/p2p/{peer}"));
        let direct_in = inbound(HERE, &direct);
        for (beside, over) in [(circuit_out, vec![]), (direct_in, vec![id(1)])] {
            let mut table = Table::default();
            table.opened(peer, id(1), Connection::new(&circuit_in, now));
            assert_eq!(table.subnet(&peer), None);
            table.opened(peer, id(2), Connection::new(&beside, now));
            let record = table.get(&peer).unwrap();
            let superseded: Vec<_> = record.superseded(age, now + age).collect();
            assert_eq!(superseded, over, "{beside:?}");
        }
    }

    #[test]
    fn counts_follow_connections_and_prefixes() {
        let (mut table, now) = (Table::default(), Instant::now());
        let (a, b) = (PeerId::random(), PeerId::random());
        let from =
            |host: u8| Connection::new(&inbound(HERE, &format!("/ip4/192.0.2.{host}/tcp/2")), now);
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        table.opened(a, id(1), from(1));
        table.opened(a, id(2), from(1));
        table.opened(
            b,
            id(3),
            Connection::new(&outbound("/ip4/192.0.2.2/tcp/1"), now),
        );
        assert_eq!((table.len(), table.inbound(), table.outbound()), (2, 2, 1));
        assert_eq!(
            (table.of_peer(&a), table.of_subnet(&net("192.0.2.1/32"))),
            (2, 2)
        );
        table.set_prefixes(Prefixes { ipv4: 24, ipv6: 56 });
        assert_eq!(table.of_subnet(&net("192.0.2.1/32")), 0);
        assert_eq!(table.of_subnet(&net("192.0.2.0/24")), 3);
        assert_eq!(table.subnet(&b), Some(net("192.0.2.0/24")));
        assert!(!table.closed(&a, id(1)).unwrap().last);
        assert!(table.closed(&a, id(1)).is_none(), "it has ended already");
        assert!(table.closed(&a, id(2)).unwrap().last);
        assert!(table.closed(&b, id(3)).unwrap().last);
        assert!(table.is_empty() && table.subnets.is_empty());
        assert_eq!((table.inbound(), table.outbound()), (0, 0));
    }
}
