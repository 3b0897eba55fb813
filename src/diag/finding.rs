//! What a check found.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// It works, and something should be done before it does not.
    Warning,
    /// It does not work, or is about to stop working.
    Problem,
}

impl Verdict {
    /// The word that people and JSON see.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check, one word, such as `dht`.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found, in one line.
    pub finding: String,
    /// What to do, in one line; empty when there is nothing to do.
    pub advice: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, finding: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Ok, finding, "")
    }

    /// A finding with what to do.
    pub fn new(
        check: &'static str,
        verdict: Verdict,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            verdict,
            finding: finding.into(),
            advice: advice.into(),
        }
    }
}

/// The worst verdict of all; [`Verdict::Ok`] of none.
pub fn worst(findings: &[Finding]) -> Verdict {
    findings
        .iter()
        .map(|f| f.verdict)
        .max()
        .unwrap_or(Verdict::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_is_told() {
        let of = |verdict| Finding::new("x", verdict, "", "");
        assert_eq!(worst(&[]), Verdict::Ok);
        assert_eq!(
            worst(&[
                of(Verdict::Note),
                of(Verdict::Problem),
                of(Verdict::Warning)
            ]),
            Verdict::Problem
        );
    }
}
