//! Import: turns a stream of bytes into a tree of blocks in the store.
//!
//! The reader fills one group of chunks while the previous group is hashed and written on
//! a blocking thread. Then the two groups change places. So the memory in use is 2 ×
//! [`GROUP_BYTES`] and the unfinished nodes of the tree, whatever the size of the file,
//! and work is handed to another thread only once for each group.

use std::io;
use std::mem;

use async_std::task::{JoinHandle, spawn_blocking};
use cid::Cid;
use futures::io::{AsyncRead, AsyncReadExt};

use crate::content::address::{Codec, address};
use crate::content::dag::Child;
use crate::content::layout::{Builder, PROFILE_CHUNK, Tree};
use crate::message::provenance::Provenance;
use crate::message::signer::SignError;
use crate::store::{self, Batch, Root, Store};

/// The number of bytes of chunks that are handed to the other thread at once.
const GROUP_BYTES: usize = 8 << 20;

/// Why an import ended without a CID.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The content could not be read.
    #[error("cannot read the content at byte {at}: {source}")]
    Read {
        /// The number of bytes that were read before.
        at: u64,
        /// The cause.
        source: io::Error,
    },
    /// The store refused the content.
    #[error("cannot store the content: {0}")]
    Store(#[from] store::Error),
    /// The node cannot sign the content, so no peer would accept it.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Reads `content` to its end and stores it under the `unixfs-v1-2025` profile. The
/// content is durable when this returns. `root` makes the store's entry from the finished
/// tree. `sign` returns what the publisher states about a block, if anything.
///
/// # Errors
/// See [`ImportError`]. After an error, nothing of the content is kept.
pub(crate) async fn import<R>(
    store: &Store,
    mut content: R,
    sign: impl Fn(&Cid) -> Result<Option<Provenance>, SignError> + Send + 'static,
    root: impl FnOnce(&Tree) -> Root + Send + 'static,
) -> Result<Tree, ImportError>
where
    R: AsyncRead + Unpin,
{
    let opening = store.clone();
    let mut writer = Some(spawn_blocking(move || Writer::open(&opening, Box::new(sign))).await?);
    let mut filling = Group::default();
    let mut writing: Option<JoinHandle<Result<(Writer, Group), ImportError>>> = None;
    let mut at = 0;
    loop {
        let ended = filling.fill(&mut content, &mut at).await;
        let mut empty = match writing.take() {
            Some(task) => {
                let (back, group) = task.await?;
                writer = Some(back);
                group
            }
            None => Group::default(),
        };
        let ended = ended.map_err(|source| ImportError::Read { at, source })?;
        mem::swap(&mut filling, &mut empty);
        let full = empty;
        // The writer is here when no group is being written.
        let Some(mut writer) = writer.take() else {
            return Err(ImportError::Store(store::Error::Broken));
        };
        if ended {
            let last = at == full.len as u64;
            return spawn_blocking(move || {
                writer.put(&full, last)?;
                writer.finish(root)
            })
            .await;
        }
        writing = Some(spawn_blocking(move || {
            writer.put(&full, false)?;
            Ok((writer, full))
        }));
    }
}

/// Chunks that are passed between the reader and the writer. The memory is used again.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    len: usize,
}

impl Group {
    /// Reads until the group is full or the content ends. Returns whether the content
    /// ended.
    async fn fill<R>(&mut self, content: &mut R, at: &mut u64) -> io::Result<bool>
    where
        R: AsyncRead + Unpin,
    {
        self.len = 0;
        while self.len < GROUP_BYTES {
            if self.len == self.bytes.len() {
                // The buffer grows with the content, so that a small file takes only one
                // chunk of memory.
                self.bytes
                    .resize(GROUP_BYTES.min(self.len + PROFILE_CHUNK), 0);
            }
            let n = match content.read(&mut self.bytes[self.len..]).await {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if n == 0 {
                return Ok(true);
            }
            self.len += n;
            *at += n as u64;
        }
        Ok(false)
    }
}

/// The blocking half of an import: it hashes chunks, builds the tree and stores blocks.
struct Writer {
    batch: Batch,
    sign: Sign,
    tree: Builder,
}

type Sign = Box<dyn Fn(&Cid) -> Result<Option<Provenance>, SignError> + Send>;

impl Writer {
    fn open(store: &Store, sign: Sign) -> Result<Self, ImportError> {
        Ok(Writer {
            batch: store.batch()?,
            sign,
            tree: Builder::default(),
        })
    }

    /// Stores the chunks of the group. `whole` says that the group is all of the content,
    /// so that content without any bytes becomes one empty block.
    fn put(&mut self, group: &Group, whole: bool) -> Result<(), ImportError> {
        let content = &group.bytes[..group.len];
        if content.is_empty() && whole {
            return self.leaf(content);
        }
        content
            .chunks(PROFILE_CHUNK)
            .try_for_each(|chunk| self.leaf(chunk))
    }

    fn leaf(&mut self, chunk: &[u8]) -> Result<(), ImportError> {
        let size = chunk.len() as u64;
        let cid = address(chunk, Codec::Raw);
        let Writer { batch, sign, tree } = self;
        store_block(batch, sign, &cid, chunk)?;
        tree.push(
            Child {
                cid,
                size,
                total: size,
            },
            &mut |cid: &Cid, block: &[u8]| store_block(batch, sign, cid, block),
        )
    }

    fn finish(self, root: impl FnOnce(&Tree) -> Root) -> Result<Tree, ImportError> {
        let Writer {
            mut batch,
            sign,
            tree,
        } = self;
        let tree =
            tree.finish(&mut |cid: &Cid, block: &[u8]| store_block(&mut batch, &sign, cid, block))?;
        // The last group stores at least the empty leaf.
        let tree = tree.ok_or(store::Error::Broken)?;
        batch.commit(Some(root(&tree)))?;
        Ok(tree)
    }
}

fn store_block(batch: &mut Batch, sign: &Sign, cid: &Cid, block: &[u8]) -> Result<(), ImportError> {
    match sign(cid)? {
        Some(said) => batch.put_published(cid, block, said)?,
        None => batch.put(cid, block)?,
    }
    Ok(())
}
