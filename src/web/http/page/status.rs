//! The status page: how the node is, for a person.
//!
//! # What is fit to show
//!
//! `P2P_METRICS_HOST` may be `0.0.0.0`, and whoever reaches the port reads this
//! page. So it shows what the node tells every peer that asks anyway (its peer
//! id, version, network, and addresses) and sums. It shows nobody else: no peer
//! id, address or agent of a peer, and no name of a topic, which may tell what a
//! program on this host does. `p2p-node status` and `p2p-node peers` tell those
//! to the operator over the control socket.
//!
//! Text that this program did not choose (names of networks, addresses) is
//! escaped, and the page allows no script, no request and no frame: see [`CSP`].
//! Everything is in the one answer, so that it can be read in a place without a
//! network, and works in a text browser.

use std::fmt::Write as _;
use std::time::Instant;

use super::chart::{self, Line};
use crate::api::{Health, LimitStatus, Reachability, State, Status, Unit};
use crate::text::{duration, size};
use crate::web::last_hour::{REFUSALS, Sample, View, counts};
use crate::web::metrics::Metrics;

/// The one style sheet.
const STYLE: &str = include_str!("style.css");

/// What a browser may do with the page: apply the style sheet whose hash this is,
/// show the icon that is in it, load nothing. As one header field.
pub(super) const CSP: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-597BJyuzEVJorXVZNu+TUSwuAiH9wYdncjQm891OJjQ='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

/// The page asks for itself again after this many seconds.
const REFRESH: u32 = 10;

/// Refused this often in an hour is shown with what refused.
const MOST_LIMITS: usize = 4;

/// Everything the page is made from.
pub(super) struct Sources<'a> {
    pub(super) health: &'a Health,
    pub(super) view: &'a View,
    pub(super) metrics: &'a Metrics,
    pub(super) now: Instant,
    /// Do not refresh by itself.
    pub(super) still: bool,
}

/// The whole page.
pub(super) fn page(from: &Sources<'_>) -> String {
    let mut out = String::with_capacity(32 * 1024);
    let (tone, word) = state(from.health);
    head(&mut out, from, word);
    top(&mut out, from, tone, word);
    out.push_str("<main>");
    tiles(&mut out, from);
    charts(&mut out, from);
    out.push_str("<div class=\"grid pair\">");
    limits(&mut out, from);
    refused(&mut out, from);
    out.push_str("</div>");
    reach(&mut out, from);
    out.push_str("</main>");
    foot(&mut out, from);
    out
}

/// The tone and the word for how the node is.
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

/// The state in a sentence or two, with what to do when something is amiss.
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

fn tiles(out: &mut String, from: &Sources<'_>) {
    let metrics = from.metrics;
    let (down, up) = rates(&from.view.samples)
        .last()
        .map_or((0.0, 0.0), |r| (r.1, r.2));
    let status = from.view.status.as_deref();
    let connections = status.map_or_else(String::new, |s| {
        format!(
            "{} in, {} out",
            s.connections_inbound, s.connections_outbound
        )
    });
    let topics = gauge(&metrics.node.topics);
    let tiles = [
        ("Peers", number(from.health.connected_peers), connections),
        (
            "Receiving",
            rate(down),
            format!("{} in all", bytes(total(metrics, "in"))),
        ),
        (
            "Sending",
            rate(up),
            format!("{} in all", bytes(total(metrics, "out"))),
        ),
        (
            "Routing table",
            number(from.health.routing_table_size),
            status.map_or_else(String::new, |s| format!("as {}", s.dht.mode)),
        ),
        (
            "Gossip mesh",
            number(gauge(&metrics.node.gossip_peers)),
            count(topics, "topic", "topics"),
        ),
        (
            "Blocks stored",
            number(gauge(&metrics.store.store_blocks)),
            bytes(gauge(&metrics.store.store_bytes)),
        ),
    ];
    out.push_str("<dl class=\"grid tiles\">");
    for (name, value, more) in tiles {
        let _ = write!(
            out,
            "<div class=\"card\"><dt>{name}</dt><dd>{value} <small>{}</small></dd></div>",
            escape(&more)
        );
    }
    out.push_str("</dl>\n");
}

