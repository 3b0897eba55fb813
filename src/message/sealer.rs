//! Seals what programs on this node publish.

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::identity::Keypair;

use super::envelope::{Limits, SealError, seal};
use super::numbers::{NumberError, Numbers};

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

    /// Whose envelopes these are.
    pub fn publisher(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// The payload in an envelope for `topic`, under a number of its own.
    ///
    /// Packing and signing take up to milliseconds for a megabyte, and a number
    /// may have to wait for the disk: this belongs into the task of whoever
    /// publishes, and not into the event loop.
    ///
    /// # Errors
    /// When the payload is too long, or numbers could not be reserved.
    pub async fn seal(&self, topic: &[u8], payload: Bytes) -> Result<Bytes, Error> {
        if payload.len() > self.limits.payload {
            // Known before a number is spent.
            return Err(SealError::TooLong {
                len: payload.len(),
                limit: self.limits.payload,
            }
            .into());
        }
        let number = self.numbers.next().await?;
        Ok(seal(&self.keypair, topic, number, payload, self.limits)?)
    }
}
