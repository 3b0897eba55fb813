//! The result of a check.

/// How severe a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// The node works, but something should be done before it stops working.
    Warning,
    /// The node does not work, or is about to stop working.
    Problem,
}

impl Severity {
    /// Returns the word for it in the output and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check, which is one word, such as `dht`.
    pub check: &'static str,
    /// How severe it is.
    pub severity: Severity,
    /// What was found, in one line.
    pub finding: String,
    /// What to do, in one line; empty when there is nothing to do.
    pub advice: String,
}

impl Finding {
    /// Creates a finding that reports no problem.
    pub fn ok(check: &'static str, finding: impl Into<String>) -> Finding {
        Finding::new(check, Severity::Ok, finding, "")
    }

    /// Creates a finding with advice on what to do.
    pub fn new(
        check: &'static str,
        severity: Severity,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            severity,
            finding: finding.into(),
            advice: advice.into(),
        }
    }
}

/// Returns the worst severity of all findings, or [`Severity::Ok`] when there are none.
pub fn worst(findings: &[Finding]) -> Severity {
    findings
        .iter()
        .map(|f| f.severity)
        .max()
        .unwrap_or(Severity::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_is_told() {
        let of = |severity| Finding::new("x", severity, "", "");
        assert_eq!(worst(&[]), Severity::Ok);
        assert_eq!(
            worst(&[
                of(Severity::Note),
                of(Severity::Problem),
                of(Severity::Warning)
            ]),
            Severity::Problem
        );
    }
}
