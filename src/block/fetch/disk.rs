//! The part of a fetch that waits for the disk. It verifies and stores the blocks that
//! have arrived, looks up blocks that may be here, and reads blocks that wait in the
//! store. This is done on a blocking thread, in one piece of work at a time that includes
//! everything that is due, so that handing work over does not dominate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cid::Cid;
use libp2p::PeerId;

use crate::block::exchange::pb::message::Block;
use crate::content::address;
use crate::content::check::accept;
use crate::content::dag::{self, DagError};
use crate::content::fetch::charged_bytes::ChargedBytes;
use crate::content::fetch::memory::{MemoryUse, Reservation};
use crate::content::fetch::plan::Arrived;
use crate::content::refusal::Refusal;
use crate::message::compression::Compression;
use crate::store::{Batch, Error, Lifetime, Store};

/// A block as a provider sent it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) cid: Cid,
    /// The session that brought it.
    pub(super) from: u64,
    /// The peer of that session.
    pub(super) peer: PeerId,
    pub(super) block: Box<Block>,
    /// Its bytes as they were sent, for as long as they are here.
    pub(super) held: ChargedBytes,
}

/// The result of verifying a delivery.
pub(super) struct Verified {
    pub(super) cid: Cid,
    pub(super) from: u64,
    pub(super) peer: PeerId,
    /// The number of bytes of the block. For a block that is refused, these are the bytes
    /// that were sent.
    pub(super) len: u64,
    pub(super) found: Result<Found, Refusal>,
}

/// Work for the disk.
#[derive(Debug, Default)]
pub(super) struct DiskWork {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) look_up: Vec<Cid>,
    pub(super) read: Vec<Cid>,
    /// The memory that is reserved for what will be read.
    pub(super) reserve: Option<Reservation>,
    pub(super) checkpoint: bool,
}

impl DiskWork {
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
            && self.look_up.is_empty()
            && self.read.is_empty()
            && !self.checkpoint
    }
}

/// What a block was found to be.
pub(super) enum Found {
    Here(Arrived),
    /// The block is in the store and verified, but is not a node of a file.
    Bad(DagError),
    Absent,
}

/// The result of the work.
pub(super) struct DiskResult {
    pub(super) batch: Option<Batch>,
    pub(super) deliveries: Vec<Verified>,
    /// The blocks that were looked up or read, with the length of an inner node that was
    /// here before.
    pub(super) local: Vec<(Cid, Found, u64)>,
    /// A block that is here but whose time is over, and for how long it has been over.
    pub(super) over: Option<(Cid, Duration)>,
    pub(super) error: Option<Error>,
}

/// What the work needs to know.
#[derive(Clone)]
pub(super) struct DiskContext {
    pub(super) store: Store,
    pub(super) memory: Arc<MemoryUse>,
    /// The largest block to accept from a peer.
    pub(super) max_block: usize,
    /// The wall clock.
    pub(super) now: SystemTime,
}

/// Does `work`. The batch is opened with the first block, and is returned.
pub(super) fn run(context: &DiskContext, batch: Option<Batch>, work: DiskWork) -> DiskResult {
    let mut result = DiskResult {
        batch,
        deliveries: Vec::new(),
        local: Vec::new(),
        over: None,
        error: None,
    };
    result.error = result.work(context, work).err();
    result
}

impl DiskResult {
    fn work(&mut self, context: &DiskContext, work: DiskWork) -> Result<(), Error> {
        let store = &context.store;
        // The reservation lasts until what was read is counted.
        let _reserve = work.reserve;
        for delivery in work.deliveries {
            let verified = self.deliver(context, delivery)?;
            self.deliveries.push(verified);
        }
        if work.checkpoint {
            self.batch(store)?.checkpoint()?;
        }
        for cid in work.look_up {
            // The links of a node are needed now, the bytes of a leaf only when it is
            // their turn.
            let found = if !self.may_be_used(context, &cid)? {
                (Found::Absent, 0)
            } else if cid.codec() == address::DAG_PB {
                self.read(context, cid)?
            } else if self.batch(store)?.keep(&cid)? {
                (Found::Here(Arrived::Leaf(None)), 0)
            } else {
                (Found::Absent, 0)
            };
            self.local.push((cid, found.0, found.1));
        }
        for cid in work.read {
            let (found, _) = self.read(context, cid)?;
            self.local.push((cid, found, 0));
        }
        Ok(())
    }

