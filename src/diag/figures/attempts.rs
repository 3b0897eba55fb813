//! Attempts at NAT traversal.

use std::collections::BTreeMap;

use super::count;
use crate::diag::samples::Samples;

/// Attempts at NAT traversal by one method, since the daemon's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts that succeeded.
    pub ok: u64,
    /// Attempts that failed.
    pub failed: u64,
}

pub(super) fn traversal(now: &Samples) -> BTreeMap<String, Attempts> {
    let name = "libp2p_nat_traversal_attempts_total";
    let of = |method: &str, result: &str| {
        count(now.sum_where(name, &[("method", method), ("result", result)]))
    };
    now.by(name, "method")
        .into_keys()
        .map(|method| {
            let attempts = Attempts {
                ok: of(&method, "ok"),
                failed: of(&method, "failed"),
            };
            (method, attempts)
        })
        .collect()
}
