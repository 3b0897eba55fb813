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
