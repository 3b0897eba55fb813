//! Seals what programs on this node publish.

use bytes::Bytes;
use libp2p::identity::Keypair;

use super::numbers::{NumberError, Numbers};
use crate::message::{Limits, Packed, SealError};

/// Why a payload was not published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// There is no number for it.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// This node's key and numbers. A clone shares them.
#[derive(Clone, Debug)]
pub struct Sealer {
    keypair: Keypair,
    numbers: Numbers,
    limits: Limits,
}

impl Sealer {
    /// A sealer for the owner of `keypair`, whose numbers are `numbers`.
    pub fn new(keypair: Keypair, numbers: Numbers, limits: Limits) -> Self {
        Sealer {
            keypair,
            numbers,
            limits,
        }
    }

    /// The payload, packed when that makes it smaller: up to milliseconds of work
    /// for a megabyte, which belongs into the task of whoever publishes.
    ///
    /// # Errors
    /// When it is too long.
    pub fn pack(&self, payload: Bytes) -> Result<Packed, SealError> {
        Packed::new(payload, self.limits)
    }

    /// The bytes of the envelope around it, at most.
    pub fn envelope_size(&self, packed: &Packed) -> usize {
        packed.envelope_size(&self.keypair)
    }

    /// The payload in an envelope for `topic`, and the number of its own that it
    /// has. Receivers ignore a number that is far behind others: it should leave at
    /// once, and before all that are sealed after it.
    ///
    /// Signing takes up to milliseconds for a megabyte, and a number may have to
    /// wait for the disk: this is not for the event loop.
    ///
    /// # Errors
    /// When it could not be signed, or numbers could not be reserved.
    pub async fn seal(&self, topic: &[u8], packed: &Packed) -> Result<(u64, Bytes), Error> {
        let number = self.numbers.next().await?;
        let sealed = packed.seal(&self.keypair, topic, number, self.limits)?;
        Ok((number, sealed))
    }
}
