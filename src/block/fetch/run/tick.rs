//! What is checked on every tick: silent providers, progress and patience.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::share::Share;
use super::super::{Event, FetchError, Out, Progress};
use super::Run;
use super::ending::OUTDATED_WAIT;
use super::provider::Provider;
use crate::block::network::Network;
use crate::content::fetch::Useless;
use crate::content::fetch::outcome::Outcome;

/// The number of ticks between two events of progress.
const PROGRESS_TICKS: u32 = 10;

/// How long a provider that was asked for something may send nothing at all.
const SILENCE: Duration = Duration::from_secs(10);

/// The number of bytes that count as progress of the whole fetch. On a slow path one
/// block may take longer than the patience, and a byte now and then is not progress.
const PROGRESS_BYTES: u64 = 16 << 10;

/// The number of losses in a row after which a provider is let go for a while, if another
/// one delivers.
const MAX_LOSSES: u32 = 4;

/// How long a guess may take to say whether it has the content. It is connected, so that
/// this allows for some round trips.
const GUESS_TIMEOUT: Duration = Duration::from_secs(3);

impl<N: Network> Run<N> {
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), FetchError> {
        self.ticks += 1;
        let mut silent = Vec::new();
        let delivering = self
            .providers
            .values()
            .filter(|p| p.blocks > 0 && p.speed.losses() == 0)
            .count();
        let bytes = self.head_bytes();
        let head = self.hedge.as_ref().map(|hedge| *hedge.cid());
        let paced = head.is_some_and(|cid| self.is_paced(&cid, now));
        if let Some(hedge) = &mut self.hedge {
            hedge.came(bytes, paced, now);
        }
        self.end_attempts(now);
        for (id, provider) in &mut self.providers {
            let total = provider
                .received
                .as_ref()
                .map_or(0, |n| n.load(Ordering::Relaxed));
            if total > provider.seen {
                self.unreported_bytes += total - provider.seen;
                provider.seen = total;
                provider.alive = now;
                provider.flowed = Some(now);
            }
            let waits = provider.connected && provider.owes();
            if waits && now.duration_since(provider.alive) > SILENCE {
                silent.push((*id, Outcome::Silent));
            } else if provider.speed.losses() >= MAX_LOSSES && delivering > 0 {
                silent.push((*id, Outcome::Useless(Useless::Slower)));
            }
        }
        for (id, outcome) in silent {
            self.let_go(id, outcome, now);
        }
        if self.unreported_bytes >= PROGRESS_BYTES || !self.plan.needs_providers() {
            if self.leads
                && self.unreported_bytes >= PROGRESS_BYTES
                && let Some(share) = &self.share
            {
                share.show_progress(now);
            }
            self.unreported_bytes = 0;
            self.progress = now;
        }
        if !self.leads
            && let Some(progressed) = self.share.as_ref().and_then(Share::last_progress)
        {
            // On a slow line one block may take longer than the patience, and nothing of
            // it is in the store until all of it is here.
            self.progress = self.progress.max(progressed);
        }
        if self.ticks.is_multiple_of(PROGRESS_TICKS) && self.out.is_empty() {
            let progress = Progress {
                done: self.plan.done(),
                total: self.plan.total(),
                received: self.received,
                providers: self.holders(),
            };
            self.out.push_back(Out::Event(Event::Progress(progress)));
        }
        if self.ticks.is_multiple_of(PROGRESS_TICKS)
            && self.leads
            && let Some(share) = &self.share
            && share.is_waited_for()
        {
            share.explain(self.reason(now));
        }
        let waited = now.duration_since(self.progress);
        let patient = waited < self.options.patience;
        if let Some((block, peer, why, since)) = &self.outdated
            && (!patient || now.duration_since(*since) >= OUTDATED_WAIT && self.nobody_is_asked())
        {
            return Err(FetchError::Stale {
                cid: self.root,
                block: *block,
                peer: *peer,
                why: why.clone(),
            });
        }
        if patient {
            return self.end_if_final(now);
        }
        let reason = self.known_reason(now);
        self.give_up(&reason, false);
        let connected = self.ever_connected || !self.leads;
        Err(self.gave_up(reason, connected, waited, now))
    }

    /// Ends attempts that have taken too long.
    fn end_attempts(&mut self, now: Instant) {
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

    /// Returns the largest number of bytes that any provider of the block at the head of
    /// the content has sent since the last tick.
    fn head_bytes(&self) -> u64 {
        let asked = self.hedge.as_ref().and_then(|f| self.asks.get(f.cid()));
        let asked = asked.map_or(&[][..], |asked| &asked.by);
        let asked = asked.iter().filter_map(|id| self.providers.get(id));
        asked.map(Provider::unseen_bytes).max().unwrap_or(0)
    }
}
