//! Roots: the content that somebody named, as opposed to its blocks.

use std::time::SystemTime;

use cid::Cid;

use crate::message::provenance::is_clock_set;
use crate::text::unix_time::{from_unix_millis, unix_millis};

/// Content in the store: the CID that names it and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The CID of its root block.
    pub cid: Cid,
    /// Bytes of the content as a reader gets it.
    pub size: u64,
    /// Blocks of its tree, each counted once.
    pub blocks: u64,
    /// Never evicted for space; only expiry or removal ends it.
    pub pinned: bool,
    /// When it was put here, to the millisecond.
    pub put_at: SystemTime,
    /// From when on it is removed, pinned or not; never, when absent.
    pub expires_at: Option<SystemTime>,
    /// The file name that it was put under, for people.
    pub name: Option<String>,
}

impl Root {
    /// Whether its time is over at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// How a root lies in the database: protobuf, so that fields can be added.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RootRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) cid: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) size: u64,
    #[prost(uint64, tag = "3")]
    pub(super) blocks: u64,
    #[prost(bool, tag = "4")]
    pub(super) pinned: bool,
    #[prost(uint64, tag = "5")]
    pub(super) put_at: u64,
    #[prost(uint64, optional, tag = "6")]
    pub(super) expires_at: Option<u64>,
    #[prost(string, optional, tag = "7")]
    pub(super) name: Option<String>,
    /// When a block of it was last read, in milliseconds of Unix time.
    #[prost(uint64, tag = "8")]
    pub(super) used_at: u64,
}

impl RootRow {
    pub(super) fn new(root: &Root, used_at: u64) -> Self {
        RootRow {
            cid: root.cid.to_bytes(),
            size: root.size,
            blocks: root.blocks,
            pinned: root.pinned,
            put_at: unix_millis(root.put_at),
            expires_at: root.expires_at.map(unix_millis),
            name: root.name.clone(),
            used_at,
        }
    }

    /// Joins what was known of the same content before: fetching what this
    /// host has pinned must not unpin it or shorten its life.
    pub(super) fn join(&mut self, before: RootRow) {
        self.pinned |= before.pinned;
        self.expires_at = match (self.expires_at, before.expires_at) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
        if self.name.is_none() {
            self.name = before.name;
        }
        self.used_at = self.used_at.max(before.used_at);
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether it was put by a clock that was not set.
    pub(super) fn is_undated(&self) -> bool {
        !is_clock_set(from_unix_millis(self.put_at))
    }

    /// Moves its times so that it is put at `now`: by a clock that began at 1970
    /// its time would be over as soon as the clock is right.
    pub(super) fn date(&mut self, now: u64) {
        let moved = now.saturating_sub(self.put_at);
        self.put_at = now;
        self.expires_at = self.expires_at.map(|at| at.saturating_add(moved));
    }

    /// `None` when the CID in it cannot be read, which only damage can cause.
    pub(super) fn to_root(&self) -> Option<Root> {
        Some(Root {
            cid: Cid::try_from(&self.cid[..]).ok()?,
            size: self.size,
            blocks: self.blocks,
            pinned: self.pinned,
            put_at: from_unix_millis(self.put_at),
            expires_at: self.expires_at.map(from_unix_millis),
            name: self.name.clone(),
        })
    }
}
