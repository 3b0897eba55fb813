//! Files in the local store, and who published them.

use std::time::SystemTime;

use cid::Cid;
use libp2p::PeerId;

/// One file in the local store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub cid: Cid,
    /// Its length in bytes.
    pub size: u64,
    /// Blocks of its tree.
    pub blocks: u64,
    /// Those of them that are in the local store.
    pub blocks_here: u64,
    /// It was put here, and stays until it expires.
    pub pinned: bool,
    /// When it came into the store.
    pub added: Option<SystemTime>,
    /// When it may be dropped; `None` is never.
    pub expires: Option<SystemTime>,
    /// The name that it was put under, for people. Escape it before printing.
    pub name: Option<String>,
    /// After a put: why it could not be announced to the DHT yet. The node goes
    /// on trying.
    pub announce_error: Option<String>,
    /// After a put: files of the host of which no peer was told yet, which are
    /// announced in the background; 0 when this one is announced.
    pub announcing: u64,
    /// Who signed the root block; known to `stat` only.
    pub publication: Option<Publication>,
}

/// What the publisher of content says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Who signed it.
    pub publisher: PeerId,
    /// When it was put, by its publisher's clock.
    pub at: SystemTime,
    /// Until when it is served.
    pub until: SystemTime,
}
