//! Asking: whom, for what, how much at once, and what follows from the answers.
//!
//! | a session | is |
//! |---|---|
//! | an attempt | with a peer that has not said anything yet: being dialed, opened, or asked |
//! | a holder | with a peer that said that it has the content, or delivered of it |
//! | in a place | one of the few holders that are given work in the ordinary way |
//!
//! Whoever might have the content is asked so, all at once within bounds, and a
//! "no" ends the session. Only holders have places; holders beyond them are asked
//! when the front of the content does not come (see [`super::super::front`]), and
//! tried with one block from time to time: a faster one gets the place of a slow
//! one.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_std::task::spawn;
use cid::Cid;
use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use libp2p::PeerId;

use super::super::hop::Delivery;
use super::{Run, SEARCH_WAIT};
use crate::block::exchange::frame::FrameError;
use crate::block::exchange::pb::message::Block;
use crate::block::exchange::session::{self, Answer, Command, Reply, SessionError};
use crate::block::network::{Fault, Network, OpenError};
use crate::content::fetch::hedge::{self, Hedge};
use crate::content::fetch::memory::ChargedBytes;
use crate::content::fetch::outcome::Outcome;
use crate::content::fetch::speed::Speed;
use crate::content::refusal::Refusal;
use crate::telemetry::Direction;
use crate::telemetry::throttle;

/// Holders that are given work. More than a few add duplicate work and no speed;
/// fewer leave it to luck whether a fast one is among them.
const MAX_PLACES: usize = 8;

/// Holders beyond those that are kept for when they are needed, once the content
/// comes. Each holds a place at its server, which gives it to others after 15 s.
const MAX_SPARE: usize = 8;

/// Blocks of one provider after which such holders are let go.
const WELL_FED: u64 = 4;

/// Attempts with guesses that count at once. The rest follow as answers come.
const MAX_GUESSES: usize = 64;

/// Attempts with known providers that count at once: each may be a dial.
const MAX_ATTEMPTS: usize = 32;

/// How long an attempt counts against these bounds: whoever is named next is tried
/// within a second, whatever the others do.
const FRESH: Duration = Duration::from_secs(1);

/// Sessions in all. Beyond it the oldest attempt that said nothing makes room, that
/// of a guess first; a guess never takes the room of a known provider.
const MAX_SESSIONS: usize = 160;

/// Guesses that may be under way in all, those included that do not count any more.
/// What is left is for known providers.
const MAX_ALL_GUESSES: usize = 96;

/// How long a guess may take to say whether it has the content. It is connected,
/// so that this is some round trips.
const GUESS_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a provider may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// Missing blocks looked at to find one for a provider that lacks the first.
const SCAN: usize = 1024;

/// Refusals in a row after which a provider is let go until later.
const MAX_REFUSALS: usize = 64;

/// Blocks of the front that may be asked of a second provider.
const RACE: usize = 32;

/// Time between two trials of holders that have no place.
const TRIAL: Duration = Duration::from_millis(400);

/// Wants open at one provider, whatever it is asked for: the protocol allows 256.
const MAX_OPEN: usize = 128;

/// A session with one provider, as the task sees it.
pub(super) struct Provider {
    pub(super) peer: PeerId,
    commands: mpsc::UnboundedSender<Command>,
    /// Dropped with it, which ends an opening that is under way.
    _alive: oneshot::Sender<()>,
    next_id: u64,
    pub(super) open: HashMap<u64, (Cid, Instant)>,
    /// Those of them that were cancelled, and whose answer may say so.
    cancelled: HashSet<u64>,
    /// The question whether it has a block, when it was asked that and not
    /// answered.
    question: Option<(u64, Instant)>,
    pub(super) speed: Speed,
    lacks: HashSet<Cid>,
    /// Blocks of it whose time was over. Not asked of it again.
    stale: HashSet<Cid>,
    refusals: usize,
    pub(super) connected: bool,
    /// Named by the DHT or the caller; otherwise it is a guess.
    pub(super) named: bool,
    /// It said that it has the content, or delivered of it.
    pub(super) holds: bool,
    /// It is given work.
    placed: bool,
    /// It was tried without a place.
    tried: bool,
    /// Blocks of it that were right and needed.
    pub(super) blocks: u64,
    pub(super) began: Instant,
    pub(super) received: Option<Arc<AtomicU64>>,
    pub(super) seen: u64,
    /// When bytes came last, or when it was asked after a pause.
    pub(super) alive: Instant,
    /// When the clock saw last that bytes had come.
    pub(super) flowed: Option<Instant>,
}

