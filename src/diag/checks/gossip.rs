//! Checks of gossip: the meshes, and how long messages take.

use super::{judged, told};
use crate::diag::figures::Figures;
use crate::diag::finding::{Finding, Severity};
use crate::diag::thresholds as at;
use crate::text::duration;

/// Checks for messages that get lost: "Message loss" in the table of alerts.
pub(super) fn gossip(f: &Figures) -> Finding {
    const CHECK: &str = "gossip";
    if f.topics.is_empty() {
        return Finding::ok(CHECK, "no topic joined");
    }
    let topics = f.topics.len();
    if f.gossip_dropped > 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{} messages were lost in the last {} because they came faster than they are checked",
                f.gossip_dropped,
                duration::show(f.span)
            ),
            "lower P2P_RATE_FILL and P2P_RATE_BURST, so that no one peer sends so much, or give the \
             node more processor time",
        );
    }
    // When every peer that subscribes is in the mesh already, no setting makes the mesh
    // larger.
    let all_in = f.topics.iter().all(|t| t.mesh_peers >= t.peers);
    if f.topics.iter().all(|t| t.peers == 0) {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("no connected peer subscribes to any of the topics joined ({topics})"),
            "connect to peers of the topics: p2p-node connect MULTIADDR, or P2P_BOOTSTRAP_PEERS",
        );
    }
    let said = format!("{} peers in the meshes (topics: {topics})", f.mesh);
    let degree = "set P2P_GOSSIP_D to 6 to 8";
    if f.mesh < at::MESH_THIN && all_in {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{said}, which is every connected peer that subscribes"),
            "connect to more peers of the topics if there are any; one peer that leaves is felt",
        );
    }
    if f.mesh < at::MESH_LEAST {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: too few, messages get lost when one of them leaves"),
            format!("{degree}; when peers come and go all the time, raise P2P_GOSSIP_HEARTBEAT"),
        );
    }
    if f.mesh < at::MESH_THIN {
        return Finding::new(CHECK, Severity::Note, format!("{said}: thin"), degree);
    }
    // Each topic has a mesh of its own, so that a node with many topics may have many
    // mesh peers.
    let widest = f.topics.iter().map(|t| t.mesh_peers).max().unwrap_or(0);
    if f.mesh > at::MESH_MOST && widest > at::MESH_MOST {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: every message is sent more often than needed"),
            degree,
        );
    }
    Finding::ok(CHECK, said)
}

/// Checks how long messages take: "Latency spikes" in the table of alerts.
pub(super) fn latency(f: &Figures) -> Finding {
    const CHECK: &str = "latency";
    if let Some((q, said)) = judged(&f.processing, f.span)
        && q.seconds > at::PROCESSING_P99_SECONDS
    {
        return Finding::new(
            CHECK,
            if q.seconds >= at::PROCESSING_P99_STUCK {
                Severity::Problem
            } else {
                Severity::Warning
            },
            format!("messages are processed slowly: {said}"),
            "lower P2P_RATE_FILL and P2P_RATE_BURST so that peers send less, or \
             P2P_MAX_CONNECTIONS; see the findings on cpu and disk",
        );
    }
    Finding::ok(
        CHECK,
        match told(&f.processing, f.span) {
            Some(said) => format!("message processing: {said}"),
            None => "no message processed yet".into(),
        },
    )
}
