//! The `p2p-node` binary: parse arguments, choose a command; nothing else.

use std::process::ExitCode;

use p2p_node::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse_from_args(std::env::args_os()) {
        Ok(cli) => cli.run(),
        Err(code) => code,
    }
}
