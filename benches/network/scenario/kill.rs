//! Three nodes of ten end at once, without a word to anybody.

use std::collections::HashSet;

use super::content::{self, Outcome, Plan};
use crate::Result;
use crate::world::World;

/// Ends this share of the nodes that are no bootstrap nodes, and lets the others
/// exchange content at once. Those who ended stay away.
pub(crate) async fn and_exchange(world: &mut World, share: f64, plan: Plan) -> Result<Outcome> {
    let ordinary = world.ordinary();
    let count = (ordinary.len() as f64 * share).round() as usize;
    let gone = world.chance.some(count, &ordinary);
    world.kill(&gone).await;
    let gone: HashSet<usize> = gone.into_iter().collect();
    let left: Vec<usize> = ordinary.into_iter().filter(|n| !gone.contains(n)).collect();
    content::exchange(world, plan, &left, &left).await
}
