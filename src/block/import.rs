//! Import: a stream of bytes becomes a tree of blocks in the store.
//!
//! The reader fills one group of chunks while the group before it is hashed and
//! written on a blocking thread; the two groups change places. So memory is
//! 2 × [`GROUP_BYTES`] and the unfinished nodes of the tree, whatever the
//! file's size, and work is handed to another thread once for each group.

use std::io;
use std::mem;

use async_std::task::{JoinHandle, spawn_blocking};
use cid::Cid;
use futures::io::{AsyncRead, AsyncReadExt};

use crate::content::address::{Codec, address};
use crate::content::dag::Child;
use crate::content::layout::{Builder, PROFILE_CHUNK, Tree};
use crate::message::provenance::{Provenance, SignError};
use crate::store::{self, Batch, Root, Store};

/// Bytes of chunks that change threads at once.
const GROUP_BYTES: usize = 8 << 20;

/// Why an import ended without a CID.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The content could not be read.
    #[error("cannot read the content at byte {at}: {source}")]
    Read {
        /// How much was read before.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The store refused it.
    #[error("cannot store the content: {0}")]
    Store(#[from] store::Error),
    /// The node cannot sign it, so that no peer would accept it.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Reads `content` to its end and stores it under the `unixfs-v1-2025` profile.
/// Durable when this returns. `root` makes the store's entry out of the finished
/// tree, `sign` what the publisher says of a block, if anything.
///
/// # Errors
/// See [`ImportError`]. Nothing of the content is kept then.
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
        // The writer is here while no group is being written.
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

/// Chunks that travel between the reader and the writer. The memory is reused.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    len: usize,
}

impl Group {
    /// Reads until the group is full or the content ends; says whether it ended.
    async fn fill<R>(&mut self, content: &mut R, at: &mut u64) -> io::Result<bool>
    where
        R: AsyncRead + Unpin,
    {
        self.len = 0;
        while self.len < GROUP_BYTES {
            if self.len == self.bytes.len() {
                // Grows with the content: a small file takes one chunk of memory.
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

/// The blocking half: hashes chunks, builds the tree, puts blocks.
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

    /// `whole` says that the group is all of the content, so that content
    /// without bytes is one empty block.
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
        // The last group puts at least the empty leaf.
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
