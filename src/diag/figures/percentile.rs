//! A quantile, and the 99th percentile of a histogram.

use super::count;
use crate::diag::samples::Samples;

/// A quantile, and the number of observations that it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// In seconds.
    pub seconds: f64,
    /// The number of observations.
    pub count: u64,
}

/// A histogram's 99th percentile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct P99 {
    /// The percentile of the last minutes; `None` when nothing was observed in them.
    pub lately: Option<Quantile>,
    /// The percentile since the daemon's start.
    pub since_start: Option<Quantile>,
}

pub(super) fn p99(name: &str, now: &Samples, lately: &Samples) -> P99 {
    let of = |samples: &Samples| {
        let (seconds, observed) = samples.quantile(0.99, name)?;
        Some(Quantile {
            seconds,
            count: count(Some(observed)),
        })
    };
    P99 {
        lately: of(lately),
        since_start: of(now),
    }
}
