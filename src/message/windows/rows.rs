//! Replay windows as they are stored.

use libp2p::PeerId;
use sha2::{Digest, Sha256};

/// Identifies a publisher: the first half of the SHA-256 of its peer id.
/// A peer id takes up to 80 bytes of memory; half a hash takes 16, and making
/// an id whose hash equals another's takes 2^128 tries.
pub type Id = [u8; 16];

/// The id of `peer` in the set.
pub fn id_of(peer: &PeerId) -> Id {
    let digest = Sha256::digest(peer.to_bytes());
    let mut id = Id::default();
    let half = id.len();
    id.copy_from_slice(&digest[..half]);
    id
}

/// A window as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The publisher.
    pub id: Id,
    /// `Window::highest`.
    pub highest: u64,
    /// `Window::seen`.
    pub seen: u64,
    /// When the first message was accepted, in seconds since the Unix epoch.
    pub first: u32,
    /// When the last message was accepted, in seconds since the Unix epoch.
    pub last: u32,
    /// The lane it came through.
    pub lane: u8,
    /// Whether it is established.
    pub established: bool,
}

/// One accepted message, as it is written down before it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The publisher.
    pub id: Id,
    /// Its sequence number.
    pub number: u64,
    /// When it was accepted, in seconds since the Unix epoch.
    pub at: u32,
    /// The lane it came through.
    pub lane: u8,
}

/// What has to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Windows that are new or differ.
    pub rows: Vec<Row>,
    /// Publishers whose windows were stored and were dropped since.
    pub gone: Vec<Id>,
}
