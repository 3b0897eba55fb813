//! All nodes stop and come back at once, as after an upgrade of all of them.

use std::time::{Duration, Instant};

use crate::Result;
use crate::world::World;

/// Answers how long it took until every node had its place again.
pub(crate) async fn of_all(world: &mut World) -> Result<Duration> {
    let live = world.live();
    world.stop(&live).await;
    let begun = Instant::now();
    world.start(&live).await?;
    world.settle().await?;
    Ok(begun.elapsed())
}
