//! The README's tour is pasted into a shell and run, with the program that was
//! built for the tests in place of the release build. The paths that this and other pages
//! name are looked for.

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

/// Pages that lead readers to files of the source, which are moved now and then.
fn pages() -> Vec<std::path::PathBuf> {
    let mut pages: Vec<std::path::PathBuf> = ["README.md", "CONTRIBUTING.md", "benches/README.md"]
        .map(Into::into)
        .into();
    let decisions = std::fs::read_dir("docs/decisions").unwrap();
    pages.extend(decisions.map(|entry| entry.unwrap().path()));
    pages
}

#[test]
fn every_path_that_a_page_names_exists() {
    let folders = [
        "src/", "tests/", "benches/", "docs/", "fuzz/", "proto/", "systemd/",
    ];
    let mut missing = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        // Whole blocks are commands and output; between single backticks are names.
        let prose = text.split("```").step_by(2).collect::<Vec<_>>().join("");
        for quoted in prose.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|f| quoted.starts_with(f));
            if is_path && !quoted.contains([' ', '*', ':']) {
                seen += 1;
                if !std::path::Path::new(quoted).exists() {
                    missing.push(format!("{}: there is no {quoted}", page.display()));
                }
            }
        }
        for link in text.split("](").skip(1).filter_map(|l| l.split(')').next()) {
            let folder = page.parent().unwrap();
            if !link.contains("://") && !link.starts_with('#') {
                seen += 1;
                if !folder.join(link).exists() {
                    missing.push(format!("{}: the link {link} leads nowhere", page.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(seen > 50, "only {seen} paths were found");
}
