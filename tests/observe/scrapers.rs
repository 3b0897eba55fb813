//! Fifty scrapers at once, with slow and dead ones among them, do not delay others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Daemon;
use crate::common::http::get;

const SCRAPERS: usize = 50;
const SCRAPES: usize = 20;

#[test]
fn fifty_scrapers_with_slow_and_dead_ones_among_them_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let at = daemon.http();
    // Dead: they never ask. Deaf: they ask and never read. Slow: half a request.
    let bad: Vec<TcpStream> = (0..60)
        .map(|n| {
            let mut client = TcpStream::connect(at).unwrap();
            match n % 3 {
                0 => {}
                1 => client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap(),
                _ => client.write_all(b"GET /me").unwrap(),
            }
            client
        })
        .collect();
    let threads: Vec<_> = (0..SCRAPERS)
        .map(|_| {
            thread::spawn(move || {
                let mut took = Vec::new();
                for _ in 0..SCRAPES {
                    let begin = Instant::now();
                    let (head, body) = get(at, "/metrics");
                    took.push(begin.elapsed());
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    assert!(body.contains("p2p_build_info"), "{body}");
                }
                took
            })
        })
        .collect();
    let mut took: Vec<Duration> = Vec::new();
    for thread in threads {
        took.extend(thread.join().unwrap());
    }
    took.sort();
    let at_share = |share: usize| took[(took.len() - 1) * share / 100];
    println!(
        "{} scrapes of {SCRAPERS} at once beside 60 bad clients: median {:?}, p99 {:?}, most {:?}",
        took.len(),
        at_share(50),
        at_share(99),
        at_share(100)
    );
    // The node itself was not held up.
    assert!(daemon.cli(&["health", "-q"]).status.success());
    for mut client in bad {
        // Each is ended by the server, be it with an answer.
        client
            .set_read_timeout(Some(crate::common::DEADLINE))
            .unwrap();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
    }
}
