//! The metrics and log lines about offences, budgets and bans.

use prometheus::{Error, IntCounter, IntCounterVec, IntGauge};

use crate::peers::{Conduct, Note, Observer};
use crate::telemetry::{self, Registry, throttle, touch};

/// The metrics of the decisions about peers. To record one never blocks.
#[derive(Debug)]
pub struct PeerMetrics {
    /// The number of peers and networks put on the blacklist since the start.
    pub blacklist: IntCounter,
    /// The number of bans that are in force now.
    pub bans_active: IntGauge,
    /// The number of offences of peers, by `conduct` (the names of [`Conduct`]).
    pub misbehaviour: IntCounterVec,
    /// The number of times that a peer exceeded its budget and what it sent was dropped.
    /// Bytes over the budget are not dropped: see `peer_bytes_waits`.
    pub over_budget: IntCounter,
}

impl telemetry::Register for PeerMetrics {
    fn register(registry: &Registry) -> Result<Self, Error> {
        let metrics = PeerMetrics {
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

impl Observer for PeerMetrics {
    fn note(&self, note: &Note) {
        match note {
            Note::Offence(conduct) => {
                let offences = &self.misbehaviour;
                offences.with_label_values(&[conduct.name()]).inc();
            }
            Note::OverBudget(peer, refusal) => {
                self.over_budget.inc();
                if let Some(suppressed) = throttle::allow("over budget") {
                    log::warn!(peer:% = peer, suppressed; "dropped what a peer sent: {refusal}");
                }
            }
            Note::Banned => self.blacklist.inc(),
            Note::SubnetBanned(subnet, reason) => {
                // The owner of an IPv6 /48 has 256 subnets that can be banned.
                if let Some(suppressed) = throttle::allow("subnet banned") {
                    log::warn!(
                        subnet:% = subnet, reason:% = reason, suppressed;
                        "subnet banned: peer ids are free, and too many of this address misbehaved"
                    );
                }
            }
            Note::InForce(bans) => {
                self.bans_active
                    .set(i64::try_from(*bans).unwrap_or(i64::MAX));
            }
        }
    }
}
