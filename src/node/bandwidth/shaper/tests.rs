//! The shaper with real tasks and the real clock: that they are woken, and that
//! what passes stays below the bound by the same clock.

use std::time::Duration;

use async_std::task::{block_on, spawn};
use futures::future::join_all;

use super::super::queue::{burst, grant};
use super::*;

fn shaper(rate: u64) -> Arc<Shaper> {
    let counter = |name| IntCounter::new(name, name).unwrap();
    Shaper::new(Some(rate), [counter("own"), counter("bulk")])
}

async fn take(turn: &mut Turn, want: usize) -> usize {
    poll_fn(|cx| turn.poll(cx, want)).await
}

#[test]
fn many_tasks_get_all_that_they_want_and_no_more_than_the_rate() {
    let rate = 4 << 20;
    let shaper = shaper(rate);
    let begin = Instant::now();
    let (streams, each) = (50u64, 20_000u64);
    let tasks = (0..streams).map(|n| {
        let mut turn = Turn::new(&shaper, Class::Bulk, PeerId::random());
        spawn(async move {
            let mut left = each as usize;
            while left > 0 {
                let got = take(&mut turn, left).await;
                // Some find that they have no use for all of it.
                let unused = if n % 3 == 0 { got / 2 } else { 0 };
                turn.give_back(unused);
                left -= got - unused;
            }
        })
    });
    block_on(join_all(tasks));
    let due = rate as f64 * begin.elapsed().as_secs_f64();
    let most = due + (burst(rate) + grant(rate)) as f64;
    assert!((streams * each) as f64 <= most, "faster than the ceiling");
    assert!(shaper.waits[Class::Bulk as usize].get() > 0);
    // Nobody waits, so no task is left running.
    assert!(shaper.lock().queue.next().is_none());
}

#[test]
fn who_leaves_the_queue_gives_its_turn_to_the_next() {
    block_on(async {
        let shaper = shaper(1 << 20);
        let mut turns: Vec<_> = (0..8)
            .map(|_| Turn::new(&shaper, Class::Bulk, PeerId::random()))
            .collect();
        // All ask once, so that the later ones wait, some with a grant that comes
        // while nobody looks.
        for turn in &mut turns {
            let _ = futures::poll!(poll_fn(|cx| turn.poll(cx, 60_000)));
        }
        assert!(turns.last().is_some_and(Turn::waiting));
        let mut last = turns.pop().unwrap();
        drop(turns);
        let got = async_std::future::timeout(Duration::from_secs(60), take(&mut last, 1));
        assert_eq!(got.await.unwrap(), 1);
        drop(last);
        let state = shaper.lock();
        assert!(state.queue.next().is_none());
    });
}
