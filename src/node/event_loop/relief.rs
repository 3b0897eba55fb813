//! What the loop does above the memory limit: it asks who holds how much, and disconnects
//! whom [`crate::peers::relief`] chooses.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::EventLoop;
use crate::peers::relief::{Expense, Worth};
use crate::peers::standing::Standing;
use crate::system::allocator;

/// The bytes of an established connection that nothing uses: see benches/README.md.
const CONNECTION: u64 = 56 << 10;

/// The bytes of an open stream beside what its multiplexer holds of it: the state of the
/// protocol on it, and a message in the making.
const STREAM: u64 = 8 << 10;

/// When the heap is trimmed after connections were closed. Their tasks have ended by then.
const TRIM_AFTER: Duration = Duration::from_millis(500);

impl EventLoop {
    /// Closes connections when the process has more memory than `P2P_MAX_MEMORY` allows.
    pub(super) fn relieve_memory(&mut self, now: Instant) {
        let Some(limit) = self.options.limits.memory else {
            return;
        };
        let Some(sample) = self.swarm.behaviour().gate.resources() else {
            return;
        };
        let Some(excess) = self.relief.due(sample.resident, limit, now) else {
            return;
        };
        let expenses = self.expenses(now);
        let chosen = self.relief.choose(excess, expenses, now);
        let held: u64 = chosen.iter().map(|expense| expense.bytes).sum();
        for expense in &chosen {
            let _ = self.swarm.disconnect_peer_id(expense.peer);
            self.metrics
                .closed_for_memory
                .with_label_values(&[expense.worth.name()])
                .inc();
        }
        if let Some(suppressed) = self.refusals.allow("above the memory limit", now) {
            log::warn!(
                limit = "P2P_MAX_MEMORY", suppressed;
                "{} MiB of memory are in use, and {} are allowed: disconnected {} peers that held {} MiB",
                sample.resident >> 20, limit >> 20, chosen.len(), held >> 20,
            );
        }
        if !chosen.is_empty() {
            async_std::task::spawn(async {
                async_io::Timer::after(TRIM_AFTER).await;
                async_std::task::spawn_blocking(allocator::give_back).await;
            });
        }
    }

    /// Returns what the connections with each peer cost, but for those that are exempt
    /// from the limits.
    fn expenses(&self, now: Instant) -> Vec<Expense> {
        let held: HashMap<PeerId, u64> = self.options.memory.held();
        let behaviour = self.swarm.behaviour();
        self.options.policy.read(|peers| {
            let all = peers.table().iter();
            let closable = all.filter(|(peer, _)| !peers.trust().is_exempt(peer));
            closable
                .map(|(peer, record)| {
                    let mut used = record
                        .connections()
                        .map(|(id, _)| behaviour.streams.is_asked(peer, id));
                    let worth = match peers.standing(peer, now) {
                        _ if behaviour.keep.is_wanted(peer) || used.any(|used| used) => Worth::Used,
                        Standing::Stranger => Worth::Stranger,
                        Standing::Good | Standing::Trusted => Worth::Known,
                    };
                    let connections = record.connections().count() as u64;
                    let streams = self.accounting.streams(peer) as u64;
                    Expense {
                        peer: *peer,
                        bytes: connections * CONNECTION
                            + streams * STREAM
                            + held.get(peer).copied().unwrap_or(0),
                        worth,
                    }
                })
                .collect()
        })
    }
}
