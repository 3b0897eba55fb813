//! How long `/metrics` takes: asked by one scraper, and by many at once.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Result, ms};

/// Those at once, of which a node serves 64.
const SCRAPERS: [usize; 2] = [1, 50];

/// Scrapes in all, so that a hundredth of them is more than a few.
const SCRAPES: usize = 2_000;

/// One that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines of the table, for a node that has `connections`.
pub(crate) fn lines(port: u16, connections: usize) -> Result<Vec<String>> {
    SCRAPERS
        .into_iter()
        .map(|scrapers| {
            let mut times = scrape(port, scrapers)?;
            times.sort();
            let at = |share: f64| {
                let index = (share * times.len() as f64).ceil() as usize;
                times[index.clamp(1, times.len()) - 1]
            };
            Ok(format!(
                "| {connections} | {scrapers} | {} | {:.2} | {:.2} | {:.2} |",
                times.len(),
                ms(at(0.5)),
                ms(at(0.99)),
                ms(at(1.0))
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
fn scrape(port: u16, scrapers: usize) -> Result<Vec<Duration>> {
    let threads: Vec<_> = (0..scrapers)
        .map(|_| {
            std::thread::spawn(move || {
                (0..SCRAPES / scrapers)
                    .map(|_| once(port))
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
fn once(port: u16) -> std::io::Result<Duration> {
    let begun = Instant::now();
    page(port)?;
    Ok(begun.elapsed())
}

/// The whole answer.
pub(crate) fn page(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    // By its length, as Prometheus reads: the server lingers before it closes.
    while !is_whole(&answer) {
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::Error::other("a scrape was not answered")),
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    String::from_utf8(answer).map_err(std::io::Error::other)
}

/// Whether a good answer has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .and_then(|length| length.parse().ok());
    head.starts_with("HTTP/1.1 200") && length == Some(body.len())
}
