//! Checks of the machine's resources that the node uses.

use super::scarce;
use crate::diag::figures::Figures;
use crate::diag::finding::{Finding, Severity};
use crate::diag::thresholds as at;
use crate::text::{duration, size};

/// Checks the memory in use: "Memory leak" in the table of alerts.
pub(super) fn memory(f: &Figures) -> Finding {
    const CHECK: &str = "memory";
    let Some(limit) = f.memory_limit.filter(|n| *n > 0) else {
        return Finding::ok(
            CHECK,
            format!("{} resident; no limit is known", size::show(f.resident)),
        );
    };
    let said = format!(
        "{} resident of {} that P2P_MAX_MEMORY allows",
        size::show(f.resident),
        size::show(limit)
    );
    if f.resident as f64 > at::MEMORY_SHARE * limit as f64 {
        return Finding::new(
            CHECK,
            if f.resident as f64 > at::MEMORY_HIGH * limit as f64 {
                Severity::Problem
            } else {
                Severity::Warning
            },
            format!("{said}: above it new connections are refused"),
            "lower P2P_MAX_CONNECTIONS or P2P_CONNECTION_IDLE_TIMEOUT, or raise P2P_MAX_MEMORY (and \
             MemoryMax= of the unit); when it grows with a steady number of peers, report it with \
             a bundle",
        );
    }
    Finding::ok(CHECK, said)
}

/// Checks the processor time in use: "High CPU" in the table of alerts.
pub(super) fn cpu(f: &Figures) -> Finding {
    const CHECK: &str = "cpu";
    let percent = |cores: f64| format!("{:.0}%", cores * 100.0);
    let now = f.cpu_now.unwrap_or(f.cpu_since_start);
    let said = format!(
        "{} of a core now, {} on average since the start",
        percent(now),
        percent(f.cpu_since_start)
    );
    let frequent = f.heartbeat.filter(|h| *h < at::HEARTBEAT_LEAST);
    if now > at::CPU_CORES {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("busy: {said}"),
            match frequent {
                Some(h) => format!(
                    "raise P2P_GOSSIP_HEARTBEAT from {} to 1s or more",
                    duration::show(h)
                ),
                None => "if no large transfer is under way, lower P2P_RATE_FILL or \
                         P2P_MAX_INBOUND_RATE; `perf top` shows what it does"
                    .to_owned(),
            },
        );
    }
    if let Some(h) = frequent {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{said}; the gossip heartbeat is {}", duration::show(h)),
            "P2P_GOSSIP_HEARTBEAT below 1s costs processor time for little",
        );
    }
    Finding::ok(CHECK, said)
}

/// Checks the descriptors in use: "File descriptor exhaustion" in the table of alerts.
pub(super) fn descriptors(f: &Figures) -> Finding {
    const CHECK: &str = "descriptors";
    let (open, allowed) = f.descriptors;
    let said = format!("{open} of {allowed} open");
    if allowed > 0 && open as f64 > at::LIMIT_SHARE * allowed as f64 {
        return Finding::new(
            CHECK,
            scarce(open as f64 / allowed as f64),
            format!("{said}: new connections are soon refused"),
            "raise LimitNOFILE= of the unit (systemctl edit p2p-node), or lower P2P_MAX_CONNECTIONS",
        );
    }
    Finding::ok(CHECK, said)
}

/// Checks the space that blocks take: "Disk usage explosion" in the table of alerts.
pub(super) fn store(f: &Figures) -> Finding {
    const CHECK: &str = "store";
    let (used, cap) = f.store;
    let said = format!(
        "{} of {} taken by blocks",
        size::show(used),
        size::show(cap)
    );
    if f.store_refused > 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{said}; {} blocks were refused in the last {}: all is pinned or in use, or the disk \
                 is full",
                f.store_refused,
                duration::show(f.span)
            ),
            "raise P2P_STORE_MAX_BYTES, free the disk, or remove files: p2p-node ls, p2p-node rm CID",
        );
    }
    if cap > 0 && used as f64 > at::STORE_SHARE * cap as f64 {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{said}: full; what was fetched longest ago makes room"),
            "to keep more, raise P2P_STORE_MAX_BYTES; what must stay is pinned by `p2p-node put`",
        );
    }
    Finding::ok(CHECK, said)
}

/// Checks the free space of the disk: "Disk usage explosion" in the table of alerts.
pub(super) fn disk(f: &Figures) -> Finding {
    const CHECK: &str = "disk";
    let Some((free, total)) = f.disk.filter(|d| d.1 > 0) else {
        return Finding::ok(CHECK, "not known how much is free");
    };
    let said = format!("{} of {} free", size::show(free), size::show(total));
    if free < at::DISK_LEAST {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!("{said}: writes begin to fail"),
            "free space on the disk of P2P_DATA_DIR: p2p-node rm CID, journalctl --vacuum-size=500M, \
             du -xh / | sort -h",
        );
    }
    if (free as f64) < at::DISK_SHARE * total as f64 && free < at::DISK_PLENTY {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: nearly full"),
            "make room on the disk of P2P_DATA_DIR, or lower P2P_STORE_MAX_BYTES",
        );
    }
    let growth = f.store.1.saturating_sub(f.store.0);
    if free < growth {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}, but the store may grow by {}", size::show(growth)),
            format!(
                "lower P2P_STORE_MAX_BYTES to {} or less, or make room",
                size::show(f.store.0.saturating_add(free))
            ),
        );
    }
    Finding::ok(CHECK, said)
}
