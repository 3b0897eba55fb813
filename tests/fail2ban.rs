//! The fail2ban filter in packaging/, on lines that the program's own logger
//! wrote: each offence is found with its address in every log format, and
//! nothing that a remote can say makes fail2ban ban an address of the remote's choice.
//!
//! The test needs fail2ban-regex. If it is missing, the test says so and is skipped, unless
//! `FAIL2BAN=required` is set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

#[path = "common/forms.rs"]
mod forms;

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use libp2p::PeerId;
use p2p_node::node::misbehaviour::{Misbehaviour, tell};
use p2p_node::peers::{Action, Conduct};

const OFFENDERS: [&str; 3] = ["192.0.2.7", "2001:db8::7", "::ffff:198.51.100.7"];

/// The address of somebody else, who misbehaved according to the lines of a forger.
const VICTIM: &str = "203.0.113.66";

/// What a remote may say of itself: an agent, a topic, an error text.
fn forgeries() -> Vec<String> {
    let line = format!("misbehaving peer at {VICTIM}: replay");
    let whole = format!("p2p_node::misbehaviour: {line}");
    let json = format!(r#"","target":"p2p_node::misbehaviour","msg":"{line}","x":""#);
    let ts = "2026-01-31T12:00:00.000Z";
    vec![
        line.clone(),
        whole.clone(),
        format!("\n{whole}\n"),
        format!("\r\n<4>{whole}"),
        format!("\u{2028}{whole}"),
        format!("host p2p-node[1]: {whole}"),
        format!("p2p-node[1]: {whole}"),
        format!("{ts} WARN  {whole}"),
        json,
        format!(
            r#"{{"ts":"{ts}","level":"warn","target":"p2p_node::misbehaviour","msg":"{line}"}}"#
        ),
        format!("x{}{whole}", " ".repeat(5000)),
    ]
}

/// This runs in a child process, since a process has only one logger, on stderr.
#[test]
#[ignore = "run by the other test, as a process of its own"]
fn child() {
    forms::init("");
    let peer = PeerId::random();
    match std::env::var("LINES").unwrap().as_str() {
        "offences" => {
            for ip in OFFENDERS {
                let ip = Some(ip.parse::<IpAddr>().unwrap());
                for (offence, action) in [
                    (Conduct::InvalidSignature, Action::Disconnect),
                    (Conduct::Replay, Action::Ban),
                    // This happens to anybody, and to trusted peers again and again.
                    (Conduct::PingLost, Action::Note),
                    (Conduct::Bomb, Action::Note),
                ] {
                    tell(&Misbehaviour {
                        peer: &peer,
                        ip,
                        offence,
                        reputation: -12.0,
                        action,
                        suppressed: 3,
                    });
                }
            }
        }
        "forgeries" => {
            tell(&Misbehaviour {
                peer: &peer,
                ip: None,
                offence: Conduct::Replay,
                reputation: -12.0,
                action: Action::Ban,
                suppressed: 0,
            });
            for words in forgeries() {
                log::warn!(agent = words.as_str(); "peer identified");
                log::warn!(address:% = VICTIM, topic:% = words; "cannot join topic");
                // A message that begins with a remote's words, as an error's may.
                log::warn!("{words}");
                log::error!("{words}: {words}");
            }
        }
        other => panic!("{other}"),
    }
}

/// Returns what the program wrote, by lines.
fn written(form: &str, lines: &str) -> Vec<String> {
    forms::written("child", form, &[("LINES", lines)])
}

/// The addresses that fail2ban would count against, one for each line.
fn found(lines: &[String]) -> Option<Vec<String>> {
    let filter =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/fail2ban/filter.d/p2p-node.conf");
    let log = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(log.path(), lines.join("\n") + "\n").unwrap();
    let output = match Command::new("fail2ban-regex")
        .args(["--usedns", "no", "-o", "ip"])
        .arg(log.path())
        .arg(&filter)
        .output()
    {
        Ok(output) => output,
        Err(e) => {
            let required = std::env::var_os("FAIL2BAN").is_some();
            assert!(!required, "fail2ban-regex cannot be run: {e}");
            println!("passed over: fail2ban-regex cannot be run: {e}");
            return None;
        }
    };
    assert!(
        output.status.success() || output.stdout.is_empty(),
        "{output:?}"
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("ERROR"), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// Lines as they stand in a log file, and as fail2ban sees them in the journal.
fn readings(form: &str, lines: &str) -> [Vec<String>; 2] {
    let file = written(form, lines);
    assert!(!file.is_empty());
    let journal = file
        .iter()
        .map(|line| {
            let line = line.strip_prefix("<4>").unwrap_or(line);
            let line = line.strip_prefix("<3>").unwrap_or(line);
            format!("2026-01-31T12:00:00.000000+0000 a-host.example p2p-node[4711]: {line}")
        })
        .collect();
    [file, journal]
}

#[test]
fn offences_are_found_with_their_addresses_in_every_form() {
    let expected: Vec<_> = OFFENDERS
        .iter()
        .map(|ip| ip.parse::<IpAddr>().unwrap().to_canonical().to_string())
        .flat_map(|ip| [ip.clone(), ip])
        .collect();
    for form in ["journal", "text", "json"] {
        for lines in readings(form, "offences") {
            let Some(found) = found(&lines) else { return };
            assert_eq!(found, expected, "{form}:\n{}", lines.join("\n"));
        }
    }
}

#[test]
fn no_words_of_a_remote_are_an_offence() {
    for form in ["journal", "text", "json"] {
        for lines in readings(form, "forgeries") {
            assert!(lines.iter().any(|l| l.contains(VICTIM)), "{form}");
            let Some(found) = found(&lines) else { return };
            assert!(
                found.is_empty(),
                "{form}: {found:?} in\n{}",
                lines.join("\n")
            );
        }
    }
}
