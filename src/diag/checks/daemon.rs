//! Checks of the daemon itself: its version, readiness, event loop, configuration and clock.

use std::time::Duration;

use crate::api::State;
use crate::diag::figures::Figures;
use crate::diag::finding::{Finding, Severity};
use crate::diag::thresholds as at;
use crate::text::{duration, foreign};

pub(super) fn version(f: &Figures) -> Finding {
    const CHECK: &str = "version";
    if !f.answers || f.agent == f.own_agent {
        return Finding::ok(CHECK, f.own_agent.clone());
    }
    Finding::new(
        CHECK,
        Severity::Note,
        format!(
            "the daemon is {}, this program is {}",
            foreign::printable(&f.agent),
            f.own_agent
        ),
        "restart the daemon if it was upgraded: systemctl restart p2p-node",
    )
}

pub(super) fn ready(f: &Figures) -> Finding {
    const CHECK: &str = "ready";
    match f.not_ready.as_deref() {
        None => Finding::ok(
            CHECK,
            format!("up {}, {} peers", duration::show(f.uptime), f.peers),
        ),
        Some(reason) => match State::of(reason) {
            State::Starting | State::Draining => Finding::new(
                CHECK,
                Severity::Warning,
                format!("not ready: {reason}"),
                "wait until it has finished; `p2p-node status --watch` shows when",
            ),
            State::Running | State::Unknown => Finding::new(
                CHECK,
                Severity::Problem,
                format!("not ready: {}", foreign::printable(reason)),
                "read its log: journalctl -u p2p-node -p warning",
            ),
        },
    }
}

pub(super) fn event_loop(f: &Figures) -> Finding {
    const CHECK: &str = "event-loop";
    let lag = duration::show(f.loop_lag);
    if !f.answers || f.loop_lag >= crate::node::pulse::STUCK_AFTER {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!("the event loop is stuck: it turned {lag} ago, and did not answer"),
            "keep a bundle for a bug report (`p2p-node diag --bundle FILE`), then restart it; under \
             systemd the watchdog does",
        );
    }
    if f.loop_lag > at::LOOP_LAG {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("the event loop lags: it turned {lag} ago, and should each second"),
            "see who else uses the processor; give the node more of it (CPUWeight=)",
        );
    }
    Finding::ok(CHECK, format!("turned {lag} ago"))
}

pub(super) fn reload(f: &Figures) -> Finding {
    const CHECK: &str = "reload";
    if f.reload_failed {
        return Finding::new(
            CHECK,
            Severity::Warning,
            "the last reload failed; the configuration from before it is in force",
            "`p2p-node reload` says which line is wrong; correct it and reload again",
        );
    }
    Finding::ok(
        CHECK,
        "the configuration in force is the last that was loaded",
    )
}

pub(super) fn clock(f: &Figures) -> Finding {
    const CHECK: &str = "clock";
    let advice = "let a time server keep the clock: timedatectl set-ntp true; blocks are signed \
                  with their time, and refused when clocks differ by five minutes";
    if f.refused_for_time > 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{} blocks of others were dated more than five minutes ahead of this host's clock \
                 in the last {}",
                f.refused_for_time,
                duration::show(f.span)
            ),
            advice,
        );
    }
    if f.clock_synchronised == Some(false) {
        return Finding::new(
            CHECK,
            Severity::Warning,
            "the system says that no time server keeps its clock",
            advice,
        );
    }
    let step = Duration::from_millis(f.clock_step_ms.unsigned_abs());
    if step > at::CLOCK_STEP {
        let way = if f.clock_step_ms > 0 {
            "forwards"
        } else {
            "back"
        };
        return Finding::new(
            CHECK,
            Severity::Note,
            format!(
                "the clock was set {way} by {} since the start, or the machine slept",
                duration::show(step)
            ),
            "check that it is right now: timedatectl",
        );
    }
    Finding::ok(
        CHECK,
        match f.clock_synchronised {
            Some(_) => "a time server keeps it",
            None => "steady since the start; whether a time server keeps it is not known",
        },
    )
}
