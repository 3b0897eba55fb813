//! `id`: prints the peer id and the addresses at which the node can be dialed.

use libp2p::multiaddr::Protocol;
use serde_json::json;

use super::context::Context;
use super::error::Error;
use crate::text::foreign;

pub(crate) fn run(context: &Context) -> Result<(), Error> {
    let me = context.ask("id", async |client| client.identify().await)?;
    let addrs: Vec<String> = me
        .addrs
        .iter()
        .map(|addr| match addr.iter().last() {
            Some(Protocol::P2p(peer)) if peer == me.id => addr.to_string(),
            _ => format!("{addr}/p2p/{}", me.id),
        })
        .collect();
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({ "peer_id": me.id.to_string(), "addresses": addrs }))?;
    } else {
        out.line(me.id)?;
        for addr in addrs {
            out.line(foreign::printable(&addr))?;
        }
    }
    out.finish()
}
