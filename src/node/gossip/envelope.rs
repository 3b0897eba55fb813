//! Topics whose messages travel in signed envelopes.
//!
//! A topic whose name begins with `/<P2P_NETWORK>/` is one of this network's own:
//! what is published on it is sealed ([`crate::message::envelope`]), and nobody
//! sees it before its signature, its number and its size were found right. All
//! others belong to whatever application uses them, and travel as that
//! application writes them.
//!
//! The envelope says who published it and gossipsub's own message says so too;
//! both must be the same peer, which is looked at first. Otherwise anybody could
//! put an envelope that he has overheard into a new message of his own: a replay
//! that the network passes on to those who have not seen it, or, where he is
//! quicker than the publisher, one that uses up the publisher's number.

use std::sync::Arc;

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;
use libp2p::identity::Keypair;
use prost::Message as _;
use sha2::{Digest, Sha256};

use super::MAX_PUBLISH_BYTES;
use super::validation::Job;
use crate::message::envelope::{Limits, MAX_OVERHEAD};
use crate::message::windows::Mark;
use crate::message::{Opened, Refusal, pb};
use crate::node::Metrics;
use crate::node::gossip::signed::numbers::Numbers;
use crate::node::gossip::signed::opener::Opener;
use crate::node::gossip::signed::sealer::Sealer;
use crate::peers::Conduct;
use crate::store::{self, Store};

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
    prefix: String,
}

impl Envelopes {
    /// The topics of `network`.
    pub(crate) fn of(network: &str) -> Self {
        Envelopes {
            prefix: format!("/{network}/"),
        }
    }

    /// Whether messages on this topic travel in envelopes.
    pub(crate) fn covers(&self, topic: &str) -> bool {
        topic.starts_with(&self.prefix)
    }
}

/// What envelope topics need to remember: the numbers that other publishers have
/// used, and those that this node has.
#[derive(Clone, Debug)]
pub struct Messages {
    opener: Opener,
    numbers: Numbers,
}

