//! The state of the unit according to systemd.

use crate::diag::finding::{Finding, Severity};

/// The state of the unit according to systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `LoadState`, such as `loaded` or `not-found`.
    pub load: String,
    /// `ActiveState`, such as `active` or `failed`.
    pub active: String,
    /// `SubState`, such as `running` or `auto-restart`.
    pub sub: String,
    /// `Result`, such as `success` or `exit-code`.
    pub result: String,
    /// `ExecMainStatus`: the exit code, or the signal.
    pub status: i32,
    /// `NRestarts`: automatic restarts since it was started.
    pub restarts: u32,
    /// `UnitFileState`, such as `enabled`.
    pub enabled: String,
}

impl Unit {
    /// Parses the output of `systemctl show`.
    pub fn parse(text: &str) -> Unit {
        let mut unit = Unit::default();
        for (name, value) in text.lines().filter_map(|l| l.split_once('=')) {
            match name {
                "LoadState" => unit.load = value.into(),
                "ActiveState" => unit.active = value.into(),
                "SubState" => unit.sub = value.into(),
                "Result" => unit.result = value.into(),
                "ExecMainStatus" => unit.status = value.parse().unwrap_or(0),
                "NRestarts" => unit.restarts = value.parse().unwrap_or(0),
                "UnitFileState" => unit.enabled = value.into(),
                _ => {}
            }
        }
        unit
    }
}

/// Checks the state of the unit, which is `None` when there is no systemd to ask.
pub fn unit(unit: Option<&Unit>) -> Finding {
    const CHECK: &str = "unit";
    let Some(u) = unit else {
        return Finding::ok(CHECK, "no systemd here, or it does not answer");
    };
    if u.load != "loaded" {
        return Finding::ok(CHECK, format!("p2p-node.service is {}", u.load));
    }
    let mut said = format!("p2p-node.service is {} ({})", u.active, u.sub);
    if u.restarts > 0 {
        said.push_str(&format!(", restarted {} times by itself", u.restarts));
    }
    match (u.active.as_str(), u.sub.as_str()) {
        ("failed", _) | (_, "auto-restart") => Finding::new(
            CHECK,
            Severity::Problem,
            format!("{said}: {}, status {}", u.result, u.status),
            match u.status {
                78 => {
                    "its configuration is wrong; see that finding, then systemctl restart p2p-node"
                }
                _ => "read why: journalctl -u p2p-node -n 50; then systemctl restart p2p-node",
            },
        ),
        ("active", _) if u.restarts > 0 => Finding::new(
            CHECK,
            Severity::Warning,
            said,
            "read why: journalctl -u p2p-node -p err",
        ),
        ("active", _) => Finding::ok(CHECK, said),
        ("inactive", _) => Finding::new(
            CHECK,
            Severity::Warning,
            said,
            match u.enabled.as_str() {
                "enabled" => "systemctl start p2p-node",
                _ => "systemctl enable --now p2p-node",
            },
        ),
        _ => Finding::new(
            CHECK,
            Severity::Note,
            said,
            "wait until it has finished: systemctl status p2p-node",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_told_as_systemd_sees_it() {
        let show = |active: &str, sub: &str, status: i32, restarts: u32| {
            let text = format!(
                "LoadState=loaded\nActiveState={active}\nSubState={sub}\nResult=exit-code\n\
                 ExecMainStatus={status}\nNRestarts={restarts}\nUnitFileState=enabled\n"
            );
            unit(Some(&Unit::parse(&text)))
        };
        assert_eq!(show("active", "running", 0, 0).severity, Severity::Ok);
        assert_eq!(show("active", "running", 0, 1).severity, Severity::Warning);
        assert_eq!(show("inactive", "dead", 0, 0).severity, Severity::Warning);
        assert_eq!(show("activating", "start", 0, 0).severity, Severity::Note);
        assert_eq!(
            show("activating", "auto-restart", 1, 3).severity,
            Severity::Problem
        );
        let failed = show("failed", "failed", 78, 0);
        assert_eq!(failed.severity, Severity::Problem);
        assert!(failed.advice.contains("configuration"), "{failed:?}");
        assert_eq!(unit(None).severity, Severity::Ok);
        assert_eq!(
            unit(Some(&Unit::parse(
                "LoadState=not-found\nActiveState=inactive\n"
            )))
            .severity,
            Severity::Ok
        );
    }
}
