//! Topics whose messages travel in signed envelopes.
//!
//! A topic whose name begins with `/<P2P_NETWORK>/` is one of this network's own:
//! what is published on it is sealed ([`crate::message::envelope`]), and nobody
//! sees it before its signature, its number and its size were found right. All
//! others belong to whatever application uses them, and travel as that
//! application writes them.
//!
//! The envelope says who published it and gossipsub's own message says so too;
//! both must be the same peer. Otherwise anybody could put an envelope that he
//! has overheard into a new message of his own, and make a replay of it that the
//! whole network passes on, node by node, to those who have not seen it.

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::gossipsub::{Message, MessageAcceptance};

use super::MAX_PUBLISH_BYTES;
use crate::admission::Conduct;
use crate::message::envelope::{Limits, MAX_OVERHEAD};
use crate::message::{Opened, Refusal};

/// Bounds of an envelope and its payload. A payload is as long as one that does
/// not get smaller by packing may be, so that what can be published does not
/// depend on how well it packs, and a subscriber's queue holds no more than it
/// would on a plain topic.
pub(crate) fn limits() -> Limits {
    Limits::of_payload(MAX_PUBLISH_BYTES - MAX_OVERHEAD)
}

/// Which topics are a network's own.
#[derive(Clone, Debug)]
pub(crate) struct Envelopes {
    prefix: Option<String>,
}

impl Envelopes {
    /// No topics: all are plain.
    pub(crate) fn none() -> Self {
        Envelopes { prefix: None }
    }

    /// Whether messages on this topic travel in envelopes.
    pub(crate) fn covers(&self, topic: &str) -> bool {
        self.prefix.as_ref().is_some_and(|p| topic.starts_with(p))
    }
}

/// Why a message on an envelope topic was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The envelope itself.
    #[error(transparent)]
    Envelope(#[from] Refusal),
    /// It is the envelope of another publisher than the message around it.
    #[error("{wrapped_by} sends an envelope of {publisher} as its own message")]
    Rewrapped {
        /// Who signed the message around it.
        wrapped_by: PeerId,
        /// Who signed the envelope.
        publisher: PeerId,
    },
}

impl Refused {
    /// What gossipsub is to do. "Reject" for what is wrong for every node: who
    /// passed it on has not looked. "Ignore" for what is wrong here and now, since
    /// an honest peer that has just started, or remembers other publishers, passes
    /// an old message on in good faith.
    pub(crate) fn acceptance(&self) -> MessageAcceptance {
        match self {
            Refused::Envelope(refusal) if !refusal.blames_forwarder() => MessageAcceptance::Ignore,
            _ => MessageAcceptance::Reject,
        }
    }

    /// What the peer that passed it on has done. Nothing for an old or own
    /// message; a replay counts only when it happens again and again, which the
    /// caller sees to.
    pub(crate) fn conduct(&self) -> Option<Conduct> {
        Some(match self {
            Refused::Rewrapped { .. } => Conduct::Malformed,
            Refused::Envelope(refusal) => match refusal {
                Refusal::Oversized { .. } => Conduct::Oversized,
                Refusal::Signature { .. } => Conduct::InvalidSignature,
                Refusal::Replay { .. } | Refusal::TooOld { .. } => Conduct::Replay,
                Refusal::Own { .. } => return None,
                Refusal::Payload { .. } if refusal.label() == "bomb" => Conduct::Bomb,
                Refusal::Payload { .. } if refusal.label() == "over_limit" => Conduct::Oversized,
                _ => Conduct::Malformed,
            },
        })
    }
}

/// Opens the envelope in a message, by `open`, which is told the topic and the
/// bytes.
pub(crate) fn judge(
    message: &Message,
    open: impl FnOnce(&[u8], Bytes) -> Result<Opened, Refusal>,
) -> Result<Opened, Refused> {
    // One copy, which payload, key and signature share from then on.
    let bytes = Bytes::copy_from_slice(&message.data);
    let opened = open(message.topic.as_str().as_bytes(), bytes)?;
    match message.source {
        Some(source) if source != opened.publisher => Err(Refused::Rewrapped {
            wrapped_by: source,
            publisher: opened.publisher,
        }),
        _ => Ok(opened),
    }
}
