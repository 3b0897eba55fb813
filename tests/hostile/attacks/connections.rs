//! Connections: many of them, from one address and from many addresses, and some that
//! never finish their handshake.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_std::task::{sleep, spawn};
use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::Keypair;

use crate::bout::Bout;
use crate::common::{Daemon, eventually};
use crate::honest::Place;
use crate::lan::{Lan, ip};
use crate::peer::{Peer, drain, line, propose, socket_addr, tcp};
use crate::process::{Order, Tally};
use crate::report::passed_over;

/// Dials under way at once.
const DIALERS: usize = 64;

/// Most dials of one attack: a bound beside its time.
const MOST_DIALS: usize = 50_000;

/// Where the `n`th connection comes from: `one` leaves it to the system, else a
/// new /24 of 10.0.0.0/8 each.
fn source(order: &Order, n: usize) -> Option<IpAddr> {
    if order.more.iter().any(|m| m == "one") {
        return None;
    }
    let n = n % 60_000;
    Some(Ipv4Addr::new(10, (n / 250) as u8, (n % 250) as u8, 7).into())
}

/// Makes connections with a new identity each, as fast as they are taken, and
/// keeps them all.
pub(crate) async fn flood(order: Order, tally: Tally) {
    let held = Arc::new(Mutex::new(Vec::<Peer>::new()));
    let next = Arc::new(AtomicUsize::new(0));
    let dialers = (0..DIALERS.min(order.count)).map(|_| {
        let (order, tally, held, next) = (order.clone(), tally.clone(), held.clone(), next.clone());
        spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= MOST_DIALS {
                    return;
                }
                tally.add("dials", 1);
                let key = Keypair::generate_ed25519();
                match Peer::polite(&order.target, source(&order, n), &key).await {
                    Ok(peer) => held.lock().unwrap().push(peer),
                    // A refused dial costs nothing and says so at once.
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        })
    });
    let all = join_all(dialers.collect::<Vec<_>>());
    let watch = async {
        loop {
            sleep(Duration::from_millis(100)).await;
            let mut held = held.lock().unwrap();
            held.retain(|p| !p.is_gone());
            tally.most("held at once", held.len() as u64);
        }
    };
    futures::future::join(all, watch).await;
}

/// Sockets that begin a handshake and never finish it; one that is hung up on is
/// replaced.
pub(crate) async fn slow(order: Order, tally: Tally) {
    let target = socket_addr(&order.target);
    let open = Arc::new(AtomicUsize::new(0));
    let tasks = (0..order.count).map(|n| {
        let (order, tally, open) = (order.clone(), tally.clone(), open.clone());
        spawn(async move {
            for round in 0.. {
                sleep(Duration::from_millis(20)).await;
                let Ok(mut io) = tcp(target, source(&order, n + 1000 * round)).await else {
                    continue;
                };
                tally.add("sockets", 1);
                let now = open.fetch_add(1, Ordering::Relaxed) + 1;
                tally.most("open at once", now as u64);
                match n % 3 {
                    // Silent.
                    0 => drain(&mut io).await,
                    // A byte now and then.
                    1 => {
                        let (mut reader, mut writer) = io.split();
                        let drip = async {
                            let mut hello = line("/multistream/1.0.0");
                            hello.extend(line("/noise"));
                            for byte in hello.chunks(1) {
                                if writer.write_all(byte).await.is_err() {
                                    return;
                                }
                                sleep(Duration::from_millis(400)).await;
                            }
                        };
                        futures::future::select(Box::pin(drip), Box::pin(drain(&mut reader))).await;
                    }
                    // Agrees on Noise and then says nothing.
                    _ => {
                        if propose(&mut io, "/noise").await.is_ok() {
                            drain(&mut io).await;
                        }
                    }
                }
                open.fetch_sub(1, Ordering::Relaxed);
            }
        })
    });
    join_all(tasks.collect::<Vec<_>>()).await;
}

/// Five hosts: victim, attackers with all of 10.0.0.0/8, two honest ones, and
/// one that comes later.
fn network() -> Option<Lan> {
    let lan = Lan::new(5).and_then(|lan| {
        let (victim, attackers) = (lan.host(1), lan.host(2));
        let local = ["route", "add", "local", "10.0.0.0/8", "dev", "lo"];
        ip(&[&["-n", attackers][..], &local].concat())?;
        let back = ["route", "add", "10.0.0.0/8", "via", "192.0.2.2"];
        ip(&[&["-n", victim][..], &back].concat())?;
        Ok(lan)
    });
    lan.map_err(|why| passed_over(&format!("cannot make hosts: {why}")))
        .ok()
}

