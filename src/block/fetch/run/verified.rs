//! Handles blocks that were verified, looked up or read.

use std::time::Instant;

use cid::Cid;
use libp2p::PeerId;

use super::super::FetchError;
use super::super::disk::{DiskResult, Found, Verified};
use super::Run;
use super::following::{SHARE_PART, SHARE_WAIT};
use crate::block::exchange::session::Command;
use crate::block::network::{Fault, Network};
use crate::content::fetch::Useless;
use crate::content::fetch::outcome::Outcome;
use crate::content::fetch::plan::Arrived;
use crate::content::refusal::Refusal;
use crate::message::provenance::is_clock_set;
use crate::text::duration;

/// The number of refusals in a row after which a provider is let go for a while.
pub(super) const MAX_REFUSALS: usize = 64;

impl<N: Network> Run<N> {
    pub(super) fn disk_done(&mut self, done: DiskResult, now: Instant) -> Result<(), FetchError> {
        self.batch = done.batch;
        if let (Some(began), None, Some(share)) = (self.sharing.take(), &done.error, &self.share) {
            share.stored();
            let took = now.saturating_duration_since(began);
            self.next_share = now + (took * SHARE_PART).max(SHARE_WAIT);
        }
        for verified in done.deliveries {
            let Verified { cid, peer, len, .. } = verified;
            self.looked_at(&cid);
            match verified.found {
                Ok(_) if !self.plan.is_busy(&cid) => {
                    // Another copy of it was first.
                    self.wasted += len;
                    self.stats(peer).wasted += len;
                }
                Ok(found) => {
                    self.proved(verified.from);
                    self.cancel_others(&cid);
                    self.progress = now;
                    self.received += len;
                    self.since_checkpoint += len;
                    self.candidates.delivered(&peer);
                    self.setting.network.delivered(&peer);
                    let stats = self.stats(peer);
                    stats.blocks += 1;
                    stats.bytes += len;
                    self.outdated = None;
                    let may_keep = self.memory.room() > 0;
                    self.found(cid, found, may_keep)?;
                }
                Err(refusal) => self.refuse(cid, verified.from, peer, len, refusal, now)?,
            }
        }
        if let Some((cid, ago)) = done.over
            && self.local_problem.is_empty()
        {
            self.local_problem = format!(
                "; the time of {cid} here is over since {}",
                duration::show(ago)
            );
        }
        for (cid, found, len) in done.local {
            self.progress = now;
            self.local += match &found {
                // Only the presence of the leaf was checked; its parent says how long it
                // is.
                Found::Here(Arrived::Leaf(None)) => self.plan.stated_size(&cid).unwrap_or(0),
                _ => len,
            };
            // What was read was bounded when it was requested.
            self.found(cid, found, true)?;
        }
        done.error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Passes what was found to the plan. `may_keep` says whether there is memory for
    /// bytes that are not next.
    fn found(&mut self, cid: Cid, found: Found, may_keep: bool) -> Result<(), FetchError> {
        match found {
            Found::Here(arrived) => Ok(self.plan.arrived(&cid, arrived, may_keep)?),
            Found::Absent => {
                self.plan.absent(&cid);
                Ok(())
            }
            Found::Bad(source) => Err(FetchError::Node {
                root: self.root,
                block: cid,
                source,
            }),
        }
    }

    /// Drops a block that did not pass the checks.
    fn refuse(
        &mut self,
        cid: Cid,
        from: u64,
        peer: PeerId,
        len: u64,
        why: Refusal,
        now: Instant,
    ) -> Result<(), FetchError> {
        self.setting.metrics.refused(&why);
        self.wasted += len;
        if self.plan.is_busy(&cid) {
            self.wanted_again(&cid);
        }
        self.stats(peer).wasted += len;
        if why.is_fault() {
            let reason = Useless::BadBlock {
                cid,
                why: why.clone(),
            };
            self.expel(from, peer, Fault::Block { cid, why }, reason, now);
            return Ok(());
        }
        if matches!(why, Refusal::Future(_)) && !is_clock_set((self.setting.now)()) {
            return Err(FetchError::Clock { cid: self.root });
        }
        log::debug!(peer:% = peer, cid:% = cid, error:% = why; "block refused");
        let fault = Fault::Block {
            cid,
            why: why.clone(),
        };
        self.setting.network.report(peer, fault);
        self.outdated(from, &cid, now);
        self.outdated.get_or_insert((cid, peer, why, now));
        Ok(())
    }

    /// Notes that one copy of the block has been verified.
    fn looked_at(&mut self, cid: &Cid) {
        if let Some(copies) = self.copies.get_mut(cid) {
            copies.count -= 1;
            if copies.count == 0 {
                self.copies.remove(cid);
            }
        }
    }

    /// Notes that a block of the session was verified and was needed.
    fn proved(&mut self, from: u64) {
        if let Some(provider) = self.providers.get_mut(&from) {
            provider.blocks += 1;
        }
    }

    /// Makes the block wanted from another provider, because the one that came was
    /// refused or given up.
    fn wanted_again(&mut self, cid: &Cid) {
        if self.copies.contains_key(cid) {
            // Another copy of it is being verified.
            return;
        }
        match self.asks.get(cid) {
            Some(asked) if !asked.by.is_empty() => self.plan.asked(cid),
            _ => self.plan.absent(cid),
        }
    }

    /// Notes that the provider's copy of the block has expired or is not valid yet. The
    /// provider is not to blame for this.
    fn outdated(&mut self, from: u64, cid: &Cid, now: Instant) {
        if let Some(provider) = self.providers.get_mut(&from) {
            provider.outdated.insert(*cid);
            provider.refusals += 1;
            if provider.refusals >= MAX_REFUSALS {
                self.let_go(from, Outcome::Useless(Useless::Outdated), now);
            }
        }
    }

    /// Cancels the block, which is here, at all others that were asked for it.
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
}
