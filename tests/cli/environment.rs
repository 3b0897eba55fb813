//! The lists of environment variables that the harnesses keep away from a node agree with
//! each other, with the table of variables, and with what the program reads.

use std::collections::BTreeSet;

use p2p_node::config::VARIABLES;

use crate::common::FOR_A_NODE;

const RUST: &str = include_str!("../common/daemon.rs");
const PYTHON: &str = include_str!("../common/harness.py");

/// The names of environment variables that are quoted in a source text.
fn quoted(source: &str) -> BTreeSet<&str> {
    let is_name = |word: &&str| {
        word.contains('_')
            && word
                .chars()
                .all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c))
    };
    source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(is_name)
        .collect()
}

#[test]
fn both_harnesses_keep_the_same_variables_from_a_node() {
    let list = PYTHON
        .split_once("FOR_A_NODE = {")
        .and_then(|(_, rest)| rest.split_once('}'))
        .expect("harness.py has a list FOR_A_NODE")
        .0;
    assert_eq!(quoted(list), BTreeSet::from(FOR_A_NODE));
}

#[test]
fn no_variable_that_the_program_reads_is_left_out() {
    let kept_away = |name: &str| name.starts_with("P2P_") || FOR_A_NODE.contains(&name);
    let table = VARIABLES.iter().map(|variable| variable.name);
    // What a service manager sets is read in these files.
    let sources = [
        include_str!("../../src/system/manager.rs"),
        include_str!("../../src/system/notify.rs"),
        include_str!("../../src/config/paths.rs"),
        include_str!("../../src/node/identity.rs"),
    ];
    let read: BTreeSet<&str> = sources
        .into_iter()
        .flat_map(quoted)
        // Where the folders of a user are, which tests set for themselves.
        .filter(|name| !name.starts_with("XDG_"))
        .collect();
    assert!(
        read.contains("NOTIFY_SOCKET") && read.contains("STATE_DIRECTORY"),
        "{read:?}"
    );
    for name in table.chain(read) {
        assert!(
            kept_away(name),
            "{name} of the caller reaches the nodes of tests"
        );
    }
}

#[test]
fn the_variables_that_the_harnesses_set_exist() {
    for source in [RUST, PYTHON] {
        let set: Vec<&str> = quoted(source)
            .into_iter()
            .filter(|name| name.starts_with("P2P_") && *name != "P2P_")
            .collect();
        assert!(set.len() > 3, "{set:?}");
        for name in set {
            let known = VARIABLES.iter().any(|variable| variable.name == name);
            assert!(known, "there is no variable {name}");
        }
    }
}
