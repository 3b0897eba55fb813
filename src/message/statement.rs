//! What a signature of this node's own formats covers.
//!
//! A statement begins with a prefix that names its purpose, so that a signature
//! made for one use is not valid for another: the identity key also signs
//! libp2p's handshakes and gossip. Every part after it has a fixed length or
//! carries its length, so that two different lists of parts never give the same
//! bytes.

use libp2p::identity::{Keypair, SigningError};
use sha2::{Digest, Sha256};

use super::publisher::Publisher;

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A [`SignedMessage`](super::envelope).
    Message,
    /// A block in the exchange.
    Block,
    /// A value in the DHT under a name of its owner.
    Value,
}

impl Purpose {
    /// None of these is the beginning of another, or of what libp2p signs
    /// (`libp2p-pubsub:`, `noise-libp2p-static-key:`, `libp2p-tls-handshake:`).
    fn prefix(self) -> &'static [u8] {
        match self {
            Purpose::Message => b"p2p-node-message-v1:",
            Purpose::Block => b"p2p-node-block-v1:",
            Purpose::Value => b"p2p-node-value-v1:",
        }
    }
}

/// The bytes to be signed, built part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement(Vec<u8>);

impl Statement {
    /// A statement for `purpose`, which has no parts yet.
    pub fn new(purpose: Purpose) -> Self {
        let mut bytes = Vec::with_capacity(192);
        bytes.extend_from_slice(purpose.prefix());
        Statement(bytes)
    }

    /// Adds bytes, after their length as 8 bytes, big endian.
    #[must_use]
    pub fn bytes(self, part: &[u8]) -> Self {
        let mut statement = self.number(part.len() as u64);
        statement.0.extend_from_slice(part);
        statement
    }

    /// Adds a number as 8 bytes, big endian.
    #[must_use]
    pub fn number(mut self, part: u64) -> Self {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// Adds the SHA-256 of bytes that are too long to be signed themselves.
    #[must_use]
    pub fn digest(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(&Sha256::digest(part));
        self
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The signature of `keypair` over this.
    ///
    /// # Errors
    /// When the key cannot sign; of the types that libp2p has, only RSA can fail.
    pub fn sign(&self, keypair: &Keypair) -> Result<Vec<u8>, SigningError> {
        keypair.sign(&self.0)
    }

    /// Whether `signature` is `publisher`'s over this.
    pub fn is_signed_by(&self, publisher: &Publisher, signature: &[u8]) -> bool {
        publisher.verify(&self.0, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_fixed() {
        let statement = Statement::new(Purpose::Message)
            .bytes(b"/p2p-node/chat")
            .number(7)
            .digest(b"");
        let mut bytes =
            b"p2p-node-message-v1:\0\0\0\0\0\0\0\x0e/p2p-node/chat\0\0\0\0\0\0\0\x07".to_vec();
        bytes.extend_from_slice(&Sha256::digest(b""));
        assert_eq!(statement.as_bytes(), bytes);
    }

    #[test]
    fn moving_a_byte_between_parts_makes_another_statement() {
        let one = Statement::new(Purpose::Message).bytes(b"ab").bytes(b"c");
        let other = Statement::new(Purpose::Message).bytes(b"a").bytes(b"bc");
        assert_ne!(one, other);
    }

    #[test]
    fn a_signature_for_one_purpose_is_worth_nothing_for_another() {
        let keypair = Keypair::generate_ed25519();
        let publisher = Publisher::decode(&keypair.public().encode_protobuf()).unwrap();
        let message = Statement::new(Purpose::Message).number(1);
        let block = Statement::new(Purpose::Block).number(1);
        let signature = message.sign(&keypair).unwrap();
        assert!(message.is_signed_by(&publisher, &signature));
        assert!(!block.is_signed_by(&publisher, &signature));
    }
}
