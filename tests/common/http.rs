//! The HTTP port of a daemon, asked as a browser or Prometheus asks it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{DEADLINE, eventually};

/// What is sent to ask for a page.
pub(super) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Asks for a page; the head and the body of the answer. The body ends where its
/// length says: the server lingers before it closes.
pub(crate) fn ask(at: SocketAddr, path: &str) -> io::Result<(String, String)> {
    ask_within(DEADLINE, at, path)
}

/// [`ask`], when the connection is closed properly after the answer as well.
pub(crate) fn ask_to_the_end(at: SocketAddr, path: &str) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&at, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request(path).as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parts(&answer).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// [`ask`], which fails when nothing comes for `patience`.
pub(crate) fn ask_within(
    patience: Duration,
    at: SocketAddr,
    path: &str,
) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&at, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request(path).as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if let Some(parts) = parts(&answer) {
            return Ok(parts);
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
}

/// The head and the body of an answer that is there as a whole.
pub(super) fn parts(answer: &[u8]) -> Option<(String, String)> {
    const BLANK: &[u8] = b"\r\n\r\n";
    let end = answer.windows(BLANK.len()).position(|w| w == BLANK)?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let body = &answer[end + BLANK.len()..];
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("Content-Length: "));
    let length: usize = length.map_or(0, |l| l.parse().unwrap());
    let body = body.get(..length)?;
    Some((head, String::from_utf8(body.to_vec()).unwrap()))
}

/// [`ask`] of a daemon that must answer.
pub(crate) fn get(at: SocketAddr, path: &str) -> (String, String) {
    ask(at, path).unwrap_or_else(|e| panic!("GET {path} from {at}: {e}"))
}

/// Every series of a scrape, by its name with labels.
#[derive(Debug)]
pub(crate) struct Scrape(HashMap<String, f64>);

impl Scrape {
    /// Scrapes the daemon whose HTTP port is `at`.
    pub(crate) fn of(at: SocketAddr) -> Scrape {
        Scrape::read(&get(at, "/metrics"))
    }

    /// Reads an answer.
    pub(super) fn read((head, body): &(String, String)) -> Scrape {
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let series = body.lines().filter(|l| !l.starts_with('#'));
        Scrape(
            series
                .map(|line| {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    (name.to_owned(), value.parse().unwrap())
                })
                .collect(),
        )
    }

    /// The value of one series, which must be there.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let known = self.0.get(series);
        *known.unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()))
    }

    pub(crate) fn has(&self, series: &str) -> bool {
        self.0.contains_key(series)
    }

    /// Every series whose name, with labels, begins with `start`.
    pub(crate) fn starting(&self, start: &str) -> impl Iterator<Item = (&str, f64)> {
        let all = self.0.iter().map(|(name, value)| (name.as_str(), *value));
        all.filter(move |(name, _)| name.starts_with(start))
    }

    /// The sum of the series whose name, with labels, begins with `start`; zero when
    /// there is none.
    pub(crate) fn sum(&self, start: &str) -> f64 {
        self.starting(start).map(|(_, value)| value).sum()
    }
}

/// Waits until `holds` is true of the value of `series`; the value.
pub(crate) fn until(at: SocketAddr, series: &str, holds: impl Fn(f64) -> bool) -> f64 {
    eventually(series, || {
        let value = Scrape::of(at).value(series);
        holds(value).then_some(value)
    })
}
