//! Why a record was not stored.

use super::values::MAX_VALUE_BYTES;

/// Why a record was not stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The store is full.
    #[error(
        "the store already holds the {0} records that P2P_DHT_MAX_RECORDS allows, or as many bytes as are allowed for them"
    )]
    Full(usize),
    /// The peer holds its share.
    #[error(
        "one peer may hold {0} records, an eighth of P2P_DHT_MAX_RECORDS, and as large a part of the bytes allowed"
    )]
    PeerShare(usize),
    /// The subnet holds its share.
    #[error(
        "one subnet may hold {0} records, half of P2P_DHT_MAX_RECORDS, and as large a part of the bytes allowed"
    )]
    SubnetShare(usize),
    /// The value is too large.
    #[error("the value is larger than {MAX_VALUE_BYTES} bytes, the most that a DHT record holds")]
    TooLarge,
    /// The value under the key is that of another writer, and lives.
    #[error(
        "the value under this key is another writer's, which alone may change it until it expires"
    )]
    OfAnother,
    /// The key names its owner, and the value is older than the one that is here.
    #[error("the owner of this key has signed a newer value")]
    Older,
}

impl Refused {
    /// Whether the sender is the cause: it has used up a share or sent too large a
    /// value. A store that is full is nobody's fault, and a node that repeats what it
    /// holds cannot know that others have something else.
    pub(crate) fn is_of_sender(&self) -> bool {
        matches!(
            self,
            Refused::PeerShare(_) | Refused::SubnetShare(_) | Refused::TooLarge
        )
    }

    /// Whether one of this node's limits is the cause.
    pub(crate) fn is_of_limit(&self) -> bool {
        !matches!(self, Refused::OfAnother | Refused::Older)
    }
}
