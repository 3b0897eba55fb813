//! What became of the attempt to get content from one peer.

use super::telling::Telling;

/// What came of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It cannot be dialed, or hung up.
    Unreachable(String),
    /// It does not speak this network's exchange, and these others.
    Unsupported(Vec<String>),
    /// It does not have it.
    Lacks,
    /// It took the stream and answered nothing.
    Silent,
    /// It ended the stream, or what it sent was of no use.
    Useless(String),
}

impl Outcome {
    /// What is remembered of a peer when this comes after `before`: a try that found
    /// nothing out does not replace what an earlier one found. A limit of this node was
    /// not in the way of a try that came to an end, so it is replaced by that.
    pub(crate) fn after(self, before: Option<Outcome>) -> Outcome {
        let found_less = |then: &str| match &self {
            Outcome::Unreachable(now) => {
                let (now, then) = (Telling::of(now), Telling::of(then));
                let tried = now > Telling::GivenUp;
                now <= Telling::NoAnswer && now < then && !(tried && then == Telling::Here)
            }
            _ => false,
        };
        match before {
            Some(Outcome::Unreachable(then)) if found_less(&then) => Outcome::Unreachable(then),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_finds_nothing_out_leaves_what_was_known() {
        let gone = |why: &str| Outcome::Unreachable(why.into());
        let refused = gone("refused; nothing listens on that port");
        let late = gone("no stream within 10s");
        let denied = gone("refused by this node's own limit total: 400 connections");
        let after = |now: &Outcome, before: &Outcome| now.clone().after(Some(before.clone()));
        assert_eq!(after(&late, &refused), refused);
        assert_eq!(after(&refused, &late), refused);
        assert_eq!(
            after(&refused, &denied),
            refused,
            "the limit is no more in the way"
        );
        assert_eq!(after(&late, &denied), late, "nor is it here");
        let given_up = gone("others are faster");
        assert_eq!(after(&given_up, &denied), denied);
        assert_eq!(after(&Outcome::Lacks, &refused), Outcome::Lacks);
        assert_eq!(after(&late, &Outcome::Lacks), late);
        assert_eq!(late.clone().after(None), late);
    }
}