    /// Checks a block, and stores it if it is valid.
    fn deliver(&mut self, context: &DiskContext, delivery: Delivery) -> Result<Verified, Error> {
        let Delivery {
            cid,
            from,
            peer,
            block,
            held,
        } = delivery;
        let as_it_came = block.compression == Compression::None as i32;
        let mut len = held.len() as u64;
        let found = match accept(*block, &cid, context.max_block, context.now) {
            Ok(accepted) => {
                let held = if as_it_came {
                    held
                } else {
                    ChargedBytes::new(accepted.data, &context.memory)
                };
                len = held.len() as u64;
                self.batch(&context.store)?.put_published(
                    &cid,
                    held.bytes(),
                    accepted.provenance,
                )?;
                Ok(found(&cid, held))
            }
            Err(refusal) => Err(refusal),
        };
        Ok(Verified {
            cid,
            from,
            peer,
            len,
            found,
        })
    }

    /// Returns whether the store's copy may be used. A copy whose time is over is fetched
    /// again, because someone may have put the block anew, and this node could not serve
    /// its copy.
    fn may_be_used(&mut self, context: &DiskContext, cid: &Cid) -> Result<bool, Error> {
        let Lifetime::Expired(at) = context.store.lifetime(cid, context.now)? else {
            return Ok(true);
        };
        if let Some(at) = at {
            let ago = context.now.duration_since(at).unwrap_or_default();
            self.over = Some((*cid, ago));
        }
        Ok(false)
    }

    /// Reads a block and makes it part of what is being fetched.
    fn read(&mut self, context: &DiskContext, cid: Cid) -> Result<(Found, u64), Error> {
        let (store, memory) = (&context.store, &context.memory);
        if !self.batch(store)?.keep(&cid)? {
            return Ok((Found::Absent, 0));
        }
        let mut bytes = self.get(store, &cid)?;
        if bytes.is_none() && self.batch(store)?.keep(&cid)? {
            // This batch has put the block, but it is not visible yet. This is rare,
            // because the cache in memory holds blocks that arrive out of order, unless
            // the speeds of the providers differ greatly or the reader is slower than the
            // network.
            self.batch(store)?.checkpoint()?;
            bytes = self.get(store, &cid)?;
        }
        let Some(bytes) = bytes else {
            return Ok((Found::Absent, 0));
        };
        let len = bytes.len() as u64;
        Ok((found(&cid, ChargedBytes::new(bytes, memory)), len))
    }

    fn get(&mut self, store: &Store, cid: &Cid) -> Result<Option<Bytes>, Error> {
        match store.get_verified(cid) {
            // It was dropped from the store, so it has to be fetched like any other.
            Err(Error::Damaged { .. }) => {
                log::warn!(cid:% = cid; "a stored block is damaged; fetching it again");
                self.batch(store)?.forget(cid);
                Ok(None)
            }
            other => other,
        }
    }

    fn batch(&mut self, store: &Store) -> Result<&mut Batch, Error> {
        if self.batch.is_none() {
            self.batch = Some(store.batch()?);
        }
        self.batch.as_mut().ok_or(Error::Broken)
    }
}

fn found(cid: &Cid, held: ChargedBytes) -> Found {
    if cid.codec() != address::DAG_PB {
        return Found::Here(Arrived::Leaf(Some(held)));
    }
    match dag::decode_file(held.bytes()) {
        Ok(node) => Found::Here(Arrived::Node(node)),
        Err(error) => Found::Bad(error),
    }
}
