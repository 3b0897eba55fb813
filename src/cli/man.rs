//! `man 1|5`: the manual pages that are made from the program, for man/ in the
//! source tree. Hidden, since their readers type `man p2p-node`.
//!
//! | file | holds |
//! |---|---|
//! | `mdoc` | the writer: prose becomes lines of mdoc(7) |
//! | `commands` | p2p-node(1), from clap's definition and `cli::manual` |
//! | `variables` | p2p-node.env(5), from the table of variables |

mod commands;
mod mdoc;
mod variables;

use super::context::Context;
use super::error::Error;

/// The date of the pages: of the last change to what they say, so that the same
/// source makes the same pages.
const DATED: &str = "November 23, 2026";

/// Tells whoever opens a page where it is made.
const MADE: &str = "Made by p2p-node from its own definitions; do not edit.";

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Section: 1 is p2p-node(1), 5 is p2p-node.env(5)
    #[arg(value_parser = clap::value_parser!(u8).range(1..=5))]
    section: u8,
}

pub(crate) fn run(context: &Context, args: &ManArgs) -> Result<(), Error> {
    let page = match args.section {
        1 => commands::page(),
        5 => variables::page(),
        other => {
            return Err(Error::usage(format!(
                "man: no page of section {other} is made by the program; accepted: 1 or 5"
            )));
        }
    };
    let mut out = context.output();
    out.bytes(page.as_bytes())?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;

    /// The parts of a shell line that call this program.
    pub(super) fn calls(line: &str) -> Vec<Vec<String>> {
        let mut calls = Vec::new();
        for part in line.split(['|', ';', '>', '&', '(', ')']) {
            let words = shell_words(part);
            // Not as the name of a package, a service or a group.
            let starts = words.first().is_some_and(|w| w == "p2p-node");
            let prefixed = words.iter().position(|w| w == "xargs" || w == "until");
            let at = match (starts, prefixed) {
                (true, _) => Some(0),
                (false, Some(_)) => words.iter().position(|w| w == "p2p-node"),
                (false, None) => None,
            };
            calls.extend(at.map(|at| words[at..].to_vec()));
        }
        calls
    }

    /// Words, with single quotes taken off; enough for these pages.
    fn shell_words(part: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (i, piece) in part.split('\'').enumerate() {
            match i % 2 {
                0 => words.extend(piece.split_whitespace().map(str::to_owned)),
                _ => words.push(piece.to_owned()),
            }
        }
        words
    }

    /// What the page by hand has its reader type: lines in displays with a
    /// prompt, and what is quoted in its text.
    fn typed() -> Vec<String> {
        let page = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/man/p2p-node.service.8"
        ));
        let plain = |line: &str| line.replace("\\-", "-").replace("\\(aq", "'");
        page.lines()
            .filter_map(|line| {
                let quoted = line
                    .strip_prefix(".Ql ")
                    .map(|l| l.trim_end_matches([' ', '.', ',', ')']));
                let quoted = quoted.or(line
                    .strip_prefix(".Pq Ql ")
                    .map(|l| l.trim_end_matches([' ', ','])));
                let line = quoted
                    .or(line.strip_prefix("# "))
                    .or(line.strip_prefix("$ "))?;
                Some(plain(line))
            })
            .collect()
    }

    #[test]
    fn every_command_of_the_service_page_is_one_of_this_program() {
        let mut seen = 0;
        for line in typed() {
            for call in calls(&line) {
                // The group and the service have the program's name.
                if call.len() < 2 {
                    continue;
                }
                // A command that is named without what it needs, as in a sentence.
                let named =
                    call.len() == 2 && Cli::definition().find_subcommand(&call[1]).is_some();
                let known = match Cli::try_parse(call.clone()) {
                    Ok(_) => true,
                    Err(e) => named && e.kind() == clap::error::ErrorKind::MissingRequiredArgument,
                };
                assert!(known, "{line}: {:?}", Cli::try_parse(call).err());
                seen += 1;
            }
        }
        assert!(seen > 20, "only {seen} were found");
    }

    #[test]
    fn every_alert_has_its_section_on_the_service_page() {
        let rules = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/prometheus/p2p-node.rules.yml"
        ));
        let page = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/man/p2p-node.service.8"
        ));
        let mut alerts: Vec<_> = rules
            .lines()
            .filter_map(|l| l.trim().strip_prefix("- alert: "))
            .collect();
        let mut sections: Vec<_> = page
            .lines()
            .filter_map(|l| l.strip_prefix(".Ss "))
            .filter(|l| l.starts_with("P2PNode"))
            .collect();
        alerts.sort_unstable();
        sections.sort_unstable();
        assert!(alerts.len() > 20, "{alerts:?}");
        assert_eq!(
            alerts, sections,
            "man/p2p-node.service.8 has to follow the rules"
        );
    }
    #[test]
    fn the_committed_pages_are_what_the_program_makes() {
        for (section, file, made) in [
            (1, "man/p2p-node.1", super::commands::page()),
            (5, "man/p2p-node.env.5", super::variables::page()),
        ] {
            let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            let committed = std::fs::read_to_string(path).unwrap_or_default();
            // Not assert_eq!: two whole pages would bury the one line that helps.
            assert!(
                committed == made,
                "{file} is behind the program; write it anew with: \
                 cargo run -- man {section} > {file}"
            );
        }
    }
}
