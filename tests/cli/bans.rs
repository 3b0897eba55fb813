//! The blacklist, as an operator uses it, against real daemons.

use nix::sys::signal::Signal::SIGKILL;
use serde_json::Value;

use crate::common::until;
use crate::daemon::Daemon;
use crate::support::PEER;

fn connected(d: &Daemon, to: &str) -> bool {
    let peers = d.json(&["peers"]);
    let peers = peers.as_array().unwrap();
    peers.iter().any(|p| p["peer_id"] == to)
}

fn bans(d: &Daemon) -> Vec<Value> {
    d.json(&["bans"]).as_array().unwrap().clone()
}

#[test]
fn a_ban_disconnects_at_once_and_outlives_kill_9() {
    let mut a = Daemon::start(&[]);
    let b = Daemon::start(&[&a]);
    let (id, other) = (a.id(), b.id());
    until("b has joined", || connected(&a, &other));
    let peers = a.json(&["peers"]);
    assert!(peers[0]["reputation"].is_number(), "{peers}");
    assert!(a.ask(&["peers"]).succeeds().text().contains("REPUTATION"));

    let said = a.ask(&["ban", &other, "--for", "1h", "--reason", "spam"]);
    assert_eq!(said.succeeds().text(), format!("banned {other} for 1h\n"));
    until("b is gone", || !connected(&a, &other));
    // The handshake ends before the refusal does, and is not taken for it.
    let refused = b.ask(&["connect", &a.address()]);
    refused.fails(1, &["cannot connect to", &id]);
    a.ask(&["connect", &b.address()])
        .fails(1, &["refused by this node's own limit bans"]);

    a.restart(SIGKILL);
    assert_eq!(a.id(), id);
    let listed = bans(&a);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let ban = &listed[0];
    assert_eq!(
        (&ban["peer_id"], &ban["by"]),
        (&other.clone().into(), &"operator".into())
    );
    assert_eq!(ban["reason"], "spam");
    assert_eq!(
        ban["until_unix_ms"].as_u64().unwrap() - ban["since_unix_ms"].as_u64().unwrap(),
        3_600_000
    );
    a.ask(&["connect", &b.address()])
        .fails(1, &["refused by this node's own limit bans"]);
    let table = a.ask(&["bans"]).succeeds();
    assert!(
        table.text().contains(&other) && table.text().contains("spam"),
        "{table:?}"
    );
    assert_eq!(a.json(&["status"])["bans"], 1);

    a.ask(&["unban", &other]).succeeds();
    a.ask(&["connect", &b.address()]).succeeds();
    a.restart(SIGKILL);
    assert!(bans(&a).is_empty());
}

#[test]
fn a_ban_of_a_range_closes_what_comes_from_it() {
    let a = Daemon::start(&[]);
    let b = Daemon::start(&[&a]);
    let other = b.id();
    until("b has joined", || connected(&a, &other));
    let said = a.ask(&["ban", "127.0.0.9/8"]).succeeds();
    assert_eq!(
        said.text(),
        "banned 127.0.0.0/8 (which 127.0.0.9/8 lies in) until unbanned\n"
    );
    until("b is gone", || !connected(&a, &other));
    a.ask(&["connect", &b.address()]).fails(1, &["connect "]);
    a.ask(&["unban", "127.0.0.1"])
        .fails(1, &["it falls under that of 127.0.0.0/8"]);
    a.ask(&["unban", "127.0.0.0/8"]).succeeds();
    a.ask(&["connect", &b.address()]).succeeds();
}

#[test]
fn what_an_operator_would_regret_is_refused_with_one_line() {
    let d = Daemon::start(&[]);
    let id = d.id();
    d.ask(&["ban", &id]).fails(1, &[&id, "is this node itself"]);
    for everybody in ["0.0.0.0/0", "::/0", "10.1.2.3/0"] {
        d.ask(&["ban", everybody])
            .fails(1, &["P2P_ALLOW_CIDRS", "--force"]);
    }
    assert!(bans(&d).is_empty());
    d.ask(&["ban", "0.0.0.0/0", "--force"]).succeeds();
    d.ask(&["unban", PEER]).fails(1, &["there is no ban of"]);

    // A second ban of the same replaces the first.
    d.ask(&["ban", PEER]).succeeds();
    d.ask(&["ban", PEER, "192.0.2.7", "--for", "2h", "-q"])
        .succeeds();
    let listed = d.ask(&["bans", "-q"]).succeeds();
    let mut listed: Vec<&str> = listed.text().lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["0.0.0.0/0", PEER, "192.0.2.7/32"]);
    let both = d.json(&["unban", PEER, "192.0.2.7"]);
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert_eq!(both[1]["network"], "192.0.2.7/32");
    assert_eq!(bans(&d).len(), 1);
}
