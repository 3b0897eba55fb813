//! The metrics port of a daemon.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::common::{DEADLINE, Daemon, eventually};

/// Where a daemon that logs JSON serves its pages, from its line `ready`.
pub(crate) fn port(daemon: &Daemon) -> SocketAddr {
    eventually("the daemon says where its metrics are", || {
        let log = daemon.log();
        let line = log.lines().find(|l| l.contains(r#""msg":"ready""#))?;
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Some(line["metrics"].as_str().unwrap().parse().unwrap())
    })
}

/// An answer: its head and its body.
pub(crate) fn get(at: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Every series of a scrape, by its name with labels.
#[derive(Debug)]
pub(crate) struct Scrape(HashMap<String, f64>);

impl Scrape {
    pub(crate) fn of(at: SocketAddr) -> Self {
        let (head, body) = get(at, "/metrics");
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

    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let known = self.0.get(series);
        *known.unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()))
    }

    pub(crate) fn has(&self, series: &str) -> bool {
        self.0.contains_key(series)
    }
}

/// Waits until `series` fulfils `holds`; the value.
pub(crate) fn until(at: SocketAddr, series: &str, holds: impl Fn(f64) -> bool) -> f64 {
    eventually(series, || {
        let value = Scrape::of(at).value(series);
        holds(value).then_some(value)
    })
}
