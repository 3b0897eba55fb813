//! Kademlia without a network: what it asks of peers is counted and answered here.

use std::collections::BTreeMap;

use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::kad::KBucketKey;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{DialError, DialFailure};

use super::*;
use crate::dht::{MAX_ADDRS_PER_PEER, walk};
use crate::peers::Policy;
use crate::peers::record::Connection;

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
    let mut intake = DhtIntake::new(local, kad, Policy::default());
    for (bucket, count) in counts {
        for n in 0..*count {
            let peer = walk::id_in(*bucket, &local.into(), PeerId::random).unwrap();
            let endpoint = dialed();
            intake.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id: ConnectionId::new_unchecked(n),
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
            intake
                .inner
                .add_address(&peer, endpoint.get_remote_address().clone());
        }
    }
    intake
}

/// What was seen of a node until it asked nothing any more.
#[derive(Default)]
struct Seen {
    /// The buckets of those who were asked, in order.
    asked: Vec<u32>,
    /// Requests of each look-up of the own id with which a walk began.
    begun: Vec<u32>,
    /// Look-ups that ended otherwise.
    ended: usize,
}

/// The connection of `peer` ends.
fn close(intake: &mut DhtIntake, peer: PeerId) {
    intake.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
        peer_id: peer,
        connection_id: ConnectionId::new_unchecked(0),
        endpoint: &dialed(),
        cause: None,
        remaining_established: 0,
    }));
}

fn dialed() -> ConnectedPoint {
    ConnectedPoint::Dialer {
        address: "/memory/1".parse().unwrap(),
        role_override: libp2p::core::Endpoint::Dialer,
        port_use: libp2p::core::transport::PortUse::Reuse,
    }
}

/// Answers every question for closer peers with none, and ends the connections of peers
/// in the buckets that are `dead`, which cannot be dialed again. Begins another walk after `again` questions.
fn answer_all(intake: &mut DhtIntake, dead: &[u32], again: Option<usize>) -> Seen {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut seen = Seen::default();
    while let Poll::Ready(event) = intake.poll(&mut cx) {
        match event {
            ToSwarm::NotifyHandler {
                peer_id,
                event: ToHandler::FindNodeReq { query_id, .. },
                ..
            } => {
                let bucket = bucket(intake.placer.local, peer_id);
                seen.asked.push(bucket);
                if dead.contains(&bucket) {
                    close(intake, peer_id);
                } else {
                    let answer = FromHandler::FindNodeRes {
                        closer_peers: Vec::new(),
                        query_id,
                    };
                    let id = ConnectionId::new_unchecked(0);
                    intake.on_connection_handler_event(peer_id, id, answer);
                }
                if again == Some(seen.asked.len()) {
                    intake.bootstrap().unwrap();
                }
            }
            ToSwarm::Dial { opts } => {
                let peer_id = opts.get_peer_id().unwrap();
                seen.asked.push(bucket(intake.placer.local, peer_id));
                intake.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                    peer_id: Some(peer_id),
                    error: &DialError::Aborted,
                    connection_id: opts.connection_id(),
                }));
            }
            ToSwarm::GenerateEvent(kad::Event::OutboundQueryProgressed {
                result,
                stats,
                step,
                ..
            }) => {
                assert!(step.last, "{result:?}");
                match result {
                    kad::QueryResult::Bootstrap(_) => seen.begun.push(stats.num_requests()),
                    _ => seen.ended += 1,
                }
            }
            _ => {}
        }
    }
    seen
}

#[test]
fn a_walk_asks_the_closest_and_a_few_of_each_far_bucket_the_farthest_first() {
    let near = [(251, 12), (252, 12)];
    let far = [(253, BUCKET), (254, BUCKET), (255, BUCKET)];
    let mut intake = intake(&[near.as_slice(), far.as_slice()].concat());
    // As the event loop begins one, and as Kademlia does by itself.
    intake.bootstrap().unwrap();
    let Seen {
        asked,
        begun,
        ended,
    } = answer_all(&mut intake, &[], None);

    // Whoever counts queries hears of one for each part, with what it has asked.
    assert_eq!((begun.len(), ended), (1, 3));
    assert!(begun[0] as usize >= kad::K_VALUE.get(), "{begun:?}");
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
    let seen = answer_all(&mut intake, &[], None);
    assert_eq!((seen.asked.len(), seen.begun.len(), seen.ended), (19, 1, 0));
}

