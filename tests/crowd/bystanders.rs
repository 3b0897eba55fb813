//! A file among peers that do not have it.

use async_std::task::block_on;

use crate::crowd::Crowd;
use crate::files::{failures_of, pass};

/// How many connected peers do not have the file.
const BYSTANDERS: [usize; 3] = [8, 14, 24];

/// Files for each of them.
const FILES: u64 = 6;

#[test]
fn a_file_is_found_among_connected_peers_that_do_not_have_it() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        // Connections that nobody uses stay, so that all are bystanders to the end.
        let stays = [("P2P_CONNECTION_IDLE_TIMEOUT", "1h")];
        // The first is the one that seeks, the second the one that has it.
        let mut crowd = Crowd::start(dir.path(), &stays, 2, &stays).await;
        let mut failures = Vec::new();
        for count in BYSTANDERS {
            let there = crowd.members.len() - 2;
            crowd.grow(dir.path(), count - there, &stays).await;
            let [seeker, owner, bystanders @ ..] = crowd.members.as_slice() else {
                unreachable!("two and the bystanders");
            };
            for bystander in bystanders {
                seeker.connect(bystander).await;
            }
            let mut outcomes = Vec::new();
            for n in 0..FILES {
                outcomes.push(pass(owner, seeker, 100 * count as u64 + n).await);
            }
            let mut connected = 0;
            for bystander in bystanders {
                connected += usize::from(seeker.is_connected_with(bystander.peer()).await);
            }
            assert_eq!(connected, count, "bystanders that are connected");
            failures.extend(failures_of(&format!("with {count} bystanders"), &outcomes));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    });
}
