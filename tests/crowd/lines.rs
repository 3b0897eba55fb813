//! `journalctl -f | p2p-node publish TOPIC`: a line from time to time, without end, from a
//! node that does not subscribe.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_std::task::block_on;

use crate::common::{Process, program};
use crate::crowd::{Crowd, Ear, eventually};

const TOPIC: &str = "weblog";

/// Lines, one a second.
const LINES: usize = 15;

#[test]
fn a_publisher_that_does_not_subscribe_is_heard_for_as_long_as_it_speaks() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        // Of which many pass while it speaks.
        let mut short = vec![("P2P_CONNECTION_IDLE_TIMEOUT", "2s")];
        // What keeps a connection here is that it is published to, not that a node
        // keeps a few in any case.
        if has_variable("P2P_MIN_PEERS") {
            short.push(("P2P_MIN_PEERS", "0"));
        }
        let crowd = Crowd::start(dir.path(), &short, 2, &short).await;
        let [speaker, hearer] = crowd.members.as_slice() else {
            unreachable!("two members");
        };
        let ear = Ear::at(hearer, TOPIC).await;
        eventually("the speaker is heard", async || {
            // A connection that nobody uses may have ended again; what was said while
            // nobody could hear it is lost.
            speaker.connect(hearer).await;
            let _ = speaker.publish(TOPIC, "before").await;
            (!ear.words("before").is_empty()).then_some(())
        })
        .await;
        let mut publish = speaker.daemon().command(&["publish", TOPIC]);
        let mut publish = Process::spawn(publish.stdin(Stdio::piped()).stderr(Stdio::piped()));
        let mut input = publish.take_stdin();
        let lines: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
        for line in &lines {
            // The pace of what is told, not a wait for something to happen.
            async_io::Timer::after(Duration::from_secs(1)).await;
            if writeln!(input, "{line}").is_err() {
                // It has ended, and says why below.
                break;
            }
        }
        drop(input);
        let output = publish.output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("publish ended with {}: {said}", output.status);
        let heard = || ear.words("line ");
        println!("{} of {LINES} lines so far", heard().len());
        assert!(output.status.success(), "{said}");
        eventually("every line is heard", async || {
            (heard().len() >= LINES).then_some(())
        })
        .await;
        assert_eq!(heard(), lines);
    });
}

/// Whether the program under test has this variable; one that it does not know would
/// keep it from starting.
fn has_variable(name: &str) -> bool {
    let mut ask = Command::new(program());
    let output = ask.args(["config", "env-file"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains(name)
}
