//! Kademlia without a network: what it asks of peers is counted and answered here.

use std::collections::BTreeMap;

use libp2p::core::ConnectedPoint;
use libp2p::kad::KBucketKey;

use super::*;
use crate::admission::Admission;
use crate::node::place::walk;

/// Peers of one distance that a table holds.
const BUCKET: usize = 20;

fn bucket(local: PeerId, peer: PeerId) -> u32 {
    let distance = KBucketKey::from(local).distance(&KBucketKey::from(peer));
    distance.ilog2().unwrap()
}

/// A node that is connected with `counts` peers of each bucket, all in its table.
fn intake(counts: &[(u32, usize)]) -> DhtIntake {
    let local = PeerId::random();
    let kad = Kad::new(local, Records::new(local, 16));
    let mut intake = DhtIntake::new(local, kad, Admission::default());
    let address: Multiaddr = "/memory/1".parse().unwrap();
    for (bucket, count) in counts {
        for n in 0..*count {
            let peer = walk::id_in(*bucket, &local.into(), PeerId::random).unwrap();
            let endpoint = ConnectedPoint::Dialer {
                address: address.clone(),
                role_override: Endpoint::Dialer,
                port_use: PortUse::Reuse,
            };
            intake.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id: ConnectionId::new_unchecked(n),
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
            intake.inner.add_address(&peer, address.clone());
        }
    }
    intake
}

/// Answers every question for closer peers with none, until nothing is asked any more;
/// tells the buckets of those who were asked, in order.
fn answer_all(intake: &mut DhtIntake) -> Vec<u32> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut asked = Vec::new();
    while let Poll::Ready(event) = intake.poll(&mut cx) {
        if let ToSwarm::NotifyHandler { peer_id, event, .. } = event
            && let ToHandler::FindNodeReq { query_id, .. } = event
        {
            asked.push(bucket(intake.local, peer_id));
            let answer = FromHandler::FindNodeRes {
                closer_peers: Vec::new(),
                query_id,
            };
            let id = ConnectionId::new_unchecked(0);
            intake.on_connection_handler_event(peer_id, id, answer);
        }
    }
    asked
}

#[test]
fn a_walk_asks_the_closest_and_a_few_of_each_far_bucket_the_farthest_first() {
    let near = [(251, 12), (252, 12)];
    let far = [(253, BUCKET), (254, BUCKET), (255, BUCKET)];
    let mut intake = intake(&[near.as_slice(), far.as_slice()].concat());
    // As the event loop begins one, and as Kademlia does by itself.
    intake.bootstrap().unwrap();
    let asked = answer_all(&mut intake);

    let first = asked.iter().position(|bucket| *bucket > 252).unwrap();
    assert!(first >= kad::K_VALUE.get(), "{asked:?}");
    assert!(asked[first..].is_sorted_by(|a, b| a >= b), "{asked:?}");
    let mut visited = BTreeMap::new();
    for bucket in &asked[first..] {
        *visited.entry(*bucket).or_insert(0) += 1;
    }
    assert_eq!(visited.keys().collect::<Vec<_>>(), [&253, &254, &255]);
    // A query that makes no progress waits for as many more as it wants answers.
    let (least, most) = (walk::FAR.get(), 2 * walk::FAR.get());
    for (bucket, count) in visited {
        assert!((least..=most).contains(&count), "{count} in {bucket}");
    }
}

#[test]
fn who_knows_fewer_than_a_look_up_finds_visits_nobody_else() {
    let mut intake = intake(&[(253, 3), (254, 6), (255, 10)]);
    intake.bootstrap().unwrap();
    assert_eq!(answer_all(&mut intake).len(), 19);
}
