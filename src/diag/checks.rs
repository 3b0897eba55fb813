//! The checks of a running node, which turn figures into findings.
//!
//! | file | checks of |
//! |---|---|
//! | `daemon` | the daemon itself: its version, readiness, event loop, configuration and clock |
//! | `reach` | where the node listens, and whether others reach it |
//! | `peers` | the peers: who is connected, who is refused, who is banned |
//! | `dht` | the DHT: queries, announcements, records held for others |
//! | `gossip` | gossip: the meshes, and how long messages take |
//! | `resources` | what the node uses of its machine |

mod daemon;
mod dht;
mod gossip;
mod peers;
mod reach;
mod resources;

use std::time::Duration;

use super::figures::{Figures, P99, Quantile};
use super::finding::{Finding, Severity};
use super::thresholds as at;
use crate::text::duration;

/// Runs every check and returns the findings in the order in which people read them.
pub fn all(f: &Figures) -> Vec<Finding> {
    vec![
        daemon::version(f),
        daemon::ready(f),
        daemon::event_loop(f),
        daemon::reload(f),
        daemon::clock(f),
        reach::listening(f),
        reach::reachability(f),
        peers::bootstrap(f),
        peers::neighbours(f),
        dht::dht(f),
        dht::announcements(f),
        gossip::gossip(f),
        gossip::latency(f),
        peers::connections(f),
        peers::refusals(f),
        peers::dials(f),
        reach::relay(f),
        peers::bans(f),
        resources::memory(f),
        resources::cpu(f),
        resources::descriptors(f),
        resources::store(f),
        resources::disk(f),
        dht::records(f),
    ]
}

/// Returns how severe it is that this share of a limit is in use.
fn scarce(share: f64) -> Severity {
    if share > at::LIMIT_USED_UP {
        Severity::Problem
    } else {
        Severity::Warning
    }
}

/// Returns the percentile that decides, with its description. As in the alerts, it is
/// that of the last minutes: a node is not judged by what happened long ago.
fn judged(p99: &P99, span: Duration) -> Option<(Quantile, String)> {
    let lately = p99.lately?;
    Some((lately, told(p99, span)?))
}

/// Describes the percentile in words.
fn told(p99: &P99, span: Duration) -> Option<String> {
    let words = |q: &Quantile| {
        let seconds = Duration::try_from_secs_f64(q.seconds).unwrap_or_default();
        format!("99% of {} within {}", q.count, duration::show(seconds))
    };
    Some(match (&p99.lately, &p99.since_start) {
        (Some(q), _) => format!("{} in the last {}", words(q), duration::show(span)),
        (None, Some(q)) => format!("none lately; {} since the start", words(q)),
        (None, None) => return None,
    })
}

#[cfg(test)]
mod tests;
