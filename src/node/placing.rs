//! Provider records on their way to the peers that are to hold them. Pure.
//!
//! A provider record goes to the peers that are closest to its key, and in the
//! protocol nobody acknowledges it: what is over the receiver's budget, or over
//! its cap, is dropped in silence. So each receiver has a pace here, and is asked
//! afterwards whether it names this node as a provider. Who does not is told
//! again, more slowly.
//!
//! # Pace
//!
//! Receivers are paced one by one, because that is where the budgets are: in a
//! network of three every record goes to the same two peers, in one of a thousand
//! the records spread by themselves and no pace for the whole node would fit
//! both. A receiver of this program takes 100 requests a second from each peer,
//! and 200 at once (`P2P_RATE_FILL`, `P2P_RATE_BURST`). Records get half of that
//! ([`EVERY`]), so that identify, gossip, lookups and fetches of this node, which
//! are charged to the same budget, find the other half. What an announcement
//! costs a receiver is counted whole: the question of the walk that found it, the
//! record, and the question afterwards. At once go [`BURST`]: libp2p's handler
//! takes 32 requests at once on a connection and drops what is more.
//!
//! A receiver that has less to give (a lower setting, a low reputation of this
//! node there) shows by missing records: each miss doubles the time between
//! requests to it, and each record that it took makes it shorter again. Who has
//! missed [`REFUSES_AFTER`] in a row takes no more records for now, as one whose
//! store is full; it is left alone for a minute, then for longer.
//!
//! # Receivers that cannot say
//!
//! Nodes of this program and of go-libp2p name the asker among the providers when
//! they hold its record. rust-libp2p by itself leaves the asker out. So silence is a
//! miss only of a receiver that has named this node before; of another it says
//! nothing, its records count as told and no more, and after [`SILENT_AFTER`] such
//! answers it is asked only now and then.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::RecordKey;

/// Time between two requests to a receiver: half of the default `P2P_RATE_FILL`.
const EVERY: Duration = Duration::from_millis(20);

/// Requests that may go to a receiver at once.
const BURST: u32 = 16;

/// The longest time between two requests to a receiver that misses records.
const SLOWEST: Duration = Duration::from_secs(1);

/// Misses in a row after which a receiver is left alone.
const REFUSES_AFTER: u32 = 8;

/// Answers of a receiver that has never named this node after which it is hardly
/// asked any more: for one record in [`SILENT_ONE_IN`].
const SILENT_AFTER: u32 = 4;
const SILENT_ONE_IN: u32 = 16;

/// How long it is left alone at first, and at most. An hour: the store of a peer
/// that is full has room when what it holds expires.
const PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

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
pub(super) const MAX_PLACEMENTS: usize = 1024;

/// Receivers remembered for their pace. Ids are free, so the memory is bounded.
const MAX_RECEIVERS: usize = 4096;

/// How many of `told` peers have to hold a record. Half of them: of twenty, ten
/// are there when half of the network has left before the record is renewed. But
/// three where there are as many, and all of fewer: one holder alone takes the
/// record with it when it leaves.
pub(super) fn enough(told: usize) -> usize {
    told.div_ceil(2).max(told.min(3))
}

/// What a placement came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Peers that were told.
    pub told: usize,
    /// Those of them that were seen to hold the record.
    pub held: usize,
    /// Those of them that cannot say whether they do, or were not asked.
    pub silent: usize,
    /// Whether enough of those that can say hold it.
    pub enough: bool,
}

/// What is to be done, or has happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<I> {
    /// Send the record to the peer.
    Tell {
        /// Whom.
        peer: PeerId,
        /// The placement.
        id: I,
        /// What is provided.
        key: RecordKey,
    },
    /// Ask the peer who provides the key.
    Ask {
        /// Whom.
        peer: PeerId,
        /// The placement.
        id: I,
        /// What is provided.
        key: RecordKey,
    },
    /// Connect to the peer.
    Dial(PeerId),
    /// So many peers of the placement have been told; there will be no others.
    Told(I, usize),
    /// Nobody needs to wait for the placement any more.
    Done(I, Held),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be told.
    Queued,
    /// Told, to be asked.
    Told,
    /// Asked in this round.
    Asked,
    /// It names this node.
    Holds,
    /// It was told, and cannot say.
    Silent,
    /// It was told in vain, or could not be told or asked.
    Not,
}

