//! The standard `process_*` metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Gauge, MetricFamily};

/// The collector of the prometheus crate, with a start time of its own. That one
/// adds up the boot time from `/proc/stat`, which a service that sees only
/// processes in `/proc` (`ProcSubset=pid`) has not, and says 0 for ever: nobody
/// could tell from it that the service was restarted.
pub(super) struct Process {
    inner: ProcessCollector,
    started: f64,
}

impl Process {
    /// For this process, which has just started.
    pub(super) fn new() -> Process {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Process {
            inner: ProcessCollector::for_self(),
            // Whole seconds, as the collector has them.
            started: now.unwrap_or_default().as_secs() as f64,
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.inner.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.inner.collect();
        for family in &mut families {
            if family.name() == "process_start_time_seconds" {
                for metric in family.mut_metric() {
                    let mut gauge = Gauge::default();
                    gauge.set_value(self.started);
                    metric.set_gauge(gauge);
                }
            }
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_told_without_proc_stat() {
        let before = Process::new();
        let families = before.collect();
        let started = families
            .iter()
            .find(|f| f.name() == "process_start_time_seconds")
            .unwrap();
        let value = started.get_metric()[0].get_gauge().get_value();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(
            (0.0..600.0).contains(&(now.as_secs_f64() - value)),
            "{value}"
        );
    }
}
