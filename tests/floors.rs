//! The rooms of the program stand on floors, which `src/lib.rs` draws: a room uses only
//! rooms that are drawn below it. This reads the paths in the source and says which
//! does not.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use walk::files;

/// The floors as `src/lib.rs` draws them: the first line in a code block that begins
/// with `main` begins it, and each line is a floor, the highest first.
fn floors(lib: &str) -> Vec<Vec<String>> {
    let drawn = lib
        .lines()
        .map(|line| line.trim_start_matches("//!").trim());
    let mut floors = Vec::new();
    for line in drawn.skip_while(|line| *line != "```text").skip(1) {
        if line == "```" {
            break;
        }
        let rooms = line.split("  ").next().unwrap_or_default();
        floors.push(rooms.split(' ').map(str::to_owned).collect());
    }
    floors
}

/// The room that a file belongs to: its first folder, or the file itself.
fn room(src: &Path, file: &Path) -> String {
    let inner = file.strip_prefix(src).unwrap();
    let first = inner.components().next().unwrap().as_os_str();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The rooms that a source names by `crate::`, without what is in comments.
fn named(source: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    let code: String = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    for (at, path) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + path.len()..];
        let list = match rest.strip_prefix('{') {
            Some(inside) => first_words(inside),
            None => vec![word(rest)],
        };
        rooms.extend(list);
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first word of each entry of a list in braces, of which the first is open.
fn first_words(inside: &str) -> Vec<String> {
    let (mut depth, mut entry, mut words) = (0, String::new(), Vec::new());
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                words.push(word(entry.trim_start()));
                entry.clear();
                continue;
            }
            _ => {}
        }
        entry.push(c);
    }
    words.push(word(entry.trim_start()));
    words.retain(|word| !word.is_empty());
    words
}

mod walk {
    use super::*;

    /// All files of Rust under `dir`.
    pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
        found.sort();
        found
    }
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let floors = floors(&lib);
    assert!(floors.len() > 3, "no floors are drawn: {floors:?}");
    let mut height = BTreeMap::new();
    for (down, rooms) in floors.iter().enumerate() {
        for room in rooms {
            assert_eq!(
                height.insert(room.clone(), down),
                None,
                "{room} is drawn twice"
            );
        }
    }
    let mut wrong = Vec::new();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files(&src) {
        let here = room(&src, &file);
        // The roof: what names the rooms, and a door for fuzzers.
        if ["lib", "main", "fuzzing"].contains(&here.as_str()) {
            continue;
        }
        let Some(floor) = height.get(&here) else {
            wrong.push(format!("{here} is on no floor"));
            continue;
        };
        for there in named(&fs::read_to_string(&file).unwrap()) {
            if there == here || there == "fuzzing" {
                continue;
            }
            let name = file.strip_prefix(&src).unwrap().display();
            match height.get(&there) {
                None => wrong.push(format!("{name} names crate::{there}, which is on no floor")),
                Some(other) if other < floor => {
                    wrong.push(format!("{name} looks up to {there}"));
                }
                Some(_) => {
                    used.entry(here.clone()).or_default().insert(there);
                }
            }
        }
    }
    // Rooms of one floor may use each other, in one direction.
    for (here, rooms) in &used {
        for there in rooms {
            if reaches(&used, there, here) {
                wrong.push(format!("{here} and {there} use each other"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether one comes from `from` to `to` by what rooms use.
fn reaches(used: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(room) = next.pop() {
        if room == to {
            return true;
        }
        if seen.insert(room)
            && let Some(rooms) = used.get(room)
        {
            next.extend(rooms.iter().map(String::as_str));
        }
    }
    false
}

/// Paths in backticks that begin with `src/`.
fn paths(page: &str) -> Vec<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with("src/")).collect()
}

#[test]
fn the_page_on_architecture_names_files_that_exist_and_each_room_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    assert!(paths(&page).len() > 30, "no paths were read");
    for path in paths(&page) {
        assert!(root.join(path).is_file(), "there is no {path}");
    }
    let walks: Vec<_> = page.split("\n## A ").skip(1).collect();
    assert_eq!(walks.len(), 3, "a get, a put and a message");
    for walk in walks {
        let steps = walk.split("\n## ").next().unwrap();
        let mut rooms = BTreeSet::new();
        for step in steps.split("**").skip(1).step_by(2) {
            assert!(root.join("src").join(step).is_dir(), "{step} is no room");
            assert!(rooms.insert(step), "{step} is named twice");
        }
        assert!(rooms.len() > 4, "{rooms:?}");
    }
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let source = "use crate::{node::{self, handle::Error}, store, text::{size}};\n\
                  // crate::cli\n\
                  fn f() { crate::web::metrics::Metrics::new(); mycrate::control(); }";
    let rooms: Vec<_> = named(source).into_iter().collect();
    assert_eq!(rooms, ["node", "store", "text", "web"]);
}

#[test]
fn floors_are_read_from_the_drawing() {
    let lib = "//! # Floors\n//!\n//! ```text\n//! cli daemon  what people see\n//! node  the swarm\n//! ```\n";
    assert_eq!(floors(lib), [vec!["cli", "daemon"], vec!["node"]]);
}
