//! Commands that need no daemon, and every other command when there is none.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use crate::support::{CID, PEER, names, node, p2p, run};

#[test]
fn wrong_usage_is_exit_2_and_one_line() {
    let home = tempfile::tempdir().unwrap();
    for (args, told) in [
        (&["nonsense"][..], "nonsense"),
        (&["--nonsense"], "--nonsense"),
        (&["get"], "<CID>"),
        (&["get", "nonsense"], "not a CID"),
        (&["get", CID, "--timeout", "soon"], "accepted: a duration"),
        (&["get", CID, "--json"], "-o FILE"),
        (&["put"], "<FILE>"),
        (&["put", "f", "--ttl", "0s"], "less than 1s"),
        (&["put", "-", "-"], "only once"),
        (&["rm"], "<CID>"),
        (&["rm", CID, "x"], "not a CID"),
        (&["stat", ""], "not a CID"),
        (&["connect"], "<MULTIADDR>"),
        (
            &["connect", "1.2.3.4:4001"],
            "neither a multiaddr nor a peer id",
        ),
        (&["connect", "/ip4/1.2.3.4/tcp/99999"], "not a multiaddr"),
        (
            &["disconnect", "/ip4/1.2.3.4/tcp/1"],
            "does not end in /p2p/PEER_ID",
        ),
        (&["ban"], "<PEER|CIDR>"),
        (&["ban", "192.0.2.0/33"], "neither a peer id nor an address"),
        (&["ban", PEER, "--for", "0s"], "less than 1s"),
        (&["unban", "nobody"], "neither a peer id nor an address"),
        (&["dht"], "a command is missing"),
        (&["dht", "find-peer", "nobody"], "not a peer id"),
        (&["dht", "find-providers", "x"], "not a CID"),
        (
            &["dht", "find-providers", CID, "--count", "0"],
            "0 is not in",
        ),
        (&["dht", "put", "key"], "<VALUE>"),
        (&["publish"], "<TOPIC>"),
        (&["subscribe"], "<TOPIC>"),
        (&["key"], "a command is missing"),
        (&["completions", "cmd.exe"], "cmd.exe"),
        (&["run", "extra"], "extra"),
    ] {
        p2p(home.path(), args).fails(2, &[told]);
    }
    assert!(names(home.path()).is_empty());
}

#[test]
fn durations_and_reasons_that_cannot_be_are_told_by_name() {
    let home = tempfile::tempdir().unwrap();
    for (args, told) in [
        (
            &["ban", PEER, "--for", "-5s"][..],
            "invalid value '-5s' for '--for <DURATION>': ",
        ),
        (
            &["put", "f", "--ttl", "-5s"],
            "invalid value '-5s' for '--ttl <DURATION>': ",
        ),
        (
            &["get", CID, "--timeout", "-1"],
            "invalid value '-1' for '--timeout <DURATION>': ",
        ),
    ] {
        p2p(home.path(), args).fails(2, &[told, "such as 30s, 10m, 24h or 7d"]);
    }
    let long = "ü".repeat(129);
    p2p(home.path(), &["ban", PEER, "--reason", &long]).fails(
        2,
        &["--reason", "258 bytes are too long; accepted: at most 256"],
    );
}

#[test]
fn no_daemon_is_exit_69_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "x").unwrap();
    let socket = home.path().join("none.sock");
    let socket = socket.to_str().unwrap();
    for args in [
        &["status"][..],
        &["status", "--watch"],
        &["health"],
        &["id"],
        &["peers", "--json"],
        &["connect", PEER],
        &["disconnect", PEER],
        &["put", "file"],
        &["put", "-"],
        &["get", CID],
        &["get", CID, "-o", "out"],
        &["ls"],
        &["rm", CID],
        &["stat", CID],
        &["publish", "t", "m"],
        &["subscribe", "t"],
        &["dht", "find-peer", PEER],
        &["dht", "get", "k"],
        &["ban", PEER],
        &["unban", "192.0.2.1"],
        &["bans"],
    ] {
        let args = [args, &["--socket", socket]].concat();
        p2p(home.path(), &args).fails(69, &["no daemon answers at", socket, "p2p-node run"]);
    }
    assert_eq!(names(home.path()), ["file"]);
}

