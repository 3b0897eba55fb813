//! What one attacker does to others: to those behind the same address, and to the log.

use std::time::{Duration, Instant};

use async_std::task::{block_on, sleep, spawn};
use futures::AsyncWriteExt;
use futures::future::join_all;
use libp2p::identity::Keypair;
use p2p_node::control::Client;

use crate::bout::Bout;
use crate::common::{Daemon, eventually};
use crate::honest::Place;
use crate::lan::Lan;
use crate::peer::{drain, raw_yamux};
use crate::process::{Order, Tally};
use crate::report::passed_over;
use crate::victim::TOPIC;

/// Frames of yamux that no peer may send, each as the first one of a connection:
/// <https://github.com/hashicorp/yamux/blob/master/spec.md>.
fn violation(n: u64) -> Vec<u8> {
    let frame = |version: u8, kind: u8, flags: u16, stream: u32, length: u32| {
        let mut out = vec![version, kind];
        out.extend(flags.to_be_bytes());
        out.extend(stream.to_be_bytes());
        out.extend(length.to_be_bytes());
        out
    };
    match n % 6 {
        // A stream with more bytes than its window.
        0 => [frame(0, 0, 1, 1, 1 << 20), vec![0; 1 << 20]].concat(),
        // An id that belongs to the other side.
        1 => frame(0, 1, 1, 2, 0),
        // The same stream twice.
        2 => [frame(0, 1, 1, 1, 0), frame(0, 1, 1, 1, 0)].concat(),
        // An answer to a ping that nobody sent.
        3 => frame(0, 2, 2, 0, 77).repeat(100),
        // A window beyond all windows.
        4 => [frame(0, 1, 1, 1, u32::MAX), frame(0, 1, 0, 1, u32::MAX)].concat(),
        // Another version.
        _ => frame(9, 0, 0, 1, 0),
    }
}

