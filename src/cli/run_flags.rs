//! The flags of `run`, generated from the table of variables.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::context::Context;
use crate::config::{Flags, Inputs, VARIABLES};

/// Values from the command line, by the name of the variable that each of them mirrors.
#[derive(Debug, Clone, Default)]
pub struct RunFlags(pub Flags);

impl RunFlags {
    /// Returns what the configuration is made from: the environment of this process and
    /// these flags. The option `--socket` of the other commands means the same socket
    /// here.
    pub(crate) fn inputs(&self, context: &Context) -> Inputs {
        let mut flags = self.0.clone();
        if let Some(socket) = &context.global.socket {
            flags
                .entry("P2P_CONTROL_SOCKET")
                .or_insert_with(|| socket.clone().into());
        }
        Inputs::of_process(flags)
    }
}

impl Args for RunFlags {
    fn augment_args(command: Command) -> Command {
        command.args(VARIABLES.iter().map(|v| {
            let mut help = format!(
                "{} [env: {}] [default: {}]",
                v.help,
                v.name,
                v.default_in_words()
            );
            if !v.effective {
                help.push_str(" (no effect in this version)");
            }
            let arg = Arg::new(v.name)
                .long(v.flag())
                .value_name(v.placeholder)
                .help(help)
                .action(ArgAction::Set)
                .value_parser(clap::value_parser!(std::ffi::OsString))
                // A value may begin with a dash. The table reports what is wrong with it.
                .allow_hyphen_values(!v.is_switch());
            if v.is_switch() {
                arg.num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
            } else {
                arg
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = RunFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for v in VARIABLES {
            if let Some(value) = matches.get_one::<std::ffi::OsString>(v.name) {
                self.0.insert(v.name, value.clone());
            }
        }
        Ok(())
    }
}
