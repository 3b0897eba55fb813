//! Provider records on their way to the peers that are to hold them.
//!
//! | file | noun |
//! |---|---|
//! | `progress` | how far the placement of one record has come |
//! | `receiver` | the pace of one receiver, and how it answers |
//! | `event` | what a placement asks for, and what becomes of it |
//! | `outcome` | whether enough receivers hold the record |
//!
//! A provider record goes to the peers that are closest to its key. In the protocol
//! nobody acknowledges it: a receiver silently drops what exceeds its budget or its
//! cap. So each receiver has a pace here, and is asked afterwards whether it names
//! this node as a provider. A receiver that does not is told again, more slowly.
//!
//! # Pace
//!
//! Receivers are paced one by one, because that is where the budgets are: in a
//! network of three every record goes to the same two peers, in one of a thousand
//! the records spread by themselves and no pace for the whole node would fit
//! both. A receiver of this program takes 100 requests a second from each peer,
//! and 200 at once (`P2P_RATE_FILL`, `P2P_RATE_BURST`). Records get half of that
//! (`EVERY` in `receiver`), so that identify, gossip, lookups and fetches of this node, which
//! are charged to the same budget, find the other half. What an announcement
//! costs a receiver is counted whole: the question of the walk that found it, the
//! record, and the question afterwards. Sixteen (`BURST`) may go at
//! once: libp2p's handler takes 32 requests at once on a connection and drops the rest.
//!
//! A receiver that has less to give (a lower setting, a low reputation of this
//! node there) shows by missing records: each miss doubles the time between
//! requests to it, and each record that it took makes it shorter again. A receiver
//! that has missed eight (`REFUSES_AFTER`) in a row takes no more records for now,
//! like one whose store is full; it is left alone for a minute, then for longer.
//!
//! # Receivers that cannot say
//!
//! Nodes of this program and of go-libp2p name the asker among the providers when
//! they hold its record. rust-libp2p by itself leaves the asker out. So an answer
//! that does not name this node is a miss only if the receiver has named it before.
//! From any other receiver it means nothing: its records count as told and no more,
//! and after four (`SILENT_AFTER`) such answers it is asked only now and then.

mod event;
mod outcome;
mod progress;
mod receiver;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::RecordKey;

pub(crate) use event::Event;
pub use outcome::Outcome;
use progress::{Placement, State, Target};
use receiver::Receiver;

/// When a receiver is asked after it was told. The record and the question go on
/// streams of their own, so that the question must not overtake the record.
const SETTLE: Duration = Duration::from_millis(250);

/// How often each receiver is told and asked, and how long after a miss: over a
/// budget of 100 a second even a full burst is forgotten after two seconds.
const ROUNDS: u8 = 3;
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

/// How long an answer may take. The handler gives a request up after ten seconds,
/// and says nothing when the connection ends before.
const ANSWER: Duration = Duration::from_secs(12);

/// A receiver that hung up since the walk found it is dialed once, and has this
/// long to be there.
const DIAL: Duration = Duration::from_secs(2);

/// Placements at once. With the walks that go on beside them a host has more
/// announcements under way than a minute needs; a further one is refused, and
/// comes again.
const MAX_PLACEMENTS: usize = 1024;

/// Receivers remembered for their pace. Ids are free, so the memory is bounded.
const MAX_RECEIVERS: usize = 4096;

#[derive(Clone, Copy, Debug)]
enum Task {
    Tell,
    Ask,
    /// The answer of this round is late.
    Late(u8),
}

#[derive(Debug)]
struct Job<I> {
    id: I,
    peer: PeerId,
    task: Task,
    /// Its token is taken.
    paid: bool,
}

/// See the module's documentation. `I` names a placement.
#[derive(Debug)]
pub(crate) struct Placements<I> {
    placements: HashMap<I, Placement>,
    receivers: HashMap<PeerId, Receiver>,
    jobs: BTreeMap<(Instant, u64), Job<I>>,
    serial: u64,
    out: VecDeque<Event<I>>,
}

impl<I> Default for Placements<I> {
    fn default() -> Self {
        Placements {
            placements: HashMap::new(),
            receivers: HashMap::new(),
            jobs: BTreeMap::new(),
            serial: 0,
            out: VecDeque::new(),
        }
    }
}

impl<I: Copy + Eq + Hash> Placements<I> {
    /// Whether there is no room for another placement.
    pub(crate) fn is_full(&self) -> bool {
        self.placements.len() >= MAX_PLACEMENTS
    }

    /// Places the record of `key` at the peers that a walk has found. Each of them
    /// has been charged for the walk's question. With `verify` they are asked
    /// afterwards.
    pub(crate) fn begin(
        &mut self,
        id: I,
        key: RecordKey,
        peers: &[PeerId],
        verify: bool,
        now: Instant,
    ) {
        let placement = Placement::new(key, peers, verify);
        self.placements.insert(id, placement);
        for peer in peers {
            self.receiver(peer, now).reserve(now);
            self.push(now, id, *peer, Task::Tell, false);
        }
        self.report(id);
    }

    /// The peer answered for this placement; `names` says whether it knows this
    /// node as a provider, or as many others as it remembers.
    pub(crate) fn answered(&mut self, id: I, peer: &PeerId, names: bool, now: Instant) {
        if !self.is_asked(id, peer) {
            return;
        }
        let receiver = self.receiver(peer, now);
        if names {
            receiver.took();
            self.set(id, peer, State::Confirmed);
        } else if receiver.names {
            self.missed(id, peer, now);
        } else {
            receiver.said_nothing();
            self.set(id, peer, State::Unverified);
        }
        self.report(id);
    }