/// `count` peers that violate the protocol of the multiplexer, and come back at once.
pub(crate) async fn violate(order: Order, tally: Tally) {
    let peers = (0..order.count).map(|_| {
        let (order, tally) = (order.clone(), tally.clone());
        spawn(async move {
            let key = Keypair::generate_ed25519();
            for n in 0.. {
                let Ok(mut channel) = raw_yamux(&order.target, None, &key).await else {
                    tally.add("refused connections", 1);
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let sent = async {
                    // What the victim goes on reading counts each time.
                    for _ in 0..200 {
                        channel.write_all(&violation(n)).await?;
                        channel.flush().await?;
                        tally.add("violations", 1);
                    }
                    Ok::<(), std::io::Error>(())
                };
                let _ = sent.await;
                let end = async_std::future::timeout(Duration::from_secs(1), drain(&mut channel));
                let _ = end.await;
            }
        })
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

/// Publishes `count` messages through a daemon, as far as it has somebody to publish to.
fn publish(daemon: &Daemon, count: u64) {
    block_on(async {
        let mut client = Client::connect(&daemon.socket()).await.unwrap();
        for n in 0..count {
            let data = [&n.to_be_bytes()[..], &[0x77; 100]].concat();
            let _ = client.publish(TOPIC, data.into()).await;
        }
    });
}

/// How long a ban of the attacker's address is waited for.
const UNTIL_BANNED: Duration = Duration::from_secs(9);

#[test]
fn a_ban_of_an_address_leaves_the_honest_behind_it_alone() {
    let lan = Lan::new(4).map_err(|why| passed_over(&format!("cannot make hosts: {why}")));
    let Ok(lan) = lan else { return };
    let mut bout = Bout::on_a_network("bad ids behind the address of honest peers", lan);
    let victim = bout.victim.address();
    let mut order = bout.order("bad gossip", 12, 8);
    order.more = vec!["forged".into()];
    // Two honest daemons behind the attackers' address: one that this node dials, and one
    // that comes by itself and publishes.
    let (dialed, comes) = {
        let lan = bout.lan.as_ref().unwrap();
        let place = Place::host(lan, 2);
        let dialed = place.start_alone(&bout.path().join("dialed"), &victim);
        let elsewhere = Place {
            listen: "/ip4/192.0.2.2/tcp/4002".to_owned(),
            ..place
        };
        let comes = elsewhere.start_alone(&bout.path().join("comes"), &victim);
        (dialed, comes)
    };
    let address = dialed.address("tcp");
    bout.victim.daemon.ok(&["connect", &address]);
    comes.ok(&["connect", &victim.to_string()]);
    // Merit takes fifty messages that the victim had not heard before.
    let name = comes.id();
    eventually("the victim hears the one that comes by itself", || {
        publish(&comes, 30);
        let peers = bout.victim.daemon.json(&["peers"]);
        let found = peers.as_array()?.iter().find(|p| p["peer_id"] == *name)?;
        (found["reputation"].as_f64()? >= 1.0).then_some(())
    });
    let (mut banned_after, mut stayed, mut dialed_again) = (None, true, false);
    let outcome = bout.fight(&[order], |bout| {
        let begun = Instant::now();
        let node = &bout.victim.daemon;
        while begun.elapsed() < UNTIL_BANNED {
            if node.json(&["bans"]).to_string().contains("192.0.2.2/32") {
                banned_after = Some(begun.elapsed());
                break;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        // The ban closes what it closes at once.
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let peers = node.json(&["peers"]).to_string();
            stayed &= peers.contains(&dialed.id()) && peers.contains(&name);
            std::thread::park_timeout(Duration::from_millis(100));
        }
        // It fails if the peer was cut off already.
        node.cli(&["disconnect", &dialed.id()]);
        dialed_again = node.cli(&["connect", &address]).status.success();
    });
    let defence = format!(
        "the address was banned {}; honest peers behind it stayed: {stayed}; a dial of one went through: {dialed_again}",
        banned_after.map_or("never".into(), |t| format!(
            "after {:.1} s",
            t.as_secs_f64()
        )),
    );
    bout.report(&outcome, 24 << 20, &defence).unwrap();
    assert!(banned_after.is_some(), "the address was never banned");
    assert!(
        stayed,
        "honest peers behind the banned address were cut off"
    );
    assert!(
        dialed_again,
        "a dial to an honest peer behind it was refused"
    );
    outcome.honest_kept(0.5, 0.5).unwrap();
}

/// The lines and bytes that an attack may add to the log in 10 s. The lines about
/// misbehaviour are six a minute for each address, a place in a dependency may write 12,
/// and what this program says of a cause it says once a minute.
const MOST_LINES: usize = 60;
const MOST_BYTES: usize = 12 << 10;

#[test]
fn floods_of_violations_and_invalid_messages_fill_no_log() {
    let mut bout = Bout::loopback("violations and invalid messages, against the log");
    let mut invalid = bout.order("bad gossip", 10, 4);
    invalid.more = vec!["forged".into()];
    let orders = [invalid, bout.order("violations", 10, 4)];
    let before = bout.victim.daemon.log();
    let outcome = bout.fight(&orders, |_| {});
    let log = bout.victim.daemon.log();
    let added = &log[before.len()..];
    let (lines, bytes) = (added.lines().count(), added.len());
    let errors = added
        .lines()
        .filter(|l| l.contains("ERROR") || l.contains("\"error\",\"target\""));
    let errors: Vec<&str> = errors.collect();
    let suppressed = bout.victim.metric("p2p_log_suppressed_total");
    let defence = format!(
        "{lines} lines and {} KiB of log, {} errors, {suppressed} lines suppressed by the logger",
        bytes >> 10,
        errors.len()
    );
    bout.report(&outcome, 24 << 20, &defence).unwrap();
    assert_eq!(errors, Vec::<&str>::new(), "nobody on this host has to act");
    assert!(
        lines <= MOST_LINES && bytes <= MOST_BYTES,
        "{lines} lines, {bytes} bytes:\n{added}"
    );
    outcome.honest_kept(0.5, 0.5).unwrap();
}
