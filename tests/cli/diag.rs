//! `diag` against real daemons, healthy and unhealthy ones, and without a daemon.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::common::{Closed, PROGRAM, bare_command};
use crate::daemon::{Daemon, command, start_in};
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
    // One peer answers, which is few.
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

    // A ban of a peer that the configuration does not name is no warning.
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

#[test]
fn a_full_store_and_few_descriptors_are_told() {
    let home = tempfile::tempdir().unwrap();
    // Each MiB is a different block.
    let big: Vec<u8> = (0..8u32 << 20).map(|i| (i >> 20) as u8).collect();
    fs::write(home.path().join("big"), big).unwrap();
    let start = |descriptors: &str, store: &str| {
        let limited = format!("ulimit -n {descriptors} && exec \"$0\" run");
        let mut shell = bare_command(None, Path::new("sh"));
        shell.args(["-c", &limited, PROGRAM]);
        let start = start_in(home.path(), home.path()).with(&[("P2P_STORE_MAX_BYTES", store)]);
        start.spawn_by(shell).wait_ready()
    };
    let ask = |args: &[&str]| run(command(home.path(), args));
    let mut daemon = start("200", "2MiB");
    let put = ask(&["put", "big"]);
    let told = ask(&["diag", "--json"]).json();
    daemon.kill();
    assert_eq!(put.code, Some(1), "{put:?}");
    let (finding, advice) = verdict(&told, "connections", "warning");
    assert!(finding.contains("descriptors for"), "{finding}");
    assert!(advice.contains("LimitNOFILE"), "{advice}");
    let (_, advice) = verdict(&told, "store", "warning");
    assert!(advice.contains("P2P_STORE_MAX_BYTES"), "{advice}");

    let mut daemon = start("4096", "1GiB");
    let told = ask(&["diag", "--json"]).json();
    daemon.kill();
    verdict(&told, "connections", "ok");
    verdict(&told, "store", "ok");
}

/// Bytes in the forms that a text may carry them in.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    use cid::multibase::Base;
    let hex = Base::Base16Lower.encode(secret);
    let mut forms = vec![secret.to_vec(), hex.to_uppercase().into_bytes()];
    for base in [
        Base::Base16Lower,
        Base::Base64,
        Base::Base64Url,
        Base::Base58Btc,
        Base::Base32Lower,
    ] {
        forms.push(base.encode(secret).into_bytes());
    }
    forms
}

#[track_caller]
fn holds_none_of(text: &[u8], what: &str, forms: &[Vec<u8>]) {
    for form in forms {
        assert!(
            !text.windows(form.len()).any(|w| w == form),
            "{what} is in the bundle as {}",
            String::from_utf8_lossy(form)
        );
    }
}

#[test]
fn a_bundle_holds_no_secret_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt;

    let first = Daemon::start(&[]);
    let second = Daemon::start(&[&first]);
    let remote = first.id();
    second.ask(&["ban", "192.0.2.77"]).succeeds();
    let said = second.ask(&["diag", "--bundle", "report.txt"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.is_empty());
    said.tells(&["report.txt", "read it before you send it"]);
    let path = second.path().join("report.txt");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bundle = fs::read(&path).unwrap();
    let text = String::from_utf8(bundle.clone()).unwrap();
    for part in [
        "==== findings",
        "P2P_BOOTSTRAP_PEERS=/ip4/127.0.0.1/tcp/",
        "/p2p/<peer-1>",
        "libp2p_connections_active",
        "\"peer_id\": \"<this-node>\"",
        "==== log",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // The secret key is the first half of what an ed25519 key file ends in.
    let key = fs::read(second.path().join("data/identity.key")).unwrap();
    assert!(key.len() >= 68, "{}", key.len());
    let secret = &key[key.len() - 64..];
    holds_none_of(&bundle, "the identity", &forms(&secret[..32]));
    holds_none_of(&bundle, "the identity", &forms(secret));
    let id = cid::multibase::Base::Base58Btc.decode(&remote).unwrap();
    holds_none_of(&bundle, "a remote's id", &forms(&id));
    holds_none_of(&bundle, "an address", &[b"192.0.2.77".to_vec()]);

    // The second time, the file stays as it is, and no other file is left beside it.
    let before = crate::support::names(second.path());
    second
        .ask(&["diag", "--bundle", "report.txt"])
        .fails(1, &["report.txt", "does not overwrite"]);
    assert_eq!(fs::read(&path).unwrap(), bundle);
    assert_eq!(crate::support::names(second.path()), before);

    let open = second
        .ask(&["diag", "--bundle", "-", "--with-peers"])
        .succeeds();
    assert!(open.text().contains(&remote), "{open:?}");
}

#[test]
fn a_bundle_without_a_daemon_holds_no_secret_of_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let network_key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    fs::write(
        home.path().join("swarm.key"),
        format!("/key/swarm/psk/1.0.0/\n/base16/\n{network_key}\n"),
    )
    .unwrap();
    let bundle = |env: &[(&str, &str)], file: &str| {
        fs::write(home.path().join("f.env"), file).unwrap();
        let mut command = command(
            home.path(),
            &["diag", "--bundle", "-", "--env-file", "f.env"],
        );
        command.envs(env.iter().copied());
        run(command).succeeds().stdout
    };
    let secrets = [
        forms(b"hunter2-in-the-environment"),
        forms(b"hunter2-in-the-file"),
        vec![network_key.as_bytes().to_vec()],
    ]
    .concat();
    let key_file = home.path().join("swarm.key");
    for (env, file) in [
        (("DATABASE_PASSWORD", "hunter2-in-the-environment"), ""),
        (("P2P_PASSWORD", "hunter2-in-the-environment"), ""),
        (("X", "y"), "P2P_SECRET=hunter2-in-the-file\n"),
        (("P2P_NETWORK_KEY_FILE", key_file.to_str().unwrap()), ""),
    ] {
        let text = bundle(&[env], file);
        assert!(String::from_utf8_lossy(&text).contains("no daemon answers"));
        holds_none_of(&text, env.0, &secrets);
    }
}

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/packaging/diagnose/p2p-node-diagnose.sh"
);

