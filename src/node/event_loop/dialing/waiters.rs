//! The programs that wait until a peer to which they connected has said who it is, or
//! until the last connection with a peer has ended.
//!
//! The handshake ends first on the side that dials. A peer that refuses the connection
//! (it bans this node, or is full) closes it just afterwards. So an established
//! connection means little. A program that asked to connect gets its answer when identify
//! has arrived, or when the connection has ended instead.
//!
//! To close a connection takes a turn of its task and of its socket. Until then the peer
//! counts as connected, and a program that connects again at once would be told that
//! there is a connection, which is about to end. So a program that asked to disconnect
//! gets its answer when the connection has ended.

use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::content::fetch::{Obstacle, Unreachable};
use crate::node::error::Error;
use crate::node::reply::Reply;

/// How long a program waits at most: 5 s, since identify takes one round trip, and a
/// goodbye half of one. A peer that does not speak identify and stays is connected all
/// the same. A peer that does not read anything prevents the goodbye from being sent, and
/// nobody waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// The event that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The peer says who it is. If the connection ends instead, that is an error.
    Identified,
    /// Its last connection ends.
    Gone,
}

/// The programs that wait. They are bounded: each is a client of the control socket, the
/// number of which is limited, with one request at a time.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    peer: PeerId,
    outcome: Outcome,
    since: Instant,
    reply: Reply<()>,
}

impl Waiters {
    /// Answers `reply` when `outcome` has happened with `peer`.
    pub(super) fn wait(
        &mut self,
        peer: PeerId,
        outcome: Outcome,
        reply: Reply<()>,
        since: Instant,
    ) {
        self.waiting.push(Waiting {
            peer,
            outcome,
            since,
            reply,
        });
    }

    /// Records that the peer has said who it is.
    pub(super) fn identified(&mut self, peer: &PeerId) {
        let waits = |w: &mut Waiting| w.peer == *peer && w.outcome == Outcome::Identified;
        for waiting in self.waiting.extract_if(.., waits) {
            let _ = waiting.reply.send(Ok(()));
        }
    }

    /// Records that the last connection with the peer has ended.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        for waiting in self.waiting.extract_if(.., |w| w.peer == *peer) {
            let _ = waiting.reply.send(match waiting.outcome {
                Outcome::Identified => Err(closed(*peer)),
                Outcome::Gone => Ok(()),
            });
        }
    }

    /// Answers those that have waited long enough.
    pub(super) fn tend(&mut self, now: Instant) {
        let over = |w: &mut Waiting| {
            now.saturating_duration_since(w.since) >= PATIENCE || w.reply.is_canceled()
        };
        for waiting in self.waiting.extract_if(.., over) {
            let _ = waiting.reply.send(Ok(()));
        }
    }
}

/// Returns the error for a connection that was established and then ended by the other
/// side.
pub(super) fn closed(peer: PeerId) -> Error {
    Error::Dial {
        target: peer.to_string(),
        reason: Unreachable::new(
            Obstacle::Unwanted,
            "it closed the connection at once, before it said who it is; it may have banned \
             this node or be at a limit of its own, which its log says",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::oneshot;

    #[test]
    fn who_waits_is_told_what_comes_first() {
        let (mut waiters, now) = (Waiters::default(), Instant::now());
        let mut wait = |peer, outcome| {
            let (reply, answer) = oneshot::channel();
            waiters.wait(peer, outcome, reply, now);
            answer
        };
        let (good, bad, silent) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut of_good = wait(good, Outcome::Identified);
        let mut of_bad = wait(bad, Outcome::Identified);
        let mut of_silent = wait(silent, Outcome::Identified);
        let mut of_leaver = wait(good, Outcome::Gone);
        let mut of_stuck = wait(silent, Outcome::Gone);
        waiters.identified(&good);
        assert!(matches!(of_good.try_recv(), Ok(Some(Ok(())))));
        assert!(matches!(of_leaver.try_recv(), Ok(None)));
        waiters.gone(&bad);
        waiters.gone(&good);
        assert!(matches!(
            of_bad.try_recv(),
            Ok(Some(Err(Error::Dial { .. })))
        ));
        assert!(matches!(of_leaver.try_recv(), Ok(Some(Ok(())))));
        waiters.tend(now);
        assert!(matches!(of_silent.try_recv(), Ok(None)));
        assert!(matches!(of_stuck.try_recv(), Ok(None)));
        waiters.tend(now + PATIENCE);
        assert!(matches!(of_silent.try_recv(), Ok(Some(Ok(())))));
        assert!(matches!(of_stuck.try_recv(), Ok(Some(Ok(())))));
        assert!(waiters.waiting.is_empty());
    }
}
