//! The address of a block: a CID, version 1, over sha2-256.
//!
//! Specification: <https://github.com/multiformats/cid>. `sha2` takes the SHA
//! extensions of the processor by itself when they are there.

use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// Multicodec of plain bytes.
pub const RAW: u64 = 0x55;
/// Multicodec of a dag-pb node.
pub const DAG_PB: u64 = 0x70;
/// Multihash code of sha2-256, the only hash that this network uses.
pub const SHA2_256: u64 = 0x12;

/// How the bytes of a block are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Content, as it is.
    Raw,
    /// A dag-pb node with a UnixFS message in it.
    DagPb,
}

impl Codec {
    /// The multicodec number.
    pub fn code(self) -> u64 {
        match self {
            Codec::Raw => RAW,
            Codec::DagPb => DAG_PB,
        }
    }
}

/// Why a CID cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The multicodec is not one of a file.
    #[error(
        "{cid} has the codec {codec:#x}, which is not a file; only raw (0x55) and dag-pb (0x70) can be read"
    )]
    Codec {
        /// The CID.
        cid: String,
        /// Its codec.
        codec: u64,
    },
    /// The hash is not sha2-256.
    #[error(
        "{cid} is hashed with the multihash {code:#x} of {size} bytes; only sha2-256 (0x12, 32 bytes) can be verified"
    )]
    Hash {
        /// The CID.
        cid: String,
        /// Code of its hash.
        code: u64,
        /// Length of its digest in bytes.
        size: u8,
    },
    /// Not a CID.
    #[error("{input:?} is not a CID: {reason}")]
    Syntax {
        /// What was given, cut to a length that fits a line.
        input: String,
        /// What the parser says.
        reason: String,
    },
}

/// The bytes are not those that the CID names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The digest differs.
    #[error("the {len} bytes received for {cid} have another hash; the block is dropped")]
    Mismatch {
        /// The block that was wanted.
        cid: Cid,
        /// How many bytes came.
        len: usize,
    },
    /// The CID cannot be checked at all.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// The CID of `data` read as `codec`.
pub fn address(data: &[u8], codec: Codec) -> Cid {
    let digest = Sha256::digest(data);
    // The digest is 32 bytes and the multihash has room for 64, so that the
    // default cannot happen; it keeps a panic out of the path.
    let hash = Multihash::wrap(SHA2_256, &digest).unwrap_or_default();
    Cid::new_v1(codec.code(), hash)
}

/// Checks that `data` is the block that `cid` names.
///
/// # Errors
/// When the digest differs, or when the CID's hash is not sha2-256.
pub fn verify(cid: &Cid, data: &[u8]) -> Result<(), VerifyError> {
    check_hash(cid)?;
    if Sha256::digest(data).as_slice() == cid.hash().digest() {
        Ok(())
    } else {
        Err(VerifyError::Mismatch {
            cid: *cid,
            len: data.len(),
        })
    }
}

/// The form in which this node stores, asks for and announces a block: a CID
/// of version 1. A version 0 CID names the same bytes as its version 1.
///
/// # Errors
/// When the codec or the hash is one that this node cannot read or verify.
pub fn canonical(cid: &Cid) -> Result<Cid, AddressError> {
    check_hash(cid)?;
    codec(cid)?;
    Ok(Cid::new_v1(cid.codec(), *cid.hash()))
}

/// Reads a CID as a person writes it, in any multibase, and makes it canonical.
///
/// # Errors
/// When it does not parse, or cannot be read or verified by this node.
pub fn parse(input: &str) -> Result<Cid, AddressError> {
    // `/ipfs/…` is how other tools print it; the prefix says nothing more.
    let text = input.trim();
    let text = text
        .strip_prefix("/ipfs/")
        .or(text.strip_prefix("ipfs://"))
        .unwrap_or(text);
    let cid = Cid::try_from(text).map_err(|error| AddressError::Syntax {
        input: input.chars().take(80).collect(),
        reason: error.to_string(),
    })?;
    canonical(&cid)
}

/// How the block that `cid` names is to be read.
///
/// # Errors
/// When the codec is not one of a file.
pub fn codec(cid: &Cid) -> Result<Codec, AddressError> {
    match cid.codec() {
        RAW => Ok(Codec::Raw),
        DAG_PB => Ok(Codec::DagPb),
        codec => Err(AddressError::Codec {
            cid: cid.to_string(),
            codec,
        }),
    }
}

fn check_hash(cid: &Cid) -> Result<(), AddressError> {
    let hash = cid.hash();
    if hash.code() == SHA2_256 && hash.size() == 32 {
        Ok(())
    } else {
        Err(AddressError::Hash {
            cid: cid.to_string(),
            code: hash.code(),
            size: hash.size(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_block_has_the_cid_that_other_tools_print() {
        assert_eq!(
            address(b"", Codec::Raw).to_string(),
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        );
    }

    #[test]
    fn a_changed_byte_is_a_mismatch() {
        let cid = address(b"hello", Codec::Raw);
        verify(&cid, b"hello").unwrap();
        assert!(matches!(
            verify(&cid, b"hellp"),
            Err(VerifyError::Mismatch { len: 5, .. })
        ));
    }

    #[test]
    fn version_0_becomes_version_1_and_what_cannot_be_read_is_refused() {
        let v0 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
        let cid = parse(v0).unwrap();
        assert_eq!(cid.version(), cid::Version::V1);
        assert_eq!(cid.codec(), DAG_PB);
        assert_eq!(parse(&format!("/ipfs/{v0}")).unwrap(), cid);

        let cbor = Cid::new_v1(0x71, *cid.hash());
        assert!(matches!(
            parse(&cbor.to_string()),
            Err(AddressError::Codec { codec: 0x71, .. })
        ));
        let identity = Cid::new_v1(RAW, Multihash::wrap(0, b"inline").unwrap());
        assert!(matches!(
            verify(&identity, b"inline"),
            Err(VerifyError::Address(_))
        ));
        assert!(matches!(
            parse("not a cid"),
            Err(AddressError::Syntax { .. })
        ));
    }
}
