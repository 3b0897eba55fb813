//! Checks of the DHT: queries, announcements, records held for others.

use super::{judged, told};
use crate::diag::figures::Figures;
use crate::diag::finding::{Finding, Severity};
use crate::diag::thresholds as at;
use crate::text::{count::counted, duration};

/// Checks for slow queries: "Slow DHT queries" in the table of alerts.
pub(super) fn dht(f: &Figures) -> Finding {
    const CHECK: &str = "dht";
    let table = format!("{} peers in the routing table", f.table);
    let slow =
        |seconds: f64, bound: f64, queries: u64| seconds > bound && queries >= at::DHT_SLOW_QUERIES;
    let severity = judged(&f.dht, f.span).and_then(|(q, said)| {
        let severity = if slow(q.seconds, at::DHT_P99_SECONDS, f.dht_too_slow) {
            Severity::Problem
        } else if slow(q.seconds, at::DHT_P99_SLOW, f.dht_slow) {
            Severity::Warning
        } else {
            return None;
        };
        Some((severity, said))
    });
    if let Some((severity, said)) = severity {
        return Finding::new(
            CHECK,
            severity,
            format!("DHT queries are slow: {said}; {table}"),
            "add bootstrap peers that are near and stable to P2P_BOOTSTRAP_PEERS, 3 to 5 in all",
        );
    }
    if f.answers && f.table == 0 && !f.bootstrap.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Warning,
            "the routing table is empty: content and peers cannot be found",
            "see the finding on bootstrap peers; peers of another P2P_NETWORK or P2P_KAD_PROTOCOL \
             do not count",
        );
    }
    Finding::ok(
        CHECK,
        match told(&f.dht, f.span) {
            Some(said) => format!("{said}; {table}"),
            None => format!("no query yet; {table}"),
        },
    )
}

/// Checks whether others can find what is stored here.
pub(super) fn announcements(f: &Figures) -> Finding {
    const CHECK: &str = "announcements";
    let (waiting, lateness) = f.announcements;
    if waiting == 0 {
        return Finding::ok(CHECK, "no file waits to be announced");
    }
    let said = format!(
        "{} to be announced, the oldest for {}",
        counted(waiting, "file waits", "files wait"),
        duration::show(lateness)
    );
    if lateness <= at::ANNOUNCEMENT_LATE {
        return Finding::ok(CHECK, said);
    }
    let (said, advice) = if f.table == 0 {
        (
            format!("{said}: no DHT peer is known"),
            "see the findings on bootstrap and dht; announcing goes on by itself when a DHT server \
             is there",
        )
    } else if f.announcements_failed > 0 {
        (
            format!(
                "{said}; {} announcements failed in the last {}",
                f.announcements_failed,
                duration::show(f.span)
            ),
            "the peers closest to the files do not take their records: raise P2P_DHT_MAX_RECORDS \
             there, or name this node in their P2P_TRUSTED_PEERS",
        )
    } else {
        (
            format!("{said}: announcing is slower than files become due"),
            "if you have just put very many files, wait: nothing is lost; otherwise see the \
             findings on dht and cpu, or remove with `p2p-node rm` what others need not find",
        )
    };
    Finding::new(CHECK, Severity::Warning, said, advice)
}

/// Checks the DHT records held for others: "Disk usage explosion" in the table of alerts.
pub(super) fn records(f: &Figures) -> Finding {
    const CHECK: &str = "records";
    let (held, allowed) = f.records;
    let Some(allowed) = allowed.filter(|n| *n > 0) else {
        return Finding::ok(CHECK, format!("{held} DHT records held"));
    };
    let said = format!("{held} of {allowed} DHT records held");
    if held as f64 > at::LIMIT_SHARE * allowed as f64 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: soon full, then those of others are refused"),
            "raise P2P_DHT_MAX_RECORDS if there is memory for them",
        );
    }
    Finding::ok(CHECK, said)
}
