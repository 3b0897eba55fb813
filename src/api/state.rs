//! Whether a node is starting, running or stopping.

/// Whether a node is starting, running or stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The daemon did not report it, or used a word that this version does not know.
    #[default]
    Unknown,
    /// The node does not serve yet.
    Starting,
    /// The node serves.
    Running,
    /// The node is stopping and takes no new work.
    Draining,
}

impl State {
    /// Returns the word for it in the status, on the health pages and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Starting => "starting",
            State::Running => "running",
            State::Draining => "draining",
        }
    }

    /// Returns the meaning of a word.
    pub fn of(word: &str) -> State {
        match word {
            "starting" => State::Starting,
            "running" => State::Running,
            "draining" => State::Draining,
            _ => State::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_what_it_was_written_for() {
        for state in [
            State::Unknown,
            State::Starting,
            State::Running,
            State::Draining,
        ] {
            assert_eq!(State::of(state.as_str()), state);
        }
        assert_eq!(State::of("a word of tomorrow"), State::Unknown);
    }
}
