//! Bans and reputations on the disk.

use std::time::{Duration, SystemTime};

use libp2p::PeerId;

use crate::peers::Unsaved;
use crate::peers::bans::{Author, Ban, Change};
use crate::peers::state::SAVE_AT_ONCE;
use crate::peers::{Conduct, Policy, Target, reputation::Reputation};
use crate::store::Metrics;
use crate::store::{Options, Store, bans::BANS, reputations::REPUTATIONS};
use crate::system::moment::Moment;
use crate::telemetry::Register as _;

fn open(dir: &std::path::Path) -> Store {
    let options = Options {
        max_bytes: 1 << 30,
        max_block_bytes: 1 << 20,
    };
    Store::open(dir, options, Metrics::new().unwrap()).unwrap()
}

fn second(n: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(n)
}

#[test]
fn bans_and_reputations_come_back_as_they_were_saved() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let peer = PeerId::random();
    let forever = Ban {
        target: "2001:db8::/32".parse().unwrap(),
        reason: "a reason".into(),
        author: Author::Operator,
        since: second(1000),
        until: None,
        times: 0,
    };
    let timed = Ban {
        target: Target::Peer(peer),
        author: Author::Automatic,
        until: Some(second(2000)),
        times: 3,
        ..forever.clone()
    };
    let reputation = Reputation {
        score: -40.5,
        strikes: 2.25,
    };
    let unsaved = Unsaved {
        bans: vec![
            Change::Keep(forever.clone()),
            Change::Keep(timed.clone()),
            Change::Remove("192.0.2.1".parse().unwrap()),
        ],
        reputations: vec![(peer, Some(reputation)), (PeerId::random(), None)],
    };
    store.save_trust(&unsaved, second(1500)).unwrap();
    drop(store);
    let store = open(dir.path());
    let (bans, reputations) = store.load_trust().unwrap();
    assert_eq!(bans.len(), 2);
    assert!(bans.contains(&forever) && bans.contains(&timed), "{bans:?}");
    assert_eq!(reputations, [(peer, reputation, second(1500))]);
    let gone = Unsaved {
        bans: vec![Change::Remove(timed.target)],
        reputations: vec![(peer, None)],
    };
    store.save_trust(&gone, second(1600)).unwrap();
    let (bans, reputations) = store.load_trust().unwrap();
    assert_eq!((bans, reputations.len()), (vec![forever], 0));
}

#[test]
fn a_store_without_these_tables_opens_and_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // As a version wrote it that knew nothing of them.
    store
        .database()
        .write(|tx| {
            assert!(tx.delete_table(BANS)?);
            assert!(tx.delete_table(REPUTATIONS)?);
            Ok(())
        })
        .unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.load_trust().unwrap(), (vec![], vec![]));
    let policy = Policy::default();
    policy.report(&PeerId::random(), Conduct::Bomb, Moment::now());
    store
        .save_trust(&policy.take_unsaved(std::time::Instant::now()), second(1))
        .unwrap();
    assert_eq!(store.load_trust().unwrap().1.len(), 1);
}

#[test]
fn what_was_saved_is_in_force_in_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, worse) = (PeerId::random(), PeerId::random());
    let before = Policy::default();
    before.report(&bad, Conduct::InvalidSignature, Moment::now());
    before.report(&worse, Conduct::Bomb, Moment::now());
    before.report(&worse, Conduct::Bomb, Moment::now());
    before
        .ban("192.0.2.0/24".parse().unwrap(), None, "x", Moment::now())
        .unwrap();
    let store = open(dir.path());
    store
        .save_trust(
            &before.take_unsaved(std::time::Instant::now()),
            SystemTime::now(),
        )
        .unwrap();
    drop(store);
    let after = Policy::default();
    let (bans, reputations) = open(dir.path()).load_trust().unwrap();
    after.restore(bans, reputations, Moment::now());
    assert!(after.is_banned(&worse, std::time::Instant::now()));
    assert!(
        after
            .ban_of_address("192.0.2.9".parse().unwrap(), std::time::Instant::now())
            .is_some()
    );
    let score = after.score_of(&bad, std::time::Instant::now());
    assert!((-20.0..-19.0).contains(&score), "{score}");
    assert!(!after.is_dirty());
}

#[test]
fn a_ban_is_saved_with_the_reputation_of_its_peer() {
    let dir = tempfile::tempdir().unwrap();
    let peer = PeerId::random();
    let save = |unsaved: Unsaved| {
        open(dir.path())
            .save_trust(&unsaved, SystemTime::now())
            .unwrap();
    };
    let reopened = || {
        let after = Policy::default();
        let (bans, reputations) = open(dir.path()).load_trust().unwrap();
        after.restore(bans, reputations, Moment::now());
        let strikes = after.reputation(&peer, std::time::Instant::now()).strikes;
        (
            after.is_banned(&peer, std::time::Instant::now()),
            strikes.round(),
        )
    };
    let policy = Policy::default();
    let others = || {
        // More than one save of reputations takes.
        for _ in 0..2 * SAVE_AT_ONCE {
            policy.report(&PeerId::random(), Conduct::Malformed, Moment::now());
        }
    };
    others();
    policy.report(&peer, Conduct::Bomb, Moment::now());
    policy.report(&peer, Conduct::Bomb, Moment::now());
    save(policy.take_unsaved_bans(std::time::Instant::now()));
    assert_eq!(reopened(), (true, 1.0));
    policy
        .unban(&Target::Peer(peer), std::time::Instant::now())
        .unwrap();
    save(policy.take_unsaved_bans(std::time::Instant::now()));
    assert_eq!(reopened(), (false, 0.0));
    // And so by the save of everything, whoever else waits.
    policy.report(&peer, Conduct::Bomb, Moment::now());
    policy.report(&peer, Conduct::Bomb, Moment::now());
    save(policy.take_unsaved(std::time::Instant::now()));
    assert_eq!(reopened(), (true, 1.0));
}
