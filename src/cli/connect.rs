//! `connect MULTIADDR…`: connects to peers.

use libp2p::{Multiaddr, PeerId};
use serde_json::json;

use super::context::Context;
use super::error::{Doing, Error};
use super::parse::{self, Destination};

#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// Multiaddrs, with /p2p/PEER at the end to accept only that peer, or a peer id whose
    /// addresses the node finds itself
    #[arg(required = true, value_name = "MULTIADDR", value_parser = parse::destination)]
    to: Vec<Destination>,
}

pub(crate) fn run(context: &Context, args: &ConnectArgs) -> Result<(), Error> {
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        let mut out = context.output();
        let mut connected = Vec::new();
        for (peer, addrs) in by_peer(&args.to) {
            let name = match (peer, &addrs[..]) {
                (None, [addr, ..]) => addr.to_string(),
                (Some(peer), _) => peer.to_string(),
                (None, []) => continue,
            };
            let who = client
                .connect_peer(peer, &addrs, None)
                .await
                .doing(format!("connect {name}"))?;
            let who = who.map_or(name, |p| p.to_string());
            if out.is_json() {
                connected.push(json!({ "peer_id": who }));
            } else if !context.global.quiet {
                out.line(format!("connected to {who}"))?;
                out.flush()?;
            }
        }
        if out.is_json() {
            out.value(&connected.into())?;
        }
        out.finish()
    })
}

/// Groups the addresses by peer. Addresses of one peer are tried together; an address
/// that names no peer is tried alone.
fn by_peer(to: &[Destination]) -> Vec<(Option<PeerId>, Vec<Multiaddr>)> {
    let mut groups: Vec<(Option<PeerId>, Vec<Multiaddr>)> = Vec::new();
    for d in to {
        let known = groups
            .iter_mut()
            .find(|(peer, _)| peer.is_some() && *peer == d.peer);
        match known {
            Some((_, addrs)) => addrs.extend(d.addr.clone()),
            None => groups.push((d.peer, d.addr.iter().cloned().collect())),
        }
    }
    groups
}
