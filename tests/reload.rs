//! The configuration changes while the node runs: real daemons, an environment
//! file, `p2p-node reload` and SIGHUP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use p2p_node::config::VARIABLES;
use serde_json::Value;

use common::{Daemon, Start, eventually};

/// A daemon with an environment file, which a test rewrites.
struct Subject {
    daemon: Daemon,
    file: PathBuf,
}

impl Subject {
    fn start(dir: &Path, text: &str) -> Subject {
        Subject::start_with(dir, text, &[])
    }

    /// `variables` are in its environment, in addition to those of every test.
    fn start_with(dir: &Path, text: &str, variables: &[(&str, &str)]) -> Subject {
        std::fs::create_dir_all(dir).unwrap();
        let file = dir.join("node.env");
        std::fs::write(&file, text).unwrap();
        let mut all = vec![
            ("P2P_ENV_FILE", file.to_str().unwrap()),
            // Connections do not end here because they are idle.
            ("P2P_CONNECTION_IDLE_TIMEOUT", "1h"),
        ];
        all.extend(variables);
        let daemon = Daemon::start(dir, &all);
        Subject { daemon, file }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    /// Rewrites the file and reloads, and returns what changed and what needs a restart.
    #[track_caller]
    fn reload(&self, text: &str) -> (Vec<String>, Vec<String>) {
        self.write(text);
        let told = self.daemon.json(&["reload"]);
        let names = |list: &Value| {
            let list = list.as_array().unwrap();
            list.iter()
                .map(|c| c["variable"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        (names(&told["changed"]), names(&told["restart"]))
    }

    fn status(&self) -> Value {
        self.daemon.json(&["status"])
    }

    fn allowed(&self, limit: &str) -> Option<u64> {
        let status = self.status();
        let limits = status["limits"].as_array().unwrap();
        let limit = limits.iter().find(|l| l["name"] == limit)?;
        limit["allowed"].as_u64()
    }

    /// The value of a metric that has no labels, or with labels as they are written.
    fn metric(&self, name: &str) -> f64 {
        self.daemon.metric(name)
    }

    fn logged(&self, what: &str) -> usize {
        self.daemon.log().matches(what).count()
    }
}

/// The effect of a variable, as it is visible from outside.
type Seen = fn(&Subject) -> String;

fn allowed(subject: &Subject, limit: &str) -> String {
    subject
        .allowed(limit)
        .map_or_else(|| "none".into(), |n| n.to_string())
}

fn list(subject: &Subject, field: &str) -> String {
    let status = subject.status();
    let values = status[field].as_array().unwrap().iter();
    let values = values.map(|v| match v["topic"].as_str() {
        Some(topic) => topic.to_owned(),
        None => v.as_str().unwrap().to_owned(),
    });
    values.collect::<Vec<_>>().join(",")
}

/// Variables whose effect the node says of itself: another value than the
/// default, what is seen with the default, and with that value.
const TOLD: &[(&str, &str, Seen, &str, &str)] = &[
    (
        "P2P_EXTERNAL_ADDRS",
        "/ip4/192.0.2.7/tcp/4001",
        |s| list(s, "external_addresses"),
        "",
        "/ip4/192.0.2.7/tcp/4001",
    ),
    (
        "P2P_TOPICS",
        "one,two",
        |s| list(s, "topics"),
        "",
        "one,two",
    ),
    (
        "P2P_MAX_CONNECTIONS",
        "37",
        |s| allowed(s, "connections"),
        "400",
        "37",
    ),
    (
        "P2P_MAX_INBOUND_CONNECTIONS",
        "31",
        |s| allowed(s, "inbound connections"),
        "400",
        "31",
    ),
    (
        "P2P_MAX_OUTBOUND_CONNECTIONS",
        "29",
        |s| allowed(s, "outbound connections"),
        "400",
        "29",
    ),
    (
        "P2P_MAX_MEMORY",
        "777MiB",
        |s| {
            let bytes = s.metric("p2p_memory_limit_bytes");
            let set = (bytes - 777.0 * 1024.0 * 1024.0).abs() < 1.0;
            set.to_string()
        },
        "false",
        "true",
    ),
    (
        "P2P_MAX_UPLOAD_RATE",
        "3MiB",
        |s| allowed(s, "upload"),
        "none",
        "3145728",
    ),
    (
        "P2P_MAX_DOWNLOAD_RATE",
        "2MiB",
        |s| allowed(s, "download"),
        "none",
        "2097152",
    ),
    (
        "P2P_STORE_MAX_BYTES",
        "64MiB",
        |s| allowed(s, "store"),
        "10737418240",
        "67108864",
    ),
];

/// Variables with a test of their own below, which shows what they do; that of
/// P2P_PEERING is in `tests/place.rs`.
const SHOWN: &[&str] = &[
    "P2P_ALLOW_CIDRS",
    "P2P_BLOCK_TTL",
    "P2P_BOOTSTRAP_PEERS",
    "P2P_DENY_CIDRS",
    "P2P_PEERING",
    "P2P_RELAYS",
    "P2P_TRUSTED_PEERS",
    "RUST_LOG",
];

/// Variables whose effect needs other subnets, hundreds of messages or a minute
/// of silence: the tests of their rooms have a change of them, and here it is
/// shown that the change is taken and told.
const TAKEN: &[(&str, &str)] = &[
    ("P2P_DRAIN_TIMEOUT", "3s"),
    ("P2P_MAX_CONNECTIONS_PER_PEER", "2"),
    ("P2P_MAX_CONNECTIONS_PER_SUBNET", "12"),
    ("P2P_MAX_INBOUND_RATE", "12"),
    ("P2P_MAX_INBOUND_RATE_PER_SUBNET", "3"),
    ("P2P_MIN_PEERS", "3"),
    ("P2P_RATE_BURST", "12"),
    ("P2P_RATE_BYTES_BURST", "2MiB"),
    ("P2P_RATE_BYTES_FILL", "2MiB"),
    ("P2P_RATE_FILL", "12"),
    ("P2P_STREAM_IDLE_TIMEOUT", "7s"),
    ("P2P_SUBNET_PREFIXES", "24,48"),
];

#[test]
fn every_reloadable_variable_has_its_test() {
    let told = TOLD.iter().map(|row| row.0);
    let mut tested: Vec<&str> = told
        .chain(SHOWN.iter().copied())
        .chain(TAKEN.iter().map(|row| row.0))
        .collect();
    tested.sort_unstable();
    let mut marked: Vec<&str> = VARIABLES
        .iter()
        .filter(|v| v.reloadable)
        .map(|v| v.name)
        .collect();
    marked.sort_unstable();
    assert_eq!(tested, marked);
}

#[test]
fn every_other_variable_is_taken_and_returns_to_its_default() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(dir.path(), "");
    for (name, value) in TAKEN {
        let told = |text: &str| {
            subject.write(text);
            subject.daemon.ok(&["reload"])
        };
        let default = VARIABLES.iter().find(|v| v.name == *name).unwrap().default;
        let shown = if default == "60s" { "1m" } else { default };
        let there = told(&format!("{name}={value}\n"));
        assert_eq!(there, format!("{name}: {value}, was {shown}"));
        assert_eq!(told(""), format!("{name}: {shown}, was {value}"));
    }
}

#[test]
fn what_the_node_says_of_itself_follows_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(dir.path(), "");
    let look = || -> BTreeMap<_, _> { TOLD.iter().map(|row| (row.0, row.2(&subject))).collect() };
    let expected =
        |which: fn(&(&'static str, &str, Seen, &'static str, &'static str)) -> &'static str| {
            TOLD.iter()
                .map(|row| (row.0, which(row).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
    let (before, after) = (expected(|r| r.3), expected(|r| r.4));
    assert_eq!(look(), before);
    // They connect one after the other, and each disconnects before the next.
    for (name, value, seen, without, with) in TOLD {
        let (changed, restart) = subject.reload(&format!("# one\n{name}={value}\n"));
        assert!(changed.contains(&(*name).to_owned()), "{name}: {changed:?}");
        assert!(restart.is_empty(), "{name}: {restart:?}");
        assert_eq!(seen(&subject), *with, "{name} is set");
        subject.reload("");
        assert_eq!(seen(&subject), *without, "{name} is gone");
    }
    // They were connected at the same time, and all have disconnected.
    let all: String = TOLD
        .iter()
        .map(|row| format!("{}={}\n", row.0, row.1))
        .collect();
    assert_eq!(subject.reload(&all).0.len(), TOLD.len());
    let mut seen = look();
    // The total limit applies as well.
    assert_eq!(seen.remove("P2P_MAX_INBOUND_CONNECTIONS").unwrap(), "31");
    let mut after = after;
    after.remove("P2P_MAX_INBOUND_CONNECTIONS");
    assert_eq!(seen, after);
    assert_eq!(subject.reload("").0.len(), TOLD.len());
    assert_eq!(look(), before);
}

#[test]
fn a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(dir.path(), "P2P_TOPICS=here\n");
    let began = subject.metric("p2p_config_last_reload_success_timestamp_seconds");
    assert_eq!(subject.metric("p2p_config_last_reload_successful"), 1.0);
    assert!(began > 1e9);
    for (text, told) in [
        (
            "P2P_TOPICS=there\nP2P_MAX_CONNECTIONS=many\n",
            "node.env, line 2: P2P_MAX_CONNECTIONS=\"many\": not a whole number; accepted: ",
        ),
        (
            "P2P_TOPIC=there\n",
            "line 1: P2P_TOPIC=\"there\": there is no such variable; did you mean P2P_TOPICS?",
        ),
        ("P2P_TOPICS=there\nnonsense\n", "line 2: not an assignment"),
        (
            "P2P_TOPICS=there\nP2P_NETWORK_KEY_FILE=/none\n",
            "P2P_NETWORK_KEY_FILE",
        ),
    ] {
        subject.write(text);
        let output = subject.daemon.cli(&["reload"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
        assert!(output.stdout.is_empty());
        assert_eq!(list(&subject, "topics"), "here");
        assert_eq!(subject.allowed("connections"), Some(400));
        assert_eq!(subject.metric("p2p_config_last_reload_successful"), 0.0);
    }
    std::fs::remove_file(&subject.file).unwrap();
    let output = subject.daemon.cli(&["reload"]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(list(&subject, "topics"), "here");
    // The same by SIGHUP is one warning.
    let warned = subject.logged("configuration not reloaded");
    assert_eq!(warned, 5);
    subject.daemon.signal(Signal::SIGHUP);
    eventually("the warning", || {
        (subject.logged("configuration not reloaded") == warned + 1).then_some(())
    });
    subject.daemon.ok(&["health"]);
    let (changed, _) = subject.reload("P2P_TOPICS=there\n");
    assert_eq!(changed, ["P2P_TOPICS"]);
    assert_eq!(subject.metric("p2p_config_last_reload_successful"), 1.0);
    assert!(subject.metric("p2p_config_last_reload_success_timestamp_seconds") >= began);
}

#[test]
fn what_cannot_change_is_named_at_each_reload() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start_with(dir.path(), "", &[("P2P_GOSSIP_D", "6")]);
    let text = "P2P_NETWORK=other\nP2P_DHT_MODE=client\nP2P_TOPICS=t\nP2P_GOSSIP_D=9\n";
    let (changed, restart) = subject.reload(text);
    // P2P_GOSSIP_D is set in the environment, which takes precedence.
    assert_eq!(changed, ["P2P_TOPICS"]);
    assert_eq!(restart, ["P2P_NETWORK", "P2P_KAD_PROTOCOL", "P2P_DHT_MODE"]);
    let warning = "need a restart to take effect: P2P_NETWORK, P2P_KAD_PROTOCOL, P2P_DHT_MODE";
    assert_eq!(subject.logged(warning), 1);
    let (changed, restart) = subject.reload(text);
    assert_eq!((changed.len(), restart.len()), (0, 3));
    assert_eq!(subject.logged(warning), 2);
    let words = subject.daemon.ok(&["reload"]);
    assert!(
        words.contains("P2P_NETWORK: other, was p2p-node; needs a restart"),
        "{words}"
    );
    assert_eq!(subject.reload("P2P_TOPICS=t\n"), (vec![], vec![]));
    assert_eq!(subject.daemon.ok(&["reload"]), "nothing has changed");
}

#[test]
fn many_signals_end_in_what_the_file_says_last() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(dir.path(), "");
    for n in 0..200 {
        subject.write(&format!("P2P_TOPICS=t{n}\n"));
        subject.daemon.signal(Signal::SIGHUP);
    }
    eventually("the last file is in force", || {
        (list(&subject, "topics") == "t199").then_some(())
    });
    assert_eq!(subject.daemon.stop(), Some(0));
}

#[test]
fn a_reload_while_starting_and_while_draining() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.env");
    std::fs::write(&file, "P2P_TOPICS=first\n").unwrap();
    let mut daemon = Start::new(dir.path())
        .with(&[("P2P_ENV_FILE", file.to_str().unwrap())])
        .spawn();
    // The data folder is made after the signals are caught and the file is read.
    eventually("the start has begun", || {
        let begun = dir.path().join("data").exists();
        assert!(daemon.ended().is_none());
        begun.then_some(())
    });
    std::fs::write(&file, "P2P_TOPICS=second\nP2P_DRAIN_TIMEOUT=0s\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    let daemon = daemon.wait_ready();
    let subject = Subject { daemon, file };
    eventually("what came during the start is in force", || {
        (list(&subject, "topics") == "second").then_some(())
    });
    let mut daemon = subject.daemon;
    daemon.signal(Signal::SIGTERM);
    for _ in 0..20 {
        daemon.signal(Signal::SIGHUP);
    }
    assert_eq!(daemon.wait(), Some(0));
}

fn peers(daemon: &Daemon) -> usize {
    daemon.json(&["peers"]).as_array().unwrap().len()
}

fn id(daemon: &Daemon) -> String {
    daemon.json(&["id"])["peer_id"].as_str().unwrap().to_owned()
}

#[test]
fn networks_and_trust_hold_for_connections_that_stand() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(&dir.path().join("a"), "");
    let other = Daemon::start(&dir.path().join("b"), &[]);
    let address = subject.daemon.address("tcp");
    let connects = || other.cli(&["connect", &address]).status.success();
    let apart = || {
        eventually("the connection has ended", || {
            (peers(&subject.daemon) == 0 && peers(&other) == 0).then_some(())
        });
    };
    let deny = "P2P_DENY_CIDRS=127.0.0.0/8\n";
    let allow = "P2P_ALLOW_CIDRS=192.0.2.0/24\n";
    let trust = format!("P2P_TRUSTED_PEERS={}\n", id(&other));
    for list in [deny, allow] {
        assert!(connects());
        subject.reload(list);
        apart();
        assert!(!connects(), "{list}");
        subject.reload("");
    }
    // A trusted peer that is connected stays connected under a list of allowed networks.
    assert!(connects());
    subject.reload(&format!("{allow}{trust}"));
    let listed = subject.daemon.json(&["peers"]);
    assert_eq!(listed[0]["trusted"], true, "{listed}");
    subject.reload(&format!("{allow}{trust}{deny}"));
    apart();
    subject.reload("");
    assert!(connects());
    let listed = subject.daemon.json(&["peers"]);
    assert_eq!(listed[0]["trusted"], false, "{listed}");
}

#[test]
fn a_new_bootstrap_peer_and_a_new_relay_are_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(&dir.path().join("a"), "");
    let relay = Daemon::start(
        &dir.path().join("b"),
        &[
            ("P2P_RELAY_SERVER", "true"),
            ("P2P_EXTERNAL_ADDRS", "/ip4/127.0.0.1/tcp/1"),
        ],
    );
    assert_eq!(peers(&subject.daemon), 0);
    let address = relay.address("tcp");
    subject.reload(&format!("P2P_BOOTSTRAP_PEERS={address}\n"));
    eventually("the bootstrap peer is connected", || {
        (peers(&subject.daemon) == 1).then_some(())
    });
    subject.reload("");
    let relays = || subject.status()["nat"]["relays"].as_array().unwrap().len();
    assert_eq!(relays(), 0);
    subject.reload(&format!("P2P_RELAYS={address}\n"));
    eventually("the relay has given a reservation", || {
        (relays() == 1).then_some(())
    });
    subject.reload("");
    assert_eq!(relays(), 0);
}

#[test]
fn a_cap_that_is_raised_lets_in_who_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(&dir.path().join("a"), "P2P_MAX_CONNECTIONS=1\n");
    let others = ["b", "c"].map(|name| Daemon::start(&dir.path().join(name), &[]));
    let address = subject.daemon.address("tcp");
    let connects = |n: usize| others[n].cli(&["connect", &address]).status.success();
    assert!(connects(0));
    assert!(!connects(1), "the total is one");
    subject.reload("");
    assert!(connects(1), "the total is the default");
    // A connection that exists stays.
    subject.reload("P2P_MAX_CONNECTIONS=1\n");
    assert_eq!(peers(&subject.daemon), 2);
}

#[test]
fn what_is_put_lives_as_long_as_the_file_says_now() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(dir.path(), "");
    let put = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, name).unwrap();
        let cid = subject.daemon.ok(&["put", "-q", path.to_str().unwrap()]);
        let stat = subject.daemon.json(&["stat", &cid]);
        let expires = stat["expires_unix_ms"].as_u64();
        let expires = expires.unwrap_or_else(|| panic!("{stat}"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // In whole hours from now; an import takes a fraction of one.
        (expires - u64::try_from(now.unwrap().as_millis()).unwrap() + 1_800_000) / 3_600_000
    };
    assert_eq!(put("one"), 24);
    subject.reload("P2P_BLOCK_TTL=5h\n");
    assert_eq!(put("two"), 5);
    subject.reload("");
    assert_eq!(put("three"), 24);
}

#[test]
fn the_log_follows_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::start(&dir.path().join("a"), "RUST_LOG=error\n");
    subject.reload("RUST_LOG=error\nP2P_TOPICS=quiet\n");
    assert_eq!(subject.logged("configuration reloaded"), 0);
    subject.reload("RUST_LOG=p2p_node=debug\n");
    assert_eq!(subject.logged("configuration reloaded"), 1);
    let other = Daemon::start(&dir.path().join("b"), &[]);
    other.ok(&["connect", &subject.daemon.address("tcp")]);
    eventually("a line of debug", || {
        (subject.logged("\"level\":\"debug\"") > 0).then_some(())
    });
}
