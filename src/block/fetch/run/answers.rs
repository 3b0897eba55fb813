//! Handles the events of the sessions.

use std::time::Instant;

use cid::Cid;

use super::super::disk::Delivery;
use super::Run;
use super::session::SessionEvent;
use super::verified::MAX_REFUSALS;
use crate::block::exchange::pb::message::Block;
use crate::block::exchange::session::{Answer, Reply};
use crate::block::network::{Fault, Network, OpenError};
use crate::content::fetch::charged_bytes::ChargedBytes;
use crate::content::fetch::outcome::Outcome;
use crate::content::refusal::Refusal;
use crate::telemetry::Direction;

/// The number of missing blocks that are examined to find one for a provider that lacks
/// the first.
pub(super) const SCAN: usize = 1024;

impl<N: Network> Run<N> {
    pub(super) fn session_event(&mut self, from: u64, told: SessionEvent, now: Instant) {
        // The session was ended in the meantime.
        let Some(provider) = self.providers.get_mut(&from) else {
            return;
        };
        match told {
            SessionEvent::Answer(Answer::Open(received)) => {
                provider.connected = true;
                provider.received = Some(received);
                provider.alive = now;
                self.ever_connected = true;
            }
            SessionEvent::Closed(reason, Some(fault)) => {
                let peer = provider.peer;
                if let Fault::Oversized { len, max } = fault {
                    // No other message of a provider is this long.
                    let refusal = Refusal::Oversized { len, max };
                    self.setting.metrics.refused(&refusal);
                }
                self.expel(from, peer, fault, reason, now);
            }
            SessionEvent::Failed(OpenError::Busy(why)) => {
                // The DHT was not asked for the peer's addresses, so the retry may ask
                // it.
                let peer = provider.peer;
                self.candidates.look_up_again(&peer);
                self.let_go(from, Outcome::Unreachable(why), now);
            }
            SessionEvent::Failed(OpenError::Unreachable(why)) => {
                self.let_go(from, Outcome::Unreachable(why), now);
            }
            SessionEvent::Failed(OpenError::Unsupported { speaks }) => {
                self.let_go(from, Outcome::Unsupported(speaks), now);
            }
            SessionEvent::Closed(reason, None) => self.let_go(from, Outcome::Useless(reason), now),
            SessionEvent::Answer(Answer::Reply(id, cid, reply)) => {
                self.setting.metrics.message(Direction::In);
                let question = provider.question.take_if(|(asked, _)| *asked == id);
                let asked = provider.open.remove(&id).map(|(_, asked)| asked);
                let asked = asked.or(question.map(|(_, asked)| asked)).unwrap_or(now);
                let cancelled = provider.cancelled.remove(&id);
                match reply {
                    Reply::Block(block) => self.delivered(from, cid, block, asked, now),
                    Reply::Have => provider.holds = true,
                    // The provider answers, so its losses are no sign of trouble. The
                    // block was taken back from it when this want was cancelled, and it
                    // may have been asked for the block again since.
                    Reply::Cancelled if cancelled => provider.speed.forgive(),
                    // Nobody cancelled it. If that were taken for a cancellation, the
                    // same provider would be asked for the block again and again.
                    Reply::Cancelled | Reply::DontHave | Reply::Unavailable => {
                        self.refused(from, cid, now);
                    }
                }
            }
        }
    }

    /// Handles the reply that the provider does not have the block, or cannot send it.
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
            // A holder that can bring nothing now makes room if another one is waiting.
            let others = self.providers.values().any(|p| p.holds && !p.active);
            idle && others && !self.can_bring(from)
        };
        if useless {
            self.let_go(from, Outcome::Lacks, now);
        }
    }

    /// Returns whether the provider may have any of the missing blocks.
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
        self.setting.metrics.moved(Direction::In, len);
        provider.speed.delivered(len, asked, now);
        provider.refusals = 0;
        provider.holds = true;
        let (peer, proven) = (provider.peer, provider.blocks > 0);
        if let Some(asked) = self.asks.get_mut(&cid) {
            asked.by.retain(|other| *other != from);
        }
        // While a block from a stranger is being verified, a second copy is taken too,
        // because the first one may turn out to be wrong.
        let copies = self.copies.get(&cid);
        let unsure = copies.is_some_and(|copies| copies.is_unsure());
        if !self.plan.wants(&cid) && !unsure {
            // Another provider was first, and the cancel came too late.
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

    /// Notes that the provider will not bring the block.
    pub(super) fn unasked(&mut self, from: u64, cid: &Cid) {
        if let Some(asked) = self.asks.get_mut(cid) {
            asked.by.retain(|other| *other != from);
            if asked.by.is_empty() && self.plan.wants(cid) {
                self.asks.remove(cid);
                self.plan.absent(cid);
            }
        }
    }
}
