//! Asking: whom, for what, how much at once, and what follows from the answers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_std::task::spawn;
use cid::Cid;
use futures::SinkExt;
use futures::channel::mpsc;
use libp2p::PeerId;

use super::super::held::Held;
use super::super::hop::Delivery;
use super::super::provider::Speed;
use super::{Run, SEARCH_WAIT};
use crate::block::exchange::frame::FrameError;
use crate::block::exchange::pb::message::Block;
use crate::block::exchange::session::{self, Answer, Command, Reply, SessionError};
use crate::block::network::{Fault, Network};
use crate::block::refusal::Refusal;
use crate::observe::metrics::Direction;
use crate::observe::throttle;

/// Providers asked at once. More than a few add dials and duplicate work and no
/// speed; fewer leave it to luck whether a fast one is among them.
const MAX_PROVIDERS: usize = 8;

/// How long a provider may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// Missing blocks looked at to find one for a provider that lacks the first.
const SCAN: usize = 1024;

/// Refusals in a row after which a provider is let go until later.
const MAX_REFUSALS: usize = 64;

/// Blocks of the front that may be asked of a second provider.
const RACE: usize = 32;

/// A session with one provider, as the task sees it.
pub(super) struct Provider {
    pub(super) peer: PeerId,
    commands: mpsc::UnboundedSender<Command>,
    next_id: u64,
    pub(super) open: HashMap<u64, (Cid, Instant)>,
    pub(super) speed: Speed,
    lacks: HashSet<Cid>,
    /// Blocks of it whose time was over. Not asked of it again.
    stale: HashSet<Cid>,
    refusals: usize,
    pub(super) connected: bool,
    pub(super) received: Option<Arc<AtomicU64>>,
    pub(super) seen: u64,
    /// When bytes came last, or when it was asked after a pause.
    pub(super) alive: Instant,
}

impl Provider {
    fn ask(&mut self, cid: Cid, now: Instant) -> bool {
        if self.open.is_empty() {
            self.alive = now;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, (cid, now));
        self.commands.unbounded_send(Command::Want(id, cid)).is_ok()
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
        self.speed.expected(place, *at, now)
    }

    fn may_have(&self, cid: &Cid) -> bool {
        !self.lacks.contains(cid) && !self.stale.contains(cid)
    }

    fn has_room(&self) -> bool {
        self.connected && self.open.len() < self.speed.window()
    }
}

/// What a session tells the task.
pub(super) enum Told {
    Answer(Answer),
    Closed(String, Option<Fault>),
}

