//! The harness itself: what it reports about a network must be true.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::PeerId;
use libp2p::kad::KBucketKey;

use crate::host::Host;
use crate::peer::address;
use crate::pipe::{CAPACITY, Link};
use crate::report::{Row, load, quantile, save, table};
use crate::scenario::lookup::{Tables, walk};

fn hosts() -> [Arc<Host>; 2] {
    [1, 2].map(|n| Host::new(Ipv4Addr::new(192, 0, 2, n)))
}

#[test]
fn bytes_arrive_in_order_and_then_the_end() {
    let [a, b] = hosts();
    let [mut near, mut far] = Link::between(&a, &b, Duration::ZERO);
    async_std::task::block_on(async {
        near.write_all(b"first").await.unwrap();
        near.write_all(b"second").await.unwrap();
        near.close().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"firstsecond");
        assert_eq!(a.bytes_sent(), 11);
    });
}

#[test]
fn a_writer_waits_for_room_and_a_reader_for_bytes() {
    let [a, b] = hosts();
    let [mut near, mut far] = Link::between(&a, &b, Duration::ZERO);
    async_std::task::block_on(async {
        let mut byte = [0];
        assert!(far.read(&mut byte).now_or_never().is_none());
        near.write_all(&vec![7; CAPACITY]).await.unwrap();
        assert!(near.write(b"x").now_or_never().is_none());
        far.read_exact(&mut byte).await.unwrap();
        assert_eq!(near.write(b"xy").await.unwrap(), 1);
    });
}

#[test]
fn nothing_passes_a_cut_and_all_of_it_when_it_is_healed() {
    let [a, b] = hosts();
    let [mut near, mut far] = Link::between(&a, &b, Duration::ZERO);
    async_std::task::block_on(async {
        a.stand_on(1);
        near.write_all(b"kept").await.unwrap();
        near.close().await.unwrap();
        let mut all = Vec::new();
        let mut reading = Box::pin(far.read_to_end(&mut all));
        assert!((&mut reading).now_or_never().is_none());
        a.stand_on(0);
        reading.await.unwrap();
        assert_eq!(all, b"kept");
    });
}

#[test]
fn both_sides_see_a_reset_and_a_gone_reader_breaks_the_pipe() {
    let [a, b] = hosts();
    let [mut near, mut far] = Link::between(&a, &b, Duration::ZERO);
    async_std::task::block_on(async {
        a.reset();
        let mut byte = [0];
        let kind = |e: io::Error| e.kind();
        let reset = Err(io::ErrorKind::ConnectionReset);
        assert_eq!(near.read(&mut byte).await.map_err(kind), reset);
        assert_eq!(far.write(b"x").await.map_err(kind), reset);
    });
    let [mut near, far] = Link::between(&a, &b, Duration::ZERO);
    drop(far);
    let broken = async_std::task::block_on(near.write(b"x"));
    assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn twenty_thousand_hosts_have_a_subnet_each() {
    let all: HashSet<[u8; 2]> = (0..20_480)
        .map(|n| address(n).octets())
        .map(|[a, b, ..]| [a, b])
        .collect();
    assert_eq!(all.len(), 20_480);
    assert!(all.iter().all(|[a, _]| (20..100).contains(a)));
}

#[test]
fn the_99th_of_a_hundred_is_not_the_last() {
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(quantile(&hundred, 0.99), 99.0);
    assert_eq!(quantile(&hundred, 0.5), 50.0);
    assert_eq!(quantile(&[7.0], 0.99), 7.0);
}

#[test]
fn what_is_saved_is_loaded_and_replaced_by_network_and_scenario() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("figures.csv");
    let row = |nodes, measure: &str, value| Row {
        nodes,
        scenario: "quiet".into(),
        measure: measure.into(),
        value,
        unit: "ms".into(),
    };
    save(&path, &[row(30, "get, median", 1.0), row(30, "old", 1.0)]).unwrap();
    save(&path, &[row(10, "get, median", 3.0)]).unwrap();
    save(&path, &[row(30, "get, median", 2.5)]).unwrap();
    let expected = [row(10, "get, median", 3.0), row(30, "get, median", 2.5)];
    assert_eq!(load(&path).unwrap(), expected);
    let table = table(&expected);
    assert!(
        table.ends_with("| quiet | get, median, ms | 3.00 | 2.50 |\n"),
        "{table}"
    );
}

#[test]
fn a_walk_counts_who_told_the_way() {
    let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
    let knows = |n: usize, others: &[usize]| (peers[n], others.iter().map(|o| peers[*o]).collect());
    let tables = Tables::from([knows(0, &[1]), knows(1, &[2]), knows(2, &[3])]);
    let key = KBucketKey::new(vec![1]);
    assert_eq!(walk(&tables, peers[0], &key, peers[1]), Some(1));
    assert_eq!(walk(&tables, peers[0], &key, peers[3]), Some(3));
    assert_eq!(walk(&tables, peers[3], &key, peers[0]), None);
}
