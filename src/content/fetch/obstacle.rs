//! What is in the way to a peer, or to what it has.

/// See the module's documentation. The order is that of what each tells somebody who
/// reads it, the least first: of many peers that failed, the one is named whose obstacle
/// tells most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The attempt was given up before anything came of it: this node was busy.
    GivenUp,
    /// Nobody knows an address of the peer.
    NoAddress,
    /// An address is known, and nothing came back from there.
    NoAnswer,
    /// Something else, which the words say.
    Other,
    /// A host or router said no: the daemon does not run there, or a network is down.
    Refused,
    /// Somebody answered who is not the peer, or the peer does not want this node.
    Unwanted,
    /// A rule or limit of this node, which whoever reads this can change.
    ThisNode,
}

impl Obstacle {
    /// What several failures of one attempt tell together: the one that tells most, of
    /// those whose kind is known. `None` when there are none.
    pub fn of_several(all: impl IntoIterator<Item = Obstacle>) -> Option<Self> {
        let rank = |obstacle: &Obstacle| (*obstacle != Obstacle::Other, *obstacle);
        all.into_iter().max_by_key(rank)
    }

    /// What the answer of the operating system, or of what stands in for it, tells.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::TimedOut => Obstacle::NoAnswer,
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown => Obstacle::Refused,
            _ => Obstacle::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn what_can_be_changed_here_tells_more_than_what_is_wrong_there() {
        let order = [
            Obstacle::GivenUp,
            Obstacle::NoAddress,
            Obstacle::NoAnswer,
            Obstacle::Other,
            Obstacle::Refused,
            Obstacle::Unwanted,
            Obstacle::ThisNode,
        ];
        assert!(order.is_sorted());
    }

    #[test]
    fn of_several_failures_a_known_one_counts_before_one_that_only_has_words() {
        use Obstacle::{NoAnswer, Other, Refused};
        for (all, told) in [
            (vec![], None),
            (vec![Other, Other], Some(Other)),
            (vec![NoAnswer, Other], Some(NoAnswer)),
            (vec![Other, Refused, NoAnswer], Some(Refused)),
        ] {
            assert_eq!(Obstacle::of_several(all), told);
        }
    }

    #[test]
    fn no_answer_and_a_refusal_are_told_apart() {
        for (kind, obstacle) in [
            (ErrorKind::TimedOut, Obstacle::NoAnswer),
            (ErrorKind::ConnectionRefused, Obstacle::Refused),
            (ErrorKind::UnexpectedEof, Obstacle::Other),
        ] {
            assert_eq!(Obstacle::of_io(&Error::from(kind)), obstacle);
        }
    }
}
