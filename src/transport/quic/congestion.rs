//! CUBIC, which lets the last packet of a connection pass.
//!
//! quinn holds a CONNECTION_CLOSE back while the congestion window is full and
//! stream data waits, and a closed connection processes no more acknowledgements. So
//! the remote of a busy connection would never be told that it was closed. RFC 9002,
//! section 7, makes no exception, but it is about sustained load, and one packet is
//! not that.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Lets the last packet of one connection pass, whatever the congestion window allows.
#[derive(Clone, Debug, Default)]
pub(super) struct LastPacket(Arc<AtomicBool>);

impl LastPacket {
    /// Holds nothing back from now on. To be called right before closing.
    pub(super) fn allow(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Makes the controller of one connection.
pub(super) struct Factory {
    cubic: Arc<CubicConfig>,
    last: LastPacket,
}

impl Factory {
    /// For a path on which datagrams may grow to `largest` bytes.
    pub(super) fn new(largest: u16, last: LastPacket) -> Self {
        let mut cubic = CubicConfig::default();
        // RFC 9002, section 7.2. quinn assumes small datagrams; on loopback the
        // first probe for a larger one would fill its window.
        cubic.initial_window(14_720.max(2 * u64::from(largest)));
        Self {
            cubic: Arc::new(cubic),
            last,
        }
    }
}

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Cubic {
            inner: self.cubic.clone().build(now, current_mtu),
            last: self.last.clone(),
        })
    }
}

struct Cubic {
    inner: Box<dyn Controller>,
    last: LastPacket,
}

impl Controller for Cubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.last.0.load(Ordering::Acquire) {
            // Above what fits in 32 bits quinn does not pace either.
            u64::MAX
        } else {
            self.inner.window()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            last: self.last.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
