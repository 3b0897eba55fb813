//! How many connections this node keeps because others asked for it.
//!
//! # How many
//!
//! Connections that are kept end only when the other side lets them, so they
//! must leave room for newcomers: a bootstrap node would otherwise fill up with
//! quiet peers and be of no use to those who come to enter the network. Of
//! `P2P_MAX_CONNECTIONS` strangers get three quarters (see
//! [`crate::admission::limits`]); half of that is for peers that only want to be
//! part of the network, and half of the rest is added for those that need this
//! very peer, such as members of a topic: 150 and 225 of 400. The last 75 always
//! change hands.
//!
//! Ten thousand quiet nodes do not fill a node: 150 of them are kept, and the
//! others keep one another.

use super::holds::Class;
use crate::admission::limits::kept;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    presence: usize,
    all: usize,
}

impl Room {
    /// The room under a cap of connections.
    pub(super) fn under(connections: u32) -> Room {
        let strangers = (connections - kept(connections)) as usize;
        // So that two nodes with a tiny cap can still keep each other.
        let presence = strangers.div_ceil(2);
        Room {
            presence,
            all: presence + (strangers - presence).div_ceil(2),
        }
    }

    /// Whether another one of `class` has room beside `accepted` of all classes.
    pub(super) fn has(self, class: Class, accepted: usize) -> bool {
        accepted
            < match class {
                Class::Presence => self.presence,
                Class::Use => self.all,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_connections_is_never_kept() {
        for (cap, presence, all) in [
            (400, 150, 225),
            (1, 1, 1),
            (4, 2, 3),
            (1_000_000, 375_000, 562_500),
        ] {
            let room = Room::under(cap);
            assert_eq!(room, Room { presence, all }, "{cap}");
            assert!(room.has(Class::Presence, presence - 1));
            assert!(!room.has(Class::Presence, presence));
            assert!(room.has(Class::Use, all - 1));
            assert!(!room.has(Class::Use, all));
        }
    }
}
