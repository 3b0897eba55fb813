//! Whether and how a node can be reached through NAT.

/// How the node can be reached through NAT, in [`Status`](super::Status).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatStatus {
    /// Whether peers that it is not connected with can dial the node.
    pub state: Reachability,
    /// The relays at which this node holds a reservation.
    pub relays: Vec<String>,
    /// The number of connections that hole punching made direct.
    pub hole_punched: u64,
}

/// Whether peers that a node is not connected with can dial it, according to autonat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// No one has tested it yet.
    #[default]
    Unknown,
    /// A peer has dialed one of the addresses successfully.
    Public,
    /// All addresses that were tested so far could not be dialed.
    Private,
}

impl Reachability {
    /// Returns the word for it in the status, in logs and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Reachability::Unknown => "unknown",
            Reachability::Public => "public",
            Reachability::Private => "private",
        }
    }

    /// Returns the meaning of a word. A word that is not known means that nothing is
    /// known.
    pub fn of(word: &str) -> Reachability {
        match word {
            "public" => Reachability::Public,
            "private" => Reachability::Private,
            _ => Reachability::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_what_it_was_written_for() {
        for state in [
            Reachability::Unknown,
            Reachability::Public,
            Reachability::Private,
        ] {
            assert_eq!(Reachability::of(state.as_str()), state);
        }
        assert_eq!(
            Reachability::of("a word of tomorrow"),
            Reachability::Unknown
        );
    }
}
