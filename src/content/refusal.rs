//! Why a block that a peer sent is refused.

use crate::message::compression;
use crate::message::provenance::Flaw;

/// Why a block is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is missing, too long, or makes no sense.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// It follows other rules than this program.
    #[error("it follows version {0} of the rules, which this program does not know")]
    Version(u32),
    /// It is longer than this node takes.
    #[error("it has {len} bytes, over the limit of {max} (P2P_MAX_BLOCK_BYTES)")]
    Oversized {
        /// Its bytes, as they came.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// It says that it unpacks to more than this node takes.
    #[error(
        "its {len} packed bytes declare {declared}, over the limit of {max} (P2P_MAX_BLOCK_BYTES)"
    )]
    Bomb {
        /// Bytes as they came.
        len: usize,
        /// What they would unpack to.
        declared: usize,
        /// The limit.
        max: usize,
    },
    /// Its bytes are not those that the CID names.
    #[error("its bytes have another hash")]
    WrongHash,
    /// Nobody vouches for it.
    #[error("no publisher has signed it")]
    Unsigned,
    /// Its publisher did not sign it.
    #[error("the signature is not its publisher's")]
    WrongSignature,
    /// Its time is over: a [`Flaw::Expired`].
    #[error("{0}")]
    Expired(Flaw),
    /// It is dated ahead of this host's clock: a [`Flaw::Future`].
    #[error("{0}")]
    Future(Flaw),
}

/// Every value that [`Refusal::reason`] gives.
pub const REASONS: [&str; 9] = [
    "malformed",
    "version",
    "oversized",
    "bomb",
    "wrong_hash",
    "unsigned",
    "wrong_signature",
    "expired",
    "future",
];

impl Refusal {
    /// The value of the label `reason` of `p2p_blocks_refused_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::Version(_) => "version",
            Refusal::Oversized { .. } => "oversized",
            Refusal::Bomb { .. } => "bomb",
            Refusal::WrongHash => "wrong_hash",
            Refusal::Unsigned => "unsigned",
            Refusal::WrongSignature => "wrong_signature",
            Refusal::Expired(_) => "expired",
            Refusal::Future(_) => "future",
        }
    }

    /// Whether the peer that sent it is to blame. An honest one serves what has
    /// just expired when its clock is slow, and one that follows later rules is
    /// not hostile: it is not asked for this block again, and that is all.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Refusal::Expired(_) | Refusal::Future(_) | Refusal::Version(_)
        )
    }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Version(version) => Refusal::Version(version),
            Flaw::Unsigned => Refusal::Unsigned,
            Flaw::Malformed(_) => Refusal::Malformed(flaw.to_string()),
            Flaw::Signature => Refusal::WrongSignature,
            Flaw::Expired { .. } => Refusal::Expired(flaw),
            Flaw::Future { .. } => Refusal::Future(flaw),
        }
    }
}

impl From<compression::Error> for Refusal {
    fn from(error: compression::Error) -> Self {
        match error {
            compression::Error::Bomb {
                packed,
                declared,
                limit,
            } => Refusal::Bomb {
                len: packed,
                declared,
                max: limit,
            },
            compression::Error::TooLong { len, limit } => Refusal::Oversized {
                len: len as u64,
                max: limit,
            },
            other => Refusal::Malformed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_from_the_start() {
        let flaw = Flaw::Unsigned;
        let all = [
            Refusal::Malformed(String::new()),
            Refusal::Version(0),
            Refusal::Oversized { len: 0, max: 0 },
            Refusal::Bomb {
                len: 0,
                declared: 0,
                max: 0,
            },
            Refusal::WrongHash,
            Refusal::Unsigned,
            Refusal::WrongSignature,
            Refusal::Expired(flaw.clone()),
            Refusal::Future(flaw),
        ];
        assert_eq!(all.map(|r| r.reason()), REASONS);
    }
}
