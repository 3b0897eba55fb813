//! What a node does in the DHT.

/// What a node does in the DHT at present. With `P2P_DHT_MODE=auto` this changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DhtRole {
    /// The daemon did not report it, or used a word that this version does not know.
    #[default]
    Unknown,
    /// It only asks.
    Client,
    /// It also answers, and holds records.
    Server,
}

impl DhtRole {
    /// Returns the word for it in the status and on the wire; none if it is not known.
    pub fn as_str(self) -> &'static str {
        match self {
            DhtRole::Unknown => "",
            DhtRole::Client => "client",
            DhtRole::Server => "server",
        }
    }

    /// Returns the meaning of a word.
    pub fn of(word: &str) -> DhtRole {
        match word {
            "client" => DhtRole::Client,
            "server" => DhtRole::Server,
            _ => DhtRole::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_what_it_was_written_for() {
        for role in [DhtRole::Unknown, DhtRole::Client, DhtRole::Server] {
            assert_eq!(DhtRole::of(role.as_str()), role);
        }
        assert_eq!(DhtRole::of("a word of tomorrow"), DhtRole::Unknown);
    }
}