impl Messages {
    /// On a node whose memory of both is kept in `store`. Waits for the disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stored(own: PeerId, store: Store, metrics: Arc<Metrics>) -> Result<Self, store::Error> {
        Ok(Messages {
            opener: Opener::stored(own, limits(), store.clone(), metrics)?,
            numbers: Numbers::stored(store),
        })
    }

    /// On a node that forgets all at its end.
    pub fn unstored(own: PeerId, metrics: Arc<Metrics>) -> Self {
        Messages {
            opener: Opener::unstored(own, limits(), metrics),
            numbers: Numbers::unstored(),
        }
    }

    /// What seals the messages of the owner of `keypair`.
    pub(crate) fn sealer(&self, keypair: Keypair) -> Sealer {
        Sealer::new(keypair, self.numbers.clone(), limits())
    }

    /// Writes down what is not yet; nothing that is opened afterwards is.
    pub(crate) async fn close(&self) {
        self.opener.close().await;
    }

    /// Opens the envelope in a message. What comes of it is for [`Messages::record`]
    /// before it is for anybody on this host.
    pub(crate) fn judge(&self, job: &Job) -> Result<(Opened, Mark), Refused> {
        let message = &job.message;
        // One copy, which the payload shares from then on.
        let bytes = Bytes::copy_from_slice(&message.data);
        if let Some(source) = message.source
            && let Ok(sealed) = pb::SignedMessage::decode(bytes.clone())
            && !is_id_of(&source, &sealed.key)
        {
            return Err(Refused::Rewrapped(source));
        }
        let topic = message.topic.as_str().as_bytes();
        Ok(self.opener.admit(topic, bytes, &job.source)?)
    }

    /// Returns when it is written down that a message was seen.
    pub(crate) async fn record(&self, mark: Mark) {
        self.opener.record(mark).await;
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

/// Why a message on an envelope topic was not accepted.
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
    /// message. A replay counts for its publisher only, and only when it happens
    /// again and again, which the caller sees to: whoever signs two messages under
    /// one number, and gives one to each of two honest neighbours, makes each a
    /// forwarder of what the other has seen.
    pub(crate) fn conduct(&self, job: &Job) -> Option<Conduct> {
        Some(match self {
            Refused::Rewrapped(_) => Conduct::Malformed,
            Refused::Envelope(refusal) => match refusal {
                Refusal::Oversized { .. } => Conduct::Oversized,
                Refusal::Signature { .. } => Conduct::InvalidSignature,
                Refusal::Replay { .. } if job.message.source == Some(job.source) => Conduct::Replay,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics as _;
    use libp2p::gossipsub::{IdentTopic, MessageId};

    const TOPIC: &str = "/p2p-node/chat";

    fn job(source: PeerId, publisher: PeerId, data: Bytes) -> Job {
        Job {
            id: MessageId::new(b"1"),
            source,
            message: libp2p::gossipsub::Message {
                source: Some(publisher),
                data: data.into(),
                sequence_number: Some(1),
                topic: IdentTopic::new(TOPIC).hash(),
            },
            arrived: std::time::Instant::now(),
        }
    }

    fn messages() -> Messages {
        Messages::unstored(PeerId::random(), Metrics::new().unwrap())
    }

    fn sealed(by: &Keypair, payload: &'static [u8]) -> Bytes {
        let sealer = Messages::unstored(by.public().to_peer_id(), Metrics::new().unwrap())
            .sealer(by.clone());
        let payload = Bytes::from_static(payload);
        let packed = sealer.pack(payload).unwrap();
        async_std::task::block_on(sealer.seal(TOPIC.as_bytes(), &packed))
            .unwrap()
            .1
    }

    #[test]
    fn only_topics_below_the_name_of_the_network_are_its_own() {
        let envelopes = Envelopes::of("net");
        assert!(envelopes.covers("/net/chat"));
        assert!(envelopes.covers("/net/"));
        for other in [
            "/net",
            "/network/chat",
            "net/chat",
            "chat",
            "/x/net/chat",
            "",
        ] {
            assert!(!envelopes.covers(other), "{other}");
        }
    }

    #[test]
    fn the_publisher_of_the_envelope_and_of_the_message_must_be_one() {
        for key in [
            Keypair::generate_ed25519(),
            Keypair::generate_secp256k1(),
            Keypair::generate_ecdsa(),
        ] {
            let author = key.public().to_peer_id();
            let sealed = sealed(&key, b"hello");
            let messages = messages();
            let thief = PeerId::random();
            let refused = messages.judge(&job(thief, thief, sealed.clone()));
            let refused = refused.unwrap_err();
            assert_eq!(refused, Refused::Rewrapped(thief));
            assert!(matches!(refused.acceptance(), MessageAcceptance::Reject));
            // And the theft does not keep the true one out.
            let (opened, _) = messages.judge(&job(thief, author, sealed)).unwrap();
            assert_eq!(opened.publisher, author);
            assert_eq!(&opened.payload[..], b"hello");
        }
    }

    #[test]
    fn what_an_honest_forwarder_can_pass_on_is_ignored_and_the_rest_rejected() {
        let key = Keypair::generate_ed25519();
        let author = key.public().to_peer_id();
        let messages = messages();
        let good = sealed(&key, b"hello");
        messages.judge(&job(author, author, good.clone())).unwrap();
        let again = messages.judge(&job(author, author, good.clone()));
        let again = again.unwrap_err();
        assert!(matches!(again.acceptance(), MessageAcceptance::Ignore));
        let (own, passed_on) = (
            job(author, author, good.clone()),
            job(PeerId::random(), author, good.clone()),
        );
        assert_eq!(again.conduct(&own), Some(Conduct::Replay));
        assert_eq!(again.conduct(&passed_on), None);
        let mut forged = pb::SignedMessage::decode(sealed(&key, b"hello")).unwrap();
        forged.payload = Bytes::from_static(b"other");
        let forged = Bytes::from(forged.encode_to_vec());
        let forged = messages.judge(&job(author, author, forged)).unwrap_err();
        assert!(matches!(forged.acceptance(), MessageAcceptance::Reject));
        assert_eq!(forged.conduct(&passed_on), Some(Conduct::InvalidSignature));
        let garbage = Bytes::from_static(b"no envelope");
        let garbage = messages.judge(&job(author, author, garbage)).unwrap_err();
        assert!(matches!(garbage.acceptance(), MessageAcceptance::Reject));
        assert_eq!(garbage.conduct(&passed_on), Some(Conduct::Malformed));
    }

    #[test]
    fn a_bomb_is_rejected_from_what_it_declares() {
        let key = Keypair::generate_ed25519();
        let author = key.public().to_peer_id();
        // A sender without our limits.
        let roomy = Limits::of_payload(64 << 20);
        let payload = Bytes::from(vec![0; 8 << 20]);
        let bomb = crate::message::seal(&key, TOPIC.as_bytes(), 7, payload, roomy).unwrap();
        assert!(bomb.len() < MAX_PUBLISH_BYTES);
        let refused = messages().judge(&job(author, author, bomb)).unwrap_err();
        assert!(matches!(refused.acceptance(), MessageAcceptance::Reject));
        assert_eq!(
            refused.conduct(&job(author, author, Bytes::new())),
            Some(Conduct::Bomb)
        );
    }

    #[test]
    fn the_largest_payload_that_can_be_published_is_carried_and_taken() {
        async_std::task::block_on(async {
            let key = Keypair::generate_ed25519();
            let author = key.public().to_peer_id();
            let sealer = messages().sealer(key);
            // As dense as it gets, so that packing helps nothing.
            let mut x = 1_u64;
            let noise: Bytes = (0..limits().payload)
                .map(|_| {
                    x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (x >> 56) as u8
                })
                .collect();
            let packed = sealer.pack(noise.clone()).unwrap();
            assert!(sealer.envelope_size(&packed) <= MAX_PUBLISH_BYTES);
            let (number, sealed) = sealer.seal(TOPIC.as_bytes(), &packed).await.unwrap();
            assert!(sealed.len() <= MAX_PUBLISH_BYTES);
            let (opened, _) = messages().judge(&job(author, author, sealed)).unwrap();
            assert_eq!((opened.number, opened.payload), (number, noise));
            let more = Bytes::from(vec![0; limits().payload + 1]);
            let refused = sealer.pack(more).unwrap_err();
            assert!(refused.to_string().contains(&limits().payload.to_string()));
        });
    }
}
