//! What must not be in the tree of dependencies: a second runtime, and TLS
//! before 1.3. Both can be added unnoticed by a dependency without
//! `default-features = false`.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::collections::BTreeSet;
use std::process::Command;

/// The features of `package` that `tree`, the output of
/// `cargo tree --prefix none --edges features --invert`, shows turned on.
fn features<'a>(tree: &'a str, package: &str) -> BTreeSet<&'a str> {
    let mark = format!("{package} feature \"");
    tree.lines()
        .filter_map(|line| line.strip_prefix(&mark)?.split('"').next())
        .collect()
}

/// What `cargo tree` says of who turns on what of `package`.
fn tree_of(package: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none"])
        .args(["--edges", "normal,features", "--invert", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && tree.starts_with(&format!("{package} v")),
        "unexpected answer of cargo tree:\n{tree}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    tree
}

/// quinn needs tokio's channels, which bring no runtime.
#[test]
fn no_feature_of_tokio_but_sync_is_in_the_tree() {
    let tree = tree_of("tokio");
    let surplus: Vec<_> = features(&tree, "tokio")
        .into_iter()
        .filter(|f| !["default", "sync"].contains(f))
        .collect();
    assert!(
        surplus.is_empty(),
        "tokio features {surplus:?} are turned on:\n{tree}"
    );
}

/// Every key exchange of TLS 1.3 is ephemeral, so that a stolen identity key
/// reads nothing that was recorded before. Versions without that promise are
/// not even compiled in.
#[test]
fn tls_before_1_3_is_not_in_the_tree() {
    let tree = tree_of("rustls");
    let on = features(&tree, "rustls");
    assert!(!on.contains("tls12"), "rustls speaks TLS 1.2:\n{tree}");
    assert!(
        on.contains("std"),
        "the tree was not read: {on:?} of\n{tree}"
    );
}

#[test]
fn a_surplus_feature_is_seen() {
    let tree = "tokio v1.0.0\ntokio feature \"default\"\nquinn v0.11.0\n\
                tokio feature \"rt\"\ntokio feature \"sync\" (*)\n";
    assert_eq!(
        features(tree, "tokio"),
        BTreeSet::from(["default", "rt", "sync"])
    );
}
