//! Why a multiplexed connection failed or ended.

use std::io;

use super::SURPLUS_AT_ONCE;
use super::budget::VAIN_RATE;
use super::output::ANSWERS;

/// Why a multiplexed connection failed or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The peer closed it in order, or this side did.
    #[error("multiplexed connection: connection is closed")]
    Closed,
    /// It broke.
    #[error("multiplexed connection: i/o error: {0}")]
    Io(#[from] io::Error),
    /// The peer did what the protocol does not allow.
    #[error("multiplexed connection: the peer violates the protocol: {0}")]
    Violation(#[from] Violation),
    /// This side has opened two billion streams.
    #[error("multiplexed connection: the numbers for new streams are used up")]
    NoMoreStreams,
    /// The peer continues to open streams although they are refused.
    #[error(
        "the peer opened {SURPLUS_AT_ONCE} streams beyond this node's limit, which were reset, and went on; it may have more at once with a higher P2P_MAX_INBOUND_STREAMS"
    )]
    Flood,
    /// The peer continues to send frames that carry nothing.
    #[error(
        "the peer sent more frames that carry nothing than the {VAIN_RATE} a second that this node takes, and went on"
    )]
    FrameFlood,
    /// The peer sends what has to be answered, and does not read the answers.
    #[error(
        "the peer does not read the answers to what it sends, of which this node keeps {ANSWERS}"
    )]
    Unread,
    /// The node is out of memory for what peers send, and this connection holds the most.
    #[error(
        "this connection held the most of the memory for what peers have sent and nobody has read, and that was used up; it is an eighth of P2P_MAX_MEMORY as of the start of this node, and 256 MiB at most"
    )]
    Memory,
}

/// What the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// The first byte of a frame is not the version 0.
    #[error("a frame of version {0}")]
    Version(u8),
    /// The second byte of a frame is not one of the four kinds.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// A stream with a number that the peer cannot give, or a stream where there is none.
    #[error("a frame for stream {0}, which it cannot be about")]
    StreamId(u32),
    /// A stream is opened that is open.
    #[error("stream {0} was opened twice")]
    Reuse(u32),
    /// A frame is longer than the window of its stream.
    #[error("more was sent on stream {0} than its window allows")]
    Window(u32),
    /// Bytes arrived on a stream after the peer had ended it.
    #[error("bytes were sent on stream {0} after its end")]
    AfterEnd(u32),
    /// The window that this side may send in grew beyond all numbers.
    #[error("the window of stream {0} was raised beyond 4 GiB")]
    Credit(u32),
    /// An answer to a ping that was not sent.
    #[error("an answer to a ping that nobody sent")]
    Pong,
}
