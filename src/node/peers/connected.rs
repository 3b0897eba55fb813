//! The connected peers, as the event loop reads them.

use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use crate::api;
use crate::node::accounting::Accounting;
use crate::node::keep;
use crate::peers::Policy;
use crate::peers::record::{Connection, Record};

/// Returns the name of the way that a connection takes, for people and logs.
pub(in crate::node) fn transport(connection: &Connection) -> &'static str {
    match connection.relayed {
        true => "relay",
        false => transport_of(&connection.address),
    }
}

/// A view of the only table of peers, with the questions that the event loop asks of it.
#[derive(Clone, Debug)]
pub(in crate::node) struct Connected {
    policy: Policy,
}

/// What the connections of a peer tell about how good a neighbour it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Bearing {
    /// Whether it has said who it is.
    pub(in crate::node) identified: bool,
    /// The age of the oldest connection.
    pub(in crate::node) age: Duration,
    /// Whether this node dialed one of them.
    pub(in crate::node) dialed: bool,
    /// Whether one of them does not use a relay.
    pub(in crate::node) direct: bool,
}

impl Connected {
    pub(in crate::node) fn new(policy: Policy) -> Self {
        Connected { policy }
    }

    pub(in crate::node) fn contains(&self, peer: &PeerId) -> bool {
        self.policy.is_connected(peer)
    }

    pub(in crate::node) fn ids(&self) -> Vec<PeerId> {
        self.policy
            .read(|peers| peers.table().iter().map(|(peer, _)| *peer).collect())
    }

    pub(in crate::node) fn len(&self) -> usize {
        self.policy.read(|peers| peers.table().len())
    }

    pub(in crate::node) fn inbound(&self) -> u32 {
        self.policy.read(|peers| peers.table().inbound())
    }

    pub(in crate::node) fn outbound(&self) -> u32 {
        self.policy.read(|peers| peers.table().outbound())
    }

    /// See [`crate::peers::table::Table::any_near`].
    pub(in crate::node) fn any_near(&self) -> bool {
        self.policy.read(|peers| peers.table().any_near())
    }

    /// Returns whether the peer has said who it is.
    pub(in crate::node) fn is_identified(&self, peer: &PeerId) -> bool {
        let agent = self.policy.record(peer, |record| record.agent().is_some());
        agent.unwrap_or(false)
    }

    /// Returns the remote addresses of the peer's outbound connections. They can be
    /// dialed, since this node did so.
    pub(in crate::node) fn dialed_addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let dialed = |record: &Record| record.dialed().cloned().collect();
        self.policy.record(peer, dialed).unwrap_or_default()
    }

    /// Returns whether this connection of the peer uses this host's loopback interface.
    pub(in crate::node) fn is_near(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let near = |record: &Record| record.connection(id).is_some_and(Connection::is_near);
        self.policy.record(peer, near).unwrap_or(false)
    }

    /// Returns the connections through a relay that exist beside a direct one with the
    /// same peer, if both are at least `age` old.
    pub(in crate::node) fn superseded(
        &self,
        age: Duration,
        now: Instant,
    ) -> Vec<(PeerId, ConnectionId)> {
        self.policy.read(|peers| {
            let all = peers.table().iter();
            let superseded = all.flat_map(|(peer, record)| {
                let ids = record.superseded(age, now);
                ids.map(move |id| (*peer, id)).collect::<Vec<_>>()
            });
            superseded.collect()
        })
    }

    /// Returns what a neighbour is judged by, for every peer.
    pub(in crate::node) fn bearings(&self, now: Instant) -> Vec<(PeerId, Bearing)> {
        let bearing = |record: &Record| Bearing {
            identified: record.agent().is_some(),
            age: record.age(now),
            dialed: record.connections().any(|(_, c)| c.outbound),
            direct: record.connections().any(|(_, c)| !c.relayed),
        };
        self.policy.read(|peers| {
            let all = peers.table().iter();
            all.map(|(peer, record)| (*peer, bearing(record))).collect()
        })
    }

    /// Returns the peers and connections that a ban or the rules for networks forbid by
    /// now. `None` stands for all connections of the peer.
    pub(in crate::node) fn unwelcome(&self, now: Instant) -> Vec<(PeerId, Option<ConnectionId>)> {
        self.policy.read(|peers| peers.unwelcome(now))
    }

    /// Returns all connected peers as programs on this host see them, in the order of
    /// their ids.
    pub(in crate::node) fn describe(
        &self,
        now: Instant,
        accounting: &Accounting,
        peering: impl Fn(&PeerId) -> bool,
        keep: &keep::Behaviour,
    ) -> Vec<api::Peer> {
        // Under the lock only what the record knows is copied.
        let known: Vec<(PeerId, Record, bool, f32)> = self.policy.read(|peers| {
            let all = peers.table().iter();
            let copy = |(peer, record): (&PeerId, &Record)| {
                let trusted = peers.trust().is_trusted(peer);
                let score = peers.reputation(peer, now).score;
                (*peer, record.clone(), trusted, score)
            };
            all.map(copy).collect()
        });
        let describe = |(peer, record, trusted, score): (PeerId, Record, bool, f32)| api::Peer {
            id: peer,
            agent: record.agent().unwrap_or_default().to_owned(),
            ping: record.ping,
            connections: record
                .connections()
                .map(|(_, c)| api::Connection {
                    inbound: !c.outbound,
                    transport: transport(c).to_owned(),
                    addr: c.address.clone(),
                    age: now.saturating_duration_since(c.since),
                })
                .collect(),
            weight: 0,
            streams: accounting.streams(&peer) as u64,
            trusted,
            peering: peering(&peer),
            reputation: score.into(),
            kept_for: keep.reasons(&peer).into_iter().map(str::to_owned).collect(),
            exchanges: record.exchanges().to_vec(),
        };
        let mut list: Vec<api::Peer> = known.into_iter().map(describe).collect();
        list.sort_by_key(|p| p.id);
        list
    }
}

/// Returns the name of the transport of an address, for people and logs.
fn transport_of(address: &Multiaddr) -> &'static str {
    use libp2p::multiaddr::Protocol;
    let mut name = "other";
    for part in address {
        match part {
            Protocol::P2pCircuit => return "relay",
            Protocol::QuicV1 => name = "quic",
            Protocol::Ws(_) | Protocol::Wss(_) => name = "ws",
            Protocol::Tcp(_) => name = "tcp",
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_named_by_the_outermost_way() {
        for (address, name) in [
            ("/ip4/1.2.3.4/tcp/4001", "tcp"),
            ("/ip4/1.2.3.4/udp/4001/quic-v1", "quic"),
            ("/ip4/1.2.3.4/tcp/4001/ws", "ws"),
            (
                "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp/p2p-circuit",
                "relay",
            ),
            ("/memory/1", "other"),
        ] {
            assert_eq!(transport_of(&address.parse().unwrap()), name, "{address}");
        }
    }
}
