//! What prevents this node from reaching a peer, or from getting what it has.

/// See the module's documentation. The order is that of how informative each obstacle is
/// to a reader, the least informative first. When many peers have failed, the one with
/// the most informative obstacle is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The attempt was given up before it led to anything, because this node was busy.
    GivenUp,
    /// No one knows an address of the peer.
    NoAddress,
    /// There is a known address, but no answer came from there.
    NoAnswer,
    /// It is something else, which the text describes.
    Other,
    /// A host or router refused: the daemon does not run there, or a network is down.
    Refused,
    /// The one that answered is not the peer, or the peer does not accept this node.
    Unwanted,
    /// It is a rule or limit of this node, which its operator can change.
    ThisNode,
}

impl Obstacle {
    /// Returns what several failures of one attempt have in common for whoever reads it:
    /// the most informative of those whose kind is known, or `None` if there are none.
    pub fn of_several(all: impl IntoIterator<Item = Obstacle>) -> Option<Self> {
        let rank = |obstacle: &Obstacle| (*obstacle != Obstacle::Other, *obstacle);
        all.into_iter().max_by_key(rank)
    }

    /// Returns the obstacle behind an error of the operating system, or behind one that
    /// stands for it.
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
