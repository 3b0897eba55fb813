//! The rooms of the program stand on floors, which `src/lib.rs` draws: a room uses only
//! rooms that are drawn below it. This reads the paths in the source and says which
//! does not.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Files beside the rooms: what names the rooms, what starts them, and a door for
/// fuzzers. No room may name them.
const ROOF: [&str; 3] = ["lib", "main", "fuzzing"];

/// Rooms, and those that each names.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// The floors are the lines of the first code block marked `text` in `src/lib.rs`, the
/// highest first; what stands after two spaces is for people.
fn floors(lib: &str) -> Vec<Vec<String>> {
    let drawn = lib
        .lines()
        .map(|line| line.trim_start_matches("//!").trim());
    let block = drawn.skip_while(|line| *line != "```text").skip(1);
    block
        .take_while(|line| *line != "```")
        .map(|line| line.split("  ").next().unwrap_or_default())
        .map(|rooms| rooms.split(' ').map(str::to_owned).collect())
        .collect()
}

/// Words, `::`, braces and other marks, in order; without comments and what is quoted.
fn tokens(source: &str) -> Vec<String> {
    fn take(stream: TokenStream, out: &mut Vec<String>) {
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            match tree {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    out.push("{".into());
                    take(group.stream(), out);
                    out.push("}".into());
                }
                TokenTree::Group(group) => take(group.stream(), out),
                TokenTree::Ident(word) => out.push(word.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    let colon = |next: &TokenTree| matches!(next, TokenTree::Punct(p) if p.as_char() == ':');
                    let double = mark.spacing() == Spacing::Joint && trees.next_if(colon).is_some();
                    out.push(if double { "::" } else { ":" }.into());
                }
                TokenTree::Punct(mark) => out.push(mark.as_char().into()),
                TokenTree::Literal(_) => {}
            }
        }
    }
    let mut out = Vec::new();
    take(source.parse().unwrap(), &mut out);
    out
}

/// The first words of a path or of a group of them, which begins at `at`.
fn heads(tokens: &[String], at: usize, rooms: &mut BTreeSet<String>) {
    match tokens.get(at).map(String::as_str) {
        Some("{") => {
            let (mut depth, mut first) = (1, true);
            let mut i = at + 1;
            while depth > 0 && i < tokens.len() {
                match tokens[i].as_str() {
                    "{" if first => heads(tokens, i, rooms),
                    _ if first => drop(rooms.insert(tokens[i].clone())),
                    _ => {}
                }
                first = false;
                match tokens[i].as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," if depth == 1 => first = tokens.get(i + 1).is_some_and(|t| t != "}"),
                    _ => {}
                }
                i += 1;
            }
        }
        Some(word) => drop(rooms.insert(word.to_owned())),
        None => {}
    }
}

/// The rooms that a source names, by `crate::` or by as many `super::` as lead out of
/// its room. `depth` is how many names its own module's path has.
fn named(source: &str, depth: usize) -> BTreeSet<String> {
    let tokens = tokens(source);
    let mut rooms = BTreeSet::new();
    // For each open brace: whether it is that of a module.
    let mut open: Vec<bool> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" => open.push(i >= 2 && tokens[i - 2] == "mod"),
            "}" => drop(open.pop()),
            "crate" if tokens.get(i + 1).is_some_and(|t| t == "::") => {
                heads(&tokens, i + 2, &mut rooms);
            }
            "super" => {
                let mut up = 0;
                while tokens.get(i).is_some_and(|t| t == "super")
                    && tokens.get(i + 1).is_some_and(|t| t == "::")
                {
                    up += 1;
                    i += 2;
                }
                let here = depth + open.iter().filter(|module| **module).count();
                if up > 0 && up >= here {
                    heads(&tokens, i, &mut rooms);
                }
                // What stands here now is looked at in its turn.
                if up > 0 {
                    continue;
                }
            }
            _ => {}
        }
        i += 1;
    }
    rooms
}

