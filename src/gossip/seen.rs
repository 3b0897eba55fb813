//! Messages whose verdict is known, so that further copies of them cost nothing.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use libp2p::gossipsub::RawMessage;

/// Ids in one generation. Two minutes at the node's ceiling of new messages
/// under the default budget (1,000 a second, see `intake`) are 120,000; a
/// generation takes 1 MiB when full, and there are two.
const GENERATION: usize = 1 << 16;

/// Remembers the last one to two generations of ids, as 64 bits each under a key
/// that no remote knows: two messages in a billion would be taken for each other
/// only after trillions of tries.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    key: RandomState,
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Seen {
    fn mark(&self, message: &Id<'_>) -> u64 {
        self.key.hash_one((message.0, message.1))
    }

    pub(crate) fn contains(&self, message: &Id<'_>) -> bool {
        let mark = self.mark(message);
        self.young.contains(&mark) || self.old.contains(&mark)
    }

    pub(crate) fn insert(&mut self, message: &Id<'_>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let mark = self.mark(message);
        self.young.insert(mark);
    }
}

/// What identifies a message: its publisher and sequence number, as in the
/// message id on the wire.
#[derive(Debug)]
pub(crate) struct Id<'a>(pub(crate) &'a libp2p::PeerId, pub(crate) u64);

impl<'a> Id<'a> {
    pub(crate) fn of(message: &'a RawMessage) -> Option<Self> {
        Some(Id(message.source.as_ref()?, message.sequence_number?))
    }
}
