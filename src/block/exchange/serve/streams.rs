//! The streams that are being served, which of them another displaces, and which may read
//! ahead.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::ServeError;
use super::group::GROUP_BYTES;
use super::guest::{Guest, Origin};
use super::limits::Limits;

/// The difference in reputation from which on a stream of one peer displaces that of
/// another. It is more than a few delivered messages earn.
const CLEAR_MARGIN: f64 = 10.0;

/// All streams that are being served.
#[derive(Debug, Default)]
pub(super) struct ServedStreams {
    next: u64,
    by_id: HashMap<u64, ServedStream>,
}

#[derive(Debug)]
struct ServedStream {
    /// The peer, as it was known when the stream began.
    guest: Guest,
    /// When the last block was sent, or when the stream began.
    last_block: Instant,
    /// Whether the group that every stream may always hold is in memory.
    holds_own: bool,
    /// The number of groups in memory in addition to that one.
    ahead: usize,
    /// Dropped together with this, which tells the stream that it was displaced.
    _served: oneshot::Sender<()>,
}

/// The kind of memory that a group of answers takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// The memory that every stream has for itself.
    Own,
    /// The memory that all streams share.
    Ahead,
}

impl ServedStreams {
    /// Adds a stream. Returns its number, and a receiver that ends when another stream
    /// displaces it.
    pub(super) fn enter(
        &mut self,
        guest: Guest,
        limits: &Limits,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<()>), ServeError> {
        // There are at most a few hundred, and they are searched only once per stream.
        let of_peer = |stream: &&ServedStream| stream.guest.peer == guest.peer;
        let of_peer = self.by_id.values().filter(of_peer).count();
        if of_peer >= limits.streams_per_peer {
            return Err(ServeError::Busy(of_peer, "for this peer"));
        }
        if self.by_id.len() >= limits.streams {
            let displaced = self
                .of_lowest_score(guest.score)
                .or_else(|| self.of_most_streams(guest.origin()))
                .or_else(|| self.longest_without_block(limits.spare, now));
            let Some(displaced) = displaced else {
                return Err(ServeError::Busy(self.by_id.len(), "for all peers"));
            };
            self.by_id.remove(&displaced);
        }
        let (served, displaced) = oneshot::channel();
        let id = self.next;
        self.next += 1;
        self.by_id.insert(
            id,
            ServedStream {
                guest,
                last_block: now,
                holds_own: false,
                ahead: 0,
                _served: served,
            },
        );
        Ok((id, displaced))
    }

