//! The whole of the shutdown: readiness turns, the node drains, transfers of
//! clients finish, peers are saved, connections close.
//!
//! Each step is bounded by `P2P_DRAIN_TIMEOUT`; a second signal cuts the waiting
//! short, and what has to be saved is saved all the same.

use std::time::Duration;

use async_std::future::timeout;
use futures::future::{Either, select};

use super::{Daemon, next_stop, upkeep};
use crate::system::signals::Signals;

/// Time to save the routing table and to say goodbye, also when
/// `P2P_DRAIN_TIMEOUT` is shorter: both take milliseconds unless something hangs.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

impl Daemon {
    /// The whole of the shutdown.
    pub(super) async fn close(self, signals: &mut Signals) {
        self.readiness.set_not_ready("draining");
        self.notifier
            .stopping(self.drain_timeout.saturating_mul(2) + 4 * LEAST_PATIENCE);
        let handle = self.node.handle();
        let begin = std::time::Instant::now();
        let left = || self.drain_timeout.saturating_sub(begin.elapsed());
        let drained = async {
            // What is saved is what was known before the peers go. A disk that
            // hangs must not keep the daemon from stopping.
            let saved = async {
                upkeep::save_peers(&handle, &self.store).await;
                if let Err(e) = self.keeper.save().await {
                    log::warn!(error:% = e; "cannot save bans and reputations");
                }
            };
            if timeout(self.drain_timeout.max(LEAST_PATIENCE), saved)
                .await
                .is_err()
            {
                log::warn!(
                    "the routing table and reputations were not saved within P2P_DRAIN_TIMEOUT; the disk does not answer"
                );
            }
            if timeout(left(), handle.drain()).await.is_err() {
                log::warn!("DHT operations did not end within P2P_DRAIN_TIMEOUT; ending them");
            }
            self.control.close(left()).await;
        };
        let second = next_stop(signals);
        if let Either::Right((signal, _)) =
            select(std::pin::pin!(drained), std::pin::pin!(second)).await
        {
            log::warn!(signal = signal.name(); "second signal: not waiting for the drain");
        }
        if timeout(LEAST_PATIENCE, self.node.stop()).await.is_err() {
            log::warn!("the event loop does not turn; leaving without its goodbyes");
        }
        log::info!("stopped");
    }
}
