//! Programs on this host, and scrapers, that occupy the control socket and the metrics port.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_io::Async;
use async_std::net::TcpStream;
use async_std::task::{block_on, sleep, spawn};
use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use p2p_node::control::Client;
use p2p_node::system::rlimits;

use crate::bout::Bout;
use crate::peer::drain;
use crate::process::{Order, Tally};
use crate::wire::varint;

/// The largest request of the control socket.
const REQUEST: usize = 4 << 20;

/// How long the attackers go on while somebody honest asks.
const WHILE: Duration = Duration::from_secs(8);

/// `count` clients of the metrics port, `more[0]`. A third each says nothing, sends a byte a
/// second, and asks for the metrics without reading them. Whoever is cut off comes again.
pub(crate) async fn slow_http(order: Order, tally: Tally) {
    rlimits::raise_descriptors().unwrap();
    let clients = (0..order.count).map(|n| {
        let (address, tally) = (order.more[0].clone(), tally.clone());
        spawn(async move {
            loop {
                let Ok(mut io) = TcpStream::connect(&address).await else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                tally.add("clients", 1);
                match n % 3 {
                    0 => drop(io.read(&mut [0; 1]).await),
                    1 => {
                        while io.write_all(b"G").await.is_ok() {
                            sleep(Duration::from_secs(1)).await;
                        }
                    }
                    _ => {
                        let _ = io.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await;
                        sleep(Duration::from_secs(3)).await;
                    }
                }
            }
        })
    });
    join_all(clients.collect::<Vec<_>>()).await;
}

/// Asks again and again for [`WHILE`], and returns how often, and the longest wait.
fn ask(mut once: impl FnMut()) -> (u32, Duration) {
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    let end = Instant::now() + WHILE;
    while Instant::now() < end {
        let begun = Instant::now();
        once();
        slowest = slowest.max(begun.elapsed());
        asked += 1;
        std::thread::park_timeout(Duration::from_millis(50));
    }
    (asked, slowest)
}

#[test]
fn slow_http_clients() {
    let mut bout = Bout::loopback("5,000 slow clients of the metrics port");
    let mut order = bout.order("slow http", 10, 5000);
    order.more = vec![bout.victim.daemon.http().to_string()];
    let mut waits = (0, Duration::ZERO);
    let outcome = bout.fight(&[order], |bout| {
        waits = ask(|| {
            for page in ["/health/live", "/metrics"] {
                let (head, _) = bout.victim.daemon.get(page);
                assert!(head.starts_with("HTTP/1.1 200"), "{page}: {head}");
            }
        });
    });
    let (asked, slowest) = waits;
    let defence = format!(
        "{} honest requests answered, both pages at once within {:.2} s",
        2 * asked,
        slowest.as_secs_f64()
    );
    bout.report(&outcome, 32 << 20, &defence).unwrap();
    assert!(outcome.tally.get("clients") >= 5000, "{}", outcome.tally);
    // With places that come free at four a second, 250 clients make it 10.8 s.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    outcome.grew_at_most(64 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

async fn connect(path: &Path) -> Async<UnixStream> {
    loop {
        match Async::<UnixStream>::connect(path).await {
            Ok(io) => return io,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// 512 clients of the control socket, `more[0]`, that say nothing, and `count` that send all
/// but the last byte of the largest request. Whoever is cut off comes again.
pub(crate) async fn unfinished(order: Order, tally: Tally) {
    let path = PathBuf::from(&order.more[0]);
    let mut request = varint(REQUEST as u64);
    request.resize(request.len() + REQUEST - 1, 0x2a);
    let request = std::sync::Arc::new(request);
    let clients = (0..512 + order.count).map(|n| {
        let (path, tally, request) = (path.clone(), tally.clone(), request.clone());
        spawn(async move {
            loop {
                let mut io = connect(&path).await;
                tally.add("clients", 1);
                if n >= 512 {
                    tally.add("unfinished requests", 1);
                    let _ = io.write_all(&request).await;
                }
                let _ = drain(&mut io).await;
                sleep(Duration::from_millis(200)).await;
            }
        })
    });
    join_all(clients.collect::<Vec<_>>()).await;
}

#[test]
fn unfinished_control_requests() {
    let mut bout = Bout::loopback("512 silent control clients, 500 requests without an end");
    let socket = bout.victim.daemon.socket();
    let mut order = bout.order("unfinished control", 10, 500);
    order.more = vec![socket.display().to_string()];
    let mut waits = (0, Duration::ZERO);
    let outcome = bout.fight(&[order], |_| {
        waits = ask(|| {
            block_on(async {
                Client::connect(&socket)
                    .await
                    .unwrap()
                    .health()
                    .await
                    .unwrap();
                Client::connect(&socket)
                    .await
                    .unwrap()
                    .status()
                    .await
                    .unwrap();
            });
        });
    });
    let (asked, slowest) = waits;
    let defence = format!(
        "{} times status and health, at most {:.2} s",
        asked,
        slowest.as_secs_f64()
    );
    bout.report(&outcome, 48 << 20, &defence).unwrap();
    assert!(
        outcome.tally.get("unfinished requests") >= 500,
        "{}",
        outcome.tally
    );
    // Requests in the making have 32 MiB, and buffers grow in steps.
    outcome.grew_at_most(128 << 20).unwrap();
    outcome.honest_kept(0.3, 0.3).unwrap();
}
