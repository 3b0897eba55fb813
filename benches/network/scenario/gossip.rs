//! Messages from random nodes to all members of a topic.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_std::task::{self, JoinHandle};
use futures::{StreamExt, stream};

use crate::Result;
use crate::world::World;

/// The topic, one of the network's own, whose messages carry an envelope.
const TOPIC: &str = "/p2p-node/simulation";

/// Bytes of a message.
const MESSAGE: usize = 256;

/// Neighbours in the mesh of a member that has found the others, if there are so many.
const MESH: i64 = 4;

/// How long a message may be under way before it is called lost.
pub(crate) const LOST: Duration = Duration::from_secs(30);

/// A message that was published.
struct Sent {
    at: Instant,
    by: usize,
}

/// What all members together have sent and heard.
#[derive(Default)]
struct Log {
    sent: Vec<Sent>,
    /// By message, then by member: how long it was under way.
    heard: Vec<HashMap<usize, Duration>>,
}

/// A member, and when it joined and left.
struct Member {
    since: Instant,
    until: Option<Instant>,
    task: JoinHandle<()>,
}

/// Everybody who is on the topic.
#[derive(Default)]
pub(crate) struct Members {
    log: Arc<Mutex<Log>>,
    members: HashMap<usize, Member>,
}

/// What came of the messages.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Deliveries that there should have been.
    pub(crate) expected: usize,
    /// How long each that there was took.
    pub(crate) delays: Vec<Duration>,
    /// Deliveries that there were not, each in words.
    pub(crate) lost: Vec<String>,
    /// Messages that their publisher could not send, and why.
    pub(crate) refused: Vec<String>,
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Members {
    /// These join the topic.
    pub(crate) async fn join(&mut self, world: &World, which: &[usize]) -> Result<()> {
        let subscribed = stream::iter(which)
            .map(|n| async move {
                let subscription = world.peer(*n)?.handle().subscribe(TOPIC.into()).await?;
                Ok::<_, crate::Failure>((*n, subscription))
            })
            .buffer_unordered(64)
            .collect::<Vec<_>>()
            .await;
        for subscribed in subscribed {
            let (n, mut subscription) = subscribed?;
            let log = self.log.clone();
            let task = task::spawn(async move {
                while let Some(message) = subscription.next().await {
                    let now = Instant::now();
                    let Some(id) = message.data.get(..4).and_then(|id| id.try_into().ok()) else {
                        continue;
                    };
                    let id = u32::from_le_bytes(id) as usize;
                    let mut log = lock(&log);
                    let log = &mut *log;
                    if let (Some(sent), Some(heard)) = (log.sent.get(id), log.heard.get_mut(id)) {
                        let delay = now.saturating_duration_since(sent.at);
                        heard.entry(n).or_insert(delay);
                    }
                }
            });
            let member = Member {
                since: Instant::now(),
                until: None,
                task,
            };
            self.members.insert(n, member);
        }
        Ok(())
    }

    /// The members that run.
    pub(crate) fn living(&self, world: &World) -> Vec<usize> {
        let live = world.live().into_iter();
        live.filter(|n| self.members.contains_key(n)).collect()
    }

    /// These have ended: nothing is expected of them from now on.
    pub(crate) fn gone(&mut self, which: &[usize]) {
        for n in which {
            if let Some(member) = self.members.get_mut(n) {
                member.until.get_or_insert_with(Instant::now);
            }
        }
    }

    /// All leave.
    pub(crate) async fn leave(self) {
        for (_, member) in self.members {
            member.task.cancel().await;
        }
    }

    /// Waits until every member has neighbours in the mesh; answers how many have not.
    pub(crate) async fn form(&self, world: &World, patience: Duration) -> usize {
        let most = i64::try_from(self.members.len()).unwrap_or(i64::MAX) - 1;
        let begun = Instant::now();
        loop {
            let lonely = world
                .peers()
                .filter(|(n, _)| self.members.contains_key(n))
                .filter(|(_, peer)| peer.metrics.node.gossip_peers.get() < MESH.min(most))
                .count();
            if lonely == 0 || begun.elapsed() > patience {
                return lonely;
            }
            async_io::Timer::after(Duration::from_millis(200)).await;
        }
    }

    /// Member `from` publishes the next message; answers its number.
    pub(crate) async fn publish(&self, world: &World, from: usize) -> Result<usize> {
        let handle = world.peer(from)?.handle();
        let mut data = vec![0; MESSAGE];
        let id = {
            let mut log = lock(&self.log);
            log.sent.push(Sent {
                at: Instant::now(),
                by: from,
            });
            log.heard.push(HashMap::new());
            log.sent.len() - 1
        };
        data[..4].copy_from_slice(&u32::try_from(id)?.to_le_bytes());
        handle.publish(TOPIC.into(), data).await?;
        Ok(id)
    }

    /// Members that should hear message `id`: those who had joined some time before
    /// it, and stay as long after.
    fn audience(&self, log: &Log, id: usize, before: Duration, after: Duration) -> HashSet<usize> {
        let sent = &log.sent[id];
        self.members
            .iter()
            .filter(|(n, member)| {
                **n != sent.by
                    && member.since + before <= sent.at
                    && member.until.is_none_or(|until| until >= sent.at + after)
            })
            .map(|(n, _)| *n)
            .collect()
    }

    /// Who of those who should have heard message `id` has not yet.
    pub(crate) fn missing(&self, id: usize) -> usize {
        let log = lock(&self.log);
        let audience = self.audience(&log, id, Duration::ZERO, Duration::ZERO);
        let heard = &log.heard[id];
        audience.iter().filter(|n| !heard.contains_key(n)).count()
    }

    /// What came of the messages from number `first` on. Counted are members who
    /// were there `before` and `after` each.
    pub(crate) fn outcome(&self, first: usize, before: Duration, after: Duration) -> Outcome {
        let log = lock(&self.log);
        let mut outcome = Outcome::default();
        for id in first..log.sent.len() {
            let audience = self.audience(&log, id, before, after);
            outcome.expected += audience.len();
            let by = log.sent[id].by;
            for member in audience {
                match log.heard[id].get(&member) {
                    Some(delay) => outcome.delays.push(*delay),
                    None => outcome
                        .lost
                        .push(format!("message {id} of node {by} at node {member}")),
                }
            }
        }
        outcome
    }

    /// The number that the next message will have.
    pub(crate) fn next(&self) -> usize {
        lock(&self.log).sent.len()
    }
}

/// `count` messages from random members of the topic, `every` so often.
pub(crate) async fn talk(
    world: &mut World,
    members: &Members,
    count: usize,
    every: Duration,
) -> Result<Outcome> {
    let first = members.next();
    let mut refused = Vec::new();
    let mut clock = async_io::Timer::interval(every);
    for _ in 0..count {
        clock.next().await;
        let from = world.chance.one(&members.living(world));
        if let Err(e) = members.publish(world, from).await {
            refused.push(e.to_string());
        }
    }
    let begun = Instant::now();
    while (first..members.next()).any(|id| members.missing(id) > 0) && begun.elapsed() < LOST {
        async_io::Timer::after(Duration::from_millis(100)).await;
    }
    let mut outcome = members.outcome(first, Duration::ZERO, Duration::ZERO);
    outcome.refused = refused;
    Ok(outcome)
}
