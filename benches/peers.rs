//! Trust and limits: token decisions, reports, look-ups of bans, and the memory that each
//! remembered peer takes.
//!
//! `cargo bench --bench peers`

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use p2p_node::peers::{Conduct, Policy, Settings, Target, reputation};
use p2p_node::system::moment::Moment;

/// The number of rounds of each measurement. The median is printed, with the lowest and
/// the highest value.
const ROUNDS: usize = 7;

/// The number of peers, which are used by turns: as many as a default node has
/// connections.
const PEERS: usize = 400;

fn main() {
    // `cargo test --benches` runs this too, but there is nothing to test.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let peers: Vec<PeerId> = (0..PEERS).map(|_| PeerId::random()).collect();

    // The lower bound: what it costs to read the clock, which every decision does.
    time("clock: Instant::now", 2_000_000, |_| {
        black_box(Instant::now());
    });

    let policy = Policy::default();
    time("token decision, 400 peers", 2_000_000, |n| {
        let _ = black_box(policy.allow(&peers[n % PEERS], 1, Moment::now()));
    });
    let within = Policy::default();
    time(
        "token decision within budget (new peer each)",
        8_000,
        |_| {
            let _ = black_box(within.allow(&PeerId::random(), 1, Moment::now()));
        },
    );
    let reports = Policy::default();
    time("report of a merit, 400 peers", 1_000_000, |n| {
        reports.report(&peers[n % PEERS], Conduct::MessageDelivered, Moment::now());
    });
    let offences = Policy::new(Settings {
        trusted: peers.clone(),
        ..Settings::default()
    });
    time("report of an offence, 400 peers", 1_000_000, |n| {
        offences.report(&peers[n % PEERS], Conduct::PingLost, Moment::now());
    });

    for many in [10, 10_000] {
        let bans = Policy::default();
        for n in 0..many {
            // Addresses and ranges of eight lengths, as in block lists.
            let ip = Ipv4Addr::from(0x0a00_0000 + n * 1_021);
            let length = 32 - n % 8;
            let net: Target = format!("{ip}/{length}").parse().unwrap();
            bans.ban(net, None, "listed", Moment::now()).unwrap();
            bans.ban(
                Target::Peer(PeerId::random()),
                None,
                "listed",
                Moment::now(),
            )
            .unwrap();
        }
        let free = |n: usize| IpAddr::from(Ipv4Addr::from(0xc000_0200 + n as u32 % 65_536));
        time(
            &format!("address not banned, {many} ranges"),
            1_000_000,
            |n| {
                black_box(bans.ban_of_address(free(n), Instant::now()));
            },
        );
        time(&format!("peer not banned, {many} peers"), 1_000_000, |n| {
            black_box(bans.ban_of_peer(&peers[n % PEERS], Instant::now()));
        });
    }

    memory();
}

fn time(what: &str, count: usize, mut f: impl FnMut(usize)) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            (0..count).for_each(&mut f);
            begin.elapsed().as_secs_f64() / count as f64 * 1e9
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let median = rounds[ROUNDS / 2];
    println!(
        "{what:<46} {median:>7.0} ns ({:.0} to {:.0}), {:>6.2} M/s",
        rounds[0],
        rounds[ROUNDS - 1],
        1e3 / median
    );
}

/// Fills the memory of reputations, then that of accounts, and measures the memory of the
/// process.
fn memory() {
    let policy = Policy::default();
    let ids: Vec<PeerId> = (0..reputation::CAPACITY)
        .map(|_| PeerId::random())
        .collect();
    let before = resident();
    for peer in &ids {
        policy.report(peer, Conduct::Malformed, Moment::now());
    }
    // What is to be saved waits in a list of its own, so it is taken from there first.
    while !policy.take_unsaved(Instant::now()).is_empty() {}
    let with_reputations = resident();
    let (_, known, _) = sizes(&policy);
    println!(
        "resident memory per remembered peer            {:>7} bytes ({known} peers)",
        (with_reputations.saturating_sub(before)) / known as u64
    );
    for peer in &ids[..8_000] {
        let _ = policy.allow(peer, 100, Moment::now());
    }
    let with_accounts = resident();
    let (_, _, accounts) = sizes(&policy);
    println!(
        "resident memory per account of budgets         {:>7} bytes ({accounts} accounts)",
        with_accounts.saturating_sub(with_reputations) / accounts as u64
    );
    let later = Moment::now();
    policy.tend(Moment {
        mono: later.mono + Duration::from_secs(86_400),
        wall: later.wall + Duration::from_secs(86_400),
    });
    let (_, known, accounts) = sizes(&policy);
    println!("a day later: {known} peers, {accounts} accounts");
}

/// Returns the numbers of bans, of peers that are remembered, and of accounts of budgets.
fn sizes(policy: &Policy) -> (usize, usize, usize) {
    policy.read(|peers| peers.sizes(Instant::now()))
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