#[derive(Debug)]
struct Target {
    peer: PeerId,
    state: State,
    round: u8,
    was_told: bool,
    dialed: bool,
}

#[derive(Debug)]
struct Placement {
    key: RecordKey,
    verify: bool,
    targets: Vec<Target>,
    told_said: bool,
    done_said: bool,
}

impl Placement {
    fn told(&self) -> usize {
        self.targets.iter().filter(|t| t.was_told).count()
    }

    fn held(&self) -> usize {
        let holds = |t: &&Target| t.state == State::Holds;
        self.targets.iter().filter(holds).count()
    }

    fn silent(&self) -> usize {
        let silent = |t: &&Target| t.state == State::Silent;
        self.targets.iter().filter(silent).count()
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Tell,
    Ask,
    /// The answer of this round is late.
    Late(u8),
}

#[derive(Debug)]
struct Job<I> {
    id: I,
    peer: PeerId,
    what: What,
    /// Its token is taken.
    paid: bool,
}

/// The pace of one receiver: when the next request would be due if they came
/// evenly. A request may come [`BURST`] earlier.
#[derive(Debug)]
struct Receiver {
    next: Instant,
    every: Duration,
    misses: u32,
    /// It has named this node.
    names: bool,
    /// Answers that did not, before it ever has.
    silences: u32,
    pause: Duration,
    paused_until: Option<Instant>,
}

impl Receiver {
    fn new(now: Instant) -> Self {
        Receiver {
            next: now,
            every: EVERY,
            misses: 0,
            names: false,
            silences: 0,
            pause: PAUSE,
            paused_until: None,
        }
    }

