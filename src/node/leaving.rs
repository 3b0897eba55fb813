//! Peers that were told to go and have connections that are still closing.
//!
//! To close a connection takes a turn of its task and of its socket. Until then
//! the peer counts as connected, and who connects again at once would be told
//! that a connection stands, which is about to end. So whoever asked to disconnect
//! is answered when it is done.

use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::handle::Reply;

/// How long to wait for it. 5 s: a peer that reads nothing keeps the goodbye from
/// leaving until the kernel gives it up, and nobody waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those who wait. Bounded: each is a client of the control socket, of which
/// there is a limited number, with one request at a time.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    waiting: Vec<(PeerId, Instant, Reply<()>)>,
}

impl Leaving {
    /// Answers `reply` once `peer` is gone.
    pub(super) fn wait(&mut self, peer: PeerId, reply: Reply<()>, now: Instant) {
        self.waiting.push((peer, now, reply));
    }

    /// The last connection of the peer has ended.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        for (_, _, reply) in self.waiting.extract_if(.., |(p, ..)| p == peer) {
            let _ = reply.send(Ok(()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::oneshot;

    #[test]
    fn who_waits_is_told_when_the_peer_is_gone_or_takes_too_long() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        let (quick, stuck) = (PeerId::random(), PeerId::random());
        let (reply, mut of_quick) = oneshot::channel();
        leaving.wait(quick, reply, now);
        let (reply, mut of_stuck) = oneshot::channel();
        leaving.wait(stuck, reply, now);
        leaving.tend(now);
        assert!(matches!(of_quick.try_recv(), Ok(None)));
        leaving.gone(&quick);
        assert!(matches!(of_quick.try_recv(), Ok(Some(Ok(())))));
        assert!(matches!(of_stuck.try_recv(), Ok(None)));
        leaving.tend(now + PATIENCE);
        assert!(matches!(of_stuck.try_recv(), Ok(Some(Ok(())))));
        assert!(leaving.waiting.is_empty());
    }
}
