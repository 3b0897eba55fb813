//! What a fetch needs from its surroundings.

use std::sync::Arc;
use std::time::SystemTime;

use super::Sharing;
use crate::block::Metrics;
use crate::content::fetch::budget::Budget;
use crate::store::Store;

/// What a fetch needs from its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Setting<N> {
    pub(crate) network: N,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// The budget of all fetches.
    pub(crate) budget: Budget,
    /// The table of all fetches.
    pub(crate) sharing: Sharing,
    /// The wall clock, for the times in the store's entry.
    pub(crate) now: fn() -> SystemTime,
}
