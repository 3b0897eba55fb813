//! Limits and rules as real daemons enforce them: from the variable that an operator
//! sets, or the command that an operator types, to the remote that is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use common::{DEADLINE, Daemon, eventually};
use socket2::{Domain, Socket, Type};

/// Connections that nothing uses stay for as long as a test needs them.
const STAYS: (&str, &str) = ("P2P_CONNECTION_IDLE_TIMEOUT", "10m");

fn id(daemon: &Daemon) -> String {
    daemon.json(&["id"])["peer_id"].as_str().unwrap().to_owned()
}

fn has(daemon: &Daemon, peer: &str) -> bool {
    let peers = daemon.json(&["peers"]);
    let peers = peers.as_array().unwrap();
    peers.iter().any(|p| p["peer_id"] == peer)
}

/// Runs a command that must fail, and returns what it says.
fn fails(daemon: &Daemon, args: &[&str]) -> String {
    let output = daemon.cli(args);
    assert!(!output.status.success(), "{args:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

/// Its TCP address with a name in place of the number.
fn by_name(daemon: &Daemon, name: &str) -> String {
    daemon
        .address("tcp")
        .replace("/ip4/127.0.0.1", &format!("/dns4/{name}"))
}

/// What the daemon's listener answers to the beginning of a handshake that comes
/// from `source`, until it hangs up or has said something.
fn answer(daemon: &Daemon, source: &str) -> Vec<u8> {
    let address = daemon.address("tcp");
    let port = address.split('/').nth(4).unwrap().parse().unwrap();
    let source: IpAddr = source.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket
        .connect(&SocketAddr::new([127, 0, 0, 1].into(), port).into())
        .unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // The daemon may have closed the connection before this is sent.
    let _ = stream.write_all(b"\x13/multistream/1.0.0\n");
    let mut said = vec![0; 64];
    match stream.read(&mut said) {
        Ok(n) => said.truncate(n),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => said.clear(),
        Err(e) => panic!("neither an answer nor an end: {e}"),
    }
    said
}

#[test]
fn a_forbidden_address_is_answered_with_no_byte_of_a_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let denies = Daemon::start(
        &dir.path().join("denies"),
        &[("P2P_DENY_CIDRS", "127.0.0.2/32")],
    );
    assert!(!answer(&denies, "127.0.0.1").is_empty());
    assert_eq!(answer(&denies, "127.0.0.2"), b"");
    denies.ok(&["ban", "127.0.0.3"]);
    assert_eq!(answer(&denies, "127.0.0.3"), b"");
    assert!(!answer(&denies, "127.0.0.4").is_empty());
    let allows = Daemon::start(
        &dir.path().join("allows"),
        &[("P2P_ALLOW_CIDRS", "127.0.0.2/32,192.0.2.0/24")],
    );
    assert!(!answer(&allows, "127.0.0.2").is_empty());
    assert_eq!(answer(&allows, "127.0.0.1"), b"");
    eventually("the log says whose rules it were", || {
        let logs = [denies.log(), allows.log()];
        ["P2P_DENY_CIDRS", "P2P_ALLOW_CIDRS", "p2p-node bans"]
            .iter()
            .all(|rule| logs.iter().any(|log| log.contains(rule)))
            .then_some(())
    });
}

#[test]
fn no_name_leads_a_dial_to_what_is_denied_or_banned() {
    let dir = tempfile::tempdir().unwrap();
    let other = Daemon::start(&dir.path().join("other"), &[STAYS]);
    let (peer, name) = (id(&other), by_name(&other, "localhost"));
    let denies = Daemon::start(
        &dir.path().join("denies"),
        &[("P2P_DENY_CIDRS", "127.0.0.0/8")],
    );
    let said = fails(&denies, &["connect", &name]);
    assert!(said.contains("P2P_DENY_CIDRS"), "{said}");
    assert!(!has(&denies, &peer));

    let bans = Daemon::start(&dir.path().join("bans"), &[STAYS]);
    bans.ok(&["ban", "127.0.0.1"]);
    let said = fails(&bans, &["connect", &name]);
    assert!(said.contains("banned"), "{said}");
    assert!(!has(&bans, &peer));
    bans.ok(&["unban", "127.0.0.1"]);
    bans.ok(&["connect", &name]);
    assert!(has(&bans, &peer));
}

#[test]
fn trusted_peers_pass_a_full_house() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, more: &[(&str, &str)]| {
        let variables = [&[STAYS], more].concat();
        Daemon::start(&dir.path().join(name), &variables)
    };
    let (friend, first, second) = (
        start("friend", &[]),
        start("first", &[]),
        start("second", &[]),
    );
    let friends = id(&friend);
    let house = start(
        "house",
        &[
            ("P2P_MAX_INBOUND_CONNECTIONS", "1"),
            ("P2P_TRUSTED_PEERS", &friends),
        ],
    );
    let door = house.address("tcp");
    first.ok(&["connect", &door]);
    eventually("the first stranger is in", || {
        has(&house, &id(&first)).then_some(())
    });
    // Its side of the handshake may end before the refusal comes.
    let _ = second.cli(&["connect", &door]);
    eventually("the second one is told whose limit it is", || {
        let log = house.log();
        log.contains("P2P_MAX_INBOUND_CONNECTIONS allows 1")
            .then_some(())
    });
    assert!(!has(&house, &id(&second)));
    friend.ok(&["connect", &door]);
    eventually("the trusted peer is in", || {
        has(&house, &friends).then_some(())
    });
    assert!(has(&house, &id(&first)), "nobody had to go for it");
    assert!(!has(&house, &id(&second)));
}
