//! The limits of the server.

use std::time::Duration;

/// What the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams served at once for one peer. A fetch uses one; a peer may run
    /// a few.
    pub streams_per_peer: usize,
    /// Streams served at once for all. Each may hold one group, about 1 MiB, so
    /// 128 hold 128 MiB at the very worst, and `ahead` beyond that. (Twice that
    /// when all blocks are the largest that are taken, 2 MiB.)
    pub streams: usize,
    /// Bytes of blocks that all streams together hold beyond the group that each
    /// is writing. A peer may have as many as are still free, so that the first
    /// to come leaves some for others; eight streams at full speed use 16 MiB.
    pub ahead: usize,
    /// When as many streams are served as may be, a new one displaces a stream of a peer
    /// of clearly lower reputation; else one of the peer (or subnet) that has most, if that
    /// still leaves it no fewer than the newcomer; else the one that has gone longest
    /// without a block, if that is at least this long. A peer whose link carries 70 kB/s
    /// takes a block of 1 MiB in the default time and keeps its stream; one that takes
    /// nothing does not.
    pub spare: Duration,
    /// A stream without wants, or whose peer does not take an answer, ends
    /// after this long.
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
