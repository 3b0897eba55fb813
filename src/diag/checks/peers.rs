//! Checks of the peers: who is connected, who is refused, who is banned.

use super::scarce;
use crate::diag::figures::{Figures, Reach};
use crate::diag::finding::{Finding, Severity};
use crate::diag::thresholds as at;
use crate::text::{duration, foreign};

pub(super) fn bootstrap(f: &Figures) -> Finding {
    const CHECK: &str = "bootstrap";
    let all = f.bootstrap.len();
    if all == 0 {
        if f.is_bootstrap || f.table > 0 {
            return Finding::ok(
                CHECK,
                format!("none configured; {} peers in the routing table", f.table),
            );
        }
        return Finding::new(
            CHECK,
            Severity::Warning,
            "no bootstrap peer is configured and the routing table is empty: it waits to be found",
            "set P2P_BOOTSTRAP_PEERS to 3 to 5 stable peers",
        );
    }
    let bad: Vec<String> = f
        .bootstrap
        .iter()
        .filter_map(|b| {
            let why = match &b.reach {
                // The reason may contain the address again, with the actual reason behind
                // it.
                Reach::Failed(why) => {
                    let address = format!("{}: ", b.address);
                    let last = why
                        .rsplit_once(&address)
                        .map_or(why.as_str(), |(_, last)| last);
                    foreign::printable(last)
                }
                Reach::Banned => "banned by this node".into(),
                _ => return None,
            };
            Some(format!("{}: {why}", foreign::address(&b.address)))
        })
        .collect();
    let unknown = f
        .bootstrap
        .iter()
        .filter(|b| b.reach == Reach::Unknown)
        .count();
    if bad.len() == all {
        // The routing table may contain only peers that have gone.
        let severity = if f.peers > 0 {
            Severity::Warning
        } else {
            Severity::Problem
        };
        return Finding::new(
            CHECK,
            severity,
            format!("none of {all} bootstrap peers answers ({})", bad.join("; ")),
            "correct P2P_BOOTSTRAP_PEERS, see that they run, and that nothing on the way blocks \
             their port; name 3 to 5 in different places",
        );
    }
    if !bad.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{} of {all} bootstrap peers do not answer ({})",
                bad.len(),
                bad.join("; ")
            ),
            "replace those that are gone in P2P_BOOTSTRAP_PEERS",
        );
    }
    if unknown > 0 {
        return Finding::ok(CHECK, format!("{all} configured; {unknown} were not tried"));
    }
    if all < at::BOOTSTRAP_LEAST {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("all of {all} answer, which is few: there is no way in when they are down"),
            "name 3 to 5 stable peers in P2P_BOOTSTRAP_PEERS",
        );
    }
    Finding::ok(CHECK, format!("all of {all} answer"))
}

/// Checks whether the node has the connections that make it part of its network.
pub(super) fn neighbours(f: &Figures) -> Finding {
    const CHECK: &str = "neighbours";
    let (kept, floor) = f.kept;
    let (missing, least) = f.missing;
    let wanted = floor.map_or_else(String::new, |n| format!(" (P2P_MIN_PEERS is {n})"));
    let said = format!("{kept} connections are kept although nothing may use them{wanted}");
    if missing == 0 {
        return Finding::ok(CHECK, said);
    }
    match least {
        Some(least) if least > 0 && f.peers > 0 => Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{said}, {missing} too few, and for minutes: it knows more peers, but they cannot \
                 be reached or refuse to keep a connection"
            ),
            "see the findings on dials and on reachable; `p2p-node peers` shows why connections \
             are kept; where the other nodes are full, raise their P2P_MAX_CONNECTIONS or run \
             more of them",
        ),
        _ => Finding::ok(CHECK, format!("{said}; it looks for {missing} more")),
    }
}