    /// The peer did not answer.
    pub(crate) fn failed(&mut self, id: I, peer: &PeerId, now: Instant) {
        if self.is_asked(id, peer) {
            self.missed(id, peer, now);
            self.report(id);
        }
    }

    /// Whether this placement waits for an answer of the peer.
    pub(crate) fn is_asked(&self, id: I, peer: &PeerId) -> bool {
        let placement = self.placements.get(&id);
        placement.is_some_and(|p| {
            p.targets
                .iter()
                .any(|t| t.peer == *peer && t.state == State::Asked)
        })
    }

    /// The next event that is due.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Option<Event<I>> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Some(event);
            }
            let entry = self.jobs.first_entry()?;
            if entry.key().0 > now {
                return None;
            }
            let job = entry.remove();
            self.run(job, now, &is_connected);
        }
    }

    /// When [`Self::next`] has something again.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.jobs.first_key_value().map(|((at, _), _)| *at)
    }

    fn run(&mut self, mut job: Job<I>, now: Instant, is_connected: &impl Fn(&PeerId) -> bool) {
        let (id, peer) = (job.id, job.peer);
        let Some(placement) = self.placements.get_mut(&id) else {
            return;
        };
        let key = placement.key.clone();
        let verify = placement.verify;
        let Some(target) = placement.targets.iter_mut().find(|t| t.peer == peer) else {
            return;
        };
        if let Task::Late(round) = job.task {
            if target.state == State::Asked && target.round == round {
                self.missed(id, &peer, now);
                self.report(id);
            }
            return;
        }
        let receiver = self
            .receivers
            .entry(peer)
            .or_insert_with(|| Receiver::new(now));
        if matches!(job.task, Task::Tell) && receiver.is_paused(now) {
            target.state = State::Failed;
            return self.report(id);
        }
        if !job.paid {
            job.paid = true;
            let at = receiver.reserve(now);
            if at > now {
                return self.push(at, id, peer, job.task, true);
            }
        }
        if !is_connected(&peer) {
            if target.dialed {
                target.state = State::Failed;
                return self.report(id);
            }
            target.dialed = true;
            self.out.push_back(Event::Dial(peer));
            return self.push(now + DIAL, id, peer, job.task, true);
        }
        match job.task {
            Task::Tell => {
                let asks = verify && receiver.can_say();
                target.state = if asks { State::Told } else { State::Unverified };
                target.was_told = true;
                self.out.push_back(Event::Tell { peer, id, key });
                if asks {
                    self.push(now + SETTLE, id, peer, Task::Ask, false);
                }
                self.report(id);
            }
            _ => {
                target.state = State::Asked;
                let round = target.round;
                self.out.push_back(Event::Ask { peer, id, key });
                self.push(now + ANSWER, id, peer, Task::Late(round), true);
            }
        }
    }

    /// The peer does not hold the record: it is told again, or is one that has not
    /// taken it.
    fn missed(&mut self, id: I, peer: &PeerId, now: Instant) {
        self.receiver(peer, now).missed(now);
        let Some(target) = self.target(id, peer) else {
            return;
        };
        match AGAIN.get(usize::from(target.round)) {
            Some(wait) if target.round + 1 < ROUNDS => {
                target.round += 1;
                target.state = State::Queued;
                self.push(now + *wait, id, *peer, Task::Tell, false);
            }
            _ => target.state = State::Failed,
        }
    }

    /// Reports what can be said of a placement now, and forgets it when nothing more
    /// will come of it.
    fn report(&mut self, id: I) {
        let Some(placement) = self.placements.get_mut(&id) else {
            return;
        };
        let outcome = placement.outcome();
        if !placement.told_reported && placement.first_round_over() {
            placement.told_reported = true;
            self.out.push_back(Event::Told(id, outcome.told));
        }
        let over = placement.is_over();
        let settled = over || outcome.confirmed > 0 && outcome.enough;
        if placement.told_reported && settled && !placement.outcome_reported {
            placement.outcome_reported = true;
            self.out.push_back(Event::Done(id, outcome));
        }
        if over {
            self.placements.remove(&id);
        }
    }

    fn target(&mut self, id: I, peer: &PeerId) -> Option<&mut Target> {
        let targets = &mut self.placements.get_mut(&id)?.targets;
        targets.iter_mut().find(|t| t.peer == *peer)
    }

    fn set(&mut self, id: I, peer: &PeerId, state: State) {
        if let Some(target) = self.target(id, peer) {
            target.state = state;
        }
    }

    fn push(&mut self, at: Instant, id: I, peer: PeerId, task: Task, paid: bool) {
        self.serial += 1;
        let job = Job {
            id,
            peer,
            task,
            paid,
        };
        self.jobs.insert((at, self.serial), job);
    }

    fn receiver(&mut self, peer: &PeerId, now: Instant) -> &mut Receiver {
        if self.receivers.len() >= MAX_RECEIVERS && !self.receivers.contains_key(peer) {
            self.receivers.retain(|_, r| !r.is_fresh(now));
            if self.receivers.len() >= MAX_RECEIVERS {
                // What is lost is how slow some of them are; they show it again.
                self.receivers.retain(|_, r| r.next > now);
            }
        }
        self.receivers
            .entry(*peer)
            .or_insert_with(|| Receiver::new(now))
    }
}

#[cfg(test)]
mod tests;
