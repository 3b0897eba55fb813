//! `diag` against real daemons, well and unwell, and without one.

use std::fs;
use std::net::TcpListener;

use serde_json::Value;

use crate::daemon::{Daemon, command};
use crate::support::{Said, run};

/// The finding of `check`: its verdict, what was found and what to do.
#[track_caller]
fn finding(report: &Value, check: &str) -> (String, String, String) {
    let found = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["check"] == check)
        .unwrap_or_else(|| panic!("no {check} in {report}"));
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (text("verdict"), text("finding"), text("do"))
}

#[track_caller]
fn verdict(report: &Value, check: &str, wanted: &str) -> (String, String) {
    let (verdict, finding, advice) = finding(report, check);
    assert_eq!(verdict, wanted, "{check}: {finding}; {report}");
    (finding, advice)
}

/// The report and the exit code that it goes with.
#[track_caller]
fn report(said: &Said) -> Value {
    let report = said.json();
    let code = match (report["daemon"].as_str(), report["verdict"].as_str()) {
        (Some("absent"), _) => 69,
        (_, Some("problem")) => 1,
        _ => 0,
    };
    assert_eq!(
        (said.code, said.stderr.as_str()),
        (Some(code), ""),
        "{said:?}"
    );
    report
}

#[test]
fn a_healthy_node_has_no_problem() {
    let first = Daemon::start(&[]);
    let second = Daemon::start(&[&first]);
    let said = second.ask(&["diag", "--json"]);
    let told = report(&said);
    assert_eq!(said.code, Some(0), "{told}");
    assert_eq!(told["daemon"], "running");
    verdict(&told, "daemon", "ok");
    verdict(&told, "ready", "ok");
    verdict(&told, "event-loop", "ok");
    // One answers, and one is few.
    verdict(&told, "bootstrap", "note");
    assert!(told["figures"]["cpu_cores_now"].is_number(), "{told}");
    assert!(told["figures"]["resident_bytes"].as_u64() > Some(1 << 20));

    let text = second.ask(&["diag"]).succeeds();
    assert!(text.text().contains("do: "), "{text:?}");
    assert!(!text.text().contains('\u{1b}'), "no colours in a pipe");
    let quiet = second.ask(&["diag", "-q"]).succeeds();
    assert!(!quiet.text().contains("note "), "{quiet:?}");
}

#[test]
fn bootstrap_peers_that_are_gone_or_banned_are_told() {
    let first = Daemon::start(&[]);
    let (id, address) = (first.id(), first.address());
    let second = Daemon::start(&[&first]);
    second.ask(&["ban", &id]).succeeds();
    let told = report(&second.ask(&["diag", "--json"]));
    let (finding, _) = verdict(&told, "bootstrap", "problem");
    assert!(finding.contains("banned by this node"), "{finding}");
    let (finding, advice) = verdict(&told, "bans", "warning");
    assert!(
        finding.contains(&id) && advice.contains("unban"),
        "{finding}"
    );

    second.ask(&["unban", &id]).succeeds();
    let told = report(&second.ask(&["diag", "--json"]));
    verdict(&told, "bans", "ok");
    verdict(&told, "bootstrap", "note");

    // A ban of somebody that nobody wants is no warning.
    second.ask(&["ban", "192.0.2.0/24"]).succeeds();
    let told = report(&second.ask(&["diag", "--json"]));
    verdict(&told, "bans", "note");

    drop(first);
    let told = report(&second.ask(&["diag", "--json"]));
    let (finding, _) = verdict(&told, "bootstrap", "problem");
    assert!(finding.contains(&address), "{finding}");
    let told = report(&second.ask(&["diag", "--json", "--no-dial"]));
    let (_, finding, _) = self::finding(&told, "bootstrap");
    assert!(finding.contains("not tried"), "{finding}");
}

#[test]
fn without_a_daemon_it_says_what_keeps_one_from_starting() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let diag = |env: &[(&str, &str)], args: &[&str]| {
        let mut command = command(home.path(), &[&["diag"], args].concat());
        command.envs(env.iter().copied());
        run(command)
    };
    // Where the packages' file is installed it would be read instead.
    fs::write(home.path().join("empty.env"), "").unwrap();
    let file = ["--env-file", "empty.env"];

    let said = diag(
        &[("P2P_METRICS_PORT", &port)],
        &[&file[..], &["--json"]].concat(),
    );
    let told = report(&said);
    assert_eq!(
        (said.code, told["daemon"].as_str()),
        (Some(69), Some("absent"))
    );
    let (finding, _) = verdict(&told, "ports", "problem");
    let me = format!("process {} ", std::process::id());
    assert!(
        finding.contains(&port) && finding.contains(&me),
        "{finding}"
    );
    verdict(&told, "configuration", "ok");
    verdict(&told, "data-folder", "note");

    let said = diag(
        &[("P2P_METRICS_PORT", "0")],
        &[&file[..], &["--json"]].concat(),
    );
    verdict(&report(&said), "ports", "ok");

    fs::write(home.path().join("bad.env"), "P2P_TOPCIS=a\n").unwrap();
    let said = diag(&[], &["--env-file", "bad.env", "--json"]);
    let (finding, _) = verdict(&report(&said), "configuration", "problem");
    assert!(finding.contains("did you mean P2P_TOPICS?"), "{finding}");

    let text = diag(&[], &file);
    assert_eq!(text.code, Some(69));
    assert!(text.text().starts_with("problem  daemon"), "{text:?}");
}
