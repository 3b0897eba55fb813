//! What can go wrong in the store, each as one line for a person.

use std::{io, path::PathBuf};

use cid::Cid;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}{}", path.display(), crate::system::advice::for_data(source))]
    Io {
        /// What was being done, as a verb phrase.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The disk or the quota under the data folder is full (`ENOSPC`, `EDQUOT`),
    /// or has less free than the database needs to go on working.
    #[error(
        "cannot {doing} {}: the disk is full ({detail}); nothing that was stored is lost; \
         free space there or lower P2P_STORE_MAX_BYTES",
        path.display()
    )]
    DiskFull {
        /// What was being done.
        doing: &'static str,
        /// Where the space ran out.
        path: PathBuf,
        /// The system's words, or how much is left.
        detail: String,
    },
    /// The file system under the data folder is mounted read-only (`EROFS`).
    #[error("cannot {doing} {}: the file system is read-only; remount it for writing", path.display())]
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
    },
    /// Another process has the data folder open.
    #[error(
        "the data folder {} is in use by another p2p-node; stop that one or set P2P_DATA_DIR to another folder",
        dir.display()
    )]
    Locked {
        /// The data folder.
        dir: PathBuf,
    },
    /// The database was written by a newer p2p-node.
    #[error(
        "the database {} has format {found}, this p2p-node knows up to {known}; \
         install the newer p2p-node again or set P2P_DATA_DIR to another folder",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this program reads.
        known: u64,
    },
    /// The embedded database failed for another reason.
    #[error("the database {} failed: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// Its own error.
        source: Box<redb::Error>,
    },
    /// The store is at its cap, and nothing more may be evicted.
    #[error(
        "the store is full: {need} more bytes do not fit under P2P_STORE_MAX_BYTES={max}, and what \
         is stored ({used} bytes) is pinned or in use; raise P2P_STORE_MAX_BYTES or remove content \
         with `p2p-node rm`"
    )]
    Full {
        /// Bytes that were to be added.
        need: u64,
        /// Bytes in use that cannot be evicted.
        used: u64,
        /// The cap.
        max: u64,
    },
    /// A block is larger than this node accepts.
    #[error("block {cid} has {len} bytes, more than P2P_MAX_BLOCK_BYTES={max}")]
    TooLarge {
        /// The block.
        cid: Cid,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The payload on disk is not what was stored.
    #[error(
        "block {cid} in {} at offset {offset} is damaged ({reason}); it was dropped from the store: \
         put or get its content again, and check the disk",
        path.display()
    )]
    Damaged {
        /// The block.
        cid: Box<Cid>,
        /// The file that holds its payload.
        path: PathBuf,
        /// Where in that file.
        offset: u64,
        /// What does not match.
        reason: &'static str,
    },
    /// There are no sequence numbers left.
    #[error(transparent)]
    Exhausted(#[from] crate::message::sequence::Exhausted),
    /// A block that an open batch relied on was dropped as damaged in the meantime.
    #[error(
        "a block of this batch was dropped from the store as damaged; put or get the content again"
    )]
    Vanished,
    /// An earlier write of this batch failed, so it cannot be committed.
    #[error("an earlier write of this batch failed; put or get the content again")]
    Broken,
}

impl Error {
    /// Makes the error that says what the operator has to do about an I/O error.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
                doing,
                path,
                detail: source.to_string(),
            },
            io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { doing, path },
            _ => Error::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// The same for an error of the database.
    pub(super) fn database(path: impl Into<PathBuf>, source: redb::Error) -> Self {
        match source {
            redb::Error::Io(source) => Error::io("write the database", path, source),
            source => Error::Database {
                path: path.into(),
                source: Box::new(source),
            },
        }
    }
}