impl<N: Network> Run<N> {
    pub(super) fn told(&mut self, from: u64, told: Told) {
        let now = Instant::now();
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
                self.expel(from, peer, fault, &reason);
            }
            Told::Closed(reason, None) => self.let_go(from, &reason),
            Told::Answer(Answer::Reply(id, cid, reply)) => {
                self.setting.metrics.message(Direction::In, "block");
                let asked = provider.open.remove(&id).map_or(now, |(_, asked)| asked);
                match reply {
                    Reply::Block(block) => self.delivered(from, cid, block, asked, now),
                    Reply::Cancelled => self.unasked(from, &cid),
                    Reply::DontHave | Reply::Unavailable => {
                        provider.lacks.insert(cid);
                        provider.refusals += 1;
                        let refusals = provider.refusals;
                        self.unasked(from, &cid);
                        if refusals >= MAX_REFUSALS {
                            self.let_go(from, "it has too little of the content");
                        }
                    }
                }
            }
        }
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
        if !self.plan.wants(&cid) {
            // Another was first, and the cancel came too late.
            self.wasted += len as u64;
            let peer = provider.peer;
            self.stats(peer).wasted += len as u64;
            return;
        }
        for other in self.asks.remove(&cid).unwrap_or_default() {
            if other == from {
                continue;
            }
            if let Some(provider) = self.providers.get_mut(&other) {
                provider.speed.lost();
                let open = provider
                    .open
                    .iter()
                    .filter(|(_, (wanted, _))| *wanted == cid);
                let ids: Vec<u64> = open.map(|(id, _)| *id).collect();
                for id in ids {
                    let _ = provider.commands.unbounded_send(Command::Cancel(id));
                }
            }
        }
        self.plan.verifying(&cid);
        let Some(peer) = self.providers.get(&from).map(|provider| provider.peer) else {
            return;
        };
        let held = Held::new(block.data.clone(), &self.meter);
        self.deliveries.push(Delivery {
            cid,
            from,
            peer,
            block,
            held,
        });
    }

    /// The provider's copy of the block is of no use, which is no fault of its.
    pub(super) fn stale(&mut self, from: u64, cid: &Cid) {
        if let Some(provider) = self.providers.get_mut(&from) {
            provider.stale.insert(*cid);
            provider.refusals += 1;
            if provider.refusals >= MAX_REFUSALS {
                self.let_go(from, "the time of its blocks is over");
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
                .all(|provider| provider.connected && provider.open.is_empty())
    }

    /// The provider will not bring the block.
    fn unasked(&mut self, from: u64, cid: &Cid) {
        if let Some(asked) = self.asks.get_mut(cid) {
            asked.retain(|other| *other != from);
            if asked.is_empty() {
                self.asks.remove(cid);
                if self.plan.wants(cid) {
                    self.plan.absent(cid);
                }
            }
        }
    }

    /// Ends a session and takes back what it was asked for.
    fn close(&mut self, from: u64) -> Option<PeerId> {
        let provider = self.providers.remove(&from)?;
        for (cid, _) in provider.open.values() {
            self.unasked(from, cid);
        }
        if self.providers.is_empty() {
            // Nobody is left: search soon, however long the last wait was.
            self.search_wait = SEARCH_WAIT;
            self.next_search = self.next_search.min(Instant::now() + SEARCH_WAIT);
        }
        Some(provider.peer)
    }

    pub(super) fn let_go(&mut self, from: u64, reason: &str) {
        if let Some(peer) = self.close(from) {
            log::debug!(peer:% = peer, cid:% = self.root, error:% = reason; "provider let go");
            self.last_problem = format!("; last: {peer}: {reason}");
            self.peers.failed(&peer, Instant::now());
        }
    }

    /// Ends the session, also one that ended by itself before its block was
    /// verified, and asks the peer nothing more.
    pub(super) fn expel(&mut self, from: u64, peer: PeerId, fault: Fault, reason: &str) {
        self.close(from);
        if !self.peers.ban(&peer) {
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

    pub(super) fn ask_for_more(&mut self) {
        if !self.plan.needs_providers() {
            return;
        }
        let now = Instant::now();
        if self.search.is_none() && now >= self.next_search && self.wants_search() {
            for provider in self.providers.values_mut() {
                // They may have it by now.
                provider.lacks.clear();
            }
            self.search = Some(self.setting.network.find_providers(&self.root));
        }
        while self.providers.len() < MAX_PROVIDERS {
            let Some(peer) = self.peers.next(now) else {
                break;
            };
            self.connect(peer, now);
        }
        let mut fastest: Vec<u64> = self.providers.keys().copied().collect();
        fastest.sort_by(|a, b| self.rate(*b).total_cmp(&self.rate(*a)));
        let mut failed = Vec::new();
        for id in &fastest {
            let Some(provider) = self.providers.get_mut(id) else {
                continue;
            };
            while provider.has_room() {
                let may = |cid: &Cid| provider.may_have(cid);
                let Some(cid) = self.plan.first_missing(SCAN, may) else {
                    break;
                };
                if !provider.ask(cid, now) {
                    failed.push(*id);
                    break;
                }
                self.setting.metrics.message(Direction::Out, "block");
                self.plan.asked(&cid);
                self.asks.entry(cid).or_default().push(*id);
            }
        }
        for id in failed {
            self.let_go(id, "the stream ended");
        }
        self.race(&fastest, now);
    }

    fn rate(&self, id: u64) -> f64 {
        self.providers
            .get(&id)
            .map_or(0.0, |provider| provider.speed.rate())
    }

    fn wants_search(&self) -> bool {
        self.providers
            .values()
            .filter(|provider| provider.connected)
            .count()
            < 2
            || self.plan.has_missing()
                && self
                    .providers
                    .values()
                    .all(|provider| provider.open.is_empty())
    }

    /// Asks a second provider for blocks near the front that take longer than it
    /// would: at once when it is idle, and for the very front also when it is not.
    fn race(&mut self, fastest: &[u64], now: Instant) {
        let front = self.plan.front_asked();
        for id in fastest {
            let Some(provider) = self.providers.get(id) else {
                continue;
            };
            if !provider.connected {
                continue;
            }
            // Twice what it usually takes, and a little for the scheduler. Who
            // has not delivered yet tries only what would take long.
            let latency = provider.speed.latency();
            let ours = latency.map_or(Duration::from_secs(1), |latency| latency * 2)
                + Duration::from_millis(50);
            let idle = provider.has_room();
            let candidate = self.plan.first_asked().take(RACE).find(|cid| {
                let Some(asked) = self.asks.get(*cid) else {
                    return false;
                };
                let holder = asked.first().and_then(|holder| self.providers.get(holder));
                let Some(holder) = holder else { return false };
                asked.len() == 1
                    && asked[0] != *id
                    && provider.may_have(cid)
                    && (idle || front == Some(**cid) && provider.speed.rate() > holder.speed.rate())
                    && holder.expected(cid, now) > ours
            });
            if let Some(cid) = candidate.copied()
                && let Some(provider) = self.providers.get_mut(id)
                && provider.ask(cid, now)
            {
                self.setting.metrics.message(Direction::Out, "block");
                self.asks.entry(cid).or_default().push(*id);
            }
        }
    }

    fn connect(&mut self, peer: PeerId, now: Instant) {
        let id = self.next_provider;
        self.next_provider += 1;
        let (commands, orders) = mpsc::unbounded();
        self.providers.insert(
            id,
            Provider {
                peer,
                commands,
                next_id: 0,
                open: HashMap::new(),
                speed: Speed::new(),
                lacks: HashSet::new(),
                stale: HashSet::new(),
                refusals: 0,
                connected: false,
                received: None,
                seen: 0,
                alive: now,
            },
        );
        let opening = self.setting.network.open(peer);
        let max_block = self.options.max_block;
        let mut tell = self.tell.clone();
        spawn(async move {
            let told = match async_std::future::timeout(OPEN_TIMEOUT, opening).await {
                Err(_) => Told::Closed(format!("no stream within {OPEN_TIMEOUT:?}"), None),
                Ok(Err(error)) => Told::Closed(error.to_string(), None),
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
