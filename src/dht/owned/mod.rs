//! Keys that name their owner: only the owner's signature makes a value under them valid,
//! so that it does not matter which peer sends it.
//!
//! | file | noun |
//! |---|---|
//! | `pk` | `/pk/…`: the public key of a peer |
//! | `ipns` | `/ipns/…`: a name of IPNS |
//! | `cbor` | the part of CBOR in which IPNS signs its fields |
//! | `time` | the times in records of IPNS |
//! | `named` | `/p2p-node/…`: a name of a node of this program |
//!
//! The first two are those of the IPFS DHT. There, nodes of other programs refuse all other
//! keys, and only nodes of this program hold the third kind. All three are validated on
//! every network. The time of day is given with each call.

mod cbor;
mod ipns;
mod named;
mod pk;
mod time;

use std::time::{Duration, SystemTime};

pub(crate) use named::{Name, Seal, open};

use super::records::Rank;

/// A value that the owner of its key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    /// The value with the larger one is the newer.
    pub(crate) rank: Rank,
    /// How long it is still valid; `None` if it says no end.
    pub(crate) lives: Option<Duration>,
}

/// Why a value is not valid under a key that names its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    /// The part of the key that names the owner does not.
    #[error("the key names no peer as its owner")]
    Key,
    /// The key names no owner, in a DHT where every key does.
    #[error("the IPFS DHT has only keys that name their owner: /pk/… and /ipns/…")]
    NoOwner,
    /// The value is none of those that belong under such a key.
    #[error("the value is malformed: {0}")]
    Malformed(&'static str),
    /// The value is of somebody else.
    #[error("the value is not signed by the owner of the key")]
    Signature,
    /// Its time is over.
    #[error("the value's validity has ended")]
    Expired,
}

/// The name of the IPFS DHT. Its specification allows only keys that name their owner.
pub(crate) const IPFS: &str = "/ipfs/kad/1.0.0";

/// Checks a value under its key at the time of day `wall`. Returns `None` if the key names
/// no owner.
///
/// # Errors
/// When the key names an owner and the value is not valid.
pub(crate) fn check(key: &[u8], value: &[u8], wall: SystemTime) -> Result<Option<Owned>, Invalid> {
    let owned = if let Some(peer) = key.strip_prefix(b"/pk/") {
        pk::check(peer, value)?
    } else if let Some(peer) = key.strip_prefix(b"/ipns/") {
        ipns::check(peer, value, wall)?
    } else if let Some(name) = Name::of(key) {
        named::check(&name?, value, wall)?
    } else {
        return Ok(None);
    };
    Ok(Some(owned))
}

/// The seconds since 1970, and how long it is until `ends`.
///
/// # Errors
/// When that time has passed.
fn until(ends: SystemTime, wall: SystemTime) -> Result<(u64, Duration), Invalid> {
    let lives = ends.duration_since(wall).map_err(|_| Invalid::Expired)?;
    let since = ends.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.map_err(|_| Invalid::Expired)?;
    Ok((since.as_secs(), lives))
}
