//! Half of the network is cut off for a while, and comes back.

use std::time::{Duration, Instant};

use super::content::{self, Plan};
use super::gossip::Members;
use crate::world::World;
use crate::{DEADLINE, Result};

/// How often a message is sent to find out whether the halves hear each other.
const PROBE: Duration = Duration::from_secs(1);

/// What was seen after the end of the partition.
pub(crate) struct Outcome {
    /// Until a message from each side came to all members.
    pub(crate) gossip: Duration,
    /// Gets across the former border, at once after that.
    pub(crate) content: content::Outcome,
}

/// Half of the nodes are cut off from the others for `time`.
pub(crate) async fn and_heal(
    world: &mut World,
    members: &Members,
    time: Duration,
    plan: Plan,
) -> Result<Outcome> {
    let live = world.live();
    let here = world.chance.some(live.len() / 2, &live);
    let there: Vec<usize> = live.into_iter().filter(|n| !here.contains(n)).collect();
    world.part(&here);
    async_io::Timer::after(time).await;
    world.heal();
    let healed = Instant::now();
    let members_of = |side: &[usize]| {
        let mut living = members.living(world);
        living.retain(|n| side.contains(n));
        living
    };
    let sides = [members_of(&here), members_of(&there)];
    if sides.iter().any(Vec::is_empty) {
        return Err("one half of the network has no member of the topic; give more members".into());
    }
    let mut probes: Vec<[Option<usize>; 2]> = Vec::new();
    let gossip = loop {
        let mut pair = [None; 2];
        for (probe, side) in pair.iter_mut().zip(&sides) {
            let from = world.chance.one(side);
            // A side that hears nobody yet says so; it asks again in a moment.
            *probe = members.publish(world, from).await.ok();
        }
        probes.push(pair);
        async_io::Timer::after(PROBE).await;
        let whole = probes.iter().any(|pair| {
            let mut ids = pair.iter();
            ids.all(|id| id.is_some_and(|id| members.missing(id) == 0))
        });
        if whole {
            break healed.elapsed();
        }
        if healed.elapsed() > DEADLINE {
            return Err("the halves do not hear each other".into());
        }
    };
    Ok(Outcome {
        gossip,
        content: content::exchange(world, plan, &here, &there).await?,
    })
}
