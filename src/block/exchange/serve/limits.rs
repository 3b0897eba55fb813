//! The limits of the server.

use std::time::Duration;

/// The limits of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of streams served at once for one peer. A fetch uses one, and a
    /// peer may run a few fetches.
    pub streams_per_peer: usize,
    /// The maximum number of streams served at once for all peers. Each may hold one
    /// group of about 1 MiB, so that 128 streams hold at most 128 MiB, and `ahead` in
    /// addition to that. (The 128 MiB double when all blocks have the largest accepted
    /// size, 2 MiB.)
    pub streams: usize,
    /// The number of bytes of blocks that all streams together may hold in addition to
    /// the group that each of them is writing. A peer may have as many as are still free,
    /// so that the first one to come leaves some for others. Eight streams at full speed
    /// use 16 MiB.
    pub ahead: usize,
    /// When the maximum number of streams is served, a new stream may displace another
    /// one. The first choice is a stream of a peer with a clearly lower reputation. The
    /// second is a stream of the peer (or subnet) that has the most streams, if that peer
    /// is then still left with no fewer than the new one. The third is the stream that
    /// has gone longest without a block, if that is at least this long. A peer whose link
    /// carries 70 kB/s takes a block of 1 MiB in the default time and keeps its stream; a
    /// peer that takes nothing does not.
    pub spare: Duration,
    /// A stream ends after this time without wants, or when its peer has not taken an
    /// answer for this time.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            streams_per_peer: 8,
            streams: 128,
            ahead: 32 << 20,
            spare: Duration::from_secs(15),
            idle: Duration::from_secs(60),
        }
    }
}
