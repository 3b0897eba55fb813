//! Messages between the daemons that stay: each must reach every one of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::crowd::Draw;
use crate::{Soak, TOPIC};

/// Pause between two messages, in seconds.
const EVERY: f64 = 0.25;

/// A message that has not come by then is lost.
const LOST: Duration = Duration::from_secs(60);

/// Messages on their way: when each was published, and which daemons have not told
/// of it yet.
type OnTheWay = Arc<Mutex<BTreeMap<u64, (Instant, Vec<usize>)>>>;

pub(crate) async fn go_on(soak: Arc<Soak>) {
    let on_the_way: OnTheWay = Arc::default();
    let mut readers = Vec::new();
    for n in 0..soak.steady.len() {
        readers.push(async_std::task::spawn(hear(
            soak.clone(),
            n,
            on_the_way.clone(),
        )));
    }
    settle(&soak, &on_the_way).await;
    let mut draw = Draw(2);
    let mut number = 0;
    while soak.pause(EVERY).await {
        number += 1;
        say(&soak, draw.below(soak.steady.len()), number, &on_the_way).await;
        count(&soak, &on_the_way);
    }
    let end = Instant::now() + LOST;
    while Instant::now() < end && !on_the_way.lock().unwrap().is_empty() {
        async_io::Timer::after(Duration::from_millis(100)).await;
        count(&soak, &on_the_way);
    }
    for (number, (_, missing)) in on_the_way.lock().unwrap().iter() {
        soak.tally
            .fail(format!("message {number} never came at {missing:?}"));
    }
    for reader in readers {
        reader.cancel().await;
    }
}

/// Waits until the mesh stands: until everybody has heard one message of each.
async fn settle(soak: &Arc<Soak>, on_the_way: &OnTheWay) {
    for speaker in 0..soak.steady.len() {
        crate::crowd::eventually("the mesh of the daemons that stay", async || {
            let number = u64::MAX - speaker as u64;
            let mut heard = on_the_way.lock().unwrap().remove(&number);
            if matches!(&heard, Some((_, missing)) if missing.is_empty()) {
                return Some(());
            }
            let missing = heard.take().map_or_else(
                || (0..soak.steady.len()).collect::<Vec<_>>(),
                |(_, missing)| missing,
            );
            let entry = (Instant::now(), missing);
            on_the_way.lock().unwrap().insert(number, entry);
            // Nobody may be there to hear it yet, which is an error.
            let _ = soak.steady[speaker]
                .publish(TOPIC, &number.to_string())
                .await;
            async_io::Timer::after(Duration::from_millis(200)).await;
            None
        })
        .await;
    }
}

async fn say(soak: &Arc<Soak>, speaker: usize, number: u64, on_the_way: &OnTheWay) {
    let all = (0..soak.steady.len()).collect();
    let entry = (Instant::now(), all);
    on_the_way.lock().unwrap().insert(number, entry);
    let said = soak.steady[speaker]
        .publish(TOPIC, &number.to_string())
        .await;
    if soak.tally.note("messages", said).is_none() {
        on_the_way.lock().unwrap().remove(&number);
    }
}

/// Takes out what everybody has heard, and counts what is lost.
fn count(soak: &Soak, on_the_way: &OnTheWay) {
    on_the_way
        .lock()
        .unwrap()
        .retain(|number, (since, missing)| {
            let lost = !missing.is_empty() && since.elapsed() > LOST;
            if lost {
                soak.tally
                    .fail(format!("message {number} did not come at {missing:?}"));
            }
            !lost && !missing.is_empty()
        });
}

async fn hear(soak: Arc<Soak>, n: usize, on_the_way: OnTheWay) {
    let client = soak.steady[n].client().await;
    let mut subscription = client.subscribe(&[TOPIC]).await.unwrap();
    loop {
        match subscription.next().await {
            Ok(message) => {
                let number = String::from_utf8_lossy(&message.data).parse();
                let mut on_the_way = on_the_way.lock().unwrap();
                if let Some((_, missing)) = number.ok().and_then(|n: u64| on_the_way.get_mut(&n)) {
                    missing.retain(|m| *m != n);
                }
            }
            Err(e) => {
                soak.tally.fail(format!("subscription at {n} ended: {e}"));
                return;
            }
        }
    }
}
