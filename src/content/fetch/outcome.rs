//! What became of the attempt to get content from one peer.

use super::obstacle::Obstacle;
use super::unreachable::Unreachable;
use super::useless::Useless;

/// What came of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It cannot be dialed, or it closed the connection.
    Unreachable(Unreachable),
    /// It does not speak this network's exchange, and these others.
    Unsupported(Vec<String>),
    /// It does not have it.
    Lacks,
    /// It accepted the stream and did not answer.
    Silent,
    /// It ended the stream, or what it sent was of no use.
    Useless(Useless),
}

impl Outcome {
    /// What went wrong with this peer in particular, in words.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Outcome::Unreachable(why) => Some(why.to_string()),
            Outcome::Useless(why) => Some(why.to_string()),
            Outcome::Unsupported(_) | Outcome::Lacks | Outcome::Silent => None,
        }
    }

    /// What is remembered of a peer when this comes after `before`: a try that found
    /// nothing out does not replace what an earlier one found. A limit of this node was
    /// not in the way of a try that came to an end, so it is replaced by that.
    pub(crate) fn after(self, before: Option<Outcome>) -> Outcome {
        let found_less = |then: &Unreachable| match &self {
            Outcome::Unreachable(now) => {
                let (now, then) = (now.obstacle, then.obstacle);
                let tried = now > Obstacle::GivenUp;
                now <= Obstacle::NoAnswer && now < then && !(tried && then == Obstacle::ThisNode)
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
        let gone = |obstacle, words: &str| Outcome::Unreachable(Unreachable::new(obstacle, words));
        let refused = gone(Obstacle::Refused, "nothing listens on that port");
        let late = gone(Obstacle::NoAnswer, "no stream within 10s");
        let denied = gone(Obstacle::ThisNode, "over a limit: 400 connections");
        let after = |now: &Outcome, before: &Outcome| now.clone().after(Some(before.clone()));
        assert_eq!(after(&late, &refused), refused);
        assert_eq!(after(&refused, &late), refused);
        assert_eq!(
            after(&refused, &denied),
            refused,
            "the limit is no more in the way"
        );
        assert_eq!(after(&late, &denied), late, "nor is it here");
        let given_up = gone(Obstacle::GivenUp, "others were to be dialed");
        assert_eq!(after(&given_up, &denied), denied);
        assert_eq!(after(&Outcome::Lacks, &refused), Outcome::Lacks);
        assert_eq!(after(&late, &Outcome::Lacks), late);
        assert_eq!(late.clone().after(None), late);
    }
}
