//! The blocking half of a fetch: what came is verified and stored, what may be
//! here is looked up, what waits in the store is read. One hop at a time, with
//! everything that is due, so that the hops do not dominate.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use libp2p::PeerId;

use super::held::{Held, Meter};
use super::plan::Arrived;
use crate::block::address::{self, VerifyError};
use crate::block::dag::{self, DagError};
use crate::store::{Batch, Error, Store};

/// A block as a provider sent it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) cid: Cid,
    /// Which session brought it.
    pub(super) from: u64,
    /// And whose session that is.
    pub(super) peer: PeerId,
    pub(super) held: Held,
}

/// What one hop does.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) look_up: Vec<Cid>,
    pub(super) read: Vec<Cid>,
    pub(super) checkpoint: bool,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
            && self.look_up.is_empty()
            && self.read.is_empty()
            && !self.checkpoint
    }
}

/// What a block turned out to be.
pub(super) enum Found {
    Here(Arrived),
    /// In the store and verified, but not a node of a file.
    Bad(DagError),
    Absent,
}

/// What one hop found.
pub(super) struct Done {
    pub(super) batch: Option<Batch>,
    pub(super) deliveries: Vec<(Delivery, Result<Found, VerifyError>)>,
    /// Looked up or read, with the length of an inner node that was here before.
    pub(super) local: Vec<(Cid, Found, u64)>,
    pub(super) error: Option<Error>,
}

/// Does `work`. The batch is opened with the first block and comes back.
pub(super) fn run(store: &Store, batch: Option<Batch>, work: Work, meter: &Arc<Meter>) -> Done {
    let mut done = Done {
        batch,
        deliveries: Vec::new(),
        local: Vec::new(),
        error: None,
    };
    done.error = done.work(store, work, meter).err();
    done
}

impl Done {
    fn work(&mut self, store: &Store, work: Work, meter: &Arc<Meter>) -> Result<(), Error> {
        for delivery in work.deliveries {
            let verified = address::verify(&delivery.cid, delivery.held.bytes());
            let found = match verified {
                Ok(()) => {
                    self.batch(store)?
                        .put(&delivery.cid, delivery.held.bytes())?;
                    Ok(found(&delivery.cid, delivery.held.clone()))
                }
                Err(error) => Err(error),
            };
            self.deliveries.push((delivery, found));
        }
        if work.checkpoint {
            self.batch(store)?.checkpoint()?;
        }
        for cid in work.look_up {
            // A node's links are needed now, a leaf's bytes when its turn comes.
            let found = if cid.codec() == address::DAG_PB {
                self.read(store, cid, meter)?
            } else if self.batch(store)?.keep(&cid)? {
                (Found::Here(Arrived::Leaf(None)), 0)
            } else {
                (Found::Absent, 0)
            };
            self.local.push((cid, found.0, found.1));
        }
        for cid in work.read {
            let (found, _) = self.read(store, cid, meter)?;
            self.local.push((cid, found, 0));
        }
        Ok(())
    }

    /// Reads a block and makes it part of what is fetched.
    fn read(&mut self, store: &Store, cid: Cid, meter: &Arc<Meter>) -> Result<(Found, u64), Error> {
        if !self.batch(store)?.keep(&cid)? {
            return Ok((Found::Absent, 0));
        }
        let mut bytes = self.get(store, &cid)?;
        if bytes.is_none() && self.batch(store)?.keep(&cid)? {
            // Put by this batch and not visible yet. Rare: the cache in memory
            // holds what is out of order but for very uneven providers or a
            // reader that is slower than the network.
            self.batch(store)?.checkpoint()?;
            bytes = self.get(store, &cid)?;
        }
        let Some(bytes) = bytes else {
            return Ok((Found::Absent, 0));
        };
        let len = bytes.len() as u64;
        Ok((found(&cid, Held::new(bytes, meter)), len))
    }

    fn get(&mut self, store: &Store, cid: &Cid) -> Result<Option<Bytes>, Error> {
        match store.get_verified(cid) {
            // Dropped from the store: to be fetched like any other.
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

fn found(cid: &Cid, held: Held) -> Found {
    if cid.codec() != address::DAG_PB {
        return Found::Here(Arrived::Leaf(Some(held)));
    }
    match dag::decode_file(held.bytes()) {
        Ok(node) => Found::Here(Arrived::Node(node)),
        Err(error) => Found::Bad(error),
    }
}
