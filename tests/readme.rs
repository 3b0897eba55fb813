//! The README's tour is pasted into a shell and run, with the program that was
//! built for the tests in place of the release build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn the_tour_of_the_readme_works_as_pasted() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let tour = readme
        .split("<!-- tour -->")
        .nth(1)
        .and_then(|rest| rest.split("<!-- /tour -->").next())
        .and_then(|block| block.trim().strip_prefix("```sh"))
        .and_then(|block| block.strip_suffix("```"))
        .expect("README.md has a tour between its marks");
    let built = std::path::Path::new(common::PROGRAM).parent().unwrap();
    let tour = tour.replace("cargo build --release\n", "").replace(
        "PATH=$PWD/target/release:$PATH",
        &format!("PATH={}:$PATH", built.display()),
    );
    assert!(
        !tour.contains("cargo"),
        "the tour builds in a way that this test does not know"
    );

    let home = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh")
        .args(["-e", "-s"])
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env_remove("XDG_DATA_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whatever happens, no node outlives the tour.
    let script = format!("trap 'kill $nodes 2>/dev/null || true' EXIT\n{tour}");
    shell
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = shell.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{said}\n{complained}",
        output.status
    );
    assert!(said.contains("the same bytes"), "{said}\n{complained}");
    assert!(said.contains("hello from alice"), "{said}\n{complained}");
}