pub(super) fn connections(f: &Figures) -> Finding {
    const CHECK: &str = "connections";
    let limit = |name: &str| f.limits.iter().find(|l| l.variable == name);
    if let (Some(wanted), Some(l)) = (f.connections_configured, limit("P2P_MAX_CONNECTIONS"))
        && l.allowed < wanted
    {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "P2P_MAX_CONNECTIONS is {wanted}, but there are descriptors for {} connections only",
                l.allowed
            ),
            "raise LimitNOFILE= of the unit (systemctl edit p2p-node), or lower the variable",
        );
    }
    // When several limits are equally full, the first one is reported, which is the
    // total. Memory, descriptors, the store and the records have checks of their own.
    let fullest = f
        .limits
        .iter()
        .rev()
        .filter(|l| l.allowed > 0 && l.variable.contains("CONNECTIONS"))
        .map(|l| (l.used as f64 / l.allowed as f64, l))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((share, l)) = fullest else {
        return Finding::ok(CHECK, "not known while the event loop does not answer");
    };
    let said = format!(
        "{} of {} that {} allows",
        l.used,
        l.allowed,
        foreign::printable(&l.variable)
    );
    if share > at::LIMIT_SHARE {
        return Finding::new(
            CHECK,
            scarce(share),
            format!("{said}: soon full"),
            format!(
                "raise {}; name peers that must always come in as P2P_TRUSTED_PEERS",
                foreign::printable(&l.variable)
            ),
        );
    }
    Finding::ok(CHECK, said)
}

pub(super) fn refusals(f: &Figures) -> Finding {
    const CHECK: &str = "refusals";
    if f.refused.is_empty() {
        return Finding::ok(
            CHECK,
            format!(
                "no connection refused in the last {}",
                duration::show(f.span)
            ),
        );
    }
    let mut list: Vec<_> = f.refused.iter().collect();
    list.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let said: Vec<_> = list
        .iter()
        .map(|(limit, n)| format!("{n} by {}", foreign::printable(limit)))
        .collect();
    let finding = format!(
        "connections refused in the last {}: {}",
        duration::show(f.span),
        said.join(", ")
    );
    let scarce = ["LimitNOFILE", "P2P_MAX_MEMORY"]
        .into_iter()
        .find(|name| f.refused.contains_key(*name));
    if let Some(name) = scarce {
        return Finding::new(
            CHECK,
            Severity::Warning,
            finding,
            format!("the node runs short: raise {name}, or lower P2P_MAX_CONNECTIONS"),
        );
    }
    let caps: Vec<_> = list
        .iter()
        .map(|(limit, _)| limit.as_str())
        .filter(|l| l.starts_with("P2P_MAX_"))
        .map(foreign::printable)
        .collect();
    let advice = match caps.is_empty() {
        true => {
            "as it was told to: by bans, address lists, or bounds that nothing raises".to_owned()
        }
        false => format!(
            "if they should come in, raise {}, or name them in P2P_TRUSTED_PEERS",
            caps.join(", ")
        ),
    };
    Finding::new(CHECK, Severity::Note, finding, advice)
}

pub(super) fn dials(f: &Figures) -> Finding {
    const CHECK: &str = "dials";
    let rate = f.dial_failures_a_minute;
    let said = format!("{rate:.1} dials failed a minute");
    if rate > at::DIAL_FAILURES_A_MINUTE {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said} in the last {}", duration::show(f.span)),
            "see that this host's way out is open (firewall, DNS, routes, IPv6), and that \
             P2P_BOOTSTRAP_PEERS and P2P_RELAYS are right",
        );
    }
    Finding::ok(CHECK, said)
}

pub(super) fn bans(f: &Figures) -> Finding {
    const CHECK: &str = "bans";
    if !f.banned_but_wanted.is_empty() {
        let list: Vec<_> = f
            .banned_but_wanted
            .iter()
            .map(|w| foreign::printable(w))
            .collect();
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "banned although the configuration names them: {}",
                list.join(", ")
            ),
            "p2p-node unban PEER, or take them out of the configuration",
        );
    }
    if f.bans_a_minute > at::BANS_A_MINUTE {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!(
                "{:.0} bans within a minute, {} in force: somebody attacks, and is refused",
                f.bans_a_minute, f.bans
            ),
            "see who: p2p-node bans; packaging/fail2ban lets the firewall refuse them",
        );
    }
    match f.bans {
        0 => Finding::ok(CHECK, "none in force"),
        n => Finding::new(
            CHECK,
            Severity::Note,
            format!("{n} in force"),
            "p2p-node bans lists them, p2p-node unban lifts one",
        ),
    }
}
