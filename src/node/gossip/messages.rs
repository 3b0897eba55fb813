//! What this network's own topics need to remember: the numbers that other publishers
//! have used, and those that this node has.
//!
//! [`crate::gossip::network_topics`] says which topics those are, and
//! [`crate::message::envelope`] how their messages are checked.

use std::sync::Arc;

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::identity::Keypair;

use super::validation::Job;
use crate::gossip::envelope_limits;
use crate::gossip::refused::{Refused, check_author};
use crate::message::Opened;
use crate::message::windows::Mark;
use crate::node::Metrics;
use crate::node::gossip::signed::numbers::Numbers;
use crate::node::gossip::signed::opener::Opener;
use crate::node::gossip::signed::sealer::Sealer;
use crate::store::{self, Store};

/// See the module's documentation. Clones share what is remembered.
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
            opener: Opener::stored(own, envelope_limits(), store.clone(), metrics)?,
            numbers: Numbers::stored(store),
        })
    }

    /// On a node that forgets all at its end.
    pub fn unstored(own: PeerId, metrics: Arc<Metrics>) -> Self {
        Messages {
            opener: Opener::unstored(own, envelope_limits(), metrics),
            numbers: Numbers::unstored(),
        }
    }

    /// What seals the messages of the owner of `keypair`.
    pub(crate) fn sealer(&self, keypair: Keypair) -> Sealer {
        Sealer::new(keypair, self.numbers.clone(), envelope_limits())
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
        if let Some(author) = message.source {
            check_author(author, &bytes)?;
        }
        let topic = message.topic.as_str().as_bytes();
        Ok(self.opener.admit(topic, bytes, &job.source)?)
    }

    /// Returns when it is written down that a message was seen.
    pub(crate) async fn record(&self, mark: Mark) {
        self.opener.record(mark).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::MAX_PUBLISH_BYTES;
    use crate::message::Limits;
    use crate::message::pb;
    use crate::peers::Conduct;
    use crate::telemetry::Register as _;
    use libp2p::gossipsub::{IdentTopic, MessageAcceptance, MessageId};
    use prost::Message as _;

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

    fn conduct(refused: &Refused, job: &Job) -> Option<Conduct> {
        refused.conduct(&job.source, job.message.source.as_ref())
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
        assert_eq!(conduct(&again, &own), Some(Conduct::Replay));
        assert_eq!(conduct(&again, &passed_on), None);
        let mut forged = pb::SignedMessage::decode(sealed(&key, b"hello")).unwrap();
        forged.payload = Bytes::from_static(b"other");
        let forged = Bytes::from(forged.encode_to_vec());
        let forged = messages.judge(&job(author, author, forged)).unwrap_err();
        assert!(matches!(forged.acceptance(), MessageAcceptance::Reject));
        assert_eq!(
            conduct(&forged, &passed_on),
            Some(Conduct::InvalidSignature)
        );
        let garbage = Bytes::from_static(b"no envelope");
        let garbage = messages.judge(&job(author, author, garbage)).unwrap_err();
        assert!(matches!(garbage.acceptance(), MessageAcceptance::Reject));
        assert_eq!(conduct(&garbage, &passed_on), Some(Conduct::Malformed));
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
            conduct(&refused, &job(author, author, Bytes::new())),
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
            let noise: Bytes = (0..envelope_limits().payload)
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
            let more = Bytes::from(vec![0; envelope_limits().payload + 1]);
            let refused = sealer.pack(more).unwrap_err();
            assert!(
                refused
                    .to_string()
                    .contains(&envelope_limits().payload.to_string())
            );
        });
    }
}
