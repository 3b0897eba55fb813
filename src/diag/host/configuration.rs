//! The configuration, and the file that it is read from.

use crate::diag::finding::{Finding, Severity};
use crate::text::foreign;

/// Checks the configuration. `source` is where it was read from; `outcome` is a list of
/// warnings, or the line that refuses it.
pub fn configuration(source: &str, outcome: Result<&[String], &str>) -> Finding {
    const CHECK: &str = "configuration";
    match outcome {
        Err(why) => Finding::new(
            CHECK,
            Severity::Problem,
            format!("{source}: {}", foreign::printable(why)),
            "correct it; the daemon does not start with it (exit code 78)",
        ),
        Ok([]) => Finding::ok(CHECK, format!("{source}: good")),
        Ok(warnings) => Finding::new(
            CHECK,
            Severity::Warning,
            format!("{source}: {}", warnings.join("; ")),
            "take out what does nothing",
        ),
    }
}

/// Reports that the optional file of the configuration does not exist.
pub fn no_file(source: &str) -> Finding {
    Finding::new(
        "configuration",
        Severity::Warning,
        format!("{source} does not exist: every variable has its default"),
        "put it back when that was not wanted, then restart: a copy of yours, or of the package, by \
         apt install --reinstall -o Dpkg::Options::=--force-confmiss p2p-node",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_configuration_is_a_problem() {
        assert_eq!(configuration("f", Ok(&[])).severity, Severity::Ok);
        let warned = configuration("f", Ok(&["P2P_MDNS does nothing".into()]));
        assert_eq!(warned.severity, Severity::Warning);
        let bad = configuration("f", Err("P2P_X=\"1\": no such variable"));
        assert_eq!(bad.severity, Severity::Problem);
        assert!(bad.finding.starts_with("f: P2P_X"), "{bad:?}");
    }
}