/// An honest host that has never met the victim tries to connect until it is
/// let in or `patience` is over; how long that took.
fn newcomer(bout: &Bout, patience: Duration) -> Option<(Duration, Daemon)> {
    let lan = bout.lan.as_ref().unwrap();
    let place = Place::host(lan, 5);
    let victim = bout.victim.address();
    let dir = format!("newcomer{}", patience.as_millis());
    let daemon = place.start_alone(&bout.path().join(dir), &victim);
    let address = victim.to_string();
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if daemon.cli(&["connect", "-q", &address]).status.success() {
            let peers = daemon.json(&["peers"]);
            if peers.as_array().is_some_and(|p| !p.is_empty()) {
                return Some((begun.elapsed(), daemon));
            }
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    None
}

#[test]
fn connection_flood_from_one_address() {
    let Some(lan) = network() else { return };
    let mut bout = Bout::on_a_network("connection flood, one address", lan);
    let mut order = bout.order("connections", 8, DIALERS);
    order.more = vec!["one".into()];
    let mut most = 0;
    let mut came = None;
    let outcome = bout.fight(&[order], |bout| {
        let end = Instant::now() + Duration::from_secs(6);
        came = newcomer(bout, Duration::from_secs(6)).map(|c| c.0);
        while Instant::now() < end {
            most = most.max(bout.victim.connections_from("/ip4/192.0.2.2/"));
            std::thread::park_timeout(Duration::from_millis(200));
        }
    });
    let refused = bout.victim.metric("p2p_connections_refused_total");
    let defence = format!(
        "{most} connections at most, {refused} refused; a newcomer waited {}",
        came.map_or("in vain".into(), |c| format!("{:.1} s", c.as_secs_f64()))
    );
    bout.report(&outcome, 24 << 20, &defence).unwrap();
    assert!(
        most > 0 && most <= 64,
        "the subnet cap is 64, there were {most}"
    );
    assert!(refused > 0.0);
    assert!(came.is_some(), "the flood from one address shut others out");
    outcome.grew_at_most(64 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

#[test]
fn connection_flood_from_many_subnets() {
    let Some(lan) = network() else { return };
    let mut bout = Bout::on_a_network("connection flood, 60,000 subnets", lan);
    let order = bout.order("connections", 10, DIALERS);
    let mut most = 0;
    let mut came = None;
    let outcome = bout.fight(&[order], |bout| {
        let end = Instant::now() + Duration::from_secs(9);
        eventually("the flood is refused", || {
            (bout.victim.metric("p2p_connections_refused_total") > 0.0).then_some(())
        });
        came = newcomer(bout, Duration::from_secs(6)).map(|c| c.0);
        while Instant::now() < end {
            most = most.max(bout.victim.connections_from("/ip4/10."));
            std::thread::park_timeout(Duration::from_millis(200));
        }
    });
    let refused = bout.victim.metric("p2p_connections_refused_total");
    let after = newcomer(&bout, Duration::from_secs(30)).map(|c| c.0);
    let show =
        |t: Option<Duration>| t.map_or("in vain".into(), |c| format!("{:.1} s", c.as_secs_f64()));
    let defence = format!(
        "{most} connections at most, {refused} refused; a newcomer waited {} during it, {} after",
        show(came),
        show(after)
    );
    bout.report(&outcome, 32 << 20, &defence).unwrap();
    assert!(most > 0 && most <= 400, "the cap is 400, there were {most}");
    assert!(refused > 0.0);
    assert!(after.is_some(), "nobody gets in any more");
    outcome.grew_at_most(96 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

#[test]
fn slow_handshakes() {
    let Some(lan) = network() else { return };
    let mut bout = Bout::on_a_network("slow handshakes, 500 sockets", lan);
    let mut order = bout.order("slow handshakes", 14, 500);
    order.more = vec!["one".into()];
    let mut came = None;
    let mut pending = 0;
    let outcome = bout.fight(&[order], |bout| {
        let end = Instant::now() + Duration::from_secs(12);
        came = newcomer(bout, Duration::from_secs(12)).map(|c| c.0);
        while Instant::now() < end {
            let status = bout.victim.daemon.json(&["status"]);
            pending = pending.max(status["connections"]["pending"].as_u64().unwrap());
            std::thread::park_timeout(Duration::from_millis(200));
        }
    });
    let defence = format!(
        "{pending} pending at most; a newcomer waited {}",
        came.map_or("in vain".into(), |c| format!("{:.1} s", c.as_secs_f64()))
    );
    bout.report(&outcome, 16 << 20, &defence).unwrap();
    assert!(came.is_some(), "silent sockets shut others out");
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.5).unwrap();
}
