//! The command line: one file for each command, all based on the client of the control
//! socket.
//!
//! | file | holds |
//! |---|---|
//! | `context` | what every command is given: the global flags, the connection to a daemon |
//! | `error` | why a command failed: its line on standard error and its exit code |
//! | `output` | standard output as text, tables or JSON; ends quietly with its reader |
//! | `human` | text for people that only the commands print |
//! | `progress` | the progress bar on a terminal |
//! | `new_file` | a file that appears under its name complete or not at all |
//! | `feed` | a reader of a file or of standard input, for which a thread reads ahead |
//! | `interrupt` | Ctrl-C and similar signals, for commands that have to tidy up |
//! | `run_flags` | the flags of `run`, made from the table of variables |
//! | `manual` | more words and examples for each command, for its help and the manual page |
//!
//! Every other file contains the command after which it is named.
//!
//! Standard output carries only what was asked for. Errors, progress and summaries go to
//! standard error.

mod ban;
mod bans;
mod completions;
mod config;
mod connect;
mod context;
mod dht;
mod diag;
mod disconnect;
mod error;
mod feed;
mod get;
mod health;
pub(crate) mod human;
mod id;
mod interrupt;
mod key;
mod ls;
mod man;
mod manual;
mod new_file;
mod output;
pub(crate) mod parse;
mod peers;
mod progress;
mod publish;
mod put;
mod reload;
mod rm;
mod run;
mod run_flags;
mod stat;
mod status;
mod subscribe;
mod unban;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use context::Context;
pub use error::{CANNOT_CONFIGURE, FAILED, NO_DAEMON, WRONG_USAGE};
pub use run_flags::RunFlags;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "p2p-node",
    version,
    about = "A libp2p daemon and the commands that control it",
    long_about = "A libp2p daemon and the commands that control it.\n\n\
        Without a command, the daemon runs in the foreground. All other commands talk to a \
        running daemon over its control socket, except for those marked as offline.",
    after_help = "Exit codes: 0 success, 1 failure, 2 wrong usage, 69 no daemon at the socket, \
        78 invalid configuration.",
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Print JSON: one document, or one object per line when results arrive one by one
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// The daemon's control socket [env: P2P_CONTROL_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground; each flag takes precedence over the variable it mirrors
    Run(RunFlags),
    /// Show the node on one screen
    Status(status::StatusArgs),
    /// Exit with 0 when the node is live and ready, otherwise with 1
    Health,
    /// Show the peer id and the addresses at which it can be dialed
    Id,
    /// List the connected peers
    Peers,
    /// Connect to peers
    Connect(connect::ConnectArgs),
    /// Close all connections with a peer
    Disconnect(disconnect::DisconnectArgs),
    /// Store files, announce them and print their CIDs
    Put(put::PutArgs),
    /// Fetch a file from the peers that have it, verifying every block
    Get(get::GetArgs),
    /// List the files in the local store
    Ls,
    /// Remove files from the local store
    Rm(rm::RmArgs),
    /// Describe a file in the local store
    Stat(stat::StatArgs),
    /// Publish messages on a gossip topic
    Publish(publish::PublishArgs),
    /// Print the messages of gossip topics, one per line
    Subscribe(subscribe::SubscribeArgs),
    /// Use the distributed hash table
    #[command(subcommand)]
    Dht(dht::DhtCommand),
    /// Refuse a peer or a network, at once and across restarts
    Ban(ban::BanArgs),
    /// Lift bans
    Unban(unban::UnbanArgs),
    /// List the bans in force
    Bans,
    /// Say what is wrong with the node and what to do about it, or, without a daemon, what
    /// keeps it from starting
    Diag(diag::DiagArgs),
    /// Make the daemon read its configuration again
    Reload,
    /// Create or show the identity (offline)
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Check or show the configuration (offline)
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the completions for a shell (offline)
    Completions(completions::CompletionsArgs),
    /// Print a page of the manual in mdoc(7), as it is in man/ (offline)
    #[command(hide = true)]
    Man(man::ManArgs),
}

