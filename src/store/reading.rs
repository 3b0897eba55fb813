//! Reading blocks, and dropping those that are damaged.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use cid::Cid;
use sha2::{Digest, Sha256};

use super::handle::lock;
use super::segment::{Location, ReadError};
use super::{Error, Store, index};

/// The code of sha2-256 in a multihash.
pub(super) const SHA2_256: u64 = 0x12;

impl Store {
    /// The payload of a block, `None` when it is not here. Its bytes are those
    /// that were stored as far as length and record header can tell; a caller that
    /// passes them on checks the hash, or uses [`Self::get_verified`].
    ///
    /// # Errors
    /// [`Error::Damaged`] when the record on disk is not this block's; it is
    /// dropped then, so that it can be fetched again. Others when the disk fails.
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, Error> {
        Ok(self.read(cid, self.now())?.map(|(bytes, _)| bytes))
    }

    /// As [`Self::get`], and checks that the bytes hash to the CID (sha2-256;
    /// other functions are left to the caller).
    ///
    /// # Errors
    /// As [`Self::get`]; a wrong hash is [`Error::Damaged`] as well.
    pub fn get_verified(&self, cid: &Cid) -> Result<Option<Bytes>, Error> {
        let Some((bytes, at)) = self.read(cid, self.now())? else {
            return Ok(None);
        };
        if cid.hash().code() == SHA2_256 && Sha256::digest(&bytes)[..] != *cid.hash().digest() {
            return Err(self.drop_damaged(cid, at, "its hash differs"));
        }
        Ok(Some(bytes))
    }

    /// Whether the block is here and its bytes are `data`. A block with other bytes is
    /// dropped.
    pub(super) fn holds(&self, cid: &Cid, data: &[u8]) -> Result<bool, Error> {
        let damage = match self.read(cid, self.now()) {
            Ok(Some((bytes, _))) if bytes == data => return Ok(true),
            Ok(Some((_, at))) => self.drop_damaged(cid, at, "its bytes differ"),
            Ok(None) => return Ok(false),
            Err(damage @ Error::Damaged { .. }) => damage,
            Err(error) => return Err(error),
        };
        log::warn!(error:% = damage; "a stored block is damaged and is stored again");
        Ok(false)
    }

    fn read(&self, cid: &Cid, now: u64) -> Result<Option<(Bytes, Location)>, Error> {
        let key = cid.hash().to_bytes();
        loop {
            let removals = self.inner.removals.load(Ordering::Acquire);
            let Some(at) = self.locate(&key)? else {
                return Ok(None);
            };
            let result = self.inner.segments.read(&key, at);
            // A removal may have punched the range while it was being read.
            if self.inner.removals.load(Ordering::Acquire) != removals
                && self.locate(&key)? != Some(at)
            {
                continue;
            }
            return match result {
                Ok(bytes) => {
                    lock(&self.inner.touches).add(key, now);
                    Ok(Some((bytes, at)))
                }
                // It may have gone just after the look above; ask once more.
                Err(ReadError::Damaged(_)) if self.locate(&key)? != Some(at) => continue,
                Err(ReadError::Damaged(reason)) => Err(self.drop_damaged(cid, at, reason)),
                Err(ReadError::Io(e)) => {
                    Err(Error::io("read", self.inner.segments.path(at.segment), e))
                }
            };
        }
    }

    /// Whether the block is here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has(&self, cid: &Cid) -> Result<bool, Error> {
        Ok(self.locate(&cid.hash().to_bytes())?.is_some())
    }

    /// Where the payload of the block `key` is.
    pub(super) fn locate(&self, key: &[u8]) -> Result<Option<Location>, Error> {
        self.inner.database.read(|tx| index::locate(tx, key))
    }

    /// Takes a block out of the index, so that it can be stored again, and
    /// makes the error that says where it was.
    fn drop_damaged(&self, cid: &Cid, at: Location, reason: &'static str) -> Error {
        let path = self.inner.segments.path(at.segment);
        let key = cid.hash().to_bytes();
        let dropped = self.write(|index| {
            if index.locate(&key)? == Some(at) {
                index.remove(&key)?;
            }
            Ok(())
        });
        self.inner.removals.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = dropped {
            log::warn!(cid:% = cid, error:% = error; "cannot drop a damaged block");
        }
        Error::Damaged {
            cid: Box::new(*cid),
            path,
            offset: at.offset,
            reason,
        }
    }
}