/// Runs the script for hosts without the program.
fn script(shell: &[&str], args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(shell[0])
        .args(&shell[1..])
        .arg(SCRIPT)
        .args(args)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), said)
}

/// Whether curl is here. Where it must be, `CURL=required` says so.
fn have_curl() -> bool {
    let mut curl = std::process::Command::new("curl");
    let here = curl.arg("-V").output().is_ok();
    let required = std::env::var_os("CURL").is_some_and(|v| v == "required");
    assert!(here || !required, "CURL=required, and there is no curl");
    if !here {
        eprintln!("passed over: there is no curl here");
    }
    here
}

/// A node that no peer can reach. Its metrics are those of a real node, with attempts.
#[test]
fn the_script_sees_that_nobody_gets_in() {
    use std::io::{Read, Write};

    if !have_curl() {
        return;
    }
    let metrics = p2p_node::web::metrics::Metrics::new().unwrap();
    let attempts = &metrics.node.nat_traversal_attempts;
    attempts.with_label_values(&["autonat", "failed"]).inc_by(3);
    let body = metrics.render().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // /metrics, /health/live and /health/ready, whichever it is.
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut client, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut some = [0; 1024];
            while !head.ends_with(b"\r\n\r\n") {
                let n = client.read(&mut some).unwrap();
                head.extend_from_slice(&some[..n]);
            }
            write!(client, "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
        }
    });
    let (_, said) = script(&["sh"], &[&url]);
    assert!(said.contains("warning  nat "), "{said}");
    assert!(said.contains("autonat 0 ok and 3 failed"), "{said}");
    server.join().unwrap();
}

#[test]
fn the_script_says_what_the_program_says() {
    if !have_curl() {
        return;
    }
    let closed = Closed::new();
    let url = format!("http://{}", closed.socket());
    let (code, said) = script(&["sh"], &[&url]);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("nobody answers"), "{said}");

    let home = tempfile::tempdir().unwrap();
    let daemon = start_in(home.path(), home.path()).spawn().wait_ready();
    let url = format!("http://{}", daemon.http());
    let ask = |args: &[&str]| run(command(home.path(), args));
    let _ = ask(&["dht", "get", "nothing", "--timeout", "1s"]);
    let told = ask(&["diag", "--json"]).json();
    let busybox = std::process::Command::new("busybox").output().is_ok();
    let mut shells = vec![&["sh"][..]];
    if busybox {
        shells.push(&["busybox", "sh"]);
    }
    let said: Vec<_> = shells.iter().map(|shell| script(shell, &[&url])).collect();
    drop(daemon);

    let p99 = told["figures"]["dht_query_p99"]["since_start_seconds"]
        .as_f64()
        .unwrap();
    for (code, said) in &said {
        assert_eq!(*code, Some(0), "{said}");
        let shown: f64 = said
            .split("queries is ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no percentile in {said}"));
        assert!(
            (shown - p99).abs() <= p99 * 1e-5,
            "{shown} is not {p99}: {said}"
        );
        for check in ["live", "ready", "memory", "nat", "descriptors"] {
            assert!(
                said.contains(&format!("\nok       {check} ")),
                "{check}: {said}"
            );
        }
    }
    let (code, said) = script(&["sh"], &["-h"]);
    assert!(code == Some(0) && said.starts_with("Usage:"), "{said}");
}
