//! The status page, which shows people how the node is doing.
//!
//! # What may be shown
//!
//! `P2P_METRICS_HOST` may be `0.0.0.0`, and then everybody who can reach the port can
//! read this page. So it shows only sums, and what the node tells any peer that asks (its
//! peer id, version, network, and addresses). It shows nothing about others: neither the
//! id, address or agent of a peer, nor the name of a topic, which could reveal what a
//! program on this host does. The operator can see those over the control socket with
//! `p2p-node status` and `p2p-node peers`.
//!
//! Text that this program did not choose (names of networks, addresses) is escaped, and
//! the page allows no script, no request and no frame: see [`CSP`]. Everything is in a
//! single answer, so that the page can be read without a network, and it works in a text
//! browser.
//!
//! | file | holds |
//! |---|---|
//! | `tiles` | the most important figures |
//! | `charts` | the charts of the last hour |
//! | `limits` | how much of each limit is used, and what was refused |
//! | `reach` | the node's identity, and how others reach it |
//! | `text` | numbers, and text that others chose, as HTML |

mod charts;
mod limits;
mod reach;
mod text;
mod tiles;

use std::fmt::Write as _;
use std::time::Instant;

use self::text::{count, sentence};
use crate::api::{Health, Reachability, State};
use crate::text::duration;
use crate::web::last_hour::View;
use crate::web::metrics::Metrics;

/// The only style sheet.
const STYLE: &str = include_str!("style.css");

/// What a browser may do with the page, as one header field. It may apply the style sheet
/// with this hash and show the icon that is in the page, and it may load nothing.
pub(super) const CSP: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-597BJyuzEVJorXVZNu+TUSwuAiH9wYdncjQm891OJjQ='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

/// The number of seconds after which the page reloads itself.
const REFRESH: u32 = 10;

/// Everything that the page is made from.
pub(super) struct Sources<'a> {
    pub(super) health: &'a Health,
    pub(super) view: &'a View,
    pub(super) metrics: &'a Metrics,
    pub(super) now: Instant,
    /// Whether the page must not reload itself.
    pub(super) still: bool,
}

/// Returns the whole page.
pub(super) fn page(from: &Sources<'_>) -> String {
    let mut out = String::with_capacity(32 * 1024);
    let (tone, word) = state(from.health);
    head(&mut out, from, word);
    top(&mut out, from, tone, word);
    out.push_str("<main>");
    tiles::tiles(&mut out, from);
    charts::charts(&mut out, from);
    out.push_str("<div class=\"grid pair\">");
    limits::limits(&mut out, from);
    limits::refused(&mut out, from);
    out.push_str("</div>");
    reach::reach(&mut out, from);
    out.push_str("</main>");
    foot(&mut out, from);
    out
}

/// Returns the tone and the word for the state of the node.
fn state(health: &Health) -> (&'static str, &'static str) {
    let reason = health.reason.as_deref().map(State::of);
    match (health.live, health.ready, reason) {
        (false, ..) => ("bad", "Stuck"),
        (true, true, _) => ("good", "Ready"),
        (true, false, Some(State::Draining)) => ("warn", "Draining"),
        (true, false, Some(State::Starting)) => ("warn", "Starting"),
        (true, false, _) => ("bad", "Not ready"),
    }
}

fn head(out: &mut String, from: &Sources<'_>, word: &str) {
    out.push_str(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n",
    );
    if !from.still {
        let _ = writeln!(out, "<meta http-equiv=\"refresh\" content=\"{REFRESH}\">");
    }
    let peers = count(from.health.connected_peers, "peer", "peers");
    let _ = write!(
        out,
        "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
         viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='3' fill='%23{color}'/%3E%3C/svg%3E\">\n\
         <title>{word}, {peers} - p2p-node</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        color = match state(from.health).0 {
            "good" => "2a9d55",
            "warn" => "d98a1f",
            _ => "d3423f",
        },
    );
}

fn top(out: &mut String, from: &Sources<'_>, tone: &str, word: &str) {
    let _ = writeln!(
        out,
        "<header><h1>p2p-node {version}, up {up}</h1>\
         <p class=\"state {tone}\"><svg class=\"dot\" viewBox=\"0 0 2 2\" aria-hidden=\"true\">\
         <circle cx=\"1\" cy=\"1\" r=\"1\"/></svg><span class=\"word\">{word}</span></p>\
         <p class=\"lead\">{}</p></header>",
        lead(from),
        version = env!("CARGO_PKG_VERSION"),
        up = duration::show(from.health.uptime),
    );
}

/// Describes the state in a sentence or two, with what to do when something is wrong.
fn lead(from: &Sources<'_>) -> String {
    let health = from.health;
    if !health.live {
        let why = health.reason.as_deref().unwrap_or("it does not turn");
        return format!(
            "{}. What follows is what it said last. systemd restarts a node whose loop is stuck; \
             if nothing else does, restart it and report its log.",
            sentence(why)
        );
    }
    if !health.ready {
        let Some(reason) = health.reason.as_deref() else {
            return "It does not say why.".into();
        };
        return match State::of(reason) {
            State::Draining => {
                "It is stopping: it takes no new work and ends what it has begun.".into()
            }
            State::Starting => "It is opening its store and its listeners.".into(),
            State::Running | State::Unknown => format!("{}.", sentence(reason)),
        };
    }
    let peers = match health.connected_peers {
        0 => "It serves, but no peer is connected: look at P2P_BOOTSTRAP_PEERS and at the log."
            .into(),
        n => format!("Connected to {}.", count(n, "peer", "peers")),
    };
    let reach = match from.view.status.as_deref().map(|s| (s.nat.state, s)) {
        Some((Reachability::Public, _)) => " Others can dial it directly.",
        Some((_, s)) if !s.nat.relays.is_empty() => " Others reach it through a relay.",
        Some((Reachability::Private, _)) => {
            " Others cannot dial it: open its port, or set P2P_RELAYS."
        }
        Some((Reachability::Unknown, _)) => " Nobody has tested yet whether others can dial it.",
        None => "",
    };
    peers + reach
}

fn foot(out: &mut String, from: &Sources<'_>) {
    let refresh = if from.still {
        "Does not refresh by itself. <a href=\"/\">Refresh</a>".to_owned()
    } else {
        format!("Refreshes every {REFRESH} s. <a href=\"/?still\">Pause</a>")
    };
    let _ = write!(
        out,
        "<footer><span>{refresh}</span><nav aria-label=\"For programs\"><a href=\"/metrics\">Metrics</a>\
         <a href=\"/health/ready\">Ready</a> <a href=\"/health/live\">Live</a></nav></footer>\n</body>\n</html>\n"
    );
}

#[cfg(test)]
mod tests;