    /// Removes a stream that has ended.
    pub(super) fn leave(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    /// Notes that a block was sent on the stream.
    pub(super) fn block_sent(&mut self, id: u64, now: Instant) {
        if let Some(stream) = self.by_id.get_mut(&id) {
            stream.last_block = now;
        }
    }

    /// Takes memory for one more group of a stream: its own if that is free, and
    /// otherwise some of the `most` bytes that all streams share. The streams of one
    /// origin may have as much of these as is still free (dynamic thresholds, Choudhury
    /// and Hahne 1998). When this returns `None`, the stream may ask again after it has
    /// written a group.
    pub(super) fn take_memory(&mut self, id: u64, most: usize) -> Option<Share> {
        let origin = self.by_id.get(&id)?.guest.origin();
        // This is a single pass over a few hundred streams for a megabyte of blocks.
        let (mut all, mut of_origin) = (0, 0);
        for stream in self.by_id.values() {
            all += stream.ahead;
            if stream.guest.origin() == origin {
                of_origin += stream.ahead;
            }
        }
        let stream = self.by_id.get_mut(&id)?;
        if !stream.holds_own {
            stream.holds_own = true;
            return Some(Share::Own);
        }
        let free = (most / GROUP_BYTES).saturating_sub(all);
        (of_origin < free).then(|| {
            stream.ahead += 1;
            Share::Ahead
        })
    }

    /// Gives back memory from [`ServedStreams::take_memory`]. A stream that was displaced
    /// holds its last groups for a moment longer without being counted.
    pub(super) fn give_back(&mut self, id: u64, share: Share) {
        if let Some(stream) = self.by_id.get_mut(&id) {
            match share {
                Share::Own => stream.holds_own = false,
                Share::Ahead => stream.ahead = stream.ahead.saturating_sub(1),
            }
        }
    }

    /// Returns the stream of a peer whose score is clearly lower than that of the new
    /// one. Among several, it is the one that has gone longest without a block.
    fn of_lowest_score(&self, score: f64) -> Option<u64> {
        let lowest = self.by_id.iter().min_by(|(_, a), (_, b)| {
            let order = a.guest.score.total_cmp(&b.guest.score);
            order.then(a.last_block.cmp(&b.last_block))
        });
        lowest
            .filter(|(_, stream)| stream.guest.score + CLEAR_MARGIN <= score)
            .map(|(id, _)| *id)
    }

    /// Returns a stream of the origin that has the most streams, if that origin would
    /// then still have no fewer than the new one.
    fn of_most_streams(&self, comes: Origin) -> Option<u64> {
        let mut counts: HashMap<Origin, usize> = HashMap::new();
        for stream in self.by_id.values() {
            *counts.entry(stream.guest.origin()).or_default() += 1;
        }
        let has = counts.get(&comes).copied().unwrap_or(0);
        let (origin, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if most < has + 2 {
            return None;
        }
        let streams = self.by_id.iter();
        let streams = streams.filter(|(_, stream)| stream.guest.origin() == origin);
        let longest = streams.min_by_key(|(_, stream)| stream.last_block);
        longest.map(|(id, _)| *id)
    }

    /// Returns the stream that has gone longest without a block, if that is `spare` or
    /// longer.
    fn longest_without_block(&self, spare: Duration, now: Instant) -> Option<u64> {
        let longest = self
            .by_id
            .iter()
            .min_by_key(|(_, stream)| stream.last_block);
        longest
            .filter(|(_, stream)| now.saturating_duration_since(stream.last_block) >= spare)
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn limits() -> Limits {
        Limits {
            streams_per_peer: 3,
            streams: 6,
            ..Limits::default()
        }
    }

    fn of(score: f64) -> Guest {
        Guest {
            score,
            ..Guest::new(PeerId::random())
        }
    }

    type Entered = Result<(u64, oneshot::Receiver<()>), ServeError>;

    fn lost(entered: &mut Entered) -> bool {
        let hold = &mut entered.as_mut().unwrap().1;
        hold.try_recv().is_err()
    }

    #[test]
    fn a_crowd_makes_room_for_newcomers_and_for_better_peers() {
        let (start, limits) = (Instant::now(), limits());
        let mut streams = ServedStreams::default();
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut entered: Vec<_> = [a, a, a, b, b, b]
            .into_iter()
            .map(|peer| streams.enter(Guest::new(peer), &limits, start))
            .collect();
        // The peers with the most places give one up, until all of them have the same
        // number.
        for _ in 0..4 {
            entered.push(streams.enter(Guest::new(PeerId::random()), &limits, start));
        }
        let left = |peer| {
            let of_peer = |stream: &&ServedStream| stream.guest.peer == peer;
            streams.by_id.values().filter(of_peer).count()
        };
        assert_eq!((left(a), left(b)), (1, 1));
        let full = streams.enter(Guest::new(PeerId::random()), &limits, start);
        assert!(matches!(full, Err(ServeError::Busy(6, _))), "{full:?}");
        let full = streams.enter(of(CLEAR_MARGIN / 2.0), &limits, start);
        assert!(full.is_err(), "not clearly better");
        // A peer with a good reputation takes the place of a stranger.
        let good = streams.enter(of(50.0), &limits, start);
        assert!(good.is_ok());
        assert_eq!(streams.by_id.len(), 6);
        assert_eq!(entered.iter_mut().map(lost).filter(|lost| !lost).count(), 5);
    }

    #[test]
    fn many_ids_of_one_subnet_share_as_one_peer() {
        let (start, limits) = (Instant::now(), limits());
        let mut streams = ServedStreams::default();
        let from = |subnet: &str| Guest {
            subnet: subnet.parse().ok(),
            ..Guest::new(PeerId::random())
        };
        let mut crowd: Vec<_> = (0..6)
            .map(|_| streams.enter(from("192.0.2.1/32"), &limits, start))
            .collect();
        for subnet in ["192.0.2.2/32", "192.0.2.3/32", "2001:db8::/56"] {
            crowd.push(streams.enter(from(subnet), &limits, start));
        }
        assert_eq!(
            crowd
                .iter_mut()
                .filter_map(|e| lost(e).then_some(()))
                .count(),
            3
        );
        let full = streams.enter(from("192.0.2.1/32"), &limits, start);
        assert!(full.is_err(), "it has most already");
        // The memory for reading ahead is shared too: they get half of it all together.
        let ids: Vec<_> = crowd
            .iter()
            .take(6)
            .map(|e| e.as_ref().unwrap().0)
            .collect();
        let mut got = 0;
        for id in ids {
            for _ in 0..9 {
                got += u32::from(streams.take_memory(id, 8 * GROUP_BYTES) == Some(Share::Ahead));
            }
        }
        assert_eq!(got, 4);
    }

    #[test]
    fn slow_streams_share_what_is_read_ahead_and_each_has_a_group_of_its_own() {
        let (start, limits) = (Instant::now(), Limits::default());
        let mut streams = ServedStreams::default();
        let enter = |streams: &mut ServedStreams, peer| {
            let entered = streams.enter(Guest::new(peer), &limits, start);
            let (id, displaced) = entered.unwrap();
            (id, displaced)
        };
        // There are sixteen peers with eight streams each, none of which ever writes a
        // group.
        let mut kept = Vec::new();
        let mut counts = Vec::new();
        for _ in 0..16 {
            let peer = PeerId::random();
            let mut got = 0;
            for _ in 0..8 {
                let (id, displaced) = enter(&mut streams, peer);
                kept.push((id, displaced));
                assert_eq!(
                    streams.take_memory(id, limits.ahead),
                    Some(Share::Own),
                    "its own"
                );
                for _ in 0..2 {
                    got += usize::from(streams.take_memory(id, limits.ahead).is_some());
                }
            }
            counts.push(got);
        }
        assert_eq!(counts[..6], [16, 8, 4, 2, 1, 1]);
        let all = streams.by_id.values();
        let held: usize = all.map(|s| s.ahead + usize::from(s.holds_own)).sum();
        assert_eq!(held * GROUP_BYTES, (128 << 20) + limits.ahead);
        // The last one may have what the first one gives back.
        let last = kept.last().unwrap().0;
        assert_eq!(streams.take_memory(last, limits.ahead), None);
        let first: Vec<_> = kept.drain(..8).map(|(id, _)| id).collect();
        for id in first {
            streams.leave(id);
        }
        assert_eq!(streams.take_memory(last, limits.ahead), Some(Share::Ahead));
    }
}
