//! `bans`: shows who is refused, by whom, why and until when.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::context::Context;
use super::error::Error;
use super::human;
use crate::control::wire::Ban;
use crate::peers::Target;
use crate::text::{duration, foreign, unix_time};

pub(crate) fn run(context: &Context) -> Result<(), Error> {
    let bans = context.ask("bans", async |client| client.bans().await)?;
    let mut out = context.output();
    if out.is_json() {
        out.value(&bans.iter().map(to_json).collect())?;
    } else if context.global.quiet {
        for b in &bans {
            out.line(b.ban.target)?;
        }
    } else {
        let now = SystemTime::now();
        let rows: Vec<_> = bans
            .iter()
            .map(|b| {
                let ban = &b.ban;
                let age = now.duration_since(ban.since).unwrap_or_default();
                [
                    ban.target.to_string(),
                    ban.author.name().to_owned(),
                    duration::show(age),
                    ban.until
                        .map_or_else(|| "never".into(), |t| duration::until(t, now)),
                    b.reputation.map_or_else(|| "-".into(), human::score),
                    match ban.reason.as_str() {
                        "" => "-".into(),
                        reason => foreign::printable(reason),
                    },
                ]
            })
            .collect();
        out.table(
            ["BANNED", "BY", "AGE", "ENDS", "REPUTATION", "REASON"],
            &rows,
        )?;
    }
    out.finish()
}

/// Returns a ban as JSON.
pub(crate) fn to_json(b: &Ban) -> Value {
    let ban = &b.ban;
    let (peer, network) = match ban.target {
        Target::Peer(peer) => (Some(peer.to_string()), None),
        Target::Net(net) => (None, Some(net.to_string())),
    };
    json!({
        "peer_id": peer,
        "network": network,
        "by": ban.author.name(),
        "reason": ban.reason,
        "since_unix_ms": unix_time::unix_millis(ban.since),
        "until_unix_ms": ban.until.map(unix_time::unix_millis),
        "reputation": b.reputation,
    })
}
