//! Why this node keeps a connection: a set of reasons, each of which may end at a time
//! of its own.
//!
//! Pure: time is an argument.

use std::time::Instant;

/// Why this node wants a connection kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Reason {
    /// It is one of the few that make this node part of its network (`P2P_MIN_PEERS`).
    Floor,
    /// The operator always wants it (`P2P_PEERING`).
    Peering,
    /// This host recently published messages to it.
    Publishing,
    /// It is on a topic of this node.
    Topic,
}

const REASONS: [Reason; 4] = [
    Reason::Floor,
    Reason::Peering,
    Reason::Publishing,
    Reason::Topic,
];

/// How a connection is kept, as the other side is told. It is a number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) enum Class {
    /// To be part of the network. Another peer can be asked instead.
    Presence = 1,
    /// For something for which this particular peer is needed.
    Use = 2,
}

impl Class {
    pub(super) fn of_byte(byte: u8) -> Option<Class> {
        match byte {
            1 => Some(Class::Presence),
            2 => Some(Class::Use),
            _ => None,
        }
    }

    pub(super) fn byte(self) -> u8 {
        self as u8
    }
}

impl Reason {
    /// The word that `p2p-node peers` shows.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Reason::Floor => "floor",
            Reason::Peering => "peering",
            Reason::Publishing => "publishing",
            Reason::Topic => "topic",
        }
    }

    fn class(self) -> Class {
        match self {
            Reason::Floor => Class::Presence,
            Reason::Peering | Reason::Publishing | Reason::Topic => Class::Use,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Never,
    At(Instant),
}

/// The reasons for keeping one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds([Option<End>; REASONS.len()]);

impl Holds {
    /// Adds a reason, until `until` if that is given. Of two ends of the same reason, the
    /// later one counts.
    pub(super) fn set(&mut self, reason: Reason, until: Option<Instant>) {
        let end = match (self.0[reason as usize], until) {
            (Some(End::Never), _) | (_, None) => End::Never,
            (Some(End::At(before)), Some(until)) => End::At(before.max(until)),
            (None, Some(until)) => End::At(until),
        };
        self.0[reason as usize] = Some(end);
    }

    pub(super) fn clear(&mut self, reason: Reason) {
        self.0[reason as usize] = None;
    }

    /// Removes the reasons that have ended.
    pub(super) fn expire(&mut self, now: Instant) {
        for end in &mut self.0 {
            if matches!(end, Some(End::At(at)) if *at <= now) {
                *end = None;
            }
        }
    }

    pub(super) fn has(&self, reason: Reason) -> bool {
        self.0[reason as usize].is_some()
    }

    pub(super) fn reasons(&self) -> impl Iterator<Item = Reason> + '_ {
        REASONS.into_iter().filter(|r| self.has(*r))
    }

    /// The strongest class among the reasons, or `None` if there are none.
    pub(super) fn class(&self) -> Option<Class> {
        self.reasons().map(Reason::class).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_peer_is_held_until_the_last_reason_is_gone() {
        let (mut holds, t) = (Holds::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(holds.class(), None);
        holds.set(Reason::Floor, None);
        assert_eq!(holds.class(), Some(Class::Presence));
        holds.set(Reason::Publishing, Some(t + second));
        // An earlier end does not shorten it.
        holds.set(Reason::Publishing, Some(t));
        assert_eq!(holds.class(), Some(Class::Use));
        holds.expire(t);
        assert!(holds.has(Reason::Publishing));
        holds.expire(t + second);
        assert!(!holds.has(Reason::Publishing));
        assert_eq!(holds.class(), Some(Class::Presence));
        holds.clear(Reason::Floor);
        assert_eq!(holds, Holds::default());
        // A reason without an end does not get one by a later call.
        holds.set(Reason::Topic, None);
        holds.set(Reason::Topic, Some(t));
        holds.expire(t + second);
        assert!(holds.has(Reason::Topic));
    }

    #[test]
    fn classes_are_these_numbers_on_the_wire() {
        for (class, byte) in [(Class::Presence, 1), (Class::Use, 2)] {
            assert_eq!((class.byte(), Class::of_byte(byte)), (byte, Some(class)));
        }
        assert_eq!((Class::of_byte(0), Class::of_byte(3)), (None, None));
    }
}
