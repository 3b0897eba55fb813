//! `completions SHELL`: prints the completions for a shell.

use clap_complete::Shell;

use super::Cli;
use super::context::Context;
use super::error::Error;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(context: &Context, args: &CompletionsArgs) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::definition(), "p2p-node", &mut script);
    let mut out = context.output();
    out.bytes(&script)?;
    out.finish()
}