fn charts(out: &mut String, from: &Sources<'_>) {
    let samples = &from.view.samples;
    let age = |at: Instant| from.now.saturating_duration_since(at).as_secs_f64();
    let oldest = samples.first().map_or(0.0, |s| age(s.at));
    // A node that has just started fills a short frame, not a thin edge of an hour.
    let window = oldest.clamp(60.0, 3600.0);
    let peers: Vec<(f64, f64)> = samples
        .iter()
        .map(|s| (age(s.at), s.totals.peers as f64))
        .collect();
    let rates = rates(samples);
    let side = |n: usize| -> Vec<(f64, f64)> {
        let of = |r: &(Instant, f64, f64)| if n == 0 { r.1 } else { r.2 };
        rates.iter().map(|r| (age(r.0), of(r))).collect()
    };
    let (down, up) = (side(0), side(1));
    let most = |points: &[(f64, f64)]| points.iter().map(|p| p.1).fold(0.0, f64::max);
    let ago = format!("{} ago", span(window));

    let peak = most(&peers);
    let edge = chart::round_up(peak);
    let line = Line {
        class: "a",
        points: &peers,
    };
    let name = format!(
        "Connected peers over the last {}, at most {}",
        span(window),
        number(peak as u64)
    );
    let _ = write!(
        out,
        "<div class=\"grid pair\"><section class=\"card\"><div class=\"top\"><h2>Peers</h2>\
         <p class=\"key\"><span>at most {}</span></p></div>{}</section>",
        number(peak as u64),
        plot(
            &chart::svg(&name, window, edge, &[line]),
            &number(edge as u64),
            &ago
        )
    );

    let peak = most(&down).max(most(&up));
    let edge = chart::round_up_bytes(peak);
    let lines = [
        Line {
            class: "a",
            points: &down,
        },
        Line {
            class: "b",
            points: &up,
        },
    ];
    let name = format!(
        "Bytes a second over the last {}, at most {} received and {} sent",
        span(window),
        rate(most(&down)),
        rate(most(&up))
    );
    let _ = writeln!(
        out,
        "<section class=\"card\"><div class=\"top\"><h2>Traffic</h2><p class=\"key\">\
         <span>{}receiving</span><span>{}sending</span></p></div>{}</section></div>",
        key("a"),
        key("b"),
        plot(&chart::svg(&name, window, edge, &lines), &rate(edge), &ago)
    );
}

fn key(class: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 2 2\" aria-hidden=\"true\"><circle class=\"{class}\" cx=\"1\" cy=\"1\" r=\"1\"/></svg>"
    )
}

/// A drawing with what its edges mean.
fn plot(svg: &str, top: &str, ago: &str) -> String {
    format!(
        "<div class=\"plot\"><span class=\"scale\">{top}</span>{svg}</div>\
         <div class=\"ends\"><span>{ago}</span><span>now</span></div>"
    )
}

fn limits(out: &mut String, from: &Sources<'_>) {
    out.push_str("<section class=\"card\"><h2>Limits in use</h2>");
    let own = from.view.status.iter().flat_map(|s| s.limits.iter());
    let mut all: Vec<&LimitStatus> = own.chain(&from.view.store).collect();
    all.retain(|l| l.allowed > 0);
    if all.is_empty() {
        out.push_str("<p class=\"soft\">Not known yet.</p></section>");
        return;
    }
    out.push_str("<ul class=\"limits\">");
    for l in all {
        let share = (l.used as f64 / l.allowed as f64 * 100.0).min(100.0);
        let tone = match share {
            s if s >= 95.0 => "bad",
            s if s >= 80.0 => "warn",
            _ => "good",
        };
        let show = |n: u64| match l.unit {
            Unit::Bytes => bytes(n),
            Unit::BytesPerSecond => rate(n as f64),
            Unit::Count => number(n),
        };
        let _ = write!(
            out,
            "<li><div class=\"row\"><span>{} <code class=\"soft\">{}</code></span><span>{} of {}</span></div>\
             <svg class=\"bar\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect class=\"track\" width=\"100\" height=\"1\"/>\
             <rect class=\"{tone}\" width=\"{share:.1}\" height=\"1\"/></svg></li>",
            sentence(&l.name).replace("Dht", "DHT"),
            l.variable,
            show(l.used),
            show(l.allowed),
        );
    }
    out.push_str("</ul></section>");
}

fn refused(out: &mut String, from: &Sources<'_>) {
    out.push_str(
        "<section class=\"card\"><h2>Refused and failed</h2><table><thead><tr>\
         <th scope=\"col\">What</th><th scope=\"col\" class=\"n\">Last hour</th>\
         <th scope=\"col\" class=\"n\">Since start</th></tr></thead><tbody>",
    );
    let now = crate::web::last_hour::Totals::read(from.metrics).refused;
    let before = from.view.samples.first().filter(|_| {
        // Until an hour has passed, the last hour is all there is.
        from.view.samples.len() >= crate::web::last_hour::KEPT
    });
    for (row, name) in REFUSALS.iter().enumerate() {
        let since = before.map_or(0, |s| s.totals.refused[row]);
        let lately = now[row].saturating_sub(since);
        let class = |n: u64| if n == 0 { "n zero" } else { "n" };
        let more = match row {
            0 => by_limit(from.metrics),
            _ => String::new(),
        };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{name}{more}</th><td class=\"{}\">{}</td><td class=\"{}\">{}</td></tr>",
            class(lately),
            number(lately),
            class(now[row]),
            number(now[row])
        );
    }
    out.push_str("</tbody></table></section>");
}

