//! What several rooms count on: messages of every protocol, how long they took, and
//! streams for which there was no place.

use prometheus::{Error, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::direction::Direction;
use super::registry::touch;

/// See the module's documentation. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Inbound streams reset because there was no place for them, by `reason` (`STREAM_REFUSALS`).
    pub streams_refused: IntCounterVec,
    /// Messages by `direction` (`in`, `out`) and `protocol` (`gossip`, `dht`, `block`, `identify`, `ping`, `control`).
    pub messages: IntCounterVec,
    /// Seconds from a message's arrival to the end of its handling, by `protocol`:
    /// `gossip` to its verdict, queue and worker with it; `dht` in the event loop;
    /// `block` from a want's arrival to the last byte of its answer; `control`
    /// the whole of a request of a program, which may be a walk through the DHT or
    /// the import of a file, and says nothing of the node's own speed.
    pub message_processing: HistogramVec,
}

impl Traffic {
    pub(super) fn register(registry: &Registry) -> Result<Traffic, Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, Error>(counters)
        };
        let processing = HistogramOpts::new(
            "p2p_message_processing_seconds",
            "Seconds from the arrival of a message until it has been processed, by protocol.",
        )
        // Most messages take microseconds; the alert threshold (1 s) is an edge.
        .buckets(vec![
            0.00005, 0.0002, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0,
        ]);
        let message_processing = HistogramVec::new(processing, &["protocol"])?;
        registry.register(Box::new(message_processing.clone()))?;
        let traffic = Traffic {
            streams_refused: counters(
                "p2p_streams_refused_total",
                "Inbound streams reset since start because of a limit, by reason.",
                &["reason"],
            )?,
            messages: counters(
                "p2p_messages_total",
                "Messages handled since start, by direction and protocol.",
                &["direction", "protocol"],
            )?,
            message_processing,
        };
        touch(&traffic.streams_refused, STREAM_REFUSALS);
        Ok(traffic)
    }

    /// Counts one message of `protocol` that went `direction`.
    pub fn message(&self, direction: Direction, protocol: &'static str) {
        self.messages
            .with_label_values(&[direction.as_str(), protocol])
            .inc();
    }

    /// Shows the messages of `protocol` from the start, at zero.
    pub fn touch(&self, direction: &str, protocol: &str) {
        let _ = self.messages.with_label_values(&[direction, protocol]);
    }

    /// Shows the times of `protocols` from the start, with no observation.
    pub fn touch_processing(&self, protocols: &[&str]) {
        for protocol in protocols {
            let _ = self.message_processing.with_label_values(&[protocol]);
        }
    }
}

/// Label values of `reason` on refused streams, beside those that the block exchange
/// adds. `queue_full`: who handles the protocol here takes them too slowly. `surplus`: over
/// P2P_MAX_INBOUND_STREAMS of a connection (QUIC refuses those below and does not tell).
/// `handlers_full`: too many are being carried to programs on this host.
const STREAM_REFUSALS: [&str; 3] = ["queue_full", "surplus", "handlers_full"];