#[test]
fn a_socket_that_nobody_serves_is_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    // The listener is gone and its file is not, as after `kill -9`.
    drop(std::os::unix::net::UnixListener::bind(home.path().join("s")).unwrap());
    fs::write(home.path().join("plain"), "").unwrap();
    for path in ["s", "plain", &"long/".repeat(60)] {
        p2p(home.path(), &["id", "--socket", path]).fails(69, &["no daemon answers at", path]);
    }
    let mut command = node(home.path(), &["id"]);
    command.env("P2P_CONTROL_SOCKET", "from-the-environment");
    run(command).fails(69, &["from-the-environment"]);
    // When no socket is named, the message names the defaults. On a host that runs the
    // packaged daemon, that daemon would answer.
    if fs::exists("/run/p2p-node/control.sock").unwrap() {
        return;
    }
    p2p(home.path(), &["id"]).fails(69, &["data/control.sock", "/run/p2p-node/control.sock"]);
}

#[test]
fn bad_configuration_is_exit_78_and_one_line() {
    let home = tempfile::tempdir().unwrap();
    for (name, value, told) in [
        (
            "P2P_METRICS_PORT",
            "http",
            "P2P_METRICS_PORT=\"http\": not a whole number",
        ),
        ("P2P_MDSN", "1", "did you mean P2P_MDNS?"),
        ("P2P_BOOTSTRAP_PEERS", "/ip4/1.2.3.4/tcp/1", "/p2p/PEER_ID"),
        (
            "P2P_CONTROL_SOCKET",
            &"x".repeat(200),
            "too long for a Unix socket",
        ),
        ("RUST_LOG", "p2p_node=loud", "RUST_LOG"),
    ] {
        for args in [
            &["run"][..],
            &[],
            &["config", "check"],
            &["config", "show"],
            &["key", "show"],
        ] {
            let mut command = node(home.path(), args);
            command.env(name, value);
            run(command).fails(78, &[told, name]);
        }
    }
    p2p(home.path(), &["run", "--gossip-d=2"]).fails(78, &["--gossip-d=\"2\": less than 3"]);
    let mut command = node(home.path(), &["run"]);
    command.env("P2P_NETWORK", OsStr::from_bytes(b"a\xff"));
    run(command).fails(78, &["P2P_NETWORK", "not UTF-8"]);
    assert!(names(home.path()).is_empty());
}

