//! Counts what the programs on this host do.

use prometheus::{Error, IntCounterVec, IntGauge};

use super::session;
use crate::telemetry::Direction;
use crate::telemetry::{self, Registry, Traffic, touch};

/// The metrics of the control socket. Recording never blocks.
#[derive(Debug)]
pub struct Metrics {
    /// Requests on the control socket, by `kind`.
    pub control_requests: IntCounterVec,
    /// The number of clients that are connected to the control socket.
    pub control_clients: IntGauge,
    /// Clients of the control socket that were refused or cut off, by `cause`
    /// (`too_many`, `stalled`, `malformed`).
    pub control_clients_dropped: IntCounterVec,
    /// Counters that are shared with other modules.
    pub traffic: Traffic,
}

impl telemetry::Register for Metrics {
    fn register(registry: &Registry) -> Result<Self, Error> {
        let metrics = Metrics {
            control_requests: registry.counters(
                "p2p_control_requests_total",
                "Requests on the control socket since start, by kind.",
                &["kind"],
            )?,
            control_clients: registry.gauge(
                "p2p_control_clients",
                "Clients connected to the control socket now.",
            )?,
            control_clients_dropped: registry.counters(
                "p2p_control_clients_dropped_total",
                "Clients of the control socket refused or disconnected since start, by cause.",
                &["cause"],
            )?,
            traffic: registry.traffic(),
        };
        touch(
            &metrics.control_clients_dropped,
            ["too_many", "stalled", "malformed"],
        );
        touch(&metrics.control_requests, session::labels());
        for direction in Direction::ALL.map(Direction::as_str) {
            metrics.traffic.touch(direction, "control");
        }
        metrics.traffic.touch_processing(&["control"]);
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_of_the_protocol_is_shown_from_the_start() {
        let registry = Registry::new().unwrap();
        <Metrics as telemetry::Register>::register(&registry).unwrap();
        let text = registry.render().unwrap();
        for kind in ["identify", "bans", "diag", "reload", "unknown"] {
            let series = format!("p2p_control_requests_total{{kind=\"{kind}\"}} 0");
            assert!(text.contains(&series), "{series} is missing from:\n{text}");
        }
    }
}