/// What is wrong with `uses` in the light of `floors`, a line each.
fn faults(floors: &[Vec<String>], uses: &Uses) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut height = BTreeMap::new();
    for (down, rooms) in floors.iter().enumerate() {
        for room in rooms {
            if height.insert(room, down).is_some() {
                wrong.push(format!("{room} is drawn twice"));
            }
            if !uses.contains_key(room) {
                wrong.push(format!("{room} is drawn and not there"));
            }
        }
    }
    for (here, rooms) in uses {
        let Some(floor) = height.get(here) else {
            wrong.push(format!("{here} is on no floor"));
            continue;
        };
        for there in rooms {
            match height.get(there) {
                None => wrong.push(format!("{here} uses {there}, which is on no floor")),
                Some(other) if other < floor => {
                    wrong.push(format!("{here} looks up to {there}"));
                }
                Some(_) if reaches(uses, there, here) => {
                    wrong.push(format!("{here} and {there} use each other"));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

/// Whether one comes from `from` to `to` by what rooms use.
fn reaches(uses: &Uses, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(room) = next.pop() {
        if room == to {
            return true;
        }
        if seen.insert(room)
            && let Some(rooms) = uses.get(room)
        {
            next.extend(rooms.iter().map(String::as_str));
        }
    }
    false
}

/// All files of Rust under `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
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

/// The names of a file's module: `src/node/gossip/mod.rs` is `node`, `gossip`.
fn module(src: &Path, file: &Path) -> Vec<String> {
    let inner = file.strip_prefix(src).unwrap().with_extension("");
    let mut names: Vec<String> = inner
        .components()
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    names.pop_if(|name| name == "mod");
    names
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors = floors(&fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(floors.len() > 3, "no floors are drawn: {floors:?}");
    let mut uses = Uses::new();
    let mut where_from: BTreeMap<(String, String), PathBuf> = BTreeMap::new();
    for file in files(&src) {
        let module = module(&src, &file);
        let here = module[0].clone();
        if ROOF.contains(&here.as_str()) {
            continue;
        }
        let used = uses.entry(here.clone()).or_default();
        for there in named(&fs::read_to_string(&file).unwrap(), module.len()) {
            if there != here {
                where_from.insert((here.clone(), there.clone()), file.clone());
                used.insert(there);
            }
        }
    }
    let wrong = faults(&floors, &uses);
    assert!(wrong.is_empty(), "{wrong:#?}\namong {where_from:#?}");
    // Each room has its line in the table as well.
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    for room in uses.keys() {
        assert!(lib.contains(&format!("//! | [`{room}`] |")), "{room}");
    }
}

/// The modules of `src/node`, and those of them that each names, whether with the path
/// from the root or out of its own folder.
fn modules_of_node(src: &Path) -> Uses {
    let mut uses = Uses::new();
    for file in files(&src.join("node")) {
        let path = module(src, &file);
        let Some(here) = path.get(1) else { continue };
        let source = fs::read_to_string(&file).unwrap();
        let (left, _) = without_tests(&tokens(&source));
        let used = uses.entry(here.clone()).or_default();
        let step = |at: usize, word: &str| left.get(at).is_some_and(|token| token == word);
        for at in 0..left.len() {
            let from_root = step(at, "crate") && step(at + 1, "::") && step(at + 2, "node");
            if from_root && step(at + 3, "::") {
                heads(&left, at + 4, used);
            }
            let ups = (0..path.len())
                .take_while(|n| step(at + 2 * n, "super") && step(at + 2 * n + 1, "::"));
            let ups = ups.count();
            let first = at == 0 || !step(at - 1, "::");
            if first && ups > 0 && ups + 1 == path.len() {
                heads(&left, at + 2 * ups, used);
            }
        }
        used.remove(here);
    }
    uses
}

#[test]
fn the_drawn_modules_of_the_node_use_each_other_downwards_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors = floors(&fs::read_to_string(src.join("node/mod.rs")).unwrap());
    assert!(floors.len() > 3, "no floors are drawn: {floors:?}");
    let uses = modules_of_node(&src);
    let mut wrong = Vec::new();
    for (down, rooms) in floors.iter().enumerate() {
        for here in rooms {
            if !uses.contains_key(here) {
                wrong.push(format!("{here} is drawn and not there"));
            }
            let beside = rooms.iter().filter(|room| *room != here);
            for there in floors[..down].iter().flatten().chain(beside) {
                if reaches(&uses, here, there) {
                    wrong.push(format!("{here} comes to {there}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\namong {uses:#?}");
}

/// What the rooms that decide have no use for: clocks, disk, network, tasks, metrics and
/// logs that are counted.
const NOT_TO_DECIDE: [&str; 18] = [
    "Instant::now",
    "SystemTime::now",
    "Moment::now",
    "Timer",
    "fs",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "async_std",
    "async_io",
    "async_net",
    "blocking",
    "prometheus",
    "telemetry",
    "std::env",
    "std::process",
    "rand::random",
    "thread_rng",
];

/// A source without what is compiled for tests only, and the modules of that kind which
/// it declares and which are in files of their own.
fn without_tests(tokens: &[String]) -> (Vec<String>, BTreeSet<String>) {
    let (mut left, mut modules) = (Vec::new(), BTreeSet::new());
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token == word);
    let mut i = 0;
    while i < tokens.len() {
        if !(is(i, "#") && is(i + 1, "cfg") && is(i + 2, "test")) {
            left.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let item = i + 3;
        let end = |at: &usize| is(*at, ";") || is(*at, "{");
        let end = (item..tokens.len()).find(end).unwrap_or(tokens.len());
        if is(end, ";") {
            if is(end - 2, "mod") {
                modules.insert(tokens[end - 1].clone());
            }
            i = end + 1;
            continue;
        }
        let mut depth = 0;
        i = end;
        while i < tokens.len() {
            depth += i32::from(is(i, "{")) - i32::from(is(i, "}"));
            i += 1;
            if depth == 0 {
                break;
            }
        }
    }
    (left, modules)
}

/// The words of [`NOT_TO_DECIDE`] that a source uses, outside of its tests.
fn undecided(tokens: &[String]) -> Vec<&'static str> {
    let path = |at: usize, words: &str| {
        let words = words.split("::").flat_map(|word| [word, "::"]);
        let mut words: Vec<_> = words.collect();
        words.pop();
        let mut there = tokens[at..].iter().map(String::as_str);
        words.into_iter().all(|word| there.next() == Some(word))
    };
    let used = |words: &&str| (0..tokens.len()).any(|at| path(at, words));
    NOT_TO_DECIDE.into_iter().filter(used).collect()
}

#[test]
fn the_rooms_that_decide_read_no_clock_and_touch_nothing() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let drawn = lib.lines().find(|line| line.contains("  what is decided"));
    let rooms = drawn.and_then(|line| line.trim_start_matches("//! ").split("  ").next());
    let rooms: Vec<&str> = rooms.unwrap().split(' ').collect();
    assert!(rooms.len() > 4, "{rooms:?}");
    let mut wrong = Vec::new();
    for room in rooms {
        let sources: Vec<_> = files(&src.join(room))
            .into_iter()
            .map(|file| {
                let source = fs::read_to_string(&file).unwrap();
                (module(&src, &file), without_tests(&tokens(&source)))
            })
            .collect();
        assert!(!sources.is_empty(), "{room} has no files");
        let for_tests: BTreeSet<Vec<String>> = sources
            .iter()
            .flat_map(|(module, (_, inner))| {
                let path = |name: &String| [&module[..], std::slice::from_ref(name)].concat();
                inner.iter().map(path).collect::<Vec<_>>()
            })
            .collect();
        for (module, (left, _)) in &sources {
            let tested = |at: usize| for_tests.contains(&module[..at]);
            if !(1..=module.len()).any(tested) {
                let used = undecided(left);
                let told = used
                    .into_iter()
                    .map(|words| format!("{}: {words}", module.join("::")));
                wrong.extend(told);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_for_tests_only_is_passed_over_and_the_rest_is_named() {
    let source = "use std::time::Instant; fn a() { let now = Instant::now(); }\n\
                  #[cfg(test)] mod model;\n#[cfg(test)] use std::fs;\n\
                  #[cfg(test)] fn b() { if true { async_std::task::yield_now(); } }\n\
                  fn c(fs_type: u8) { crate::telemetry::count(); }\n\
                  #[cfg(test)] mod tests { fn d() { std::fs::read(\"x\"); } }";
    let (left, modules) = without_tests(&tokens(source));
    assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["model"]);
    assert_eq!(undecided(&left), ["Instant::now", "telemetry"]);
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
    let of = |source: &str, depth| named(source, depth).into_iter().collect::<Vec<_>>();
    let source = "use crate::{node::{self, handle::Error}, store, text::{size}};\n\
                  // crate::cli\n/* crate::diag */\n\
                  fn f() { crate::web::metrics::Metrics::new(); mycrate::control(); }";
    assert_eq!(of(source, 1), ["node", "store", "text", "web"]);
    assert_eq!(
        of("use crate::{{cli::X, diag}, store};", 1),
        ["cli", "diag", "store"]
    );
    assert_eq!(of("let u = \"http://x\"; crate :: cli::run();", 1), ["cli"]);
    assert_eq!(
        of("let s = \"crate::cli\"; let c = '\"'; crate::web;", 1),
        ["web"]
    );
    assert_eq!(of("let s = r#\"crate::cli \" \"#; crate::web;", 1), ["web"]);
    // Out of `store::x` it takes two, out of a module in it three.
    assert_eq!(of("use super::super::cli::Cli;", 2), ["cli"]);
    assert_eq!(of("use super::journal::Journal;", 2), [""; 0]);
    assert_eq!(of("mod t { use super::super::journal; }", 2), [""; 0]);
    assert_eq!(of("mod t { use super::super::super::cli; }", 2), ["cli"]);
}

#[test]
fn floors_are_read_from_the_drawing() {
    let lib = "//! # Floors\n//!\n//! ```text\n//! cli daemon  what people see\n//! node  the swarm\n//! ```\n";
    assert_eq!(floors(lib), [vec!["cli", "daemon"], vec!["node"]]);
}

#[test]
fn what_does_not_keep_to_the_floors_is_named() {
    let drawn = [&["cli", "web"][..], &["node"], &["store", "text"]];
    let floors = drawn.map(|rooms| rooms.iter().map(ToString::to_string).collect::<Vec<_>>());
    let told = |arrows: &[(&str, &str)]| {
        let mut uses: Uses = floors
            .iter()
            .flatten()
            .map(|r| (r.clone(), BTreeSet::new()))
            .collect();
        for (from, to) in arrows {
            uses.entry((*from).into()).or_default().insert((*to).into());
        }
        faults(&floors, &uses)
    };
    assert_eq!(
        told(&[("cli", "web"), ("cli", "store"), ("node", "text")]),
        [""; 0]
    );
    assert_eq!(told(&[("store", "node")]), ["store looks up to node"]);
    assert_eq!(
        told(&[("cli", "web"), ("web", "cli")]),
        ["cli and web use each other", "web and cli use each other"]
    );
    assert_eq!(
        told(&[("cli", "observe")]),
        ["cli uses observe, which is on no floor"]
    );
    assert_eq!(told(&[("observe", "text")]), ["observe is on no floor"]);
    let none = Uses::new();
    assert!(faults(&floors, &none).contains(&"cli is drawn and not there".to_owned()));
}
