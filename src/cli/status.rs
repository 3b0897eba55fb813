//! `status [--watch]`: shows the node on one screen.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::{Context, prompt};
use super::error::Error;
use super::output::{Output, Tone};
use crate::api::{State, Status};
use crate::text::{count::counted, duration, foreign, size};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Update the display every two seconds, until interrupted
    #[arg(short, long)]
    watch: bool,
}

/// The time between two updates of `--watch`.
const INTERVAL: Duration = Duration::from_secs(2);

pub(crate) fn run(context: &Context, args: &StatusArgs) -> Result<(), Error> {
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        let mut out = context.output();
        loop {
            let status = prompt("status", client.status()).await?;
            if args.watch && out.is_terminal() && !out.is_json() {
                // The cursor goes to the top left, and everything below it is cleared.
                // The display does not flicker, and the terminal's history is kept.
                out.bytes(b"\x1b[H\x1b[J")?;
            }
            if out.is_json() {
                out.value(&to_json(&status))?;
            } else {
                print(&mut out, &status)?;
            }
            out.flush()?;
            if !args.watch {
                return Ok(());
            }
            async_std::task::sleep(INTERVAL).await;
            if !out.is_terminal() && !out.is_json() {
                out.line("")?;
            }
        }
    })
}

/// Returns the node's status as JSON.
pub(super) fn to_json(s: &Status) -> Value {
    let texts =
        |addrs: &[libp2p::Multiaddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let topics: Vec<_> = s
        .topics
        .iter()
        .map(|t| json!({ "topic": t.topic, "mesh_peers": t.mesh_peers, "peers": t.peers }))
        .collect();
    let limits: Vec<_> = s
        .limits
        .iter()
        .map(|l| {
            json!({
                "name": l.name,
                "variable": l.variable,
                "unit": l.unit.as_str(),
                "used": l.used,
                "allowed": l.allowed,
            })
        })
        .collect();
    json!({
        "peer_id": s.peer_id.map(|p| p.to_string()),
        "agent": s.agent,
        "network": s.network,
        "state": s.state.as_str(),
        "uptime_seconds": s.uptime.as_secs_f64(),
        "listen_addresses": texts(&s.listen_addrs),
        "external_addresses": texts(&s.external_addrs),
        "peers": s.peers,
        "connections": {
            "inbound": s.connections_inbound,
            "outbound": s.connections_outbound,
            "pending": s.connections_pending,
        },
        "streams": s.streams,
        "dht": {
            "mode": s.dht.mode.as_str(),
            "protocol": s.dht.protocol,
            "routing_table_size": s.dht.table_size,
            "values": s.dht.values,
            "provider_records": s.dht.provider_records,
            "queries": s.dht.queries,
        },
        "topics": topics,
        "store": {
            "blocks": s.store.blocks,
            "bytes": s.store.bytes,
            "max_bytes": s.store.max_bytes,
            "roots": s.store.roots,
        },
        "announcements": {
            "waiting": s.announcements.waiting,
            "lateness_seconds": s.announcements.lateness.as_secs_f64(),
        },
        "nat": {
            "state": s.nat.state.as_str(),
            "relays": s.nat.relays,
            "hole_punched": s.nat.hole_punched,
        },
        "limits": limits,
        "resident_bytes": s.resident_bytes,
        "bans": s.bans,
        "reputations": s.reputations,
    })
}

fn print(out: &mut Output, s: &Status) -> Result<(), Error> {
    let tone = match s.state {
        State::Running => Tone::Good,
        State::Unknown | State::Starting | State::Draining => Tone::Bad,
    };
    let state = out.tone(tone, s.state.as_str());
    let mut field = |name: &str, value: String| {
        let name = out.tone(Tone::Heading, format_args!("{name:<10}"));
        out.line(format!("{name} {value}"))
    };
    field(
        "peer id",
        s.peer_id.map_or_else(|| "-".into(), |p| p.to_string()),
    )?;
    field(
        "state",
        format!(
            "{state}, up {}, {}",
            duration::show(s.uptime),
            foreign::printable(&s.agent)
        ),
    )?;
    field("network", s.network.clone())?;
    addresses(&mut field, "listening", &s.listen_addrs)?;
    addresses(&mut field, "external", &s.external_addrs)?;
    field(
        "peers",
        format!(
            "{} ({} connections in, {} out, {} pending; {} streams)",
            s.peers,
            s.connections_inbound,
            s.connections_outbound,
            s.connections_pending,
            s.streams
        ),
    )?;
    field(
        "dht",
        format!(
            "{} of {}: {} in the routing table, {} values, {} provider records, {} queries",
            s.dht.mode.as_str(),
            foreign::printable(&s.dht.protocol),
            s.dht.table_size,
            s.dht.values,
            s.dht.provider_records,
            s.dht.queries
        ),
    )?;
    if s.topics.is_empty() {
        field("gossip", "no topic joined".into())?;
    }
    for (i, t) in s.topics.iter().enumerate() {
        field(
            if i == 0 { "gossip" } else { "" },
            format!(
                "{}: {} mesh peers, {} subscribed",
                foreign::printable(&t.topic),
                t.mesh_peers,
                t.peers
            ),
        )?;
    }
    field(
        "store",
        format!(
            "{} files, {} blocks, {} of {}",
            s.store.roots,
            s.store.blocks,
            size::show(s.store.bytes),
            size::show(s.store.max_bytes)
        ),
    )?;
    field(
        "announce",
        match s.announcements.waiting {
            0 => "no file is waiting".into(),
            n => format!(
                "{} to be announced, the oldest for {}",
                counted(n, "file waits", "files wait"),
                duration::show(s.announcements.lateness)
            ),
        },
    )?;
    field(
        "nat",
        format!(
            "{}; {} relays, {} connections hole-punched",
            s.nat.state.as_str(),
            s.nat.relays.len(),
            s.nat.hole_punched
        ),
    )?;
    field(
        "trust",
        format!("{} bans, {} peers remembered", s.bans, s.reputations),
    )?;
    field("memory", size::show(s.resident_bytes))?;
    for (i, l) in s.limits.iter().enumerate() {
        let whose = match l.variable.as_str() {
            "" => String::new(),
            variable => format!(" ({})", foreign::printable(variable)),
        };
        let value = format!(
            "{} {} of {}{whose}",
            foreign::printable(&l.name),
            l.unit.show(l.used),
            l.unit.show(l.allowed)
        );
        field(if i == 0 { "limits" } else { "" }, value)?;
    }
    Ok(())
}

fn addresses(
    field: &mut impl FnMut(&str, String) -> Result<(), Error>,
    name: &str,
    addrs: &[libp2p::Multiaddr],
) -> Result<(), Error> {
    if addrs.is_empty() {
        field(name, "-".into())?;
    }
    for (i, addr) in addrs.iter().enumerate() {
        field(if i == 0 { name } else { "" }, foreign::address(addr))?;
    }
    Ok(())
}
