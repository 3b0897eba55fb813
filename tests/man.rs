//! The manual pages in man/: they are well formed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn pages() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut pages: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    pages.sort();
    assert!(pages.len() >= 2, "{pages:?}");
    pages
}

/// Whether mandoc is here. Where it must be, `MANDOC=required` says so.
fn have_mandoc() -> bool {
    let here = Command::new("mandoc").arg("-h").output().is_ok();
    let required = std::env::var_os("MANDOC").is_some_and(|v| v == "required");
    assert!(
        here || !required,
        "mandoc is missing; on Debian: apt-get install mandoc"
    );
    if !here {
        eprintln!("mandoc is missing: the pages are not checked");
    }
    here
}

#[test]
fn mandoc_has_nothing_to_say_about_the_pages() {
    if !have_mandoc() {
        return;
    }
    for page in pages() {
        let output = Command::new("mandoc")
            .args(["-T", "lint", "-W", "style"])
            .arg(&page)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        // Whether other pages are installed here says nothing about this one.
        let said: Vec<_> = said
            .lines()
            .filter(|l| !l.contains("referenced manual not found"))
            .filter(|l| !l.contains("mandoc.db"))
            .collect();
        assert!(said.is_empty(), "{}", said.join("\n"));
        assert!(output.status.code().is_some(), "{}", page.display());
    }
}