#[test]
fn config_show_tells_values_and_sources() {
    let home = tempfile::tempdir().unwrap();
    let mut command = node(
        home.path(),
        &[
            "config",
            "show",
            "--json",
            "--max-connections",
            "7",
            "--bootstrap",
        ],
    );
    command
        .env("P2P_TOPICS", "a,b")
        .env("P2P_MAX_CONNECTIONS", "9");
    let shown = run(command).succeeds().json();
    let row = |name: &str| {
        let row = shown
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == name)
            .unwrap();
        (
            row["value"].as_str().unwrap().to_owned(),
            row["source"].as_str().unwrap().to_owned(),
        )
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(row("P2P_MAX_CONNECTIONS"), pair("7", "flag"));
    assert_eq!(row("P2P_BOOTSTRAP"), pair("true", "flag"));
    assert_eq!(
        row("P2P_DHT_MODE"),
        pair("server", "implied by P2P_BOOTSTRAP")
    );
    assert_eq!(row("P2P_TOPICS"), pair("a,b", "environment"));
    assert_eq!(row("P2P_STORE_MAX_BYTES"), pair("10GiB", "default"));
    let data = home.path().join("data");
    assert_eq!(
        row("P2P_CONTROL_SOCKET"),
        pair(data.join("control.sock").to_str().unwrap(), "default")
    );

    let text = p2p(home.path(), &["config", "show"]).succeeds();
    assert!(text.text().contains("P2P_STORE_MAX_BYTES"));
    assert!(!text.text().contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn config_check_reads_an_env_file_as_the_unit_does() {
    let home = tempfile::tempdir().unwrap();
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/p2p-node.env");
    let said = p2p(home.path(), &["config", "check", "--env-file", packaged]).succeeds();
    assert!(said.text().starts_with("ok: "), "{said:?}");

    let file = home.path().join("f.env");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        p2p(home.path(), &["config", "check", "--env-file", "f.env"])
    };
    check("# fine\nP2P_MDNS=maybe\n").fails(78, &["f.env, line 2: P2P_MDNS=\"maybe\""]);
    check("P2P_TOPIC=a\n").fails(
        78,
        &["f.env, line 1: P2P_TOPIC=", "did you mean P2P_TOPICS?"],
    );
    check("P2P_TOPICS=a\nthis is no assignment\n").fails(78, &["f.env, line 2"]);
    check("P2P_NETWORK_KEY_FILE=/none\n").fails(78, &["P2P_NETWORK_KEY_FILE", "cannot read"]);
    for args in [&["config", "check"][..], &["config", "show"], &["run"], &[]] {
        if !args.is_empty() {
            let with_flag = [args, &["--env-file", "none"]].concat();
            p2p(home.path(), &with_flag).fails(78, &["none: cannot read"]);
        }
        let mut command = node(home.path(), args);
        command.env("P2P_ENV_FILE", "none");
        run(command).fails(78, &["none: cannot read", "P2P_ENV_FILE"]);
    }
    // As the unit has it, since somebody may delete the file.
    let said = p2p(home.path(), &["config", "check", "--env-file=-none"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("none does not exist"), "{said:?}");

    fs::write(&file, "\nP2P_TOPICS=a\nP2P_GOSSIP_D=5\n").unwrap();
    let mut command = node(home.path(), &["config", "show", "--json"]);
    command
        .env("P2P_ENV_FILE", "f.env")
        .env("P2P_GOSSIP_D", "6");
    let shown = run(command).succeeds().json();
    let row = |name: &str| {
        let rows = shown.as_array().unwrap();
        let row = rows.iter().find(|r| r["name"] == name).unwrap();
        [&row["value"], &row["source"]].map(|v| v.as_str().unwrap().to_owned())
    };
    assert_eq!(row("P2P_TOPICS"), ["a", "f.env, line 2"]);
    assert_eq!(row("P2P_GOSSIP_D"), ["6", "environment"]);
    assert_eq!(row("P2P_ENV_FILE"), ["f.env", "environment"]);

    let printed = p2p(home.path(), &["config", "env-file"]).succeeds();
    assert_eq!(printed.stdout, fs::read(packaged).unwrap());
}

#[test]
fn keys_are_made_once_and_shown_without_the_secret() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("data/identity.key");
    p2p(home.path(), &["key", "show"]).fails(1, &["identity.key does not exist"]);
    let made = p2p(home.path(), &["key", "generate", "--json"])
        .succeeds()
        .json();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let secret = fs::read(&file).unwrap();
    p2p(home.path(), &["key", "generate"]).fails(1, &["identity.key exists", "never overwritten"]);
    assert_eq!(fs::read(&file).unwrap(), secret);
    assert_eq!(
        p2p(home.path(), &["key", "show", "--json"])
            .succeeds()
            .json(),
        made
    );
    assert_eq!(made["type"], "ed25519");
    let quiet = p2p(home.path(), &["key", "show", "-q"]).succeeds();
    assert_eq!(quiet.text().trim(), made["peer_id"].as_str().unwrap());

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    p2p(home.path(), &["key", "show"]).fails(1, &["mode 0644", "chmod 600"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "").unwrap();
    p2p(home.path(), &["key", "show"]).fails(1, &["identity.key", "it is empty"]);
    let other = home.path().join("other");
    p2p(home.path(), &["key", "generate", "--data-dir", "other"]).succeeds();
    assert_eq!(names(&other), ["identity.key"]);
}

#[test]
fn a_reader_that_goes_is_no_failure_and_a_full_disk_is() {
    let home = tempfile::tempdir().unwrap();
    // The reading end is closed before the command starts.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = node(home.path(), &["config", "show"]);
    command.stdout(writer);
    let said = run(command);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));

    let mut command = node(home.path(), &["config", "show"]);
    command.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
    run(command).fails(1, &["cannot write to standard output", "No space left"]);

    let mut command = node(home.path(), &["key", "show"]);
    command.stderr(Stdio::null());
    assert_eq!(run(command).code, Some(1));
}

#[test]
fn help_version_and_completions_are_there() {
    let home = tempfile::tempdir().unwrap();
    let help = p2p(home.path(), &["--help"]).succeeds();
    assert!(help.text().contains("69 no daemon at the socket"));
    let help = p2p(home.path(), &["run", "--help"]).succeeds();
    assert!(help.text().contains("P2P_LISTEN_ADDRS"));
    let version = p2p(home.path(), &["--version"]).succeeds();
    assert_eq!(
        version.text(),
        format!("p2p-node {}\n", env!("CARGO_PKG_VERSION"))
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = p2p(home.path(), &["completions", shell]).succeeds();
        assert!(script.text().contains("find-providers"), "{shell}");
    }
}
