//! Hands work to the disk, and takes the results.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use async_std::task::spawn_blocking;
use cid::Cid;

use super::super::FetchError;
use super::super::disk::{self, DiskContext, DiskWork};
use super::Run;
use super::output::MAX_OUT;
use crate::block::network::Network;
use crate::content::fetch::memory::Reservation;
use crate::store::{self, Root};

/// The number of bytes that are read back from the store at once, for the next part of
/// the content.
const READ_BACK: usize = 4 << 20;

/// The number of blocks that are looked up in the store at once. A look-up takes some
/// microseconds.
const LOOK_UP: usize = 256;

/// The number of received bytes between two checkpoints, which is the most that an
/// interruption costs. A checkpoint waits for the disk, so it is not free either.
const CHECKPOINT: u64 = 256 << 20;

impl<N: Network> Run<N> {
    pub(super) fn start_disk_work(&mut self, now: Instant) {
        if self.at_disk.is_some() {
            return;
        }
        let (read, reserve) = self.read_back();
        let shares = self.must_store_for_others(now);
        let work = DiskWork {
            deliveries: mem::take(&mut self.deliveries),
            look_up: self.plan.look_up_next(LOOK_UP),
            read,
            reserve,
            checkpoint: shares || self.since_checkpoint >= CHECKPOINT,
        };
        if work.is_empty() {
            return;
        }
        if work.checkpoint {
            self.since_checkpoint = 0;
            self.sharing = Some(now);
        }
        let context = self.disk_context();
        let batch = self.batch.take();
        self.at_disk = Some(spawn_blocking(move || disk::run(&context, batch, work)));
    }

    /// Returns what to read from the store for the reader, as far as there is memory for
    /// it. The first block is read in any case once the reader has taken everything.
    fn read_back(&mut self) -> (Vec<Cid>, Option<Reservation>) {
        if self.out_bytes >= MAX_OUT {
            return (Vec::new(), None);
        }
        let waits = self.out.is_empty() && self.reader.queue.len() == 0;
        let reserve = self.memory.reserve(READ_BACK);
        self.waits_for_memory = reserve.is_none() && !waits;
        if self.waits_for_memory {
            return (Vec::new(), None);
        }
        let bytes = reserve.as_ref().map_or(0, Reservation::len);
        let read = self.plan.read_next(bytes as u64);
        let reserve = reserve.filter(|_| !read.is_empty());
        (read, reserve)
    }

    fn disk_context(&self) -> DiskContext {
        DiskContext {
            store: self.setting.store.clone(),
            memory: Arc::clone(&self.memory),
            max_block: self.options.max_block,
            now: (self.setting.now)(),
        }
    }

    /// Makes the blocks that are here durable, as the content of the root.
    pub(super) async fn keep(&mut self) -> Result<(), FetchError> {
        let now = (self.setting.now)();
        let root = self.options.keep.then(|| Root {
            cid: self.root,
            size: self.plan.done(),
            blocks: self.plan.nodes(),
            pinned: self.options.pin,
            put_at: now,
            expires_at: None,
            name: self.options.name.clone(),
        });
        if let Some(work) = self.at_disk.take() {
            let done = work.await;
            self.batch = done.batch;
            if let Some(error) = done.error {
                return Err(error.into());
            }
        }
        if let Some(batch) = self.batch.take() {
            let kept = spawn_blocking(move || {
                let root = match root {
                    Some(root) => Some(Root {
                        // This is the time that the publisher has set, and not a time of
                        // this node.
                        expires_at: batch.expires_at(&root.cid, now)?,
                        ..root
                    }),
                    None => None,
                };
                batch.commit(root)
            })
            .await;
            match kept {
                // All of it was here before. The reader gets it even if a full disk makes
                // it impossible to note that it was read.
                Err(error @ (store::Error::DiskFull { .. } | store::Error::ReadOnly { .. }))
                    if self.received == 0 =>
                {
                    log::warn!(cid:% = self.root, error:% = error; "content served from here, but not noted as kept");
                }
                kept => kept?,
            }
        }
        Ok(())
    }

    /// Makes the blocks that have arrived durable without a root, for the next attempt.
    pub(super) async fn leave_as_cache(&mut self) {
        if let Some(work) = self.at_disk.take() {
            self.batch = work.await.batch;
        }
        let checkpoint = self.batch.is_some() || !self.deliveries.is_empty();
        let deliveries = mem::take(&mut self.deliveries);
        let work = DiskWork {
            deliveries,
            checkpoint,
            ..DiskWork::default()
        };
        let (context, batch) = (self.disk_context(), self.batch.take());
        let done = spawn_blocking(move || disk::run(&context, batch, work)).await;
        if let Some(error) = done.error {
            log::warn!(cid:% = self.root, error:% = error; "cannot keep what was fetched so far");
        }
    }
}
