//! The product runs on async-std alone. quinn needs one feature of tokio, its
//! channels (`sync`), which bring no runtime; this fails when anything turns on
//! more, usually a dependency added without `default-features = false`.

use std::collections::BTreeSet;
use std::process::Command;

const ALLOWED: [&str; 2] = ["default", "sync"];

/// The features of tokio in the output of `cargo tree --prefix none -e features -i tokio`.
fn features(tree: &str) -> BTreeSet<&str> {
    tree.lines()
        .filter_map(|line| line.strip_prefix("tokio feature \"")?.split('"').next())
        .collect()
}

#[test]
fn no_feature_of_tokio_but_sync_is_in_the_tree() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none"])
        .args(["--edges", "normal,features", "--invert", "tokio"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let surplus: Vec<_> = features(&tree)
        .into_iter()
        .filter(|f| !ALLOWED.contains(f))
        .collect();
    assert!(
        surplus.is_empty(),
        "tokio features {surplus:?} are turned on:\n{tree}"
    );
    assert!(
        tree.starts_with("tokio v1"),
        "unexpected answer of cargo tree:\n{tree}"
    );
}

#[test]
fn a_surplus_feature_is_seen() {
    let tree = "tokio v1.0.0\ntokio feature \"default\"\nquinn v0.11.0\n\
                tokio feature \"rt\"\ntokio feature \"sync\" (*)\n";
    assert_eq!(features(tree), BTreeSet::from(["default", "rt", "sync"]));
}