impl Cli {
    /// Parses a command line. When there is nothing to run, because the user asks for
    /// help or the command line is wrong, prints the message and returns the exit code.
    pub fn parse_from_args(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
        Cli::try_parse(args).map_err(|e| {
            if e.use_stderr() {
                error::report(&error::Error::usage(one_line(&e)))
            } else {
                // This prints help and the version. A reader that closed early is no
                // failure.
                let _ = e.print();
                ExitCode::SUCCESS
            }
        })
    }

    fn try_parse<A: Into<OsString> + Clone>(
        args: impl IntoIterator<Item = A>,
    ) -> Result<Cli, clap::Error> {
        let mut definition = Cli::definition();
        let mut matches = definition.try_get_matches_from_mut(args)?;
        Cli::from_arg_matches_mut(&mut matches).map_err(|e| e.format(&mut definition))
    }

    /// Runs the command and returns the exit code.
    pub fn run(self) -> ExitCode {
        let context = Context::new(self.global);
        let done = match self.command.unwrap_or(Command::Run(RunFlags::default())) {
            Command::Run(flags) => run::run(&context, flags),
            Command::Status(args) => status::run(&context, &args),
            Command::Health => health::run(&context),
            Command::Id => id::run(&context),
            Command::Peers => peers::run(&context),
            Command::Connect(args) => connect::run(&context, &args),
            Command::Disconnect(args) => disconnect::run(&context, &args),
            Command::Put(args) => put::run(&context, &args),
            Command::Get(args) => get::run(&context, &args),
            Command::Ls => ls::run(&context),
            Command::Rm(args) => rm::run(&context, &args),
            Command::Stat(args) => stat::run(&context, &args),
            Command::Publish(args) => publish::run(&context, &args),
            Command::Subscribe(args) => subscribe::run(&context, &args),
            Command::Dht(command) => dht::run(&context, &command),
            Command::Ban(args) => ban::run(&context, &args),
            Command::Unban(args) => unban::run(&context, &args),
            Command::Bans => bans::run(&context),
            Command::Diag(args) => diag::run(&context, &args),
            Command::Reload => reload::run(&context),
            Command::Key(command) => key::run(&context, &command),
            Command::Config(command) => config::run(&context, &command),
            Command::Completions(args) => completions::run(&context, &args),
            Command::Man(args) => man::run(&context, &args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => error::report(&e),
        }
    }

    /// Returns the command line as clap knows it, for completions and man pages.
    pub fn definition() -> clap::Command {
        manual::add_examples(<Cli as CommandFactory>::command())
    }
}

/// Shortens clap's message to one line. clap explains a wrong command line in several
/// paragraphs; the line consists of the first paragraph and of the tip, if there is one.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; see --help".into();
    }
    let rendered = error.render().to_string();
    let words = rendered
        .trim_start_matches("error: ")
        .lines()
        .take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more information"))
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ");
    format!(
        "{}; see --help",
        words.replace(" tip: ", "; ").trim_end_matches('.')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
        let told = |args: &[&str]| {
            let args = std::iter::once("p2p-node").chain(args.iter().copied());
            one_line(&Cli::try_parse(args).unwrap_err())
        };
        assert_eq!(
            told(&["get"]),
            "the following required arguments were not provided: <CID>; see --help"
        );
        assert!(told(&["statsu"]).contains("unrecognized subcommand 'statsu'; "));
        assert!(told(&["ls", "--jsn"]).contains("'--json'"));
        let bad_cid = told(&["get", "nonsense"]);
        assert!(
            bad_cid.starts_with("invalid value 'nonsense' for '<CID>': not a CID"),
            "{bad_cid}"
        );
        assert_eq!(told(&["dht"]), "a command is missing; see --help");
        assert_eq!(told(&["config"]), "a command is missing; see --help");
    }
}
