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
}

impl Refused {
    /// Whether the sender is the cause: it has used up a share or sent too large a
    /// value. A store that is full is nobody's fault.
    pub(crate) fn is_of_sender(&self) -> bool {
        !matches!(self, Refused::Full(_))
    }
}
