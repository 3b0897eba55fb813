//! Checks of where the node listens, and whether others reach it.

use super::scarce;
use crate::api::Reachability;
use crate::diag::figures::Figures;
use crate::diag::finding::{Finding, Severity};
use crate::diag::thresholds as at;
use crate::text::foreign;

pub(super) fn listening(f: &Figures) -> Finding {
    const CHECK: &str = "listening";
    if !f.answers {
        return Finding::ok(CHECK, "not known while the event loop does not answer");
    }
    if f.listening.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Problem,
            "it listens on no address: nobody can connect",
            "set P2P_LISTEN_ADDRS to addresses that this host has, and restart",
        );
    }
    let list: Vec<_> = f.listening.iter().map(foreign::address).collect();
    let list = list.join(", ");
    if f.only_loopback() {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("it listens on loopback alone ({list}): only this host can connect"),
            "for others, set P2P_LISTEN_ADDRS=/ip4/0.0.0.0/tcp/4001 and restart",
        );
    }
    Finding::ok(CHECK, list)
}

/// Checks whether others can dial the node: "Node unreachable" in the table of alerts.
pub(super) fn reachability(f: &Figures) -> Finding {
    const CHECK: &str = "reachable";
    let attempts: Vec<_> = f
        .traversal
        .iter()
        .filter(|(_, a)| a.ok + a.failed > 0)
        .map(|(method, a)| format!("{method} {} ok and {} failed", a.ok, a.failed))
        .collect();
    let attempts = match attempts.is_empty() {
        true => "no attempt at NAT traversal yet".to_owned(),
        false => attempts.join(", "),
    };
    let external: Vec<_> = f.external.iter().map(foreign::address).collect();
    match f.nat {
        Reachability::Private if f.relays == 0 => Finding::new(
            CHECK,
            Severity::Warning,
            format!("behind a NAT or firewall, and no relay holds a place ({attempts})"),
            if f.relays_configured {
                "none of P2P_RELAYS gives a reservation: see that they run and are reachable; or \
                 forward TCP and UDP 4001 to this host and set P2P_EXTERNAL_ADDRS"
            } else {
                "forward TCP and UDP 4001 to this host and set P2P_EXTERNAL_ADDRS, or set P2P_RELAYS: \
                 others then connect through a relay and punch a hole (DCUtR)"
            },
        ),
        Reachability::Private => Finding::ok(
            CHECK,
            format!(
                "behind a NAT, reachable through {} relays ({attempts})",
                f.relays
            ),
        ),
        Reachability::Public => {
            Finding::ok(CHECK, format!("from outside, at {}", external.join(", ")))
        }
        Reachability::Unknown if !external.is_empty() => Finding::ok(
            CHECK,
            format!(
                "said to be at {}; no peer has tested it",
                external.join(", ")
            ),
        ),
        Reachability::Unknown => Finding::new(
            CHECK,
            Severity::Note,
            format!("not known whether strangers can connect ({attempts})"),
            "a bootstrap node tests it once this node is connected to one; if the address is known, \
             set P2P_EXTERNAL_ADDRS",
        ),
    }
}

pub(super) fn relay(f: &Figures) -> Finding {
    const CHECK: &str = "relay";
    let (used, allowed) = f.circuits;
    let Some(allowed) = allowed.filter(|n| *n > 0) else {
        return Finding::ok(CHECK, format!("{used} circuits relayed for others"));
    };
    let said = format!("{used} of {allowed} circuits relayed for others");
    if used as f64 > at::LIMIT_SHARE * allowed as f64 {
        return Finding::new(
            CHECK,
            scarce(used as f64 / allowed as f64),
            format!("{said}: soon full"),
            "run a further relay, and name it in the P2P_RELAYS of some of the peers",
        );
    }
    Finding::ok(CHECK, said)
}
