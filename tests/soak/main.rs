//! A network that is used and disturbed for any length of time: four daemons that
//! stay and six that come and go, with messages, files, bans and reloads. `run` starts it.
//!
//! It prints what failed, and for each daemon that stays how its anonymous memory and
//! its descriptors grew. It fails when anything failed or grew above its limit; the
//! limits are in `watch`, with their reasons.
//!
//! | variable | |
//! |---|---|
//! | `SOAK_MINUTES` | how long; 1 when not given |
//! | `SOAK_PACE` | how many times as fast everything is done; 1 when not given |
//! | `NODE_UNDER_TEST` | the program; the one built with the tests when not given |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/crowd/mod.rs"]
mod crowd;

mod bans;
mod churn;
mod files;
mod reloads;
mod tally;
mod watch;
mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::task::block_on;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join, join_all};

use common::own_address;
use crowd::Member;
use tally::Tally;

/// Daemons that stay. The first is the one that all enter through.
const STEADY: usize = 4;

/// Daemons that come and go.
const CHURNING: usize = 6;

/// What all subscribe to.
const TOPIC: &str = "/p2p-node/soak";

/// Written anew by [`reloads`].
const ENV_FILE: &str = "node.env";

/// A run of the soak.
struct Soak {
    steady: Vec<Member>,
    tally: Tally,
    pace: f64,
    end: Instant,
}

impl Soak {
    /// Waits for what takes `seconds` at the pace of 1; answers whether the soak goes on.
    async fn pause(&self, seconds: f64) -> bool {
        async_io::Timer::after(Duration::from_secs_f64(seconds / self.pace)).await;
        Instant::now() < self.end
    }
}

#[test]
#[ignore = "runs for as long as SOAK_MINUTES says; tests/soak/run starts it"]
fn nothing_fails_and_nothing_creeps() {
    let minutes: f64 = setting("SOAK_MINUTES", 1.0);
    let pace: f64 = setting("SOAK_PACE", 1.0);
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut door = member(dir.path(), "steady0", &[("P2P_BOOTSTRAP", "true")]);
        door.start().await;
        let address = door.address().await;
        let entry = [("P2P_BOOTSTRAP_PEERS", address.as_str())];
        let mut steady = vec![door];
        for n in 1..STEADY {
            let mut member = member(dir.path(), &format!("steady{n}"), &entry);
            member.start().await;
            member.knows_somebody().await;
            steady.push(member);
        }
        let churning: Vec<Member> = (0..CHURNING)
            .map(|n| member(dir.path(), &format!("churning{n}"), &entry))
            .collect();
        let soak = Arc::new(Soak {
            steady,
            tally: Tally::new(),
            pace,
            end: Instant::now() + Duration::from_secs_f64(60.0 * minutes),
        });
        let homes = churning.iter().map(|m| m.dir().to_owned()).collect();
        let mut work: Vec<LocalBoxFuture<'_, ()>> = vec![
            words::go_on(soak.clone()).boxed_local(),
            files::go_on(&soak).boxed_local(),
            reloads::go_on(&soak).boxed_local(),
            bans::go_on(&soak, homes).boxed_local(),
        ];
        for (member, seed) in churning.into_iter().zip(0..) {
            work.push(churn::go_on(&soak, member, seed).boxed_local());
        }
        let (watched, _) = join(watch::until_the_end(&soak), join_all(work)).await;
        soak.tally.print();
        let grown = watched.report(pace);
        let failures = soak.tally.failures();
        assert!(
            failures.is_empty() && grown.is_empty(),
            "failed: {failures:#?}\ngrew over its bound: {grown:#?}"
        );
    });
}

fn setting(name: &str, otherwise: f64) -> f64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |text| text.parse().unwrap())
}

/// A daemon of the soak, which does not run yet.
fn member(dir: &Path, name: &str, variables: &[(&str, &str)]) -> Member {
    let dir = dir.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join(ENV_FILE);
    std::fs::write(&file, "").unwrap();
    let address = own_address();
    let mut all = vec![
        ("P2P_LISTEN_ADDRS", address.as_str()),
        ("P2P_DHT_MODE", "server"),
        ("P2P_TOPICS", TOPIC),
        ("P2P_ENV_FILE", file.to_str().unwrap()),
    ];
    all.extend(variables);
    Member::new(dir, &all)
}
