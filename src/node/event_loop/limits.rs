//! Every limit of the node, with what is used of it, for status and for metrics.

use std::time::Instant;

use libp2p::relay;

use super::EventLoop;
use crate::api::{LimitStatus, Unit};
use crate::node::bandwidth::Bandwidth;
use crate::node::metrics::as_gauge;
use crate::telemetry::Direction;

/// The number of bytes a second that streams have moved lately, by direction (in, out).
#[derive(Debug, Default)]
pub(in crate::node) struct Speed {
    last: Option<(Instant, [u64; 2])>,
    pub(super) now: [u64; 2],
}

impl Speed {
    /// Measures the speed; to be called once a second.
    pub(super) fn look(&mut self, bandwidth: &Bandwidth, now: Instant) {
        let moved = [Direction::In, Direction::Out].map(|d| bandwidth.moved(d));
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            if seconds > 0.0 {
                self.now = std::array::from_fn(|i| {
                    (moved[i].saturating_sub(before[i]) as f64 / seconds) as u64
                });
            }
        }
        self.last = Some((now, moved));
    }
}

impl EventLoop {
    pub(super) fn limits(&mut self) -> Vec<LimitStatus> {
        let plain = |name: &str, variable: &str, used: u64, allowed: u64| LimitStatus {
            name: name.to_owned(),
            variable: variable.to_owned(),
            unit: Unit::Count,
            used,
            allowed,
        };
        let (inbound, outbound) = (self.peers.inbound(), self.peers.outbound());
        let options = &self.options;
        let caps = &options.limits;
        let mut list = vec![
            plain(
                "connections",
                "P2P_MAX_CONNECTIONS",
                u64::from(inbound + outbound),
                caps.total.into(),
            ),
            plain(
                "inbound connections",
                "P2P_MAX_INBOUND_CONNECTIONS",
                inbound.into(),
                caps.inbound.into(),
            ),
            plain(
                "outbound connections",
                "P2P_MAX_OUTBOUND_CONNECTIONS",
                outbound.into(),
                caps.outbound.into(),
            ),
        ];
        if let Some(sample) = self.swarm.behaviour().gate.resources() {
            if let Some(allowed) = caps.memory {
                list.push(LimitStatus {
                    unit: Unit::Bytes,
                    ..plain("memory", "P2P_MAX_MEMORY", sample.resident, allowed)
                });
            }
            list.push(plain(
                "file descriptors",
                "LimitNOFILE",
                sample.open,
                sample.descriptors,
            ));
        }
        let most = options.dht_max_records as u64;
        let records = self.swarm.behaviour_mut().kad.store_mut();
        list.push(plain(
            "dht values",
            "P2P_DHT_MAX_RECORDS",
            records.values_len() as u64,
            most,
        ));
        list.push(plain(
            "dht provider keys",
            "P2P_DHT_MAX_RECORDS",
            records.provider_keys_len() as u64,
            most,
        ));
        if self.options.relay_server {
            let relay = relay::Config::default();
            list.push(plain(
                "relay reservations",
                "",
                self.reach.reservations() as u64,
                relay.max_reservations as u64,
            ));
            list.push(plain(
                "relayed circuits",
                "",
                self.reach.circuits() as u64,
                relay.max_circuits as u64,
            ));
        }
        for (name, variable, index, ceiling) in [
            (
                "upload",
                "P2P_MAX_UPLOAD_RATE",
                1,
                self.options.max_upload_rate,
            ),
            (
                "download",
                "P2P_MAX_DOWNLOAD_RATE",
                0,
                self.options.max_download_rate,
            ),
        ] {
            if let Some(allowed) = ceiling {
                list.push(LimitStatus {
                    unit: Unit::BytesPerSecond,
                    ..plain(name, variable, self.speed.now[index], allowed)
                });
            }
        }
        list
    }

    /// Sets the metrics that show which limits are in force.
    pub(super) fn record_limits(&self) {
        let (metrics, options) = (&self.metrics, &self.options);
        let big = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.connections_limit.set(options.limits.total.into());
        metrics
            .connections_inbound_limit
            .set(options.limits.inbound.into());
        metrics
            .connections_outbound_limit
            .set(options.limits.outbound.into());
        metrics
            .memory_limit
            .set(big(options.limits.memory.unwrap_or(0)));
        metrics
            .dht_records_limit
            .set(as_gauge(options.dht_max_records));
        let relay = match options.relay_server {
            true => {
                let config = relay::Config::default();
                (config.max_circuits, config.max_reservations)
            }
            false => (0, 0),
        };
        metrics.relay_connections_limit.set(as_gauge(relay.0));
        metrics.relay_reservations_limit.set(as_gauge(relay.1));
        for (direction, ceiling) in [
            (Direction::In, options.max_download_rate),
            (Direction::Out, options.max_upload_rate),
        ] {
            metrics
                .bandwidth_limit
                .with_label_values(&[direction.as_str()])
                .set(big(ceiling.unwrap_or(0)));
        }
    }
}
