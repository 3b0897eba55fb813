use async_std::task::block_on;

use super::*;
use crate::block::content::{Announce, ImportOptions};
use crate::block::testing::{Net, Node};
use crate::content::address::{Codec, address};

fn announcer(node: &Node) -> Announcer<Net> {
    Announcer::new(
        node.net.clone(),
        node.store.clone(),
        node.metrics.clone(),
        Duration::from_secs(3600),
        SystemTime::now,
        Instant::now(),
    )
}

#[test]
fn a_waiter_hears_done_only_when_peers_were_told() {
    block_on(async {
        let node = Node::new();
        let announcer = announcer(&node);
        let cid = address(b"waited for", Codec::Raw);
        // Once they have been polled, all of them are waiting.
        let mut waiting: Vec<_> = (0..MAX_WAITERS)
            .map(|_| announcer.announce_now(&cid, Instant::now()).boxed_local())
            .collect();
        for waiter in &mut waiting {
            assert_eq!(waiter.now_or_never(), None);
        }
        let refused = announcer
            .announce_now(&cid, Instant::now())
            .now_or_never()
            .unwrap();
        assert!(refused.unwrap_err().reason.contains("too many"));
        for waiter in &mut waiting {
            assert_eq!(waiter.now_or_never(), None, "who came first waits on");
        }
        announcer.answer(&cid, &Ok(()));
        for waiter in waiting {
            assert_eq!(waiter.await, Ok(()));
        }
        assert!(lock(&announcer.waiters).is_empty());
    });
}

/// This is far longer than anything here takes, and is only reached when something
/// hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// Polls `announcer` until `done` is ready.
async fn run_until(announcer: &Announcer<Net>, done: impl Future<Output = ()>) {
    let mut run = Box::pin(announcer.run().fuse());
    let mut done = Box::pin(async_std::future::timeout(DEADLINE, done).fuse());
    futures::select! {
        () = run => panic!("it runs for ever"),
        in_time = done => in_time.unwrap(),
    }
}

async fn put(node: &Node, content: &str) -> Cid {
    let options = ImportOptions {
        announce: Announce::No,
        ..ImportOptions::default()
    };
    let put = node.content.import(content.as_bytes(), options);
    put.await.unwrap().cid
}

/// Returns an announcer that found no DHT peer at its last attempt. It would make the
/// next attempt in an hour.
async fn alone(node: &Node) -> Announcer<Net> {
    node.net.shared.lock().unwrap().alone = true;
    let announcer = announcer(node);
    let cid = put(node, "tried").await;
    let mut schedule = announcer.schedule();
    let now = Instant::now();
    schedule.announce(&cid, now);
    assert_eq!(schedule.next(now), Some(cid));
    let later = now + Duration::from_secs(3600);
    schedule.done(&cid, Outcome::Alone, later, 0);
    drop(schedule);
    announcer
}

#[test]
fn the_first_dht_peer_ends_the_wait_of_all_that_is_to_be_announced() {
    block_on(async {
        let node = Node::new();
        let announcer = alone(&node).await;
        let cid = put(&node, "waiting").await;
        announcer.schedule().announce(&cid, Instant::now());
        assert!(announcer.alone(&cid).is_some());
        let provided = async {
            let shared = &node.net.shared;
            // This is sent once someone is listening for it.
            until(|| !shared.lock().unwrap().entered.is_empty()).await;
            {
                let mut shared = shared.lock().unwrap();
                shared.alone = false;
                shared.entered[0].unbounded_send(()).unwrap();
            }
            until(|| shared.lock().unwrap().provided.contains(&cid)).await;
            // It is known that there is a peer even before the announcement has
            // ended.
            assert!(announcer.alone(&cid).is_none());
        };
        run_until(&announcer, provided).await;
    });
}

#[test]
fn whoever_waits_for_an_announcement_has_it_tried_although_nobody_was_there() {
    block_on(async {
        let node = Node::new();
        let announcer = alone(&node).await;
        node.net.shared.lock().unwrap().alone = false;
        let cid = put(&node, "put now").await;
        let told = async { announcer.announce_now(&cid, Instant::now()).await.unwrap() };
        run_until(&announcer, told).await;
    });
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        async_std::task::yield_now().await;
    }
}

#[test]
fn waiters_for_what_is_gone_are_told_so_and_leave_nothing_behind() {
    block_on(async {
        let node = Node::new();
        let announcer = announcer(&node);
        let now = Instant::now();
        let removed = address(b"removed", Codec::Raw);
        let evicted = address(b"evicted", Codec::Raw);
        let mut one = announcer.announce_now(&removed, now).boxed_local();
        let mut two = announcer.announce_now(&evicted, now).boxed_local();
        assert_eq!((&mut one).now_or_never(), None);
        assert_eq!((&mut two).now_or_never(), None);
        announcer.forget(&removed).await;
        assert!(one.await.unwrap_err().reason.contains("no more"));
        // The store never had it, which is the same as if it had gone before the
        // first sync.
        announcer.sync(&mut None).await;
        assert!(two.await.unwrap_err().reason.contains("no more"));
        assert!(lock(&announcer.waiters).is_empty());
    });
}
