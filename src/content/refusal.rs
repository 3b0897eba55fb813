//! Why a block that a peer sent is refused.

use crate::message::compression;
use crate::message::provenance::Flaw;

/// Why a block is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is missing, too long, or not valid.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// It follows rules that this program does not know.
    #[error("it follows version {0} of the rules, which this program does not know")]
    Version(u32),
    /// It is longer than this node accepts.
    #[error("it has {len} bytes, over the limit of {max} (P2P_MAX_BLOCK_BYTES)")]
    Oversized {
        /// Its number of bytes, as they were sent.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// It declares that it unpacks to more than this node accepts.
    #[error(
        "its {len} packed bytes declare {declared}, over the limit of {max} (P2P_MAX_BLOCK_BYTES)"
    )]
    Bomb {
        /// The number of bytes that were sent.
        len: usize,
        /// The number of bytes to which they would unpack.
        declared: usize,
        /// The limit.
        max: usize,
    },
    /// Its bytes are not those of the block that the CID names.
    #[error("its bytes have another hash")]
    WrongHash,
    /// No publisher has signed it.
    #[error("no publisher has signed it")]
    Unsigned,
    /// The signature is not that of its publisher.
    #[error("the signature is not its publisher's")]
    WrongSignature,
    /// Its time is over: a [`Flaw::Expired`].
    #[error("{0}")]
    Expired(Flaw),
    /// It is dated ahead of this host's clock: a [`Flaw::Future`].
    #[error("{0}")]
    Future(Flaw),
}

/// The kinds of [`Refusal`], without their details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are those of `Refusal`")]
pub enum RefusalKind {
    Malformed,
    Version,
    Oversized,
    Bomb,
    WrongHash,
    Unsigned,
    WrongSignature,
    Expired,
    Future,
}

impl RefusalKind {
    /// All kinds.
    pub const ALL: [RefusalKind; 9] = [
        RefusalKind::Malformed,
        RefusalKind::Version,
        RefusalKind::Oversized,
        RefusalKind::Bomb,
        RefusalKind::WrongHash,
        RefusalKind::Unsigned,
        RefusalKind::WrongSignature,
        RefusalKind::Expired,
        RefusalKind::Future,
    ];

    /// Returns the value of the label `reason` of `p2p_blocks_refused_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalKind::Malformed => "malformed",
            RefusalKind::Version => "version",
            RefusalKind::Oversized => "oversized",
            RefusalKind::Bomb => "bomb",
            RefusalKind::WrongHash => "wrong_hash",
            RefusalKind::Unsigned => "unsigned",
            RefusalKind::WrongSignature => "wrong_signature",
            RefusalKind::Expired => "expired",
            RefusalKind::Future => "future",
        }
    }
}

impl Refusal {
    /// Returns its kind.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Refusal::Malformed(_) => RefusalKind::Malformed,
            Refusal::Version(_) => RefusalKind::Version,
            Refusal::Oversized { .. } => RefusalKind::Oversized,
            Refusal::Bomb { .. } => RefusalKind::Bomb,
            Refusal::WrongHash => RefusalKind::WrongHash,
            Refusal::Unsigned => RefusalKind::Unsigned,
            Refusal::WrongSignature => RefusalKind::WrongSignature,
            Refusal::Expired(_) => RefusalKind::Expired,
            Refusal::Future(_) => RefusalKind::Future,
        }
    }

    /// Returns the name of its kind.
    pub fn reason(&self) -> &'static str {
        self.kind().as_str()
    }

    /// Returns whether the peer that sent it is to blame. An honest peer may serve what
    /// has just expired when its clock is slow, and a peer that follows later rules is
    /// not hostile. Such a peer is only not asked for this block again.
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
        assert_eq!(all.map(|refusal| refusal.kind()), RefusalKind::ALL);
    }
}
