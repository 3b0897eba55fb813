//! The registry: it creates metrics and keeps them for those who scrape them.
//!
//! Names, types and units follow the Prometheus conventions: counters end in
//! `_total`, times are in seconds, sizes in bytes. No label ever holds a peer
//! id, an address or a topic that a remote chose, since a remote that can create label
//! values can make Prometheus grow without bound.

use std::sync::Arc;

use prometheus::{
    Encoder, Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, TextEncoder,
};

use super::coop;
use super::process::Process;
use super::traffic::Traffic;

/// All metrics of one node. Clones share them.
#[derive(Clone, Debug)]
pub struct Registry {
    all: prometheus::Registry,
    traffic: Traffic,
}

/// A group of metrics that one room counts, and how they get into a [`Registry`].
pub trait Register: Sized {
    /// Makes and registers them.
    ///
    /// # Errors
    /// When a name is taken or breaks the naming rules, which is a mistake in the
    /// program and shows in every test.
    fn register(registry: &Registry) -> Result<Self, Error>;

    /// The metrics of a room that is used without the others, in a registry of their own.
    ///
    /// # Errors
    /// As [`Register::register`].
    fn new() -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self::register(&Registry::new()?)?))
    }
}

impl Registry {
    /// A registry with the standard metrics of the process, the version, and the metrics
    /// that several rooms share.
    ///
    /// # Errors
    /// When a name breaks the naming rules.
    pub fn new() -> Result<Registry, Error> {
        let all = prometheus::Registry::new();
        all.register(Box::new(Process::new()))?;
        if let Some(slow) = coop::slow_polls() {
            all.register(Box::new(slow))?;
        }
        all.register(Box::new(super::logs::limit::counters()?))?;
        let traffic = Traffic::register(&all)?;
        let registry = Registry { all, traffic };
        registry
            .gauges(
                "p2p_build_info",
                "1, with the version of the program as its label.",
                &["version"],
            )?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(registry)
    }

    /// The metrics that several rooms share.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// All in the Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric cannot be encoded; the text so far is dropped.
    pub fn render(&self) -> Result<String, Error> {
        let mut out = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.all.gather(), &mut out)?;
        String::from_utf8(out).map_err(|e| Error::Msg(e.to_string()))
    }

    /// The names of all labels that were given so far.
    #[cfg(test)]
    pub(crate) fn label_names(&self) -> std::collections::BTreeSet<String> {
        let families = self.all.gather();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let labels = metrics.flat_map(|metric| metric.get_label());
        labels.map(|label| label.name().to_owned()).collect()
    }

    fn keep<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> Result<C, Error> {
        self.all.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A counter of its own.
    ///
    /// # Errors
    /// When the name is taken or breaks the naming rules, which is a mistake in the
    /// program and shows in every test.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.keep(IntCounter::new(name, help)?)
    }

    /// Counters by `labels`.
    ///
    /// # Errors
    /// When the name is taken or breaks the naming rules, which is a mistake in the
    /// program and shows in every test.
    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, Error> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge of its own.
    ///
    /// # Errors
    /// When the name is taken or breaks the naming rules, which is a mistake in the
    /// program and shows in every test.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.keep(IntGauge::new(name, help)?)
    }

    /// Gauges by `labels`.
    ///
    /// # Errors
    /// When the name is taken or breaks the naming rules, which is a mistake in the
    /// program and shows in every test.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A histogram of its own.
    ///
    /// # Errors
    /// When the name is taken or breaks the naming rules, which is a mistake in the
    /// program and shows in every test.
    pub fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, Error> {
        self.keep(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(buckets),
        )?)
    }

    /// Histograms by `labels`.
    ///
    /// # Errors
    /// When the name is taken or breaks the naming rules, which is a mistake in the
    /// program and shows in every test.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, Error> {
        self.keep(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets),
            labels,
        )?)
    }
}

/// Shows each of `values` of a counter with one label from the start, at zero: a counter
/// that appears with its first event hides that event from `rate()`.
pub fn touch<'a>(counters: &IntCounterVec, values: impl IntoIterator<Item = &'a str>) {
    for value in values {
        let _ = counters.with_label_values(&[value]);
    }
}
