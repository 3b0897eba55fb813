//! Work that is under way when the daemon is told to stop is finished.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

mod common;

use std::path::Path;

use common::{Daemon, Process, eventually};
use nix::sys::signal::Signal::{SIGCONT, SIGSTOP, SIGTERM};

/// A node whose routing table holds one peer, and that peer.
fn pair(dir: &Path, more: &[(&str, &str)]) -> (Daemon, Daemon) {
    let peer = Daemon::start(&dir.join("peer"), &[("P2P_DHT_MODE", "server")]);
    let bootstrap = peer.address("tcp");
    let mut variables = vec![
        ("P2P_BOOTSTRAP_PEERS", bootstrap.as_str()),
        ("P2P_DRAIN_TIMEOUT", "5m"),
    ];
    variables.extend_from_slice(more);
    let node = Daemon::start(&dir.join("node"), &variables);
    eventually(
        "the peer is in the routing table and no query goes on",
        || {
            let dht = &node.json(&["status"])["dht"];
            (dht["routing_table_size"] == 1 && dht["queries"] == 0).then_some(())
        },
    );
    (node, peer)
}

/// Begins to put a value on a peer that does not answer yet, which takes until it does,
/// and tells the node to stop.
fn stop_with_a_query(node: &mut Daemon, peer: &Daemon) -> Process {
    peer.signal(SIGSTOP);
    let put = node.begin(&["dht", "put", "greeting", "hello"]);
    eventually("the query goes on", || {
        (node.json(&["status"])["dht"]["queries"] != 0).then_some(())
    });
    node.signal(SIGTERM);
    eventually("the node drains", || {
        node.log().contains("draining").then_some(())
    });
    assert!(node.ended().is_none(), "{}", node.log());
    put
}

#[test]
fn a_dht_operation_in_progress_finishes_and_its_client_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, peer) = pair(dir.path(), &[]);
    let put = stop_with_a_query(&mut node, &peer);
    peer.signal(SIGCONT);

    let put = put.output();
    assert!(put.status.success(), "{put:?}\n{}", node.log());
    assert_eq!(node.wait(), Some(0), "{}", node.log());
    assert_eq!(peer.ok(&["dht", "get", "greeting"]), "hello");
}

#[test]
fn it_leaves_its_meshes_while_its_connections_still_stand() {
    let dir = tempfile::tempdir().unwrap();
    let topic = [("P2P_TOPICS", "news"), ("P2P_DHT_MODE", "client")];
    let (mut node, peer) = pair(dir.path(), &topic);
    let friend = Daemon::start(&dir.path().join("friend"), &topic);
    friend.ok(&["connect", &node.address("tcp")]);
    let id = node.json(&["id"])["peer_id"].clone();
    let subscribers = || friend.json(&["status"])["topics"][0]["peers"].clone();
    eventually("the friend knows the subscription", || {
        (subscribers() == 1).then_some(())
    });

    let put = stop_with_a_query(&mut node, &peer);
    eventually("the subscription ends", || {
        (subscribers() == 0).then_some(())
    });
    let peers = friend.json(&["peers"]).to_string();
    assert!(peers.contains(id.as_str().unwrap()), "{peers}");
    peer.signal(SIGCONT);
    put.output();
    assert_eq!(node.wait(), Some(0), "{}", node.log());
}
