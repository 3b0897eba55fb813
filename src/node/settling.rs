//! Peers that were dialed and have not said yet who they are.
//!
//! The dialing side's handshake ends first. A peer that refuses the connection
//! (it bans this node, or is full) closes it just afterwards, so that a
//! connection which stands says little. Whoever asked to connect is told when
//! identify has come, or that it ended instead.

use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::handle::{Error, Reply};

/// How long to wait for identify. 5 s: it takes one round trip. A peer that does
/// not speak it and stays is connected all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those who wait. Bounded: each is a client of the control socket, of which
/// there is a limited number, with one request at a time.
#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: Vec<(PeerId, Instant, Reply<()>)>,
}

impl Settling {
    /// Answers `reply` once `peer` has said who it is.
    pub(super) fn wait(&mut self, peer: PeerId, reply: Reply<()>, now: Instant) {
        self.waiting.push((peer, now, reply));
    }

    /// The peer has said who it is.
    pub(super) fn identified(&mut self, peer: &PeerId) {
        for (_, _, reply) in self.waiting.extract_if(.., |(p, ..)| p == peer) {
            let _ = reply.send(Ok(()));
        }
    }

    /// Its last connection has ended.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        for (peer, _, reply) in self.waiting.extract_if(.., |(p, ..)| p == peer) {
            let _ = reply.send(Err(closed(peer)));
        }
    }

    /// Time passes.
    pub(super) fn tend(&mut self, now: Instant) {
        let over = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
        for (_, _, reply) in self
            .waiting
            .extract_if(.., |(_, since, reply)| over(*since) || reply.is_canceled())
        {
            let _ = reply.send(Ok(()));
        }
    }
}

/// The connection stood and was ended by the other side.
pub(super) fn closed(peer: PeerId) -> Error {
    Error::Dial {
        target: peer.to_string(),
        reason: "it closed the connection at once, before it said who it is; it may have banned \
                 this node or be at a limit of its own, which its log says"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::oneshot;

    #[test]
    fn who_waits_is_told_what_comes_first() {
        let (mut settling, now) = (Settling::default(), Instant::now());
        let mut wait = |peer| {
            let (reply, answer) = oneshot::channel();
            settling.wait(peer, reply, now);
            answer
        };
        let (good, bad, silent) = (PeerId::random(), PeerId::random(), PeerId::random());
        let (mut of_good, mut of_bad, mut of_silent) = (wait(good), wait(bad), wait(silent));
        settling.identified(&good);
        settling.gone(&bad);
        settling.gone(&good);
        settling.tend(now);
        assert!(matches!(of_good.try_recv(), Ok(Some(Ok(())))));
        assert!(matches!(
            of_bad.try_recv(),
            Ok(Some(Err(Error::Dial { .. })))
        ));
        assert!(matches!(of_silent.try_recv(), Ok(None)));
        settling.tend(now + PATIENCE);
        assert!(matches!(of_silent.try_recv(), Ok(Some(Ok(())))));
        assert!(settling.waiting.is_empty());
    }
}
