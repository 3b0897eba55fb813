//! Counters with a limit: a slot is taken, and given back when it is dropped.
//!
//! [`Slots`] is one counter. [`Shares`] is a counter that peers share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::PeerId;

/// Slots of one kind. Clones share the counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<AtomicUsize>);

impl Slots {
    /// The number of slots that are taken.
    pub(super) fn used(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Takes a slot, unless `max` are taken.
    pub(super) fn take(&self, max: usize) -> Option<Slot> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < max).then_some(n + 1)
            })
            .ok()
            .map(|_| Slot(self.0.clone()))
    }
}

/// A slot that is taken.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Places that peers share. A peer may have as many as are still free (dynamic
/// thresholds, Choudhury and Hahne 1998), and never more than its cap. A peer that is
/// alone gets half of them, and peers that come later still find some, however fast the
/// first one is. Clones share the counter.
///
/// For example, of 128 places the first peer gets 64, and is refused the next one. A
/// second peer then gets 32, and a third 16. When the first one gives places back, it may
/// again take half of the rest.
#[derive(Clone, Debug)]
pub(crate) struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: usize,
    cap: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    peers: HashMap<PeerId, usize>,
}

/// The limit that was reached, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The peer has as many as it may have now.
    Peer(usize),
    /// All are taken.
    All(usize),
}

impl Shares {
    /// Creates `places`, of which one peer may have at most `cap`.
    pub(crate) fn new(places: usize, cap: usize) -> Self {
        Shares(Arc::new(Inner {
            places,
            cap,
            taken: Mutex::default(),
        }))
    }

    /// Takes a place for this peer, until it is dropped.
    ///
    /// # Errors
    /// The limit that was reached.
    pub(crate) fn enter(&self, peer: PeerId) -> Result<Share, Full> {
        let mut taken = self.0.lock();
        let free = self.0.places - taken.all;
        if free == 0 {
            return Err(Full::All(self.0.places));
        }
        let most = free.min(self.0.cap);
        let mine = taken.peers.get(&peer).copied().unwrap_or(0);
        if mine >= most {
            return Err(Full::Peer(mine));
        }
        taken.all += 1;
        taken.peers.insert(peer, mine + 1);
        Ok(Share {
            peer,
            shares: self.0.clone(),
        })
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while it holds the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place of [`Shares`].
#[derive(Debug)]
pub(crate) struct Share {
    peer: PeerId,
    shares: Arc<Inner>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        taken.all -= 1;
        if let Some(mine) = taken.peers.get_mut(&self.peer) {
            *mine -= 1;
            if *mine == 0 {
                taken.peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes places until one is refused.
    fn fill(shares: &Shares, peer: PeerId, kept: &mut Vec<Share>) -> (usize, Full) {
        let mut got = 0;
        loop {
            match shares.enter(peer) {
                Ok(share) => kept.push(share),
                Err(full) => return (got, full),
            }
            got += 1;
        }
    }

    #[test]
    fn the_fastest_peer_leaves_places_for_all_that_come_later() {
        let shares = Shares::new(128, 128);
        let mut kept = Vec::new();
        let mut counts = Vec::new();
        for _ in 0..7 {
            let (got, full) = fill(&shares, PeerId::random(), &mut kept);
            assert_eq!(full, Full::Peer(got));
            counts.push(got);
        }
        assert_eq!(counts, [64, 32, 16, 8, 4, 2, 1]);
        let (got, full) = fill(&shares, PeerId::random(), &mut kept);
        assert_eq!((got, full), (1, Full::All(128)));
        kept.clear();
        assert!(shares.0.lock().peers.is_empty());
        assert_eq!(shares.0.lock().all, 0);
    }

    #[test]
    fn a_cap_holds_though_there_is_room() {
        let shares = Shares::new(512, 128);
        let (peer, mut kept) = (PeerId::random(), Vec::new());
        let (got, full) = fill(&shares, peer, &mut kept);
        assert_eq!((got, full), (128, Full::Peer(128)));
        kept.pop();
        assert!(shares.enter(peer).is_ok());
    }
}
