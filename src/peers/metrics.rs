//! What is counted of offences, budgets and bans.

use prometheus::{Error, IntCounter, IntCounterVec, IntGauge};

use super::Conduct;
use crate::telemetry::{self, Registry, touch};

/// The metrics of this room. Recording never blocks.
#[derive(Debug)]
pub struct Metrics {
    /// Peers and networks put on the blacklist since start.
    pub blacklist: IntCounter,
    /// Bans held now.
    pub bans_active: IntGauge,
    /// Offences of peers, by `conduct` (the names of [`crate::peers::Conduct`]).
    pub misbehaviour: IntCounterVec,
    /// Requests for budget that were refused and what they were for dropped. Bytes
    /// over budget are not: see `peer_bytes_waits`.
    pub over_budget: IntCounter,
}

impl telemetry::Metrics for Metrics {
    fn register(registry: &Registry) -> Result<Self, Error> {
        let metrics = Metrics {
            blacklist: registry.counter(
                "p2p_blacklist_total",
                "Peers and networks put on the blacklist since start.",
            )?,
            bans_active: registry.gauge("p2p_bans_active", "Peers and networks banned now.")?,
            misbehaviour: registry.counters(
                "p2p_misbehaviour_total",
                "Offences of peers since start, by conduct.",
                &["conduct"],
            )?,
            over_budget: registry.counter(
                "p2p_over_budget_total",
                "Messages dropped since start because their sender was over its budget.",
            )?,
        };
        let offences = Conduct::ALL.into_iter().filter(|c| c.is_offence());
        touch(&metrics.misbehaviour, offences.map(Conduct::name));
        Ok(metrics)
    }
}
