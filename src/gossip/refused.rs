//! Why a message on one of this network's topics is not accepted, and what follows
//! from that for gossipsub and for the peer that passed it on.
//!
//! The envelope says who published it and gossipsub's own message says so too;
//! both must be the same peer, which is looked at first. Otherwise anybody could
//! put an envelope of another publisher into a new message of their own: a replay that
//! the network passes on to nodes that have not seen it, or, when it arrives before the
//! original, a message that uses up the publisher's number.

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::message::{Refusal, pb};
use crate::peers::Conduct;

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The envelope itself.
    #[error(transparent)]
    Envelope(#[from] Refusal),
    /// It is the envelope of another publisher than the message around it.
    #[error("{0} sends the envelope of another as its own message")]
    Rewrapped(PeerId),
}

impl Refused {
    /// What gossipsub is to do. "Reject" for what is wrong for every node: the peer
    /// that passed it on has not checked it. "Ignore" for what is wrong here and now, since
    /// an honest peer that has just started, or remembers other publishers, passes
    /// an old message on in good faith.
    pub(crate) fn acceptance(&self) -> MessageAcceptance {
        match self {
            Refused::Envelope(refusal) if !refusal.blames_forwarder() => MessageAcceptance::Ignore,
            _ => MessageAcceptance::Reject,
        }
    }

    /// What the peer that passed it on has done. Nothing for an old or own
    /// message. A replay counts for its publisher only, and only when it happens
    /// again and again, which the caller sees to: a publisher that signs two messages under
    /// one number, and gives one to each of two honest neighbours, makes each of them
    /// forward a number that the other has seen.
    ///
    /// `forwarder` brought the message, and `author` is the one that gossipsub's message
    /// names.
    pub(crate) fn conduct(&self, forwarder: &PeerId, author: Option<&PeerId>) -> Option<Conduct> {
        Some(match self {
            Refused::Rewrapped(_) => Conduct::Malformed,
            Refused::Envelope(refusal) => match refusal {
                Refusal::Oversized { .. } => Conduct::Oversized,
                Refusal::Signature { .. } => Conduct::InvalidSignature,
                Refusal::Replay { .. } if author == Some(forwarder) => Conduct::Replay,
                Refusal::Replay { .. } | Refusal::TooOld { .. } | Refusal::Own { .. } => {
                    return None;
                }
                Refusal::Payload { .. } if refusal.label() == "bomb" => Conduct::Bomb,
                Refusal::Payload { .. } if refusal.label() == "over_limit" => Conduct::Oversized,
                _ => Conduct::Malformed,
            },
        })
    }
}

/// Whether the envelope in `bytes`, if it is one, names `author` as its publisher, who
/// is the author of the message around it.
///
/// # Errors
/// [`Refused::Rewrapped`].
pub(crate) fn check_author(author: PeerId, bytes: &Bytes) -> Result<(), Refused> {
    match pb::SignedMessage::decode(bytes.clone()) {
        Ok(sealed) if !is_id_of(&author, &sealed.key) => Err(Refused::Rewrapped(author)),
        _ => Ok(()),
    }
}

/// Whether `peer` is the id that follows from a public key in protobuf form: its
/// bytes up to 42 of them, else their SHA-256 (libp2p's specification of peer
/// ids). Needs no decoding of the key, which costs as much as a fifth of a
/// signature check.
fn is_id_of(peer: &PeerId, key: &[u8]) -> bool {
    let hash = peer.as_ref();
    match hash.code() {
        IDENTITY => hash.digest() == key,
        SHA2_256 => hash.digest() == Sha256::digest(key).as_slice(),
        _ => false,
    }
}

/// Codes of multihashes in peer ids.
const IDENTITY: u64 = 0x00;
const SHA2_256: u64 = 0x12;
