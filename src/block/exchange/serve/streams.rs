//! The streams that are being served: who has to end for whom, and who may read ahead.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::ServeError;
use super::group::GROUP_BYTES;
use super::guest::{Guest, Origin};
use super::limits::Limits;

/// Points of reputation by which one peer has to be above another for its stream to
/// displace that of the other: more than a few delivered messages make.
const CLEAR_MARGIN: f64 = 10.0;

/// All streams that are being served.
#[derive(Debug, Default)]
pub(super) struct ServedStreams {
    next: u64,
    by_id: HashMap<u64, ServedStream>,
}

#[derive(Debug)]
struct ServedStream {
    /// Its peer, as it was known when the stream came.
    guest: Guest,
    /// When the last block went out, or the stream began.
    last_block: Instant,
    /// Whether the group that each stream may hold in any case is in memory.
    holds_own: bool,
    /// Groups in memory beyond that one.
    ahead: usize,
    /// Dropped with this, which tells the stream that another has displaced it.
    _served: oneshot::Sender<()>,
}

/// Which memory a group of answers takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// What each stream may hold in any case.
    Own,
    /// What all streams share.
    Ahead,
}

impl ServedStreams {
    /// Adds a stream: its number, and what ends when another displaces it.
    pub(super) fn enter(
        &mut self,
        guest: Guest,
        limits: &Limits,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<()>), ServeError> {
        // At most a few hundred, looked at once for a stream.
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

    /// The stream has ended.
    pub(super) fn leave(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    /// A block went out on the stream.
    pub(super) fn block_sent(&mut self, id: u64, now: Instant) {
        if let Some(stream) = self.by_id.get_mut(&id) {
            stream.last_block = now;
        }
    }

    /// Takes memory for one more group of a stream: its own if that is free, else some
    /// of that which all share, `most` bytes. The streams of one origin may have as
    /// much of this as is still free (dynamic thresholds, Choudhury and Hahne 1998).
    /// `None`: when the stream has written a group it may ask again.
    pub(super) fn take_memory(&mut self, id: u64, most: usize) -> Option<Share> {
        let origin = self.by_id.get(&id)?.guest.origin();
        // One pass over a few hundred streams for a megabyte of blocks.
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

    /// Gives back what [`ServedStreams::take_memory`] gave. A stream that was
    /// displaced holds its last groups for a moment more, which nobody counts.
    pub(super) fn give_back(&mut self, id: u64, share: Share) {
        if let Some(stream) = self.by_id.get_mut(&id) {
            match share {
                Share::Own => stream.holds_own = false,
                Share::Ahead => stream.ahead = stream.ahead.saturating_sub(1),
            }
        }
    }

    /// The stream of a peer of clearly lower score than the one that comes; of
    /// several, the one that has gone longest without a block.
    fn of_lowest_score(&self, score: f64) -> Option<u64> {
        let lowest = self.by_id.iter().min_by(|(_, a), (_, b)| {
            let order = a.guest.score.total_cmp(&b.guest.score);
            order.then(a.last_block.cmp(&b.last_block))
        });
        lowest
            .filter(|(_, stream)| stream.guest.score + CLEAR_MARGIN <= score)
            .map(|(id, _)| *id)
    }

    /// A stream of the origin that has most of them, if that origin would still have
    /// no fewer than the one that comes.
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

    /// The stream that has gone longest without a block, if that is `spare` or more.
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
        // Those of most places give one, until everybody has as many.
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
        // One that is known to be good takes the place of a stranger.
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
        // And what is read ahead: half of it for all of them.
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
        // Sixteen peers of eight streams, none of which ever writes a group.
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
        // What the first gives back, the last may have.
        let last = kept.last().unwrap().0;
        assert_eq!(streams.take_memory(last, limits.ahead), None);
        let first: Vec<_> = kept.drain(..8).map(|(id, _)| id).collect();
        for id in first {
            streams.leave(id);
        }
        assert_eq!(streams.take_memory(last, limits.ahead), Some(Share::Ahead));
    }
}
