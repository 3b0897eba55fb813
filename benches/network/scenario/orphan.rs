//! The bootstrap nodes end, and do not come back.

use super::content::{self, Outcome, Plan};
use crate::Result;
use crate::world::World;

/// Exchanges content among those who are left, of whom one in ten was stopped and
/// started again meanwhile: they come back through the peers that they remember.
pub(crate) async fn and_exchange(world: &mut World, plan: Plan) -> Result<Outcome> {
    let bootstraps: Vec<usize> = (0..world.settings.bootstraps)
        .filter(|n| world.runs(*n))
        .collect();
    world.kill(&bootstraps).await;
    let left = world.live();
    let some = world.chance.some(left.len().div_ceil(10), &left);
    world.stop(&some).await;
    world.start(&some).await?;
    world.settle().await?;
    content::exchange(world, plan, &left, &left).await
}
