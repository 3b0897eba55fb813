//! `config check|show|env-file`: checks and shows the configuration, offline.

use std::io::IsTerminal;
use std::path::Path;

use clap::Subcommand;
use serde_json::json;

use super::RunFlags;
use super::context::Context;
use super::error::{self, Error};
use super::output::Tone;
use crate::config::{Config, Source, env_file, network_key};

/// The path at which the packages install the environment file.
const PACKAGED_FILE: &str = "/etc/p2p-node/p2p-node.env";

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check whether the daemon would start with this configuration; exit with 78 if not
    Check(RunFlags),
    /// Print every variable with its effective value and where the value comes from
    Show(RunFlags),
    /// Print an environment file with every variable and its default
    EnvFile,
}

pub(crate) fn run(context: &Context, command: &ConfigCommand) -> Result<(), Error> {
    match command {
        ConfigCommand::Check(given) => check(context, given),
        ConfigCommand::Show(given) => show(context, given),
        ConfigCommand::EnvFile => {
            let mut out = context.output();
            out.bytes(env_file::render().as_bytes())?;
            out.finish()
        }
    }
}

fn load(context: &Context, given: &RunFlags) -> Result<Config, Error> {
    let inputs = given.inputs(context);
    let loaded = inputs.load()?;
    if loaded.config.env_file.is_none() && tell_of_packaged_file(context) {
        error::say(&format!(
            "note: {PACKAGED_FILE} was not read; add --env-file {PACKAGED_FILE} to see what the \
             service gets"
        ));
    }
    if let Some(path) = loaded.missing.as_ref().filter(|_| !context.global.quiet) {
        error::say(&format!("note: {} does not exist", path.display()));
    }
    Ok(loaded.config)
}

/// Returns whether to mention the file of the packages. A user at a terminal may take the
/// shell's environment for that of the service; a script knows what it does.
fn tell_of_packaged_file(context: &Context) -> bool {
    !context.global.quiet && std::io::stderr().is_terminal() && Path::new(PACKAGED_FILE).exists()
}

fn check(context: &Context, given: &RunFlags) -> Result<(), Error> {
    let config = load(context, given)?;
    if let Some(path) = &config.network_key_file {
        network_key::load(path)?;
    }
    let warnings: Vec<String> = config
        .set_without_effect()
        .iter()
        .map(|v| v.without_effect())
        .collect();
    let set = config
        .settings()
        .iter()
        .filter(|s| s.source != Source::Default)
        .count();
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({ "ok": true, "set": set, "warnings": warnings }))?;
        return out.finish();
    }
    for warning in &warnings {
        error::say(&format!("warning: {warning}"));
    }
    if !context.global.quiet {
        let ok = out.tone(Tone::Good, "ok");
        out.line(format!(
            "{ok}: {set} of {} variables are set",
            config.settings().len()
        ))?;
    }
    out.finish()
}

fn show(context: &Context, given: &RunFlags) -> Result<(), Error> {
    let config = load(context, given)?;
    let settings = config.settings();
    let mut out = context.output();
    if out.is_json() {
        let list: Vec<_> = settings
            .iter()
            .map(|s| {
                json!({
                    "name": s.variable.name,
                    "value": s.value,
                    "source": s.source.to_string(),
                    "default": s.variable.default_in_words(),
                    "effective": s.variable.effective,
                    "reloadable": s.variable.reloadable,
                    "help": s.variable.help,
                })
            })
            .collect();
        out.value(&list.into())?;
        return out.finish();
    }
    let rows: Vec<_> = settings
        .iter()
        .map(|s| {
            let value = if s.value.is_empty() { "-" } else { &s.value };
            let note = if s.variable.effective {
                ""
            } else {
                " (no effect in this version)"
            };
            [
                s.variable.name.to_owned(),
                format!("{}{note}", s.source),
                value.to_owned(),
            ]
        })
        .collect();
    out.table(["VARIABLE", "SOURCE", "VALUE"], &rows)?;
    out.finish()
}
