//! Decides which peer to ask for what, and how much to ask for at once.
//!
//! | a session | is |
//! |---|---|
//! | an attempt | with a peer that has not answered yet: being dialed, opened, or asked |
//! | a holder | with a peer that said that it has the content, or delivered some of it |
//! | active | with one of the few holders that are given work in the normal case |
//!
//! Every peer that might have the content is asked whether it has it. They are asked all
//! at once, within bounds, and a "no" ends the session. Only holders become active. The
//! other sessions are used when the block at the head of the content does not arrive (see
//! [`crate::content::fetch::hedge`]). They are also tried with one block from time to
//! time, so that a fast one can replace a slow one.

use std::time::{Duration, Instant};

use cid::Cid;

use super::Run;
use super::answers::SCAN;
use super::asked::Asked;
use crate::block::network::Network;
use crate::content::fetch::Useless;
use crate::content::fetch::hedge::Hedge;
use crate::content::fetch::outcome::Outcome;
use crate::telemetry::Direction;

/// The number of blocks near the head of the content that may be asked of a second
/// provider.
const RACE: usize = 32;

/// The time between two trials of holders that are not active.
const TRIAL: Duration = Duration::from_millis(400);

/// The maximum number of open wants at one provider in any case. The protocol allows 256.
const MAX_OPEN: usize = 128;

impl<N: Network> Run<N> {
    pub(super) fn ask_for_more(&mut self, now: Instant) {
        if !self.plan.needs_providers() || !self.leads {
            return;
        }
        if self.search.is_none() && now >= self.next_search && self.wants_search() {
            for provider in self.providers.values_mut() {
                // These providers may have the blocks by now.
                provider.lacks.clear();
            }
            self.search = Some(self.setting.network.find_providers(&self.root));
        }
        self.attempt(now);
        self.choose_active(now);
        self.give_work(now);
        self.ask_new_sessions(now);
        self.hedge(now);
        self.try_new_holder(now);
        self.race(now);
    }

    /// Asks a provider for a block. Returns false when its session has ended.
    fn ask(&mut self, id: u64, cid: Cid, now: Instant) -> bool {
        let Some(provider) = self.providers.get_mut(&id) else {
            return false;
        };
        if !provider.ask(cid, now) {
            return false;
        }
        self.setting.metrics.message(Direction::Out);
        self.plan.asked(&cid);
        let asked = self.asks.entry(cid).or_insert_with(|| Asked::new(now));
        asked.by.push(id);
        true
    }

    /// Returns the first missing block that the provider may have.
    fn first_missing_for(&self, id: u64) -> Option<Cid> {
        let provider = self.providers.get(&id)?;
        let may = |cid: &Cid| provider.may_have(cid);
        self.plan.first_missing(SCAN, may)
    }

    /// Gives each active holder as much work as it can do well.
    fn give_work(&mut self, now: Instant) {
        let others = self.proven() > 0;
        let mut ended = Vec::new();
        for id in self.fastest() {
            let has_room = |run: &Self| {
                let provider = run.providers.get(&id);
                provider.is_some_and(|provider| provider.has_room(others, now))
            };
            while has_room(self) {
                let Some(cid) = self.first_missing_for(id) else {
                    break;
                };
                if !self.ask(id, cid, now) {
                    ended.push(id);
                    break;
                }
            }
        }
        for id in ended {
            self.let_go(id, Outcome::Useless(Useless::StreamEnded), now);
        }
    }

    /// Asks the peers whose stream has just opened. One of them is asked for the block at
    /// the head of the content, if no one has been asked for it yet; the others are asked
    /// whether they have it.
    fn ask_new_sessions(&mut self, now: Instant) {
        let new = self.providers.iter();
        let new = new.filter(|(_, p)| p.connected && !p.holds && !p.owes());
        let mut new: Vec<(bool, u64)> = new.map(|(id, p)| (!p.named, *id)).collect();
        new.sort_unstable();
        for (_, id) in new {
            let cid = self.plan.head().unwrap_or(self.root);
            let sent = match self.plan.is_missing(&cid) {
                true => self.ask(id, cid, now),
                false => self.ask_whether_it_has(id, cid, now),
            };
            if !sent {
                self.let_go(id, Outcome::Useless(Useless::StreamEnded), now);
            }
        }
    }

