//! One session with a provider, as the task of the fetch sees it.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cid::Cid;
use futures::channel::{mpsc, oneshot};
use libp2p::PeerId;

use crate::block::exchange::session::Command;
use crate::content::fetch::hedge;
use crate::content::fetch::speed::Speed;

/// A session with one provider, as the task of the fetch sees it.
pub(super) struct Provider {
    pub(super) peer: PeerId,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    /// Dropped with this, which ends an opening that is under way.
    pub(super) _alive: oneshot::Sender<()>,
    pub(super) next_id: u64,
    pub(super) open: HashMap<u64, (Cid, Instant)>,
    /// The requests that were cancelled, whose answer may say so.
    pub(super) cancelled: HashSet<u64>,
    /// The question whether it has a block, until it is answered.
    pub(super) question: Option<(u64, Instant)>,
    pub(super) speed: Speed,
    pub(super) lacks: HashSet<Cid>,
    /// Blocks that it sent when their time was over. It is not asked for them again.
    pub(super) outdated: HashSet<Cid>,
    pub(super) refusals: usize,
    pub(super) connected: bool,
    /// Whether the DHT or the caller named it; otherwise it is a guess.
    pub(super) named: bool,
    /// Whether it has said that it has the content, or has delivered some of it.
    pub(super) holds: bool,
    /// Whether it is one of those that are given work.
    pub(super) active: bool,
    /// Whether it was tried with one block while it was not active.
    pub(super) tried: bool,
    /// The number of its blocks that were right and needed.
    pub(super) blocks: u64,
    pub(super) began: Instant,
    pub(super) received: Option<Arc<AtomicU64>>,
    pub(super) seen: u64,
    /// When bytes last arrived, or when it was asked after a pause.
    pub(super) alive: Instant,
    /// The last tick at which new bytes had arrived.
    pub(super) flowed: Option<Instant>,
}

impl Provider {
    pub(super) fn next_id(&mut self, now: Instant) -> u64 {
        if self.open.is_empty() && self.question.is_none() {
            self.alive = now;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn ask(&mut self, cid: Cid, now: Instant) -> bool {
        let id = self.next_id(now);
        self.open.insert(id, (cid, now));
        self.commands.unbounded_send(Command::Want(id, cid)).is_ok()
    }

    /// Asks it only whether it has the block.
    pub(super) fn ask_whether_it_has(&mut self, cid: Cid, now: Instant) -> bool {
        let id = self.next_id(now);
        self.question = Some((id, now));
        self.commands.unbounded_send(Command::Have(id, cid)).is_ok()
    }

    /// Returns whether it has been asked for something and has not answered yet.
    pub(super) fn owes(&self) -> bool {
        self.question.is_some() || !self.open.is_empty()
    }

    /// Returns the number of bytes that have arrived since the last tick.
    pub(super) fn unseen_bytes(&self) -> u64 {
        let total = self.received.as_ref();
        let total = total.map_or(0, |n| n.load(Ordering::Relaxed));
        total.saturating_sub(self.seen)
    }

    /// Returns whether bytes from it have just arrived.
    pub(super) fn is_answering(&self, now: Instant) -> bool {
        let flows = |at| now.saturating_duration_since(at) < hedge::STEP;
        self.unseen_bytes() > 0 || self.flowed.is_some_and(flows)
    }

    /// Returns how long the block will still take from this provider: its position in the
    /// queue times the usual time for a block, or for ever when nothing has arrived for
    /// too long.
    pub(super) fn expected(&self, cid: &Cid, now: Instant) -> Duration {
        let mut asked = self.open.iter().filter(|(_, (wanted, _))| wanted == cid);
        let Some((id, (_, at))) = asked.next() else {
            return Duration::ZERO;
        };
        let before = self.open.keys().filter(|other| *other < id).count();
        let position = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        self.speed
            .expected(position, *at, self.is_answering(now), now)
    }

    pub(super) fn may_have(&self, cid: &Cid) -> bool {
        !self.lacks.contains(cid) && !self.outdated.contains(cid)
    }

    /// Returns whether it was asked for a block so long ago that others are asked for it
    /// too.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let since = self.open.values().map(|(_, at)| *at).min();
        since.is_some_and(|at| now.saturating_duration_since(at) >= hedge::STEP)
    }

    /// Returns whether it has shown its pace and keeps it with this block.
    pub(super) fn keeps_pace(&self, cid: &Cid, now: Instant) -> bool {
        self.blocks >= hedge::PACED
            && self.speed.rate() >= hedge::FLOW
            && self.expected(cid, now) < Duration::MAX
    }

    /// Returns whether it has brought nothing yet and others were asked instead.
    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        self.blocks == 0 && (self.speed.losses() > 0 || self.is_overdue(now))
    }

    /// Returns how many blocks it may be asked for at once. `others` says whether another
    /// provider delivers.
    pub(super) fn allowance(&self, others: bool, now: Instant) -> usize {
        if others && self.is_doubtful(now) {
            return 0;
        }
        self.speed.window()
    }

    pub(super) fn has_room(&self, others: bool, now: Instant) -> bool {
        self.connected && self.open.len() < self.allowance(others, now)
    }

    /// Returns its place in the order in which holders are given work. First come those
    /// that have delivered, the fastest first. Then come those that have not been asked
    /// yet, or only just now. Last are those that have not brought what others have
    /// brought or were asked for instead. Among equals, the one that came first is
    /// preferred.
    pub(super) fn rank(&self, now: Instant) -> (u8, Reverse<u64>, Instant) {
        let (class, rate) = match self.blocks {
            0 if self.is_doubtful(now) => (2, 0.0),
            0 => (1, 0.0),
            _ => (0, self.speed.rate()),
        };
        (class, Reverse(rate as u64), self.began)
    }
}
