//! `health`: reports whether the node is healthy, for container health checks.

use serde_json::json;

use super::context::Context;
use super::error::Error;
use crate::text::duration;

pub(crate) fn run(context: &Context) -> Result<(), Error> {
    let health = context.ask("health", async |client| client.health().await)?;
    let good = health.live && health.ready;
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({
            "live": health.live,
            "ready": health.ready,
            "reason": health.reason,
            "connected_peers": health.connected_peers,
            "routing_table_size": health.routing_table_size,
            "uptime_seconds": health.uptime.as_secs_f64(),
        }))?;
    } else if good && !context.global.quiet {
        out.line(format!(
            "ready: {} peers, {} in the routing table, up {}",
            health.connected_peers,
            health.routing_table_size,
            duration::show(health.uptime)
        ))?;
    }
    out.finish()?;
    if good {
        return Ok(());
    }
    let what = if health.live {
        "not ready"
    } else {
        "the event loop does not turn"
    };
    Err(Error::failed(match health.reason {
        Some(reason) => format!("health: {what}: {reason}"),
        None => format!("health: {what}"),
    }))
}