    /// Asks a provider only whether it has a block. Returns false when its session has
    /// ended.
    fn ask_whether_it_has(&mut self, id: u64, cid: Cid, now: Instant) -> bool {
        let provider = self.providers.get_mut(&id);
        let sent = provider.is_some_and(|provider| provider.ask_whether_it_has(cid, now));
        if sent {
            self.setting.metrics.message(Direction::Out);
        }
        sent
    }

    /// Asks more providers for the block at the head of the content, the more of them the
    /// longer it takes.
    fn hedge(&mut self, now: Instant) {
        let Some(cid) = self.plan.head() else {
            self.hedge = None;
            return;
        };
        if self.hedge.as_ref().is_none_or(|hedge| *hedge.cid() != cid) {
            let since = self.asks.get(&cid).map(|asked| asked.since);
            // While the block is in the queue of a provider that keeps its pace, it does
            // not count as waiting.
            let since = since.filter(|_| !self.is_paced(&cid, now));
            self.hedge = Some(Hedge::new(cid, since, now));
        }
        if !self.plan.wants(&cid) {
            return;
        }
        let (mut confirmed, mut count) = (false, 0);
        if let Some(asked) = self.asks.get(&cid) {
            count = asked.by.len();
            let mut asked = asked.by.iter().filter_map(|id| self.providers.get(id));
            confirmed = asked.any(|p| p.holds || p.is_answering(now));
        }
        let Some((width, alone)) = self.hedge.as_ref().map(|hedge| {
            let alone = !confirmed && hedge.is_unconfirmed(now);
            (hedge.width(now), alone)
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
            .map(|(id, p)| (!p.holds, p.rank(now), *id))
            .collect();
        candidates.sort();
        for (unsaid, _, id) in candidates {
            if count >= width && (unsaid || !alone || confirmed) {
                break;
            }
            if self.ask(id, cid, now) {
                count += 1;
                confirmed |= !unsaid;
            }
        }
        if count < width {
            // All peers with which there is a session have been asked.
            self.candidates.recall(now);
        }
    }

    /// Tries one holder that is not active with a block that has not been asked for, so
    /// that a fast holder can be found among many.
    fn try_new_holder(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_trial) < TRIAL {
            return;
        }
        let new = self.providers.iter().filter(|(_, p)| {
            p.connected && p.holds && !p.active && p.blocks == 0 && !p.owes() && !p.tried
        });
        let Some(id) = new.min_by_key(|(_, p)| p.began).map(|(id, _)| *id) else {
            return;
        };
        if let Some(cid) = self.first_missing_for(id)
            && self.ask(id, cid, now)
        {
            self.last_trial = now;
            if let Some(provider) = self.providers.get_mut(&id) {
                provider.tried = true;
            }
        }
    }

    /// Asks a second provider for blocks near the head of the content that take longer
    /// than this provider would. A provider does this when it is idle, and for the very
    /// first block also when it is not idle but faster.
    fn race(&mut self, now: Instant) {
        let head = self.plan.head_asked();
        let others = self.proven() > 0;
        for id in self.fastest() {
            let Some(provider) = self.providers.get(&id) else {
                continue;
            };
            if !provider.connected || others && provider.is_doubtful(now) {
                continue;
            }
            // It is expected to take twice its usual time, and a little longer because of
            // the scheduler. A provider that has not delivered yet is asked only for
            // blocks that would take long.
            let latency = provider.speed.latency();
            let ours = latency.map_or(Duration::from_secs(1), |latency| latency * 2)
                + Duration::from_millis(50);
            let idle = provider.has_room(others, now);
            let slow = self.plan.first_asked().take(RACE).find(|cid| {
                let Some(asked) = self.asks.get(*cid).map(|asked| &asked.by) else {
                    return false;
                };
                let holder = asked.first().and_then(|holder| self.providers.get(holder));
                let Some(holder) = holder else { return false };
                asked.len() == 1
                    && asked[0] != id
                    && provider.may_have(cid)
                    && (idle || head == Some(**cid) && provider.speed.rate() > holder.speed.rate())
                    && holder.expected(cid, now) > ours
            });
            if let Some(cid) = slow.copied() {
                self.ask(id, cid, now);
            }
        }
    }

    /// Returns whether any provider that is asked for the block keeps the pace that it
    /// has shown.
    pub(super) fn is_paced(&self, cid: &Cid, now: Instant) -> bool {
        let asked = self.asks.get(cid).map_or(&[][..], |asked| &asked.by);
        let mut asked = asked.iter().filter_map(|id| self.providers.get(id));
        asked.any(|provider| provider.keeps_pace(cid, now))
    }
}
