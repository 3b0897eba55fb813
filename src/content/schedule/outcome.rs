//! How an announcement ended.

/// How an announcement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Enough peers hold the record.
    Ok,
    /// Peers were told, but they cannot say whether they hold the record.
    Unverified,
    /// Peers were told, but only this many of them, which is too few, were seen to hold
    /// it.
    Few(usize),
    /// No peer could be told.
    Failed,
    /// No DHT peer is known.
    Alone,
}

const OK: &str = "ok";

const UNVERIFIED: &str = "unverified";

const FAILED: &str = "failed";

impl Outcome {
    /// All values of [`Outcome::result`].
    pub(crate) const RESULTS: [&str; 3] = [OK, UNVERIFIED, FAILED];

    /// Returns the value of the label `result` of `p2p_announcements_total`.
    pub(crate) fn result(self) -> &'static str {
        match self {
            Outcome::Ok => OK,
            Outcome::Unverified => UNVERIFIED,
            Outcome::Few(_) | Outcome::Failed | Outcome::Alone => FAILED,
        }
    }
}