const NEAR_AND_FAR: [(u32, usize); 4] = [(252, 14), (253, 14), (254, BUCKET), (255, BUCKET)];

#[test]
fn a_bucket_in_which_nobody_answers_does_not_end_the_walk() {
    let mut intake = intake(&NEAR_AND_FAR);
    intake.bootstrap().unwrap();
    let seen = answer_all(&mut intake, &[255], None);
    assert!(seen.asked.contains(&254), "{:?}", seen.asked);
    assert_eq!((seen.begun.len(), seen.ended), (1, 2));
}

#[test]
fn who_meets_no_neighbour_that_lives_looks_for_them_again_after_the_visits() {
    let mut intake = intake(&NEAR_AND_FAR);
    intake.bootstrap().unwrap();
    let seen = answer_all(&mut intake, &[252, 253], None);
    // Two visits, and the own id again, once.
    assert_eq!((seen.begun.len(), seen.ended), (1, 3));
    let last_visit = seen.asked.iter().rposition(|bucket| *bucket == 254);
    let near_again = seen.asked[last_visit.unwrap()..]
        .iter()
        .filter(|bucket| **bucket <= 253);
    assert!(near_again.count() >= walk::FAR.get(), "{:?}", seen.asked);
}

#[test]
fn a_walk_that_begins_during_another_takes_its_place() {
    let mut intake = intake(&NEAR_AND_FAR);
    intake.bootstrap().unwrap();
    // The first has asked its neighbours, and is in the first far bucket.
    let during = kad::K_VALUE.get() + 10;
    let seen = answer_all(&mut intake, &[], Some(during));
    assert_eq!(seen.begun.len(), 2);
    // The visit under way goes on, and each bucket is visited for the second walk.
    assert!((2..=4).contains(&seen.ended), "{}", seen.ended);
    let last = *seen.asked.last().unwrap();
    assert_eq!(last, 254, "{:?}", seen.asked);
}

/// Returns what the behaviour adds to a dial of a peer.
fn added(intake: &mut DhtIntake, peer: PeerId) -> Vec<Multiaddr> {
    let id = ConnectionId::new_unchecked(1);
    intake
        .handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer)
        .unwrap()
}

#[test]
fn what_strangers_told_kademlia_makes_few_dials_and_none_to_this_host() {
    let mut intake = intake(&[]);
    let (peer, neighbour) = (PeerId::random(), PeerId::random());
    let at =
        |ip: &str, port: u16| -> Multiaddr { format!("/ip4/{ip}/tcp/{port}").parse().unwrap() };
    for port in 1..=40 {
        intake.inner.add_address(&peer, at("127.0.0.1", port));
    }
    assert_eq!(added(&mut intake, peer), []);
    for port in 1..=1200 {
        intake.inner.add_address(&peer, at("192.0.2.1", port));
    }
    let told = added(&mut intake, peer);
    assert_eq!(told.len(), MAX_ADDRS_PER_PEER);
    assert!(
        told.iter()
            .all(|a| a.to_string().starts_with("/ip4/192.0.2.1/"))
    );

    // A process on this host may have told the addresses of this host.
    let endpoint = ConnectedPoint::Dialer {
        address: at("127.0.0.1", 4001),
        role_override: Endpoint::Dialer,
        port_use: libp2p::core::transport::PortUse::Reuse,
    };
    let connection = Connection::new(&endpoint, std::time::Instant::now());
    let id = ConnectionId::new_unchecked(2);
    intake
        .policy
        .write(|peers| peers.opened(neighbour, id, connection));
    let told = added(&mut intake, peer);
    assert_eq!(told.len(), MAX_ADDRS_PER_PEER);
    assert!(
        told.iter()
            .all(|a| a.to_string().starts_with("/ip4/127.0.0.1/"))
    );
}
