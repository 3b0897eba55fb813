//! Separate networks: by a pre-shared key, and by name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use common::{Daemon, eventually, same_bytes, write_noise};

/// A key file in libp2p's format, of one repeated byte.
fn key_file(path: &std::path::Path, byte: u8) -> String {
    let hex = format!("{byte:02x}").repeat(32);
    std::fs::write(path, format!("/key/swarm/psk/1.0.0/\n/base16/\n{hex}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_private_network_lets_in_who_has_its_key_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let right = key_file(&dir.path().join("right.key"), 7);
    let wrong = key_file(&dir.path().join("wrong.key"), 8);
    let member = |name: &str, key: &str| {
        Daemon::start(&dir.path().join(name), &[("P2P_NETWORK_KEY_FILE", key)])
    };
    let one = member("one", &right);
    let other = member("other", &right);
    let stranger = member("stranger", &wrong);
    let outsider = Daemon::start(&dir.path().join("outsider"), &[]);
    let door = one.address("tcp");
    other.ok(&["connect", &door]);
    for refused in [&stranger, &outsider] {
        let said = refused.cli(&["connect", &door]);
        assert_eq!(said.status.code(), Some(1));
        let line = String::from_utf8(said.stderr).unwrap();
        assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    }
    // Only now and not at once: a stranger's handshake may still be failing.
    eventually("one peer and no connection in the making", || {
        let status = one.json(&["status"]);
        (status["peers"] == 1 && status["connections"]["pending"] == 0).then_some(())
    });
}

#[test]
fn networks_of_different_names_do_not_exchange_content() {
    let dir = tempfile::tempdir().unwrap();
    let here = Daemon::start(&dir.path().join("here"), &[]);
    let there = Daemon::start(&dir.path().join("there"), &[("P2P_NETWORK", "elsewhere")]);
    let neighbour = Daemon::start(&dir.path().join("neighbour"), &[]);
    let file = dir.path().join("file");
    write_noise(&file, 1 << 20, 3);
    let cid = here.ok(&["put", "-q", file.to_str().unwrap()]);
    let door = here.address("tcp");
    there.ok(&["connect", &door]);
    neighbour.ok(&["connect", &door]);
    let copy = dir.path().join("copy");
    let copy = copy.to_str().unwrap();
    assert_eq!(there.json(&["status"])["dht"]["routing_table_size"], 0);
    let refused = there.cli(&["get", "-q", "--timeout", "2s", &cid, "-o", copy]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(!std::path::Path::new(copy).exists());
    neighbour.ok(&["get", "-q", &cid, "-o", copy]);
    assert!(same_bytes(&file, std::path::Path::new(copy)));
}
