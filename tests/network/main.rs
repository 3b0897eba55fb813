//! Networks of tens of nodes in one process: what must succeed in them.
//!
//! This uses the harness of `benches/network` at a size that fits a build. Nothing here
//! tests how long things take, which is the purpose of the bench.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]
#![allow(dead_code, reason = "the bench uses what no test does")]

#[path = "../../benches/network/chance.rs"]
mod chance;
mod harness;
#[path = "../../benches/network/host.rs"]
mod host;
#[path = "../../benches/network/peer.rs"]
mod peer;
#[path = "../../benches/network/pipe.rs"]
mod pipe;
#[path = "../../benches/network/plain.rs"]
mod plain;
#[path = "../../benches/network/report.rs"]
mod report;
#[path = "../../benches/network/scenario/mod.rs"]
mod scenario;
#[path = "../../benches/network/sybil.rs"]
mod sybil;
#[path = "../../benches/network/usage.rs"]
mod usage;
#[path = "../../benches/network/wire.rs"]
mod wire;
#[path = "../../benches/network/world.rs"]
mod world;

use std::time::Duration;

use scenario::content::{self, Plan};
use scenario::gossip::{self, Members};
use scenario::{join, kill, lookup, orphan, partition, restart};
use world::{Settings, World};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Far above what anything takes; only what never happens reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// The patience of a get. The daemon's own minute may pass on a host that runs more
/// than this.
pub(crate) const PATIENCE: Option<Duration> = Some(Duration::from_secs(900));

/// The scenarios in their order, for the harness.
pub(crate) const SCENARIOS: [&str; 2] = ["quiet", "content"];

const NODES: usize = 40;

const PLAN: Plan = Plan {
    gets: 20,
    bytes: 300_000,
    at_once: 1,
};

fn run(test: impl Future<Output = Result<()>>) {
    let _ = env_logger::builder().is_test(true).try_init();
    async_std::task::block_on(test).unwrap();
}

/// A folder in memory, where there is one: the disk is not what is tested.
fn folder() -> Result<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    Ok(match memory.is_dir() {
        true => tempfile::tempdir_in(memory)?,
        false => tempfile::tempdir()?,
    })
}

async fn network(nodes: usize, dir: &tempfile::TempDir) -> Result<World> {
    let settings = Settings {
        bootstraps: 3,
        noise: false,
        latency: Duration::ZERO,
        dir: dir.path().to_owned(),
        seed: 1,
        variables: Vec::new(),
    };
    let mut world = World::new(settings).await?;
    join::at_once(&mut world, nodes - 3).await?;
    Ok(world)
}

/// All nodes as members of a topic, each with neighbours in the mesh.
async fn meshed(world: &World) -> Result<Members> {
    let mut members = Members::default();
    members.join(world, &world.live()).await?;
    let lonely = members.form(world, DEADLINE).await;
    assert_eq!(lonely, 0, "members without neighbours in the mesh");
    Ok(members)
}

/// Every get must have come to its end.
fn all_came(outcome: &content::Outcome) {
    assert_eq!(outcome.failures, [""; 0]);
    assert_eq!(outcome.gets.len(), PLAN.gets);
}

#[test]
fn every_get_among_forty_succeeds() {
    run(async {
        let dir = folder()?;
        let mut world = network(NODES, &dir).await?;
        let all = world.ordinary();
        all_came(&content::exchange(&mut world, PLAN, &all, &all).await?);
        let found = lookup::search(&mut world, 20).await?;
        assert_eq!(found.failures, [""; 0]);
        assert!(found.recall > 0.9, "{} of the nearest found", found.recall);
        world.end().await;
        Ok(())
    });
}

#[test]
fn every_message_comes_to_every_member() {
    run(async {
        let dir = folder()?;
        let mut world = network(NODES, &dir).await?;
        let members = meshed(&world).await?;
        let every = Duration::from_millis(20);
        let heard = gossip::talk(&mut world, &members, 50, every).await?;
        assert_eq!(heard.refused, [""; 0]);
        assert_eq!(heard.expected, 50 * (NODES - 1));
        assert_eq!(heard.lost, [""; 0]);
        assert_eq!(heard.delays.len(), heard.expected);
        world.end().await;
        Ok(())
    });
}

#[test]
fn gets_go_on_when_three_of_ten_die_and_after_all_have_restarted() {
    run(async {
        let dir = folder()?;
        let mut world = network(NODES, &dir).await?;
        all_came(&kill::and_exchange(&mut world, 0.3, PLAN).await?);
        restart::of_all(&mut world).await?;
        let all = world.ordinary();
        all_came(&content::exchange(&mut world, PLAN, &all, &all).await?);
        world.end().await;
        Ok(())
    });
}

#[test]
fn the_halves_of_a_network_find_each_other_again() {
    run(async {
        let dir = folder()?;
        let mut world = network(NODES, &dir).await?;
        let members = meshed(&world).await?;
        let apart = Duration::from_secs(20);
        let seen = partition::and_heal(&mut world, &members, apart, PLAN).await?;
        all_came(&seen.content);
        world.end().await;
        Ok(())
    });
}

#[test]
fn a_network_outlives_its_bootstrap_nodes() {
    run(async {
        let dir = folder()?;
        let mut world = network(NODES, &dir).await?;
        all_came(&orphan::and_exchange(&mut world, PLAN).await?);
        world.end().await;
        Ok(())
    });
}
