//! What is under way when the daemon is told to stop has its end.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

mod common;

use std::process::Stdio;

use common::{Daemon, eventually};
use nix::sys::signal::Signal::{SIGCONT, SIGSTOP, SIGTERM};

#[test]
fn a_dht_operation_in_progress_finishes_and_its_client_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = [("P2P_DHT_MODE", "server")];
    let peer = Daemon::start(&dir.path().join("peer"), &server);
    let bootstrap = peer.address("tcp");
    let mut node = Daemon::start(
        &dir.path().join("node"),
        &[
            ("P2P_BOOTSTRAP_PEERS", &bootstrap),
            ("P2P_DRAIN_TIMEOUT", "5m"),
        ],
    );
    let dht = || node.json(&["status"])["dht"].clone();
    eventually(
        "the peer is in the routing table and no query goes on",
        || {
            let dht = dht();
            (dht["routing_table_size"] == 1 && dht["queries"] == 0).then_some(())
        },
    );

    // A peer that answers nothing for a while keeps the query going.
    peer.signal(SIGSTOP);
    let put = node
        .command(&["dht", "put", "greeting", "hello"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the query goes on", || {
        (dht()["queries"] != 0).then_some(())
    });
    node.signal(SIGTERM);
    eventually("the node drains", || {
        node.log().contains("draining").then_some(())
    });
    assert!(node.child.try_wait().unwrap().is_none(), "{}", node.log());
    peer.signal(SIGCONT);

    let put = put.wait_with_output().unwrap();
    assert!(put.status.success(), "{put:?}\n{}", node.log());
    assert_eq!(node.wait(), Some(0), "{}", node.log());
    assert_eq!(peer.ok(&["dht", "get", "greeting"]), "hello");
}
