//! The pages.

use std::time::Instant;

use serde_json::json;

use super::{
    Health, Probe,
    answer::{Answer, HTML, JSON, PROMETHEUS},
    request::Page,
};
use crate::observe::metrics::Metrics;

pub(super) fn render(page: Page, probe: &dyn Probe, metrics: &Metrics) -> Answer {
    match page {
        Page::Metrics => {
            // Set by who asks: a stuck loop could not say that it is stuck.
            let health = probe.health(Instant::now());
            metrics.live.set(health.live.into());
            metrics.ready.set(health.ready.into());
            match metrics.render() {
                Ok(text) => Answer::ok(PROMETHEUS, text),
                Err(error) => Answer::internal(format!("cannot render the metrics: {error}\n")),
            }
        }
        Page::Live => {
            if probe.health(Instant::now()).live {
                Answer::ok(JSON, json!({ "status": "ok" }).to_string())
            } else {
                Answer::unavailable(JSON, json!({ "status": "stuck" }).to_string())
            }
        }
        Page::Ready => ready(&probe.health(Instant::now())),
        Page::Status => Answer::ok(HTML, status(&probe.health(Instant::now()), metrics)),
    }
}

fn ready(health: &Health) -> Answer {
    let mut body = json!({
        "status": if health.ready { "ok" } else { "not ready" },
        "connected_peers": health.connected_peers,
        "routing_table_size": health.routing_table_size,
        "uptime_seconds": health.uptime_seconds,
    });
    if health.ready {
        return Answer::ok(JSON, body.to_string());
    }
    let reason = health.reason.as_deref().unwrap_or("unknown");
    body["reason"] = reason.into();
    Answer::unavailable(JSON, body.to_string())
}

/// `text` as it can stand in HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

fn status(health: &Health, metrics: &Metrics) -> String {
    let state = match (health.live, health.ready) {
        (false, _) => "stuck",
        (true, false) => "not ready",
        (true, true) => "ready",
    };
    let mut rows = vec![
        ("State", state.to_string()),
        ("Up for", uptime(health.uptime_seconds)),
        ("Connected peers", health.connected_peers.to_string()),
        ("Connections", metrics.connections_active.get().to_string()),
        ("DHT routing table", health.routing_table_size.to_string()),
        ("Gossip mesh peers", metrics.gossip_peers.get().to_string()),
        ("Blocks stored", metrics.store_blocks.get().to_string()),
        ("Bytes stored", metrics.store_bytes.get().to_string()),
    ];
    if let Some(reason) = &health.reason {
        rows.insert(1, ("Reason", reason.clone()));
    }
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escape(value)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"10\">\n<title>p2p-node: {state}</title>\n\
         <style>\n:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}\n\
         body {{ max-width: 36rem; margin: 2rem auto; padding: 0 1rem; }}\n\
         th {{ text-align: left; font-weight: normal; padding: .2rem 2rem .2rem 0; }}\n\
         td {{ font-variant-numeric: tabular-nums; }}\n</style>\n</head>\n<body>\n\
         <h1>p2p-node {version}</h1>\n<table>\n{rows}</table>\n\
         <p><a href=\"/metrics\">metrics</a>, <a href=\"/health/live\">live</a>, \
         <a href=\"/health/ready\">ready</a></p>\n</body>\n</html>\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_cannot_bring_markup_into_the_page() {
        let health = Health {
            live: true,
            ready: false,
            reason: Some("<script>'\"&".into()),
            connected_peers: 3,
            routing_table_size: 4,
            uptime_seconds: 90_061,
        };
        let page = status(&health, &Metrics::new().unwrap());
        assert!(page.contains("&lt;script&gt;&#39;&quot;&amp;"), "{page}");
        assert!(!page.contains("<script"));
        assert!(page.contains("1 d 1 h") && page.contains("not ready"));
    }
}
