//! Where the dependencies come from, and what is known against them.
//!
//! `supply-chain/advisories.json` is a copy of those advisories of RustSec that concern
//! crates of `Cargo.lock`, with its date; `supply-chain/renew` makes it anew.
//! `supply-chain/policy.json` says which licences are allowed and which crates may be
//! there in several versions, with reasons. Nothing here uses the network.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn read(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// A package of a lock file.
#[derive(Debug, PartialEq)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: bool,
}

fn packages(lock: &str) -> Vec<Locked> {
    let field = |block: &str, key: &str| {
        let mark = format!("{key} = \"");
        let mut lines = block.lines();
        lines.find_map(|l| Some(l.strip_prefix(&mark)?.trim_end_matches('"').to_owned()))
    };
    let blocks = lock.split("[[package]]\n").skip(1);
    let package = |block: &str| Locked {
        name: field(block, "name").unwrap(),
        version: field(block, "version").unwrap(),
        source: field(block, "source"),
        checksum: field(block, "checksum").is_some(),
    };
    blocks.map(package).collect()
}

/// Major, minor and patch of a version. What is not given is zero; what follows a `-` is
/// left out, so that a release before a version counts as that version.
fn version(text: &str) -> [u64; 3] {
    let numbers = text.split(['-', '+']).next().unwrap();
    let mut parts = numbers.trim().split('.').map(|n| n.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// Whether a version meets a requirement such as `>= 0.5.1, < 0.6.0` or `^0.4.2`.
fn meets(locked: &str, requirement: &str) -> bool {
    let have = version(locked);
    requirement.split(',').all(|part| {
        let part = part.trim();
        let split = part.find(|c: char| c.is_ascii_digit()).unwrap();
        let want = version(&part[split..]);
        match part[..split].trim() {
            ">=" => have >= want,
            ">" => have > want,
            "<=" => have <= want,
            "<" => have < want,
            "=" => have == want,
            "^" => {
                let fixed = want.iter().position(|n| *n > 0).unwrap_or(2);
                have >= want && have[..=fixed] == want[..=fixed]
            }
            other => panic!("{other:?} of {requirement} is not understood"),
        }
    })
}

/// Whether an expression of SPDX can be met with the licences in `allowed`. Crates of old
/// write `/` for `OR`.
fn licensed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    let met = any(&mut tokens, allowed);
    assert_eq!(
        tokens.next(),
        None,
        "{expression:?} was not read to its end"
    );
    met
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(tokens: &mut Tokens<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        met |= all(tokens, allowed);
    }
    met
}

fn all(tokens: &mut Tokens<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        met &= one(tokens, allowed);
    }
    met
}

fn one(tokens: &mut Tokens<'_>, allowed: &BTreeSet<String>) -> bool {
    if tokens.next_if_eq(&"(").is_some() {
        let met = any(tokens, allowed);
        assert_eq!(tokens.next(), Some(")"));
        return met;
    }
    let mut name = tokens.next().unwrap().to_owned();
    if tokens.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", tokens.next().unwrap());
    }
    allowed.contains(&name)
}

/// Which advisories hold for these packages, by id.
fn holding<'a>(advisories: &'a Value, locked: &[Locked]) -> BTreeMap<&'a str, String> {
    let told = list(advisories, "advisories").iter();
    let all = told.chain(list(advisories, "added"));
    let mut holding = BTreeMap::new();
    for advisory in all {
        let fine = |version: &str| {
            let mut requirements = list(advisory, "patched")
                .iter()
                .chain(list(advisory, "unaffected"));
            requirements.any(|r| meets(version, r.as_str().unwrap()))
        };
        let mut here = locked.iter().filter(|p| p.name == text(advisory, "crate"));
        if let Some(package) = here.find(|p| !fine(&p.version)) {
            let what = format!(
                "{} {}: {} ({}), patched in {}",
                package.name,
                package.version,
                text(advisory, "title"),
                text(advisory, "kind"),
                advisory["patched"],
            );
            holding.insert(text(advisory, "id"), what);
        }
    }
    holding
}

#[test]
fn no_advisory_holds_for_what_is_locked_unless_it_was_judged() {
    let advisories = json("supply-chain/advisories.json");
    let locked = packages(&read("Cargo.lock"));
    let holding = holding(&advisories, &locked);
    let judged = advisories["judgements"].as_object().unwrap();
    let open: Vec<_> = holding
        .iter()
        .filter(|(id, _)| !judged.contains_key(**id))
        .collect();
    assert!(
        open.is_empty(),
        "update these, or write a judgement: {open:#?}"
    );
    let stale: Vec<_> = judged
        .keys()
        .filter(|id| !holding.contains_key(&***id))
        .collect();
    assert!(stale.is_empty(), "nothing is left to judge of {stale:?}");
    for lowest in list(&advisories, "lowest") {
        let (name, least) = (text(lowest, "crate"), text(lowest, "version"));
        let mut here = locked.iter().filter(|p| p.name == name).peekable();
        assert!(here.peek().is_some(), "{name} is not locked any more");
        for package in here {
            let have = version(&package.version);
            assert!(have >= version(least), "{package:?} is below {least}");
        }
    }
}

