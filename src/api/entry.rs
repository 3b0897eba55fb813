//! Files in the local store.

use std::time::SystemTime;

use cid::Cid;

use super::Publication;

/// One file in the local store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub cid: Cid,
    /// Its length in bytes.
    pub size: u64,
    /// The number of blocks of its tree.
    pub blocks: u64,
    /// The number of those blocks that are in the local store.
    pub blocks_here: u64,
    /// Whether it was put here, so that it stays until it expires.
    pub pinned: bool,
    /// When it was added to the store.
    pub added: Option<SystemTime>,
    /// When it may be removed; `None` means never.
    pub expires: Option<SystemTime>,
    /// The name under which it was put, for people. Escape it before printing it.
    pub name: Option<String>,
    /// After a put, the reason why it could not be announced to the DHT yet. The node
    /// keeps trying.
    pub announce_error: Option<String>,
    /// After a put, the number of files of the host that no peer has been told of yet.
    /// They are announced in the background. It is 0 when this file has been announced.
    pub announcing: u64,
    /// The publisher that signed the root block; only `stat` knows it.
    pub publication: Option<Publication>,
}
