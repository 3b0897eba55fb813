//! The end of the event loop: in which order gossip takes what its tasks are still at.
//!
//! A verdict that accepts a message lets it wait for the disk, where only so much may
//! wait. While the disk answers, what is written down is therefore taken before further
//! verdicts when much waits: what no longer fits would be lost for the programs on this
//! host.

use std::time::Duration;

use async_std::channel::RecvError;
use futures::FutureExt;

use super::{Gossip, Results, Turn};

/// How long the event loop waits at its end for the next verdict or write, for the sake of
/// programs on this host. Each takes milliseconds unless something hangs, and on a busy
/// host the next one still comes. The daemon gives the loop three seconds for its end,
/// including goodbyes.
const WRITTEN: Duration = Duration::from_secs(1);

/// See the module's documentation. Each turn that it returns is to be given to
/// [`Gossip::turn`] before it is asked for the next one.
pub(in crate::node) struct Ending {
    results: Results,
    disk_answers: bool,
}

impl Ending {
    pub(in crate::node) fn new(results: Results) -> Self {
        Ending {
            results,
            disk_answers: true,
        }
    }

    /// Returns the next turn as long as messages wait for their verdict.
    pub(in crate::node) async fn next_verdict(&mut self, gossip: &Gossip) -> Option<Turn> {
        while gossip.unjudged() > 0 {
            let only_records = self.disk_answers && gossip.much_is_unrecorded();
            let patience = match only_records {
                true => WRITTEN / 2,
                false => Duration::MAX,
            };
            match self.result(only_records, patience).await {
                Some(turn) => return turn.ok(),
                None => self.disk_answers = false,
            }
        }
        None
    }

    /// Returns the next turn as long as messages wait for their verdict or for the disk,
    /// and something comes within [`WRITTEN`].
    pub(in crate::node) async fn next(&mut self, gossip: &Gossip) -> Option<Turn> {
        if gossip.unsettled() == 0 {
            return None;
        }
        let only_records = gossip.much_is_unrecorded();
        self.result(only_records, WRITTEN).await?.ok()
    }

    /// Returns the next verdict or written message, of both the latter, or `None` when
    /// there is nothing for `patience`. With `only_records`, no verdict is taken.
    async fn result(
        &self,
        only_records: bool,
        patience: Duration,
    ) -> Option<Result<Turn, RecvError>> {
        let results = &self.results;
        let mut patience = FutureExt::fuse(async_io::Timer::after(patience));
        let verdict = async {
            match only_records {
                true => std::future::pending().await,
                false => results.judged.recv().await,
            }
        };
        let mut verdict = std::pin::pin!(verdict.fuse());
        futures::select_biased! {
            accepted = results.recorded.recv().fuse() => Some(accepted.map(Turn::Recorded)),
            done = verdict => Some(done.map(Turn::Judged)),
            _ = patience => None,
        }
    }
}
