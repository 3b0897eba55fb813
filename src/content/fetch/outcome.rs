//! The outcome of the attempt to get content from one peer.

use super::obstacle::Obstacle;
use super::unreachable::Unreachable;
use super::useless::Useless;

/// The outcome for one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It cannot be dialed, or it closed the connection.
    Unreachable(Unreachable),
    /// It does not speak this network's exchange, but speaks these other ones.
    Unsupported(Vec<String>),
    /// It does not have the content.
    Lacks,
    /// It accepted the stream but did not answer.
    Silent,
    /// It ended the stream, or sent nothing that was of use.
    Useless(Useless),
}

impl Outcome {
    /// Describes in words what went wrong with this peer in particular.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Outcome::Unreachable(why) => Some(why.to_string()),
            Outcome::Useless(why) => Some(why.to_string()),
            Outcome::Unsupported(_) | Outcome::Lacks | Outcome::Silent => None,
        }
    }

    /// Returns what to remember of a peer when this outcome follows `before`. An attempt
    /// that found nothing out does not replace what an earlier one found out. There is
    /// one exception: a limit of this node is replaced by the outcome of an attempt that
    /// was carried out, because the limit did not prevent that one.
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
