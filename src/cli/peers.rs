//! `peers`: lists the connected peers.

use serde_json::json;

use super::context::Context;
use super::error::Error;
use super::human;
use crate::text::{duration, foreign};

pub(crate) fn run(context: &Context) -> Result<(), Error> {
    let mut peers = context.ask("peers", async |client| client.peers().await)?;
    peers.sort_by_key(|p| p.id);
    let mut out = context.output();
    if out.is_json() {
        let list: Vec<_> = peers
            .iter()
            .map(|p| {
                let connections: Vec<_> = p
                    .connections
                    .iter()
                    .map(|c| {
                        json!({
                            "direction": direction(c.inbound),
                            "transport": c.transport,
                            "address": c.addr.to_string(),
                            "age_seconds": c.age.as_secs_f64(),
                        })
                    })
                    .collect();
                json!({
                    "peer_id": p.id.to_string(),
                    "agent": p.agent,
                    "ping_seconds": p.ping.map(|d| d.as_secs_f64()),
                    "streams": p.streams,
                    "trusted": p.trusted,
                    "reputation": p.reputation,
                    "kept_for": p.kept_for,
                    "connections": connections,
                })
            })
            .collect();
        out.value(&list.into())?;
        return out.finish();
    }
    let mut rows = Vec::new();
    for p in &peers {
        for (i, c) in p.connections.iter().enumerate() {
            // What applies to the peer as a whole is shown on the line of its first
            // connection.
            let once = |text: String| if i == 0 { text } else { String::new() };
            rows.push([
                once(p.id.to_string()),
                direction(c.inbound).to_owned(),
                foreign::printable(&c.transport),
                once(p.ping.map_or_else(|| "-".into(), duration::show)),
                once(p.streams.to_string()),
                once(human::score(p.reputation)),
                duration::show(c.age),
                once(if p.kept_for.is_empty() {
                    "-".into()
                } else {
                    foreign::printable(&p.kept_for.join(","))
                }),
                once(if p.agent.is_empty() {
                    "-".into()
                } else {
                    foreign::printable(&p.agent)
                }),
                foreign::address(&c.addr),
            ]);
        }
    }
    out.table(
        [
            "PEER",
            "DIR",
            "VIA",
            "PING",
            "STREAMS",
            "REPUTATION",
            "AGE",
            "KEPT FOR",
            "AGENT",
            "ADDRESS",
        ],
        &rows,
    )?;
    out.finish()
}

fn direction(inbound: bool) -> &'static str {
    if inbound { "in" } else { "out" }
}
