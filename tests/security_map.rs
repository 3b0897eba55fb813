//! SECURITY.md says where each protection is and which test fails without it.
//! This test fails when a file or a test that it names does not exist, or when a line
//! of the threat model is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

use std::collections::BTreeMap;

/// What the page must speak of, in the order of its first table.
const LINES: [&str; 15] = [
    "Noise protocol",
    "TLS 1.3",
    "Perfect forward secrecy",
    "Signature verification",
    "Replay prevention",
    "Monotonic sequence numbers",
    "Rate limiting",
    "Connection caps",
    "Memory quotas",
    "SHA-256 hashing",
    "Incremental verification",
    "Merkle tree",
    "Blacklist",
    "Reputation scoring",
    "Behavioural analysis",
];

/// The rows of all tables: the cells of each line that begins with `|`, without
/// heads and rules.
fn rows(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| protection"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What a cell has between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_protection_has_its_code_and_its_test() {
    let page = std::fs::read_to_string("SECURITY.md").unwrap();
    let mut files = BTreeMap::new();
    let mut faults = Vec::new();
    let rows = rows(&page);
    for row in &rows {
        let [name, code, tests] = row[..] else {
            faults.push(format!("not three cells: {row:?}"));
            continue;
        };
        if quoted(code).count() == 0 || quoted(tests).count() == 0 {
            faults.push(format!("{name}: names no code or no test"));
        }
        for path in quoted(code).filter(|quote| quote.contains('/')) {
            if !std::path::Path::new(path).exists() {
                faults.push(format!("{name}: there is no {path}"));
            }
        }
        for test in quoted(tests) {
            let Some((path, function)) = test.split_once("::") else {
                faults.push(format!("{name}: {test} is not path::test"));
                continue;
            };
            let text = files
                .entry(path)
                .or_insert_with(|| std::fs::read_to_string(path).unwrap_or_default());
            if !text.contains(&format!("fn {function}(")) {
                faults.push(format!("{name}: there is no test {test}"));
            }
        }
    }
    for line in LINES {
        if !rows.iter().any(|row| row[0].eq_ignore_ascii_case(line)) {
            faults.push(format!("no row about {line}"));
        }
    }
    assert!(faults.is_empty(), "SECURITY.md:\n{}", faults.join("\n"));
}
