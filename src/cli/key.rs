//! `key generate|show`: creates or shows the identity, offline.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, Subcommand};
use libp2p::identity::Keypair;
use serde_json::json;

use super::context::Context;
use super::error::Error;
use crate::config::{Flags, Inputs};
use crate::node::identity;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create an ed25519 identity; an existing one is never overwritten
    Generate(KeyArgs),
    /// Show the peer id of the identity, but never the secret key
    Show(KeyArgs),
}

// Where the identity is. This is no doc comment because clap would show it as help.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Folder with the identity [env: P2P_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<OsString>,
    /// Environment file that may set the folder [env: P2P_ENV_FILE]
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    env_file: Option<OsString>,
}

pub(crate) fn run(context: &Context, command: &KeyCommand) -> Result<(), Error> {
    let (KeyCommand::Generate(args) | KeyCommand::Show(args)) = command;
    let given = [
        ("P2P_DATA_DIR", &args.data_dir),
        ("P2P_ENV_FILE", &args.env_file),
    ];
    let flags: Flags = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect();
    let dir = Inputs::of_process(flags).load()?.config.data_dir;
    // As in the daemon, a credential passed by the service manager has precedence.
    let credential = identity::credential();
    let (doing, keypair) = match command {
        KeyCommand::Generate(_) => ("key generate", identity::create(&dir)),
        KeyCommand::Show(_) => match &credential {
            Some(path) => ("key show", identity::load_credential(path)),
            None => ("key show", identity::load(&dir)),
        },
    };
    let keypair = keypair.map_err(|e| Error::failed(format!("{doing}: {e}")))?;
    let file = match (command, credential) {
        (KeyCommand::Show(_), Some(path)) => path,
        _ => identity::key_file(&dir),
    };
    print(context, &file, &keypair)
}

fn print(context: &Context, file: &Path, keypair: &Keypair) -> Result<(), Error> {
    let peer = keypair.public().to_peer_id();
    let kind = keypair.key_type().to_string().to_lowercase();
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({
            "peer_id": peer.to_string(),
            "type": kind,
            "file": file.to_string_lossy(),
        }))?;
    } else if context.global.quiet {
        out.line(peer)?;
    } else {
        out.line(format!("peer id  {peer}"))?;
        out.line(format!("type     {kind}"))?;
        out.line(format!("file     {}", file.display()))?;
    }
    out.finish()
}
