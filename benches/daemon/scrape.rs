//! How long `/metrics` takes: asked by one scraper, and by many at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::common::http;
use crate::{Result, ms};

/// Those at once, of which a node serves 64.
const SCRAPERS: [usize; 2] = [1, 50];

/// Scrapes in all, so that a hundredth of them is more than a few.
const SCRAPES: usize = 2_000;

/// One that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines of the table, for a node that has `connections`.
pub(crate) fn lines(at: SocketAddr, connections: usize) -> Result<Vec<String>> {
    SCRAPERS
        .into_iter()
        .map(|scrapers| {
            let mut times = scrape(at, scrapers)?;
            times.sort();
            let share_of = |share: f64| {
                let index = (share * times.len() as f64).ceil() as usize;
                times[index.clamp(1, times.len()) - 1]
            };
            Ok(format!(
                "| {connections} | {scrapers} | {} | {:.2} | {:.2} | {:.2} |",
                times.len(),
                ms(share_of(0.5)),
                ms(share_of(0.99)),
                ms(share_of(1.0))
            ))
        })
        .collect()
}

/// The head of the table.
pub(crate) fn head() -> &'static str {
    "| connections of the node | scrapers at once | scrapes | `/metrics`, ms: p50 | p99 | max |\n\
     |---|---|---|---|---|---|"
}

/// Each scraper asks again as soon as it has its answer.
fn scrape(at: SocketAddr, scrapers: usize) -> Result<Vec<Duration>> {
    let threads: Vec<_> = (0..scrapers)
        .map(|_| {
            std::thread::spawn(move || {
                (0..SCRAPES / scrapers)
                    .map(|_| once(at))
                    .collect::<std::io::Result<Vec<_>>>()
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a scraper panicked")??);
    }
    Ok(times)
}

/// From the connection's start to the end of the whole answer.
fn once(at: SocketAddr) -> std::io::Result<Duration> {
    let begun = Instant::now();
    page(at)?;
    Ok(begun.elapsed())
}

/// All the metrics.
pub(crate) fn page(at: SocketAddr) -> std::io::Result<String> {
    let (head, body) = http::ask_within(PATIENCE, at, "/metrics")?;
    match head.starts_with("HTTP/1.1 200") {
        true => Ok(body),
        false => Err(std::io::Error::other(head)),
    }
}
