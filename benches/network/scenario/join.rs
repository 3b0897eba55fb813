//! Nodes come: one after another, or all at once.

use std::time::{Duration, Instant};

use crate::Result;
use crate::world::World;

/// `count` further nodes start together; says how long it took until each of the
/// network had its place.
pub(crate) async fn at_once(world: &mut World, count: usize) -> Result<Duration> {
    let begun = Instant::now();
    let new: Vec<usize> = (0..count).map(|_| world.add()).collect();
    world.start(&new).await?;
    world.settle().await?;
    Ok(begun.elapsed())
}

/// `count` further nodes start, each when the one before has its place; says how
/// long each took.
pub(crate) async fn in_turn(world: &mut World, count: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(at_once(world, 1).await?);
    }
    Ok(times)
}
