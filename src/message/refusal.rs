//! Why a message was refused, as one line for a person and one label for a
//! counter.

use libp2p::PeerId;

use super::compression;
use super::publisher::KeyError;
use super::window;

/// Why an envelope was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The envelope is longer than allowed; nothing in it was read.
    #[error("an envelope of {len} bytes is longer than the {limit} allowed")]
    Oversized {
        /// Its bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not a `SignedMessage`, or not in its canonical form.
    #[error("not a signed message: {0}")]
    Malformed(&'static str),
    /// It has no key that can be used.
    #[error("a signed message without a usable key: {0}")]
    Key(#[from] KeyError),
    /// The signature is not the publisher's, for this topic, number and payload.
    #[error("the signature on a message of {publisher} is wrong")]
    Signature {
        /// Whose key the message carries.
        publisher: PeerId,
    },
    /// It is this node's own message.
    #[error("this node's own message {number} came back")]
    Own {
        /// Its sequence number.
        number: u64,
    },
    /// This number of this publisher was accepted before.
    #[error("message {number} of {publisher} was accepted before")]
    Replay {
        /// The publisher.
        publisher: PeerId,
        /// Its sequence number.
        number: u64,
    },
    /// The number is below the publisher's window, where nothing is remembered.
    #[error("message {number} of {publisher} is older than the window, which begins at {oldest}")]
    TooOld {
        /// The publisher.
        publisher: PeerId,
        /// Its sequence number.
        number: u64,
        /// The lowest number in the window.
        oldest: u64,
    },
    /// The payload cannot be unpacked, or not within the limit.
    #[error("the payload of a message of {publisher}: {error}")]
    Payload {
        /// The publisher.
        publisher: PeerId,
        /// What is wrong with it.
        error: compression::Error,
    },
}

/// Every label that [`Refusal::label`] gives.
pub const LABELS: [&str; 10] = [
    "oversized",
    "malformed",
    "bad_key",
    "bad_signature",
    "own",
    "replay",
    "too_old",
    "bomb",
    "over_limit",
    "bad_compression",
];

impl Refusal {
    /// The reason as a label of `p2p_messages_refused_total`, one of [`LABELS`].
    pub fn label(&self) -> &'static str {
        match self {
            Refusal::Oversized { .. } => "oversized",
            Refusal::Malformed(_) => "malformed",
            Refusal::Key(_) => "bad_key",
            Refusal::Signature { .. } => "bad_signature",
            Refusal::Own { .. } => "own",
            Refusal::Replay { .. } => "replay",
            Refusal::TooOld { .. } => "too_old",
            Refusal::Payload { error, .. } => match error {
                compression::Error::Bomb { .. } => "bomb",
                compression::Error::TooLong { .. } => "over_limit",
                compression::Error::Broken | compression::Error::Unknown(_) => "bad_compression",
            },
        }
    }

    /// Whether the peer that forwarded the message is to blame: the message is wrong for
    /// every node, whatever that node has seen. An honest peer checks before it
    /// forwards; but its windows remember other numbers than those of this node, so it
    /// may forward what is a replay only here.
    pub fn blames_forwarder(&self) -> bool {
        !matches!(
            self,
            Refusal::Own { .. } | Refusal::Replay { .. } | Refusal::TooOld { .. }
        )
    }

    /// What it means that a window refused `number` of `publisher`.
    pub(crate) fn of_window(refused: window::Refused, publisher: PeerId, number: u64) -> Self {
        match refused {
            window::Refused::Replay => Refusal::Replay { publisher, number },
            window::Refused::TooOld { oldest } => Refusal::TooOld {
                publisher,
                number,
                oldest,
            },
        }
    }
}
