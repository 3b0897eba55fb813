//! Roots: the content that somebody named, as opposed to its blocks.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use cid::Cid;

use super::{Error, Removed, Store, index};
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
    /// When it is removed, pinned or not; never, when absent.
    pub expires_at: Option<SystemTime>,
    /// The file name that it was put under, for people.
    pub name: Option<String>,
}

impl Root {
    /// Whether it has expired at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// A root as a row: protobuf, so that fields can be added.
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

    /// Merges what was known of the same content before: fetching content that this
    /// host has pinned must not unpin it or make it expire earlier.
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

    /// Whether it was put while the clock was not set.
    pub(super) fn is_undated(&self) -> bool {
        !is_clock_set(from_unix_millis(self.put_at))
    }

    /// Moves its times so that it is put at `now`: dated by a clock that began at 1970, it
    /// would expire as soon as the clock is right.
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

impl Store {
    /// Every root, in the order in which they were put.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn roots(&self) -> Result<Vec<Root>, Error> {
        let rows = self.inner.database.read(index::roots)?;
        Ok(rows.iter().filter_map(|row| row.to_root()).collect())
    }

    /// How many roots there are. Reads memory only.
    pub fn roots_len(&self) -> u64 {
        self.inner.roots.load(Ordering::Relaxed)
    }

    /// As long as this is the same, no root was added or removed. Reads memory only.
    pub fn roots_version(&self) -> (u64, u64) {
        // A new root has a new number, and a removed one makes the count less.
        let next = self.inner.next_root.load(Ordering::Relaxed);
        (next, self.roots_len())
    }

    /// The root with this CID.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn root(&self, cid: &Cid) -> Result<Option<Root>, Error> {
        let row = self
            .inner
            .database
            .read(|tx| index::root(tx, &cid.to_bytes()))?;
        Ok(row.and_then(|row| row.to_root()))
    }

    /// Removes a root and the blocks that no other root holds; nothing when
    /// there is no such root. Blocks in open batches stay as cache.
    ///
    /// # Errors
    /// When the database cannot be written; nothing was removed then.
    pub fn remove_root(&self, cid: &Cid) -> Result<Removed, Error> {
        let protected = self.protected();
        let now = self.now();
        let removed = self.write(|index| match index.root_id(&cid.to_bytes())? {
            Some(id) => index.remove_root(id, now, &|key| protected.contains(key)),
            None => Ok(Removed::default()),
        })?;
        drop(protected);
        self.inner
            .metrics
            .store_removed
            .with_label_values(&["removed"])
            .inc_by(removed.blocks);
        self.inner.removals.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = self.reclaim() {
            // The content was removed all the same; the next sweep tries again.
            log::warn!(error:% = error; "cannot give back the space of removed blocks yet");
        }
        Ok(removed)
    }
}
