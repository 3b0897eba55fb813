//! How fast the requests of a peer are read.

use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;

/// Says how long to wait before reading more requests of a peer that has asked
/// so many times in vain.
type Pacing = dyn Fn(&PeerId, u32) -> Option<Duration> + Send + Sync;

#[derive(Clone)]
pub(super) struct Pace(Arc<Pacing>);

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pace")
    }
}

impl Pace {
    /// Slows peers by what `pace` says.
    pub(super) fn new(
        pace: impl Fn(&PeerId, u32) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Pace(Arc::new(pace))
    }

    /// How long to wait, if at all, before reading more requests of the peer.
    pub(super) fn wait(&self, peer: &PeerId, requests: u32) -> Option<Duration> {
        (self.0)(peer, requests)
    }
}
