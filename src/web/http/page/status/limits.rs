//! The part of the page that shows how much of each limit is used, and what was refused.

use std::fmt::Write as _;

use super::Sources;
use super::text::{bytes, escape, number, rate, sentence};
use crate::api::{LimitStatus, Unit};
use crate::web::last_hour::{KEPT, REFUSALS, Totals, counts};
use crate::web::metrics::Metrics;

/// The maximum number of limits that are named as having refused connections.
const MOST_LIMITS: usize = 4;

pub(super) fn limits(out: &mut String, from: &Sources<'_>) {
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

pub(super) fn refused(out: &mut String, from: &Sources<'_>) {
    out.push_str(
        "<section class=\"card\"><h2>Refused and failed</h2><table><thead><tr>\
         <th scope=\"col\">What</th><th scope=\"col\" class=\"n\">Last hour</th>\
         <th scope=\"col\" class=\"n\">Since start</th></tr></thead><tbody>",
    );
    let now = Totals::read(from.metrics).refused;
    let before = from.view.samples.first().filter(|_| {
        // In the first hour, all of the values since the start are of the last hour.
        from.view.samples.len() >= KEPT
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

/// Returns which limits refused connections, beginning with the one that refused most.
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
