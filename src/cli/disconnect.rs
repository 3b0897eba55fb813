//! `disconnect PEER`: closes all connections with a peer.

use libp2p::PeerId;
use serde_json::json;

use super::context::Context;
use super::error::Error;
use super::parse;

#[derive(Debug, clap::Args)]
pub(crate) struct DisconnectArgs {
    /// The peer's id, or a multiaddr that ends in /p2p/PEER
    #[arg(value_name = "PEER", value_parser = parse::peer)]
    peer: PeerId,
}

pub(crate) fn run(context: &Context, args: &DisconnectArgs) -> Result<(), Error> {
    let doing = format!("disconnect {}", args.peer);
    context.ask(&doing, async |client| client.disconnect(args.peer).await)?;
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({ "peer_id": args.peer.to_string() }))?;
    } else if !context.global.quiet {
        out.line(format!("disconnected from {}", args.peer))?;
    }
    out.finish()
}