impl Provider {
    fn next_id(&mut self, now: Instant) -> u64 {
        if self.open.is_empty() && self.question.is_none() {
            self.alive = now;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn ask(&mut self, cid: Cid, now: Instant) -> bool {
        let id = self.next_id(now);
        self.open.insert(id, (cid, now));
        self.commands.unbounded_send(Command::Want(id, cid)).is_ok()
    }

    /// Asks only whether it has the block.
    fn question(&mut self, cid: Cid, now: Instant) -> bool {
        let id = self.next_id(now);
        self.question = Some((id, now));
        self.commands.unbounded_send(Command::Have(id, cid)).is_ok()
    }

    /// Whether it has been asked something and owes the answer.
    pub(super) fn owes(&self) -> bool {
        self.question.is_some() || !self.open.is_empty()
    }

    /// Bytes that came and that the clock has not seen yet.
    fn news(&self) -> u64 {
        let total = self.received.as_ref();
        let total = total.map_or(0, |n| n.load(Ordering::Relaxed));
        total.saturating_sub(self.seen)
    }

    /// Whether bytes of it came just now.
    fn is_answering(&self, now: Instant) -> bool {
        let flows = |at| now.saturating_duration_since(at) < hedge::STEP;
        self.news() > 0 || self.flowed.is_some_and(flows)
    }

    /// How long the block will still take here: its place in the queue times the
    /// usual time for one, or for ever when nothing has come for too long.
    fn expected(&self, cid: &Cid, now: Instant) -> Duration {
        let mut asked = self.open.iter().filter(|(_, (wanted, _))| wanted == cid);
        let Some((id, (_, at))) = asked.next() else {
            return Duration::ZERO;
        };
        let before = self.open.keys().filter(|other| *other < id).count();
        let place = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        self.speed.expected(place, *at, self.is_answering(now), now)
    }

    fn may_have(&self, cid: &Cid) -> bool {
        !self.lacks.contains(cid) && !self.stale.contains(cid)
    }

    /// Whether it has owed a block for so long that others are asked for it.
    fn is_overdue(&self, now: Instant) -> bool {
        let since = self.open.values().map(|(_, at)| *at).min();
        since.is_some_and(|at| now.saturating_duration_since(at) >= hedge::STEP)
    }

    /// Whether it has shown its pace and keeps it with this block.
    fn keeps_pace(&self, cid: &Cid, now: Instant) -> bool {
        self.blocks >= hedge::PACED
            && self.speed.rate() >= hedge::FLOW
            && self.expected(cid, now) < Duration::MAX
    }

    /// Whether it has brought nothing yet and others were asked instead of it.
    fn is_doubtful(&self, now: Instant) -> bool {
        self.blocks == 0 && (self.speed.losses() > 0 || self.is_overdue(now))
    }

    /// How many blocks it may owe. `others`: somebody else delivers.
    fn allowance(&self, others: bool, now: Instant) -> usize {
        if others && self.is_doubtful(now) {
            return 0;
        }
        self.speed.window()
    }

    fn has_room(&self, others: bool, now: Instant) -> bool {
        self.connected && self.open.len() < self.allowance(others, now)
    }
}

/// What a session tells the task.
pub(super) enum Told {
    Answer(Answer),
    /// No stream could be had.
    Failed(OpenError),
    Closed(String, Option<Fault>),
}

impl<N: Network> Run<N> {
    pub(super) fn told(&mut self, from: u64, told: Told, now: Instant) {
        // Told by a session that was let go meanwhile.
        let Some(provider) = self.providers.get_mut(&from) else {
            return;
        };
        match told {
            Told::Answer(Answer::Open(received)) => {
                provider.connected = true;
                provider.received = Some(received);
                provider.alive = now;
                self.ever_connected = true;
            }
            Told::Closed(reason, Some(fault)) => {
                let peer = provider.peer;
                if let Fault::Oversized { len, max } = fault {
                    // Nothing else that a provider sends is that long.
                    let refused = &self.setting.metrics.blocks_refused;
                    let reason = Refusal::Oversized { len, max }.reason();
                    refused.with_label_values(&[reason]).inc();
                }
                self.expel(from, peer, fault, &reason, now);
            }
            Told::Failed(OpenError::Busy(why)) => {
                // It was not looked for as it would have been.
                let peer = provider.peer;
                self.candidates.look_up_again(&peer);
                self.let_go(from, Outcome::Unreachable(why), now);
            }
            Told::Failed(OpenError::Unreachable(why)) => {
                self.let_go(from, Outcome::Unreachable(why), now);
            }
            Told::Failed(OpenError::Unsupported { speaks }) => {
                self.let_go(from, Outcome::Unsupported(speaks), now);
            }
            Told::Closed(reason, None) => self.let_go(from, Outcome::Useless(reason), now),
            Told::Answer(Answer::Reply(id, cid, reply)) => {
                self.setting.metrics.traffic.message(Direction::In, "block");
                let question = provider.question.take_if(|(asked, _)| *asked == id);
                let asked = provider.open.remove(&id).map(|(_, asked)| asked);
                let asked = asked.or(question.map(|(_, asked)| asked)).unwrap_or(now);
                let cancelled = provider.cancelled.remove(&id);
                match reply {
                    Reply::Block(block) => self.delivered(from, cid, block, asked, now),
                    Reply::Have => provider.holds = true,
                    // It answers, so that it lost for no fault of its own. The
                    // block was taken back from it when this was cancelled, and it
                    // may have been asked for it anew since.
                    Reply::Cancelled if cancelled => provider.speed.forgive(),
                    // Nobody cancelled it: were that believed, the block would be
                    // asked of the same provider at once, again and again.
                    Reply::Cancelled | Reply::DontHave | Reply::Unavailable => {
                        self.refused(from, cid, now);
                    }
                }
            }
        }
    }

    /// The provider does not have the block, or cannot give it.
    fn refused(&mut self, from: u64, cid: Cid, now: Instant) {
        let Some(provider) = self.providers.get_mut(&from) else {
            return;
        };
        provider.lacks.insert(cid);
        provider.refusals += 1;
        let (holds, refusals) = (provider.holds, provider.refusals);
        let idle = !provider.owes();
        self.unasked(from, &cid);
        let useless = !holds || refusals >= MAX_REFUSALS || {
            // Who can bring nothing now makes room when another waits for it.
            let others = self.providers.values().any(|p| p.holds && !p.placed);
            idle && others && !self.can_bring(from)
        };
        if useless {
            self.let_go(from, Outcome::Lacks, now);
        }
    }

    /// Whether the provider may have something of what is missing.
    fn can_bring(&self, from: u64) -> bool {
        self.providers.get(&from).is_some_and(|provider| {
            let may = |cid: &Cid| provider.may_have(cid);
            self.plan.first_missing(SCAN, may).is_some()
        })
    }

    fn delivered(&mut self, from: u64, cid: Cid, block: Box<Block>, asked: Instant, now: Instant) {
        let len = block.data.len();
        let Some(provider) = self.providers.get_mut(&from) else {
            return;
        };
        let bytes = self.setting.metrics.block_bytes.with_label_values(&["in"]);
        bytes.inc_by(len as u64);
        provider.speed.delivered(len, asked, now);
        provider.refusals = 0;
        provider.holds = true;
        let (peer, proven) = (provider.peer, provider.blocks > 0);
        if let Some(asked) = self.asks.get_mut(&cid) {
            asked.by.retain(|other| *other != from);
        }
        // While a block of a stranger is being verified, a second one is taken too:
        // the first may turn out wrong.
        let copies = self.copies.get(&cid);
        let unsure = copies.is_some_and(|copies| copies.is_unsure());
        if !self.plan.wants(&cid) && !unsure {
            // Another was first, and the cancel came too late.
            self.wasted += len as u64;
            self.stats(peer).wasted += len as u64;
            return;
        }
        if proven {
            self.cancel_others(&cid);
        }
        let copies = self.copies.entry(cid).or_default();
        copies.count += 1;
        copies.of_proven |= proven;
        self.plan.verifying(&cid);
        let held = ChargedBytes::new(block.data.clone(), &self.memory);
        self.deliveries.push(Delivery {
            cid,
            from,
            peer,
            block,
            held,
        });
    }

    /// The block is here: nobody need bring it any more.
    pub(super) fn cancel_others(&mut self, cid: &Cid) {
        for other in self
            .asks
            .remove(cid)
            .map_or_else(Vec::new, |asked| asked.by)
        {
            if let Some(provider) = self.providers.get_mut(&other) {
                provider.speed.lost();
                let open = provider.open.iter();
                let open = open.filter(|(_, (wanted, _))| wanted == cid);
                let ids: Vec<u64> = open.map(|(id, _)| *id).collect();
                for id in ids {
                    provider.cancelled.insert(id);
                    let _ = provider.commands.unbounded_send(Command::Cancel(id));
                }
            }
        }
    }

    /// A block of the session was verified and is one that was needed.
    pub(super) fn proved(&mut self, from: u64) {
        if let Some(provider) = self.providers.get_mut(&from) {
            provider.blocks += 1;
        }
    }

    /// One copy of the block has been verified.
    pub(super) fn looked_at(&mut self, cid: &Cid) {
        if let Some(copies) = self.copies.get_mut(cid) {
            copies.count -= 1;
            if copies.count == 0 {
                self.copies.remove(cid);
            }
        }
    }

    /// A block that came was refused, or given up: it is to come from another.
    pub(super) fn wanted_again(&mut self, cid: &Cid) {
        if self.copies.contains_key(cid) {
            // Another copy of it is being verified.
            return;
        }
        match self.asks.get(cid) {
            Some(asked) if !asked.by.is_empty() => self.plan.asked(cid),
            _ => self.plan.absent(cid),
        }
    }

    /// The provider's copy of the block is of no use, which is no fault of its.
    pub(super) fn stale(&mut self, from: u64, cid: &Cid, now: Instant) {
        if let Some(provider) = self.providers.get_mut(&from) {
            provider.stale.insert(*cid);
            provider.refusals += 1;
            if provider.refusals >= MAX_REFUSALS {
                let why = "the time of its blocks is over";
                self.let_go(from, Outcome::Useless(why.into()), now);
            }
        }
    }

    /// Whether nothing is on its way, and nobody is left who could be asked for
    /// what is missing.
    pub(super) fn nobody_is_asked(&self) -> bool {
        self.search.is_none()
            && self.hop.is_none()
            && self.plan.has_missing()
            && self
                .providers
                .values()
                .all(|provider| provider.connected && !provider.owes())
    }

    /// The provider will not bring the block.
    fn unasked(&mut self, from: u64, cid: &Cid) {
        if let Some(asked) = self.asks.get_mut(cid) {
            asked.by.retain(|other| *other != from);
            if asked.by.is_empty() && self.plan.wants(cid) {
                self.asks.remove(cid);
                self.plan.absent(cid);
            }
        }
    }

    /// Ends a session and takes back what it was asked for.
    fn close(&mut self, from: u64, now: Instant) -> Option<PeerId> {
        let provider = self.providers.remove(&from)?;
        for (cid, _) in provider.open.values() {
            self.unasked(from, cid);
        }
        if provider.holds && !self.providers.values().any(|other| other.holds) {
            // Nobody is left: who was not needed is, and the search goes on soon,
            // however long the last wait was.
            self.candidates.recall(now);
            self.search_wait = SEARCH_WAIT;
            self.next_search = self.next_search.min(now + SEARCH_WAIT);
        }
        Some(provider.peer)
    }

    pub(super) fn let_go(&mut self, from: u64, outcome: Outcome, now: Instant) {
        if let Some(peer) = self.close(from, now) {
            log::debug!(peer:% = peer, cid:% = self.root, error:? = outcome; "provider let go");
            if let Outcome::Unreachable(why) | Outcome::Useless(why) = &outcome
                && self.candidates.is_named(&peer)
            {
                self.last_problem = format!("; last: {peer}: {why}");
            }
            self.candidates.failed(&peer, outcome, now);
        }
    }

    /// Ends a session that is one too many. It may be had again.
    fn spare(&mut self, from: u64, now: Instant) {
        if let Some(peer) = self.close(from, now) {
            self.candidates.put_back(&peer, now);
        }
    }

    /// Ends the session, also one that ended by itself before its block was
    /// verified, and asks the peer nothing more.
    pub(super) fn expel(
        &mut self,
        from: u64,
        peer: PeerId,
        fault: Fault,
        reason: &str,
        now: Instant,
    ) {
        self.close(from, now);
        if !self.candidates.ban(&peer, reason) {
            // More of the same, sent before it was caught.
            return;
        }
        // Anybody can announce that it has the content.
        if let Some(suppressed) = throttle::allow("provider expelled") {
            log::warn!(peer:% = peer, cid:% = self.root, error = reason, suppressed; "provider expelled");
        }
        self.last_problem = format!("; last: {peer}: {reason}");
        self.setting.network.report(peer, fault);
    }

    /// A search or the caller named the peer, or it is connected.
    pub(super) fn lead(&mut self, peer: PeerId, named: bool, now: Instant) {
        if self.candidates.found(peer, named, now) {
            self.last_lead = now;
        }
        if named && let Some(session) = self.providers.values_mut().find(|p| p.peer == peer) {
            session.named = true;
        }
    }

    pub(super) fn ask_for_more(&mut self, now: Instant) {
        if !self.plan.needs_providers() || !self.leads {
            return;
        }
        if self.search.is_none() && now >= self.next_search && self.wants_search() {
            for provider in self.providers.values_mut() {
                // They may have it by now.
                provider.lacks.clear();
            }
            self.search = Some(self.setting.network.find_providers(&self.root));
        }
        self.attempt(now);
        self.place(now);
        self.give_work(now);
        self.question(now);
        self.hedge(now);
        self.explore(now);
        self.race(now);
    }

    /// Providers that have delivered what was needed.
    fn proven(&self) -> usize {
        self.providers.values().filter(|p| p.blocks > 0).count()
    }

    pub(super) fn holders(&self) -> usize {
        self.providers.values().filter(|p| p.holds).count()
    }

    /// Tries whoever may have the content and was not tried yet.
    fn attempt(&mut self, now: Instant) {
        if self.proven() >= MAX_PLACES {
            return;
        }
        for named in [true, false] {
            let most = if named { MAX_ATTEMPTS } else { MAX_GUESSES };
            let fresh = |p: &&Provider| {
                let fresh = now.saturating_duration_since(p.began) < FRESH;
                p.named == named && !p.holds && fresh
            };
            let mut under_way = self.providers.values().filter(fresh).count();
            while under_way < most
                && self.candidates.has_next(named, now)
                && self.has_room(named, now)
            {
                let Some(peer) = self.candidates.next(named, now) else {
                    break;
                };
                self.connect(peer, named, now);
                under_way += 1;
            }
        }
    }

    /// Makes room for one more session, with a known provider or with a guess, if
    /// need be.
    fn has_room(&mut self, named: bool, now: Instant) -> bool {
        let guesses = self.providers.values().filter(|p| !p.named && !p.holds);
        if !named && guesses.count() >= MAX_ALL_GUESSES {
            return false;
        }
        if self.providers.len() < MAX_SESSIONS {
            return true;
        }
        let all = self.providers.iter();
        let old = all.filter(|(_, p)| {
            let fresh = now.saturating_duration_since(p.began) < FRESH;
            p.blocks == 0 && !fresh && !(p.holds && p.placed) && (named || !p.named)
        });
        let oldest = old.min_by_key(|(_, p)| (p.holds, p.named, p.began));
        let Some((id, holds)) = oldest.map(|(id, p)| (*id, p.holds)) else {
            return false;
        };
        match holds {
            true => self.spare(id, now),
            false => self.let_go(id, Outcome::Silent, now),
        }
        true
    }

    /// Gives places to holders, those that deliver first, and ends sessions that
    /// are not needed any more.
    fn place(&mut self, now: Instant) {
        let mut taken = self.providers.values().filter(|p| p.placed).count();
        loop {
            let waiting = self.providers.iter().filter(|(_, p)| p.holds && !p.placed);
            let best = waiting.min_by_key(|(_, p)| rank(p, now));
            let Some((best, order)) = best.map(|(id, p)| (*id, rank(p, now))) else {
                break;
            };
            if taken >= MAX_PLACES {
                // Who brings nothing makes room for who may, and who is slow for
                // who is much faster.
                let placed = self.providers.iter_mut().filter(|(_, p)| p.placed);
                let worst = placed.max_by_key(|(_, p)| rank(p, now));
                let Some((_, worst)) = worst.filter(|(_, p)| {
                    let (class, Reverse(rate), _) = rank(p, now);
                    let faster = order.0 == 0 && class == 0 && order.1.0 / 2 > rate;
                    class > order.0 || faster
                }) else {
                    break;
                };
                worst.placed = false;
                taken -= 1;
            }
            if let Some(provider) = self.providers.get_mut(&best) {
                provider.placed = true;
                taken += 1;
            }
        }
        let well_fed = self.providers.values().any(|p| p.blocks >= WELL_FED)
            && (self.front.as_ref()).is_none_or(|front| front.width(now) == 1);
        if !well_fed {
            return;
        }
        let idle = self.providers.iter();
        let idle = idle.filter(|(_, p)| p.holds && !p.placed && !p.owes());
        let mut idle: Vec<_> = idle.map(|(id, p)| (rank(p, now), *id)).collect();
        idle.sort();
        for (_, id) in idle.into_iter().skip(MAX_SPARE) {
            self.spare(id, now);
        }
    }

    /// Sessions in places, the fastest first.
    fn fastest(&self) -> Vec<u64> {
        let placed = self.providers.iter().filter(|(_, p)| p.placed);
        let mut fastest: Vec<(f64, u64)> = placed.map(|(id, p)| (p.speed.rate(), *id)).collect();
        fastest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        fastest.into_iter().map(|(_, id)| id).collect()
    }

    fn give_work(&mut self, now: Instant) {
        let others = self.proven() > 0;
        let mut failed = Vec::new();
        for id in self.fastest() {
            let Some(provider) = self.providers.get_mut(&id) else {
                continue;
            };
            while provider.has_room(others, now) {
                let may = |cid: &Cid| provider.may_have(cid);
                let Some(cid) = self.plan.first_missing(SCAN, may) else {
                    break;
                };
                if !provider.ask(cid, now) {
                    failed.push(id);
                    break;
                }
                self.setting
                    .metrics
                    .traffic
                    .message(Direction::Out, "block");
                self.plan.asked(&cid);
                self.asks
                    .entry(cid)
                    .or_insert_with(|| Asked::new(now))
                    .by
                    .push(id);
            }
        }
        for id in failed {
            self.let_go(id, Outcome::Useless("the stream ended".into()), now);
        }
    }

    /// Asks those that have just opened: one for the front itself if nobody is
    /// asked for it, the others whether they have it.
    fn question(&mut self, now: Instant) {
        let new = self.providers.iter();
        let new = new.filter(|(_, p)| p.connected && !p.holds && !p.owes());
        let mut new: Vec<(bool, u64)> = new.map(|(id, p)| (!p.named, *id)).collect();
        new.sort_unstable();
        for (_, id) in new {
            let cid = self.plan.front().unwrap_or(self.root);
            let missing = self.plan.is_missing(&cid);
            let Some(provider) = self.providers.get_mut(&id) else {
                continue;
            };
            self.setting
                .metrics
                .traffic
                .message(Direction::Out, "block");
            let sent = match missing {
                true => provider.ask(cid, now),
                false => provider.question(cid, now),
            };
            if !sent {
                self.let_go(id, Outcome::Useless("the stream ended".into()), now);
            } else if missing {
                self.plan.asked(&cid);
                self.asks
                    .entry(cid)
                    .or_insert_with(|| Asked::new(now))
                    .by
                    .push(id);
            }
        }
    }

    /// Asks more providers for the block that holds up the delivery, the longer it
    /// takes.
    fn hedge(&mut self, now: Instant) {
        let Some(cid) = self.plan.front() else {
            self.front = None;
            return;
        };
        if self.front.as_ref().is_none_or(|front| *front.cid() != cid) {
            let since = self.asks.get(&cid).map(|asked| asked.since);
            // In the queue of one that keeps its pace it has not waited yet.
            let since = since.filter(|_| !self.is_paced(&cid, now));
            self.front = Some(Hedge::new(cid, since, now));
        }
        if !self.plan.wants(&cid) {
            return;
        }
        let (mut confirmed, mut count) = (false, 0);
        if let Some(asked) = self.asks.get(&cid) {
            count = asked.by.len();
            let askers = asked.by.iter().filter_map(|id| self.providers.get(id));
            confirmed = askers.into_iter().any(|p| p.holds || p.is_answering(now));
        }
        let Some((width, alone)) = self.front.as_ref().map(|front| {
            let alone = !confirmed && front.is_unconfirmed(now);
            (front.width(now), alone)
        }) else {
            return;
        };
        let mut candidates: Vec<_> = self
            .providers
            .iter()
            .filter(|(id, p)| {
                let asked = self.asks.get(&cid);
                let is_asked = asked.is_some_and(|asked| asked.by.contains(id));
                let may = p.holds || p.named;
                p.connected && may && !is_asked && p.may_have(&cid) && p.open.len() < MAX_OPEN
            })
            .map(|(id, p)| (!p.holds, rank(p, now), *id))
            .collect();
        candidates.sort();
        for (unsaid, _, id) in candidates {
            if count >= width && (unsaid || !alone || confirmed) {
                break;
            }
            let Some(provider) = self.providers.get_mut(&id) else {
                continue;
            };
            if provider.ask(cid, now) {
                self.setting
                    .metrics
                    .traffic
                    .message(Direction::Out, "block");
                self.plan.asked(&cid);
                self.asks
                    .entry(cid)
                    .or_insert_with(|| Asked::new(now))
                    .by
                    .push(id);
                count += 1;
                confirmed |= !unsaid;
            }
        }
        if count < width {
            // All that are here were asked.
            self.candidates.recall(now);
        }
    }

    /// Tries one holder without a place, so that a fast one is found among many,
    /// with a block that nobody is asked for.
    fn explore(&mut self, now: Instant) {
        if now.saturating_duration_since(self.explored) < TRIAL {
            return;
        }
        let new = self.providers.iter().filter(|(_, p)| {
            p.connected && p.holds && !p.placed && p.blocks == 0 && !p.owes() && !p.tried
        });
        let Some(id) = new.min_by_key(|(_, p)| p.began).map(|(id, _)| *id) else {
            return;
        };
        let Some(provider) = self.providers.get_mut(&id) else {
            return;
        };
        let may = |cid: &Cid| provider.may_have(cid);
        if let Some(cid) = self.plan.first_missing(SCAN, may)
            && provider.ask(cid, now)
        {
            provider.tried = true;
            self.explored = now;
            self.setting
                .metrics
                .traffic
                .message(Direction::Out, "block");
            self.plan.asked(&cid);
            self.asks
                .entry(cid)
                .or_insert_with(|| Asked::new(now))
                .by
                .push(id);
        }
    }

    /// Whether somebody who is asked for the block keeps the pace it has shown.
    pub(super) fn is_paced(&self, cid: &Cid, now: Instant) -> bool {
        let asked = self.asks.get(cid).map_or(&[][..], |asked| &asked.by);
        let mut asked = asked.iter().filter_map(|id| self.providers.get(id));
        asked.any(|provider| provider.keeps_pace(cid, now))
    }

    fn wants_search(&self) -> bool {
        // The search goes on while there may be more to find.
        self.proven() < MAX_PLACES
    }

    /// Whether the content comes, from somebody.
    pub(super) fn is_fed(&self) -> bool {
        self.proven() > 0
            && self
                .plan
                .front()
                .is_none_or(|cid| !self.plan.is_missing(&cid))
    }

    /// Asks a second provider for blocks near the front that take longer than it
    /// would: at once when it is idle, and for the very front also when it is not.
    fn race(&mut self, now: Instant) {
        let front = self.plan.front_asked();
        let others = self.proven() > 0;
        for id in self.fastest() {
            let Some(provider) = self.providers.get(&id) else {
                continue;
            };
            if !provider.connected || others && provider.is_doubtful(now) {
                continue;
            }
            // Twice what it usually takes, and a little for the scheduler. Who
            // has not delivered yet tries only what would take long.
            let latency = provider.speed.latency();
            let ours = latency.map_or(Duration::from_secs(1), |latency| latency * 2)
                + Duration::from_millis(50);
            let idle = provider.has_room(others, now);
            let candidate = self.plan.first_asked().take(RACE).find(|cid| {
                let Some(asked) = self.asks.get(*cid).map(|asked| &asked.by) else {
                    return false;
                };
                let holder = asked.first().and_then(|holder| self.providers.get(holder));
                let Some(holder) = holder else { return false };
                asked.len() == 1
                    && asked[0] != id
                    && provider.may_have(cid)
                    && (idle || front == Some(**cid) && provider.speed.rate() > holder.speed.rate())
                    && holder.expected(cid, now) > ours
            });
            if let Some(cid) = candidate.copied()
                && let Some(provider) = self.providers.get_mut(&id)
                && provider.ask(cid, now)
            {
                self.setting
                    .metrics
                    .traffic
                    .message(Direction::Out, "block");
                self.asks
                    .entry(cid)
                    .or_insert_with(|| Asked::new(now))
                    .by
                    .push(id);
            }
        }
    }

    /// Bytes that came from those who are asked for the front; each is looked at
    /// once, by the clock.
    pub(super) fn front_bytes(&self) -> u64 {
        let asked = self.front.as_ref().and_then(|f| self.asks.get(f.cid()));
        let asked = asked.map_or(&[][..], |asked| &asked.by);
        let asked = asked.iter().filter_map(|id| self.providers.get(id));
        asked.map(Provider::news).max().unwrap_or(0)
    }

    fn connect(&mut self, peer: PeerId, named: bool, now: Instant) {
        let id = self.next_provider;
        self.next_provider += 1;
        let (commands, orders) = mpsc::unbounded();
        let (alive, ended) = oneshot::channel();
        self.providers.insert(
            id,
            Provider {
                peer,
                commands,
                _alive: alive,
                next_id: 0,
                open: HashMap::new(),
                cancelled: HashSet::new(),
                question: None,
                speed: Speed::new(),
                lacks: HashSet::new(),
                stale: HashSet::new(),
                refusals: 0,
                connected: false,
                named,
                holds: false,
                placed: false,
                tried: false,
                blocks: 0,
                began: now,
                received: None,
                seen: 0,
                alive: now,
                flowed: None,
            },
        );
        let network = &self.setting.network;
        let opening = match named {
            true if self.candidates.look_up_once(&peer) => network.open(peer),
            // Another walk for its addresses finds what the first one found.
            true => network.open_again(peer),
            false => network.open_near(peer),
        };
        let max_block = self.options.max_block;
        let mut tell = self.tell.clone();
        spawn(async move {
            let opening = async_std::future::timeout(OPEN_TIMEOUT, opening);
            // A session that is let go leaves no dial behind: a crowd that cannot be
            // reached is let go and named again faster than its dials end.
            let opened = match select(Box::pin(opening), ended).await {
                Either::Left((opened, _)) => opened,
                Either::Right(_) => return,
            };
            let told = match opened {
                Err(_) => Told::Failed(OpenError::Unreachable(format!(
                    "no stream within {OPEN_TIMEOUT:?}"
                ))),
                Ok(Err(error)) => Told::Failed(error),
                Ok(Ok(stream)) => {
                    let wrap = |answer| (id, Told::Answer(answer));
                    match session::run(stream, max_block, orders, &mut tell, wrap).await {
                        Ok(()) => return,
                        Err(error) => {
                            let reason = error.to_string();
                            let fault = fault(&error);
                            Told::Closed(reason, fault)
                        }
                    }
                }
            };
            let _ = tell.send((id, told)).await;
        });
    }

    /// Ends attempts that have had their time.
    pub(super) fn end_attempts(&mut self, now: Instant) {
        let all = self.providers.iter();
        let over = all.filter(|(_, p)| {
            let waited = now.saturating_duration_since(p.began);
            !p.holds && !p.named && waited > GUESS_TIMEOUT
        });
        let over: Vec<u64> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.let_go(id, Outcome::Silent, now);
        }
    }
}

/// Who is asked for a block, and since when somebody is.
pub(super) struct Asked {
    by: Vec<u64>,
    since: Instant,
}

impl Asked {
    fn new(now: Instant) -> Self {
        Asked {
            by: Vec::new(),
            since: now,
        }
    }
}

/// Copies of one block that are being verified.
#[derive(Debug, Default)]
pub(super) struct Copies {
    count: usize,
    /// One of them is of a provider whose blocks were right before.
    of_proven: bool,
}

/// Copies of one block that are verified, when a stranger sent the first.
const MAX_COPIES: usize = 2;

impl Copies {
    /// Whether another copy is worth taking.
    fn is_unsure(&self) -> bool {
        self.count < MAX_COPIES && !self.of_proven
    }
}

/// The order in which holders are given work: those that have delivered, the
/// fastest first, those that were not asked yet or not for long, and those that owe
/// what others brought or were asked for instead. Among equals the one that came
/// first.
fn rank(provider: &Provider, now: Instant) -> (u8, Reverse<u64>, Instant) {
    let (class, rate) = match provider.blocks {
        0 if provider.is_doubtful(now) => (2, 0.0),
        0 => (1, 0.0),
        _ => (0, provider.speed.rate()),
    };
    (class, Reverse(rate as u64), provider.began)
}

/// What a session's end says of the peer.
fn fault(error: &SessionError) -> Option<Fault> {
    match error {
        SessionError::Frame(FrameError::TooLarge { len, max }) => Some(Fault::Oversized {
            len: *len,
            max: *max,
        }),
        error => error
            .is_violation()
            .then(|| Fault::Protocol(error.to_string())),
    }
}
