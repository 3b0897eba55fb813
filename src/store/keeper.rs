//! Carries what [`Policy`] remembers to the store and back.
//!
//! Bans are written at once: an operator's before the command is answered, the
//! node's own within milliseconds, each with the reputation of its peer. Other
//! reputations are written every [`SAVE_EVERY`] when some have changed by a whole point,
//! at most [`SAVE_AT_ONCE`](crate::peers::state::SAVE_AT_ONCE) in one transaction, and
//! all of them when the daemon ends. So `kill -9` loses at most ten seconds of
//! reputations, or more in a flood of a hundred offenders a second, and no ban
//! that a command has acknowledged.

use std::sync::Arc;
use std::time::Duration;

use async_std::task::spawn_blocking;
use futures::StreamExt;

use super::{Error, Store};
use crate::peers::Policy;
use crate::peers::Unsaved;
use crate::telemetry::throttle;

/// How often changed reputations are saved. One flush of a small transaction.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Saves what a [`Policy`] remembers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keeper {
    policy: Policy,
    store: Store,
    /// One save at a time: an earlier state must not overwrite a later one.
    turn: Arc<async_std::sync::Mutex<()>>,
}

impl Keeper {
    /// Keeps `policy` in `store`.
    pub fn new(policy: Policy, store: Store) -> Self {
        Keeper {
            policy,
            store,
            turn: Arc::default(),
        }
    }

    /// The policy whose memory is saved.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Restores what an earlier run saved. To be called before the node listens.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load(&self) -> Result<(), Error> {
        let store = self.store.clone();
        let (bans, reputations) = spawn_blocking(move || store.load_trust()).await?;
        let (banned, known) = (bans.len(), reputations.len());
        self.policy.restore(bans, reputations, self.store.moment());
        if banned + known > 0 {
            log::info!(bans = banned, reputations = known; "bans and reputations of the last run are in force");
        }
        Ok(())
    }

    /// Saves changed bans, and the reputations of their peers. Durable when it returns.
    ///
    /// # Errors
    /// When the database cannot be written; it is tried again later.
    pub async fn save_bans(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.write(self.policy.take_unsaved_bans(self.store.moment().mono))
            .await
    }

    /// Saves everything that has changed.
    ///
    /// # Errors
    /// As [`Self::save_bans`].
    pub async fn save(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        loop {
            let unsaved = self.policy.take_unsaved(self.store.moment().mono);
            let last = !self.policy.is_dirty();
            self.write(unsaved).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Saves bans when they change and reputations now and then; never returns.
    pub async fn run(self) {
        let mut ticks = async_io::Timer::interval(SAVE_EVERY).fuse();
        loop {
            let saved = {
                let changed = std::pin::pin!(self.policy.bans_changed());
                match futures::future::select(changed, ticks.next()).await {
                    futures::future::Either::Left(_) => self.save_bans().await,
                    futures::future::Either::Right(_) => {
                        let _turn = self.turn.lock().await;
                        self.write(self.policy.take_unsaved(self.store.moment().mono))
                            .await
                    }
                }
            };
            if let Err(e) = saved
                && let Some(suppressed) = throttle::allow("bans not saved")
            {
                log::warn!(error:% = e, suppressed; "cannot save bans and reputations; trying again");
            }
        }
    }

    async fn write(&self, unsaved: Unsaved) -> Result<(), Error> {
        if unsaved.is_empty() {
            return Ok(());
        }
        let (store, policy) = (self.store.clone(), self.policy.clone());
        // Put back within the blocking task: the caller may no longer be waiting.
        spawn_blocking(move || {
            store
                .save_trust(&unsaved, store.moment().wall)
                .inspect_err(|_| policy.put_back(unsaved))
        })
        .await
    }
}
