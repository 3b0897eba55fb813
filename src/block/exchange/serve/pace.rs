//! How fast the requests of a peer are read.

use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;

/// Returns how long to wait before reading more requests of a peer that has made this
/// number of requests in vain.
type Pacing = dyn Fn(&PeerId, u32) -> Option<Duration> + Send + Sync;

#[derive(Clone)]
pub(super) struct Pace(Arc<Pacing>);

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pace")
    }
}

impl Pace {
    /// Creates the pacing of peers from the function `pace`.
    pub(super) fn new(
        pace: impl Fn(&PeerId, u32) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Pace(Arc::new(pace))
    }

    /// Returns how long to wait before reading more requests of the peer, if at all.
    pub(super) fn wait(&self, peer: &PeerId, requests: u32) -> Option<Duration> {
        (self.0)(peer, requests)
    }
}
