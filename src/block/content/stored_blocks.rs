//! The store as the source of the serving side.

use std::time::SystemTime;

use cid::Cid;

use super::super::exchange::serve::{Source, Stored};
use crate::message::provenance::{Provenance, is_clock_set, ttl_seconds};
use crate::message::signer::Signer;
use crate::store::{self, Lifetime, Store};
use crate::text::unix_time::unix_millis;

/// Why a block without a publisher is not served while the clock is not set.
const UNDATED: &str = "this host's clock is not set, and a block must be dated";

/// The store as the source of the serving side.
#[derive(Debug, Clone)]
pub(super) struct StoredBlocks {
    pub(super) store: Store,
    pub(super) signer: Signer,
    /// The wall clock.
    pub(super) now: fn() -> SystemTime,
}

impl StoredBlocks {
    /// Returns what the publisher of a block states about it, or `None` when its time is
    /// over.
    fn provenance(&self, cid: &Cid) -> Result<Option<Provenance>, String> {
        let now = (self.now)();
        let life = self.store.lifetime(cid, now).map_err(|e| e.to_string())?;
        let (put_at, expires_at) = match life {
            Lifetime::Published(provenance) => return Ok(Some(provenance)),
            Lifetime::OfRoot { put_at, expires_at } => (put_at, expires_at),
            Lifetime::Expired(_) | Lifetime::Absent => return Ok(None),
        };
        if !is_clock_set(now) {
            return Err(UNDATED.into());
        }
        let ttl = expires_at.map(|at| at.duration_since(put_at).unwrap_or_default());
        // It was put before the clock was set, and a sweep has not dated it yet.
        let put_at = if is_clock_set(put_at) { put_at } else { now };
        let ttl = ttl.map_or(u32::MAX, ttl_seconds);
        let signed = self
            .signer
            .sign(&cid.hash().to_bytes(), unix_millis(put_at), ttl);
        signed.map(Some).map_err(|e| e.to_string())
    }
}

impl Source for StoredBlocks {
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String> {
        let Some(provenance) = self.provenance(cid)? else {
            return Ok(None);
        };
        match self.store.get(cid) {
            Ok(data) => Ok(data.map(|data| Stored { data, provenance })),
            // The store drops the block, so that this node does not have it.
            Err(store::Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, String> {
        let now = (self.now)();
        match self.store.lifetime(cid, now).map_err(|e| e.to_string())? {
            Lifetime::Published(_) => {}
            Lifetime::OfRoot { .. } if is_clock_set(now) => {}
            Lifetime::OfRoot { .. } => return Err(UNDATED.into()),
            Lifetime::Expired(_) | Lifetime::Absent => return Ok(false),
        }
        self.store.has(cid).map_err(|e| e.to_string())
    }
}
