//! Files are put on random nodes, and got at once on others.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use crate::Result;
use crate::peer::Door;
use crate::world::World;

/// How much of it.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) gets: usize,
    pub(crate) bytes: usize,
    /// Pairs of put and get at the same time.
    pub(crate) at_once: usize,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) puts: Vec<Duration>,
    pub(crate) gets: Vec<Duration>,
    /// Why the others failed.
    pub(crate) failures: Vec<String>,
}

/// Puts on one of `from`, gets on one of `to`, again and again.
pub(crate) async fn exchange(
    world: &mut World,
    plan: Plan,
    from: &[usize],
    to: &[usize],
) -> Result<Outcome> {
    let mut pairs = Vec::new();
    while pairs.len() < plan.gets {
        let (putter, getter) = (world.chance.one(from), world.chance.one(to));
        if putter != getter {
            let bytes = world.chance.bytes(plan.bytes);
            pairs.push((
                world.peer(putter)?.door(),
                world.peer(getter)?.door(),
                bytes,
            ));
        }
    }
    let ended = stream::iter(pairs)
        .map(|(putter, getter, bytes)| async move { pass(&putter, &getter, &bytes).await })
        .buffer_unordered(plan.at_once)
        .collect::<Vec<_>>();
    let mut outcome = Outcome::default();
    for ended in ended.await {
        match ended {
            Ok((put, get)) => {
                outcome.puts.push(put);
                outcome.gets.push(get);
            }
            Err(e) => outcome.failures.push(e.to_string()),
        }
    }
    Ok(outcome)
}

/// One put and one get; how long each took.
pub(crate) async fn pass(
    putter: &Door,
    getter: &Door,
    bytes: &[u8],
) -> Result<(Duration, Duration)> {
    let begun = Instant::now();
    let cid = putter.put(bytes).await?;
    let put = begun.elapsed();
    let begun = Instant::now();
    let got = getter.get(&cid).await?;
    if got != bytes.len() {
        return Err(format!("{got} bytes came of {}", bytes.len()).into());
    }
    Ok((put, begun.elapsed()))
}
