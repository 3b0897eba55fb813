//! Nodes end and others come in their place, all the time, while the rest goes on.

use std::time::{Duration, Instant};

use async_std::task;
use futures::{FutureExt, StreamExt};

use super::content;
use super::gossip::{self, Members};
use crate::Result;
use crate::world::World;

/// What goes on meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) time: Duration,
    /// The share of the nodes that is replaced each minute.
    pub(crate) share: f64,
    /// A get each.
    pub(crate) get_every: Duration,
    pub(crate) bytes: usize,
    /// A message each.
    pub(crate) message_every: Duration,
}

/// A member counts for a message when it joined the topic this long before, and
/// lives this long after.
const SETTLED: Duration = Duration::from_secs(15);

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) replaced: usize,
    /// Gets between nodes that both lived until its end.
    pub(crate) content: content::Outcome,
    pub(crate) gossip: gossip::Outcome,
}

/// Churn by `plan`; who comes in place of a member joins the topic too.
pub(crate) async fn go_on(world: &mut World, members: &mut Members, plan: Plan) -> Result<Outcome> {
    let nodes = world.ordinary().len() as f64;
    let replace_every = Duration::from_secs_f64(60.0 / (nodes * plan.share));
    let first = members.next();
    let (mut replaced, mut refused, mut passes) = (0, Vec::new(), Vec::new());
    let begun = Instant::now();
    let mut replace = async_io::Timer::interval(replace_every);
    let mut get = async_io::Timer::interval(plan.get_every);
    let mut message = async_io::Timer::interval(plan.message_every);
    let mut ended_at = Vec::new();
    while begun.elapsed() < plan.time {
        futures::select! {
            _ = replace.next().fuse() => {
                let ordinary = world.ordinary();
                let old = world.chance.one(&ordinary);
                ended_at.push((old, Instant::now()));
                let member = members.living(world).contains(&old);
                members.gone(&[old]);
                world.drop_dead(old);
                let new = world.add();
                world.start(&[new]).await?;
                if member {
                    members.join(world, &[new]).await?;
                }
                replaced += 1;
            }
            _ = get.next().fuse() => {
                // Who has just come has no place yet: its user waits until it is ready.
                let settled = world.settled();
                let (putter, getter) = world.chance.two(&settled);
                let bytes = world.chance.bytes(plan.bytes);
                let doors = (world.peer(putter)?.door(), world.peer(getter)?.door());
                let passing = task::spawn(async move {
                    let passed = content::pass(&doors.0, &doors.1, &bytes).await;
                    (passed.map_err(|e| e.to_string()), Instant::now())
                });
                passes.push((putter, getter, passing));
            }
            _ = message.next().fuse() => {
                let from = world.chance.one(&members.living(world));
                if let Err(e) = members.publish(world, from).await {
                    refused.push(e.to_string());
                }
            }
        }
    }
    let mut outcome = Outcome {
        replaced,
        content: content::Outcome::default(),
        gossip: gossip::Outcome::default(),
    };
    for (putter, getter, passing) in passes {
        let (passed, at) = passing.await;
        let ended = |n: usize| ended_at.iter().any(|(m, end)| *m == n && *end <= at);
        match passed {
            Ok((put, get)) => {
                outcome.content.puts.push(put);
                outcome.content.gets.push(get);
            }
            // Who puts or gets and ends is no failure of the others.
            Err(_) if ended(putter) || ended(getter) => {}
            Err(e) => outcome.content.failures.push(e),
        }
    }
    async_io::Timer::after(SETTLED).await;
    outcome.gossip = members.outcome(first, SETTLED, SETTLED);
    outcome.gossip.refused = refused;
    Ok(outcome)
}
