//! The part of the page with the charts of the last hour.

use std::fmt::Write as _;
use std::time::Instant;

use super::Sources;
use super::text::{number, rate, span};
use crate::web::http::page::chart::{self, Line};
use crate::web::last_hour::Sample;

pub(super) fn charts(out: &mut String, from: &Sources<'_>) {
    let samples = &from.view.samples;
    let age = |at: Instant| from.now.saturating_duration_since(at).as_secs_f64();
    let oldest = samples.first().map_or(0.0, |s| age(s.at));
    // For a node that has just started, the chart covers a short time, so that the line
    // is not a thin edge of an hour.
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

/// Returns a chart with labels for its edges.
fn plot(svg: &str, top: &str, ago: &str) -> String {
    format!(
        "<div class=\"plot\"><span class=\"scale\">{top}</span>{svg}</div>\
         <div class=\"ends\"><span>{ago}</span><span>now</span></div>"
    )
}

/// Returns the bytes per second that were received and sent between samples.
pub(super) fn rates(samples: &[Sample]) -> Vec<(Instant, f64, f64)> {
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
