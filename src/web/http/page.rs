//! Makes the pages.

use std::time::Instant;

use serde_json::json;

use super::{
    Context,
    answer::{Answer, HTML, JSON, PROMETHEUS},
    request::Page,
};
use crate::api::Health;

mod chart;
mod status;

/// Returns the answer to a request for `page` that arrived at `now`.
pub(super) fn render(page: Page, context: &Context, now: Instant) -> Answer {
    let Context {
        probe,
        metrics,
        last_hour,
    } = context;
    match page {
        Page::Metrics => {
            // These are set only when they are read, since a stuck event loop could not
            // set them.
            let health = probe.health(now);
            metrics.live.set(health.live.into());
            metrics.ready.set(health.ready.into());
            match metrics.render() {
                Ok(text) => Answer::ok(PROMETHEUS, text),
                Err(error) => Answer::internal(format!("cannot render the metrics: {error}\n")),
            }
        }
        Page::Live => {
            if probe.health(now).live {
                Answer::ok(JSON, json!({ "status": "ok" }).to_string())
            } else {
                Answer::unavailable(JSON, json!({ "status": "stuck" }).to_string())
            }
        }
        Page::Ready => ready(&probe.health(now)),
        Page::Status { still } => {
            let page = status::page(&status::Sources {
                health: &probe.health(now),
                view: &last_hour.view(),
                metrics,
                now,
                still,
            });
            Answer::ok(HTML, page).with_field(status::CSP)
        }
    }
}

fn ready(health: &Health) -> Answer {
    let mut body = json!({
        "status": if health.ready { "ok" } else { "not ready" },
        "connected_peers": health.connected_peers,
        "routing_table_size": health.routing_table_size,
        "uptime_seconds": health.uptime.as_secs(),
    });
    if health.ready {
        return Answer::ok(JSON, body.to_string());
    }
    let reason = health.reason.as_deref().unwrap_or("unknown");
    body["reason"] = reason.into();
    Answer::unavailable(JSON, body.to_string())
}
