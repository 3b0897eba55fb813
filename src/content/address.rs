//! The address of a block: a CID of version 1 with a sha2-256 hash.
//!
//! The specification is <https://github.com/multiformats/cid>. `sha2` uses the SHA
//! extensions of the processor automatically when there are any.

use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// The multicodec of plain bytes.
pub const RAW: u64 = 0x55;
/// The multicodec of a dag-pb node.
pub const DAG_PB: u64 = 0x70;
/// The multihash code of sha2-256, the only hash that this network uses.
pub const SHA2_256: u64 = 0x12;

/// How to read the bytes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The bytes are content as it is.
    Raw,
    /// The bytes are a dag-pb node that contains a UnixFS message.
    DagPb,
}

impl Codec {
    /// Returns the multicodec number.
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
    /// The multicodec is not that of a file.
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
        /// The code of its hash.
        code: u64,
        /// The length of its digest in bytes.
        size: u8,
    },
    /// The text is not a CID.
    #[error("{input:?} is not a CID: {reason}")]
    Syntax {
        /// The text that was given, shortened to fit on a line.
        input: String,
        /// The error of the parser.
        reason: String,
    },
}

/// The bytes are not those of the block that the CID names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The digest differs.
    #[error("the {len} bytes received for {cid} have another hash; the block is dropped")]
    Mismatch {
        /// The block that was wanted.
        cid: Cid,
        /// The number of bytes that arrived.
        len: usize,
    },
    /// This node cannot verify any block by this CID.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// Returns the CID of `data`, which is read as `codec`.
pub fn address(data: &[u8], codec: Codec) -> Cid {
    let digest = Sha256::digest(data);
    // The digest has 32 bytes and the multihash has room for 64, so that the default is
    // never used. It only makes a panic impossible.
    let hash = Multihash::wrap(SHA2_256, &digest).unwrap_or_default();
    Cid::new_v1(codec.code(), hash)
}

/// Checks that `data` is the block that `cid` names.
///
/// # Errors
/// Returns an error when the digest differs, or when the hash of the CID is not sha2-256.
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

/// Returns the form in which this node stores, asks for and announces a block: a CID of
/// version 1. A CID of version 0 names the same bytes as its version 1.
///
/// # Errors
/// Returns an error when this node cannot read the codec or cannot verify the hash.
pub fn canonical(cid: &Cid) -> Result<Cid, AddressError> {
    check_hash(cid)?;
    codec(cid)?;
    Ok(Cid::new_v1(cid.codec(), *cid.hash()))
}

/// Parses a CID that a person wrote, in any multibase, and makes it canonical.
///
/// # Errors
/// Returns an error when the text does not parse, or when this node cannot read or verify
/// such a CID.
pub fn parse(input: &str) -> Result<Cid, AddressError> {
    // Other tools print CIDs as `/ipfs/…`; the prefix has no further meaning.
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

/// Returns how to read the block that `cid` names.
///
/// # Errors
/// Returns an error when the codec is not that of a file.
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
