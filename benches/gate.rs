//! The cost of a decision of the gate, compared with one look-up in a `HashMap` in the
//! same run.
//!
//! `cargo bench --bench gate`

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::ConnectionId;
use p2p_node::peers::gate::Gate;
use p2p_node::peers::limits::{Limits, MAX_PENDING_INBOUND};
use p2p_node::peers::record::Connection;
use p2p_node::peers::rules::Rules;
use p2p_node::peers::{Peers, Settings};
use p2p_node::system::resources::{Resources, Sample};

/// The number of rounds. The median is printed, with the lowest and the highest value.
const ROUNDS: usize = 9;

/// The number of decisions in a round.
const DECISIONS: u32 = 200_000;

/// The number of addresses, which are used by turns.
const HOSTS: u32 = 4_096;

fn main() {
    // `cargo test --benches` runs this too, but there is nothing to test.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let table: HashMap<IpAddr, u32> = (0..HOSTS).map(|n| (host(n), n)).collect();
    println!("| ns each: median (min to max) of {ROUNDS} | | look-ups |\n|---|---|---|");
    let base = time(&mut |n| {
        black_box(table.get(&host(n % HOSTS)));
    });
    tell("one look-up in a HashMap of 4,096 addresses", &base, &base);

    for cidrs in [0, 10_000] {
        let name = |what: &str| format!("{what}, {cidrs} denied networks");
        let rules = Rules {
            deny: denied(cidrs).into_iter().collect(),
            ..Rules::default()
        };
        let (mut peers, mut gate) = gate(rules.clone(), vec![PeerId::random()]);
        let (mut now, mut id, peer) = (Instant::now(), 0, PeerId::random());
        // Fifty connections a second, so that no rate is used up.
        let let_in = time(&mut |n| {
            now += Duration::from_millis(20);
            id += 1;
            let (id, ip) = (ConnectionId::new_unchecked(id), Some(host(n % HOSTS)));
            gate.arrives(&peers, id, ip, now, || 0.999).unwrap();
            gate.established_inbound(&peers, id, &peer, ip, now)
                .unwrap();
            gate.settled(id);
            peers.opened(peer, id, Connection::new(&endpoint(n % HOSTS), now));
            peers.closed(&peer, id).unwrap();
        });
        tell(&name("let in: arrives, stands, ends"), &let_in, &base);

        // The total rate is used up, and so is the lane of trusted peers.
        let over = time(&mut |n| {
            id += 1;
            let (id, ip) = (ConnectionId::new_unchecked(id), Some(host(n % HOSTS)));
            if gate.arrives(&peers, id, ip, now, || 0.999).is_ok() {
                gate.settled(id);
            }
        });
        tell(&name("refused for the rate"), &over, &base);

        // All places are taken; later, by handshakes that are slow.
        let rules = Rules {
            rate: 1_000_000,
            subnet_rate: 1_000_000,
            ..rules
        };
        let (peers, mut gate) = self::gate(rules, Vec::new());
        let start = Instant::now();
        for n in 0..MAX_PENDING_INBOUND {
            let id = ConnectionId::new_unchecked(n as usize);
            gate.arrives(&peers, id, Some(host(n)), start, || 0.5)
                .unwrap();
        }
        let full = time(&mut |n| {
            let (id, ip) = (ConnectionId::new_unchecked(usize::MAX), host(n % HOSTS));
            let _ = black_box(gate.arrives(&peers, id, Some(ip), start, || 0.5));
        });
        tell(&name("refused, all places are taken"), &full, &base);
        let mut at = start;
        let mut next = MAX_PENDING_INBOUND as usize;
        let pushed = time(&mut |n| {
            // Enough time passes that all places are held by slow handshakes each time.
            at += Duration::from_secs(3);
            next += 1;
            let id = ConnectionId::new_unchecked(next);
            if let Some(out) = gate
                .arrives(&peers, id, Some(host(n % HOSTS)), at, || 0.5)
                .unwrap()
            {
                gate.settled(out);
            }
        });
        tell(
            &name("let in for a slow one, found among 128"),
            &pushed,
            &base,
        );

        if cidrs > 0 {
            let denied = time(&mut |n| {
                let ip = Ipv4Addr::from(0x2000_0000 + (n % cidrs) * 1_021).into();
                let id = ConnectionId::new_unchecked(usize::MAX);
                let _ = black_box(gate.arrives(&peers, id, Some(ip), start, || 0.5));
            });
            tell(&name("refused, denied"), &denied, &base);
        }
    }
}

fn host(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n * 257).into()
}

/// Returns addresses and ranges of eight lengths, as in block lists.
fn denied(many: u32) -> Vec<IpNet> {
    (0..many)
        .map(|n| {
            let ip = Ipv4Addr::from(0x2000_0000 + n * 1_021);
            IpNet::new(ip.into(), 25 + (n % 8) as u8).unwrap()
        })
        .collect()
}

/// Returns a gate with everything that the daemon gives it.
fn gate(rules: Rules, trusted: Vec<PeerId>) -> (Peers, Gate) {
    let limits = Limits {
        memory: Some(1 << 40),
        ..Limits::default()
    };
    let resources = Resources::new();
    resources.set(Sample {
        descriptors: 1 << 40,
        open: 100,
        resident: 100 << 20,
    });
    let peers = Peers::new(Settings {
        rules,
        trusted,
        ..Settings::default()
    });
    let gate = Gate::new(&peers, limits, resources, Instant::now());
    (peers, gate)
}

/// Returns how the swarm describes an inbound connection.
fn endpoint(n: u32) -> ConnectedPoint {
    let at = |ip: IpAddr| Multiaddr::empty().with(ip.into()).with(Protocol::Tcp(4001));
    ConnectedPoint::Listener {
        local_addr: at(Ipv4Addr::LOCALHOST.into()),
        send_back_addr: at(host(n)),
    }
}

/// Returns the nanoseconds for one call in each round, sorted.
fn time(call: &mut dyn FnMut(u32)) -> Vec<f64> {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for n in 0..DECISIONS {
                call(n);
            }
            begun.elapsed().as_nanos() as f64 / f64::from(DECISIONS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds
}

fn tell(what: &str, rounds: &[f64], base: &[f64]) {
    let median = rounds[ROUNDS / 2];
    println!(
        "| {what} | {median:.0} ({:.0} to {:.0}) | {:.1} |",
        rounds[0],
        rounds[ROUNDS - 1],
        median / base[ROUNDS / 2]
    );
}
