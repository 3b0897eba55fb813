//! One limit of a node, and how much of it is used.

use crate::text::size;

/// One limit in [`Status`](super::Status).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// What is limited, for a person, such as `inbound connections`.
    pub name: String,
    /// What the two numbers count.
    pub unit: Unit,
    /// How much is used now.
    pub used: u64,
    /// How much is allowed.
    pub allowed: u64,
    /// The variable that raises the limit, for example `P2P_MAX_CONNECTIONS`.
    pub variable: String,
}

/// What the numbers of a [`LimitStatus`] count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A number of things, such as connections.
    #[default]
    Count,
    /// Bytes of memory or disk.
    Bytes,
    /// Bytes per second of bandwidth.
    BytesPerSecond,
}

impl Unit {
    /// Returns the word for it in JSON and on the wire. Plain numbers have none.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "",
            Unit::Bytes => "bytes",
            Unit::BytesPerSecond => "bytes_per_second",
        }
    }

    /// Returns the meaning of a word. A word that is not known stands for plain numbers.
    pub fn of(word: &str) -> Unit {
        match word {
            "bytes" => Unit::Bytes,
            "bytes_per_second" => Unit::BytesPerSecond,
            _ => Unit::Count,
        }
    }

    /// Writes an amount in this unit for people.
    pub fn show(self, amount: u64) -> String {
        match self {
            Unit::Count => amount.to_string(),
            Unit::Bytes => size::show(amount),
            Unit::BytesPerSecond => size::show_rate(amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_what_it_was_written_for() {
        for unit in [Unit::Count, Unit::Bytes, Unit::BytesPerSecond] {
            assert_eq!(Unit::of(unit.as_str()), unit);
        }
        assert_eq!(Unit::of("furlongs"), Unit::Count);
    }
}