    /// Takes a token; when it may be used, which is `now` or later.
    fn reserve(&mut self, now: Instant) -> Instant {
        let ahead = self.every * (BURST - 1);
        let at = self.next.checked_sub(ahead).map_or(now, |at| at.max(now));
        self.next = self.next.max(at) + self.every;
        at
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Whether it is worth asking; counts as an answer that says nothing when not.
    fn can_say(&mut self) -> bool {
        if self.names || self.silences < SILENT_AFTER {
            return true;
        }
        self.silences += 1;
        self.silences.is_multiple_of(SILENT_ONE_IN)
    }

    fn took(&mut self) {
        self.names = true;
        self.misses = 0;
        self.pause = PAUSE;
        self.paused_until = None;
        self.every = (self.every * 7 / 8).max(EVERY);
    }

    fn missed(&mut self, now: Instant) {
        self.every = (self.every * 2).min(SLOWEST);
        self.misses += 1;
        if self.misses >= REFUSES_AFTER && !self.is_paused(now) {
            self.paused_until = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether forgetting it changes nothing.
    fn is_fresh(&self, now: Instant) -> bool {
        // What is known of how it answers is found out again.
        self.next <= now && self.misses == 0 && self.every == EVERY
    }
}

/// See the module's documentation. `I` names a placement.
#[derive(Debug)]
pub(super) struct Placing<I> {
    placements: HashMap<I, Placement>,
    receivers: HashMap<PeerId, Receiver>,
    jobs: BTreeMap<(Instant, u64), Job<I>>,
    serial: u64,
    out: VecDeque<Event<I>>,
}

impl<I> Default for Placing<I> {
    fn default() -> Self {
        Placing {
            placements: HashMap::new(),
            receivers: HashMap::new(),
            jobs: BTreeMap::new(),
            serial: 0,
            out: VecDeque::new(),
        }
    }
}

impl<I: Copy + Eq + Hash> Placing<I> {
    /// Whether there is no room for another placement.
    pub(super) fn is_full(&self) -> bool {
        self.placements.len() >= MAX_PLACEMENTS
    }

    /// Places the record of `key` at the peers that a walk has found. Each of them
    /// has been charged for the walk's question. With `verify` they are asked
    /// afterwards.
    pub(super) fn begin(
        &mut self,
        id: I,
        key: RecordKey,
        peers: &[PeerId],
        verify: bool,
        now: Instant,
    ) {
        let targets = peers.iter().map(|peer| Target {
            peer: *peer,
            state: State::Queued,
            round: 0,
            was_told: false,
            dialed: false,
        });
        self.placements.insert(
            id,
            Placement {
                key,
                verify,
                targets: targets.collect(),
                told_said: false,
                done_said: false,
            },
        );
        for peer in peers {
            self.receiver(peer, now).reserve(now);
            self.push(now, id, *peer, What::Tell, false);
        }
        self.settle(id);
    }

    /// The peer answered for this placement; `names` says whether it knows this
    /// node as a provider, or so many others that it needs no further one.
    pub(super) fn answered(&mut self, id: I, peer: &PeerId, names: bool, now: Instant) {
        if !self.is_asked(id, peer) {
            return;
        }
        let receiver = self.receiver(peer, now);
        if names {
            receiver.took();
            self.set(id, peer, State::Holds);
        } else if receiver.names {
            self.missed(id, peer, now);
        } else {
            receiver.silences += 1;
            self.set(id, peer, State::Silent);
        }
        self.settle(id);
    }

    /// The peer did not answer.
    pub(super) fn failed(&mut self, id: I, peer: &PeerId, now: Instant) {
        if self.is_asked(id, peer) {
            self.missed(id, peer, now);
            self.settle(id);
        }
    }

    /// Whether this placement waits for an answer of the peer.
    pub(super) fn is_asked(&self, id: I, peer: &PeerId) -> bool {
        let placement = self.placements.get(&id);
        placement.is_some_and(|p| {
            p.targets
                .iter()
                .any(|t| t.peer == *peer && t.state == State::Asked)
        })
    }

    /// The next event that is due.
    pub(super) fn next(
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
    pub(super) fn wake_at(&self) -> Option<Instant> {
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
        if let What::Late(round) = job.what {
            if target.state == State::Asked && target.round == round {
                self.missed(id, &peer, now);
                self.settle(id);
            }
            return;
        }
        let receiver = self
            .receivers
            .entry(peer)
            .or_insert_with(|| Receiver::new(now));
        if matches!(job.what, What::Tell) && receiver.is_paused(now) {
            target.state = State::Not;
            return self.settle(id);
        }
        if !job.paid {
            job.paid = true;
            let at = receiver.reserve(now);
            if at > now {
                return self.push(at, id, peer, job.what, true);
            }
        }
        if !is_connected(&peer) {
            if target.dialed {
                target.state = State::Not;
                return self.settle(id);
            }
            target.dialed = true;
            self.out.push_back(Event::Dial(peer));
            return self.push(now + DIAL, id, peer, job.what, true);
        }
        match job.what {
            What::Tell => {
                let asks = verify && receiver.can_say();
                target.state = if asks { State::Told } else { State::Silent };
                target.was_told = true;
                self.out.push_back(Event::Tell { peer, id, key });
                if asks {
                    self.push(now + SETTLE, id, peer, What::Ask, false);
                }
                self.settle(id);
            }
            _ => {
                target.state = State::Asked;
                let round = target.round;
                self.out.push_back(Event::Ask { peer, id, key });
                self.push(now + ANSWER, id, peer, What::Late(round), true);
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
                self.push(now + *wait, id, *peer, What::Tell, false);
            }
            _ => target.state = State::Not,
        }
    }

    /// Says what can be said of a placement now, and forgets it when nothing more
    /// will come of it.
    fn settle(&mut self, id: I) {
        let Some(placement) = self.placements.get_mut(&id) else {
            return;
        };
        let (told, held) = (placement.told(), placement.held());
        let silent = placement.silent();
        let first_round = |t: &Target| t.state == State::Queued && !t.was_told;
        if !placement.told_said && !placement.targets.iter().any(first_round) {
            placement.told_said = true;
            self.out.push_back(Event::Told(id, told));
        }
        let waits = |t: &Target| match t.state {
            State::Queued | State::Told | State::Asked => true,
            State::Holds | State::Silent | State::Not => false,
        };
        let over = !placement.targets.iter().any(waits);
        // Of those that may still turn out to be silent nothing is assumed.
        let is_enough = told > 0 && held >= enough(told - silent);
        if placement.told_said && (over || held > 0 && is_enough) && !placement.done_said {
            placement.done_said = true;
            let held = Held {
                told,
                held,
                silent,
                enough: is_enough,
            };
            self.out.push_back(Event::Done(id, held));
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

    fn push(&mut self, at: Instant, id: I, peer: PeerId, what: What, paid: bool) {
        self.serial += 1;
        let job = Job {
            id,
            peer,
            what,
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