/// Which limits refused connections, the busiest first.
fn by_limit(metrics: &Metrics) -> String {
    let mut limits: Vec<(String, u64)> = counts(&metrics.node.connections_refused)
        .filter(|(_, n)| *n > 0)
        .collect();
    limits.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if limits.is_empty() {
        return String::new();
    }
    let list: Vec<String> = limits
        .iter()
        .take(MOST_LIMITS)
        .map(|(limit, n)| format!("{} {}", escape(limit), number(*n)))
        .collect();
    format!("<small>by {}</small>", list.join(", "))
}

fn reach(out: &mut String, from: &Sources<'_>) {
    let Some(status) = from.view.status.as_deref() else {
        return;
    };
    let _ = write!(
        out,
        "<div class=\"grid pair\"><section class=\"card\"><h2>This node</h2><dl class=\"facts\">\
         <dt>Peer id</dt><dd><code>{}</code></dd><dt>Network</dt><dd>{}</dd>\
         <dt>DHT</dt><dd>{}, <code>{}</code></dd><dt>Records held for the DHT</dt><dd>{}</dd></dl></section>\
         <section class=\"card\"><h2>How others reach it</h2><dl class=\"facts\">",
        status.peer_id.map_or_else(String::new, |id| id.to_string()),
        escape(&status.network),
        status.dht.mode,
        escape(&status.dht.protocol),
        records(status),
    );
    let nat = match status.nat.state {
        Reachability::Public => "dialable: an address was confirmed by a dial back",
        Reachability::Private => "not dialable: every address that was tested failed",
        Reachability::Unknown => "not tested yet",
    };
    let relays = match status.nat.relays.len() {
        0 => "none".to_owned(),
        n => count(n as u64, "reservation", "reservations"),
    };
    let _ = write!(
        out,
        "<dt>From outside</dt><dd>{nat}</dd><dt>Relays</dt><dd>{relays}</dd>\
         <dt>Connections made direct by hole punching</dt><dd>{}</dd>",
        number(status.nat.hole_punched)
    );
    for (name, addresses) in [
        ("Told to others", &status.external_addrs),
        ("Listening on", &status.listen_addrs),
    ] {
        let _ = write!(out, "<dt>{name}</dt><dd>");
        if addresses.is_empty() {
            out.push_str("nothing");
        }
        for address in addresses.iter().take(MOST_ADDRESSES) {
            let _ = write!(out, "<code>{}</code><br>", escape(&address.to_string()));
        }
        if addresses.len() > MOST_ADDRESSES {
            let _ = write!(out, "and {} more", addresses.len() - MOST_ADDRESSES);
        }
        out.push_str("</dd>");
    }
    out.push_str("</dl></section></div>\n");
}

/// A host of containers has hundreds.
const MOST_ADDRESSES: usize = 16;

fn records(status: &Status) -> String {
    format!(
        "{}, {}",
        count(status.dht.values, "value", "values"),
        count(
            status.dht.provider_records,
            "provider record",
            "provider records"
        )
    )
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

/// Bytes a second received and sent between samples.
fn rates(samples: &[Sample]) -> Vec<(Instant, f64, f64)> {
    samples
        .windows(2)
        .filter_map(|pair| {
            let [a, b] = pair else { return None };
            let seconds = b.at.saturating_duration_since(a.at).as_secs_f64();
            (seconds > 0.0).then(|| {
                let per = |old: u64, new: u64| new.saturating_sub(old) as f64 / seconds;
                (
                    b.at,
                    per(a.totals.bytes_in, b.totals.bytes_in),
                    per(a.totals.bytes_out, b.totals.bytes_out),
                )
            })
        })
        .collect()
}

fn total(metrics: &Metrics, direction: &str) -> u64 {
    let totals = crate::web::last_hour::Totals::read(metrics);
    match direction {
        "in" => totals.bytes_in,
        _ => totals.bytes_out,
    }
}

fn gauge(gauge: &prometheus::IntGauge) -> u64 {
    gauge.get().try_into().unwrap_or(0)
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

/// With a capital, escaped.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().to_string());
    escape(&(first + chars.as_str()))
}

/// `12,345`.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// `1.5 MiB`.
fn bytes(n: u64) -> String {
    whole(&size::show(n))
}

/// `1.5 MiB/s`.
fn rate(a_second: f64) -> String {
    whole(&size::show_rate(a_second as u64))
}

/// With a no-break space, so that a number keeps its unit.
fn whole(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

fn span(seconds: f64) -> String {
    match seconds.round() as u64 {
        3571.. => "1 hour".into(),
        s @ 91.. => format!("{} min", (s + 30) / 60),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests;