#[test]
fn the_copy_of_the_list_has_a_date_and_concerns_what_is_locked() {
    let advisories = json("supply-chain/advisories.json");
    let date = text(&advisories, "date");
    let parts: Vec<u32> = date.split('-').map(|n| n.parse().unwrap()).collect();
    assert!(parts.len() == 3 && parts[0] >= 2025, "{date}");
    assert_eq!(text(&advisories, "commit").len(), 40);
    let locked = packages(&read("Cargo.lock"));
    let told = list(&advisories, "advisories").iter();
    for advisory in told.chain(list(&advisories, "added")) {
        let name = text(advisory, "crate");
        assert!(
            locked.iter().any(|p| p.name == name),
            "{name} is not locked any more: run supply-chain/renew"
        );
    }
}

#[test]
fn every_crate_is_from_crates_io_and_has_a_checksum() {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let all = packages(&read(lock));
        assert!(all.len() > 100, "{lock} was not read");
        for package in all {
            let own = package.name.starts_with("p2p-node") && package.source.is_none();
            let from_there = package.source.as_deref() == Some(CRATES_IO) && package.checksum;
            assert!(own || from_there, "{lock}: {package:?}");
        }
    }
}

#[test]
fn every_licence_is_allowed_and_none_is_allowed_in_vain() {
    let policy = json("supply-chain/policy.json");
    let allowed: BTreeSet<String> = list(&policy, "licences")
        .iter()
        .map(|l| text(l, "id").to_owned())
        .collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = list(&metadata, "packages");
    let refused = |allowed: &BTreeSet<String>| {
        let refused = packages.iter().filter(|p| {
            let licence = p["license"].as_str();
            !licence.is_some_and(|expression| licensed(expression, allowed))
        });
        let name = |p: &Value| format!("{} {}: {}", p["name"], p["version"], p["license"]);
        refused.map(name).collect::<Vec<_>>()
    };
    assert_eq!(refused(&allowed), Vec::<String>::new());
    for licence in &allowed {
        let mut fewer = allowed.clone();
        fewer.remove(licence);
        assert!(!refused(&fewer).is_empty(), "no crate needs {licence}");
    }
}

#[test]
fn a_crate_is_there_twice_only_for_a_reason() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages(&read("Cargo.lock")) {
        let of = versions.entry(package.name).or_default();
        of.push(package.version);
    }
    versions.retain(|_, of| of.len() > 1);
    for of in versions.values_mut() {
        of.sort_by_key(|v| version(v));
    }
    let policy = json("supply-chain/policy.json");
    let expected: BTreeMap<String, Vec<String>> = list(&policy, "duplicates")
        .iter()
        .map(|entry| {
            assert!(text(entry, "because").len() > 10, "{entry}");
            let versions = list(entry, "versions").iter();
            let versions = versions.map(|v| v.as_str().unwrap().to_owned());
            (text(entry, "crate").to_owned(), versions.collect())
        })
        .collect();
    assert_eq!(
        versions, expected,
        "supply-chain/policy.json is out of date"
    );
}

#[test]
fn versions_are_compared_as_cargo_does() {
    for (locked, requirement, expected) in [
        ("1.2.3", ">= 1.2.3", true),
        ("1.2.2", ">= 1.2.3", false),
        ("0.10.0", ">= 0.9.4, < 0.10.0", false),
        ("0.9.5", "^0.9.4", true),
        ("0.10.0", "^ 0.9.4", false),
        ("1.9.0", "^1.2", true),
        ("0.0.4", "^0.0.3", false),
        ("0.25.0", ">= 0.25.0-alpha.5", true),
        ("0.2.4", "=0.2.4", true),
        ("1.0.0", "< 1", false),
    ] {
        assert_eq!(
            meets(locked, requirement),
            expected,
            "{locked} {requirement}"
        );
    }
}

#[test]
fn what_is_bad_is_seen() {
    let lock = "version = 4\n\n[[package]]\nname = \"x\"\nversion = \"1.0.1\"\n\
                source = \"git+https://example.org\"\n\n[[package]]\nname = \"y\"\nversion = \"2.0.0\"\n";
    let locked = packages(lock);
    assert_eq!(locked.len(), 2);
    assert_eq!(locked[0].source.as_deref(), Some("git+https://example.org"));
    let advisories = serde_json::json!({
        "advisories": [
            {"crate": "x", "id": "A", "kind": "vulnerability", "title": "t",
             "patched": [">= 1.0.2"], "unaffected": ["< 1.0.0"]},
            {"crate": "y", "id": "B", "kind": "vulnerability", "title": "t",
             "patched": [">= 1.0.2"], "unaffected": []},
        ],
        "added": [{"crate": "y", "id": "C", "kind": "unmaintained", "title": "t",
                   "patched": [], "unaffected": []}],
    });
    let ids: Vec<_> = holding(&advisories, &locked).into_keys().collect();
    assert_eq!(ids, ["A", "C"]);
    let allowed = ["MIT", "ISC"].map(str::to_owned).into_iter().collect();
    for (expression, met) in [
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 AND MIT", false),
        ("(Apache-2.0 OR MIT) AND ISC", true),
        ("GPL-3.0-only", false),
        ("Apache-2.0 WITH LLVM-exception", false),
    ] {
        assert_eq!(licensed(expression, &allowed), met, "{expression}");
    }
}
