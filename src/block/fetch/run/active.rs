//! Decides which holders are given work.

use std::cmp::Reverse;
use std::time::Instant;

use super::Run;
use crate::block::network::Network;

/// The maximum number of holders that are given work. More than a few add duplicate work
/// but no speed; with fewer it would be a matter of luck whether a fast one is among
/// them.
pub(super) const MAX_ACTIVE: usize = 8;

/// The number of further holders that are kept in reserve once the content arrives. Each
/// of them occupies a stream at its server, which ends the stream in favour of others
/// after 15 s.
const MAX_IDLE: usize = 8;

/// When one provider has delivered this number of blocks, idle holders beyond
/// [`MAX_IDLE`] are let go.
const ENOUGH_BLOCKS: u64 = 4;

impl<N: Network> Run<N> {
    /// Chooses the holders that are given work, beginning with those that deliver, and
    /// ends sessions that are no longer needed.
    pub(super) fn choose_active(&mut self, now: Instant) {
        let mut active = self.providers.values().filter(|p| p.active).count();
        loop {
            let waiting = self.providers.iter().filter(|(_, p)| p.holds && !p.active);
            let best = waiting.min_by_key(|(_, p)| p.rank(now));
            let Some((best, order)) = best.map(|(id, p)| (*id, p.rank(now))) else {
                break;
            };
            if active >= MAX_ACTIVE {
                // A holder that brings nothing makes room for one that may bring
                // something, and a slow one makes room for one that is much faster.
                let all = self.providers.iter_mut().filter(|(_, p)| p.active);
                let worst = all.max_by_key(|(_, p)| p.rank(now));
                let Some((_, worst)) = worst.filter(|(_, p)| {
                    let (class, Reverse(rate), _) = p.rank(now);
                    let faster = order.0 == 0 && class == 0 && order.1.0 / 2 > rate;
                    class > order.0 || faster
                }) else {
                    break;
                };
                worst.active = false;
                active -= 1;
            }
            if let Some(provider) = self.providers.get_mut(&best) {
                provider.active = true;
                active += 1;
            }
        }
        let has_enough = self.providers.values().any(|p| p.blocks >= ENOUGH_BLOCKS)
            && (self.hedge.as_ref()).is_none_or(|hedge| hedge.width(now) == 1);
        if !has_enough {
            return;
        }
        let idle = self.providers.iter();
        let idle = idle.filter(|(_, p)| p.holds && !p.active && !p.owes());
        let mut idle: Vec<_> = idle.map(|(id, p)| (p.rank(now), *id)).collect();
        idle.sort();
        for (_, id) in idle.into_iter().skip(MAX_IDLE) {
            self.set_aside(id, now);
        }
    }

    /// Returns the sessions with active holders, the fastest first.
    pub(super) fn fastest(&self) -> Vec<u64> {
        let active = self.providers.iter().filter(|(_, p)| p.active);
        let mut fastest: Vec<(f64, u64)> = active.map(|(id, p)| (p.speed.rate(), *id)).collect();
        fastest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        fastest.into_iter().map(|(_, id)| id).collect()
    }
}
