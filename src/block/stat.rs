//! Finds out which parts of a tree are here. This blocks.

use std::collections::HashSet;

use cid::Cid;

use super::content::ContentError;
use crate::content::address::DAG_PB;
use crate::content::dag::{self, MAX_DEPTH};
use crate::message::provenance::Provenance;
use crate::store::{Root, Store};

/// The parts of some content that are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The content.
    pub cid: Cid,
    /// The number of bytes of the whole content; `None` while its root block is not here.
    pub size: Option<u64>,
    /// The number of blocks of the tree that are known, each counted once. These are all
    /// blocks if `complete` is set.
    pub blocks: u64,
    /// The number of those blocks that are here.
    pub local_blocks: u64,
    /// Whether every block is here.
    pub complete: bool,
    /// The store's entry, if the content is kept as such and is not only in the cache.
    pub root: Option<Root>,
    /// What its publisher states about its root block. It is `None` when the store has
    /// the block from a time before blocks had a publisher.
    pub provenance: Option<Provenance>,
}

/// The result of a walk through a tree in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// The number of bytes of content, if the root block is here.
    pub(super) size: Option<u64>,
    /// The number of blocks that were found, each counted once.
    pub(super) blocks: u64,
    /// The number of those blocks that are in the store.
    pub(super) local: u64,
}

/// Walks through the parts of `root` that are here. Each block is examined once, however
/// often the tree repeats it, so that the walk ends after as many steps as the store has
/// links.
pub(super) fn walk(store: &Store, root: &Cid) -> Result<Walk, ContentError> {
    let mut walk = Walk::default();
    let mut seen = HashSet::from([*root]);
    let mut stack = vec![(*root, 0)];
    while let Some((cid, depth)) = stack.pop() {
        walk.blocks += 1;
        // A leaf is only counted, except for a root, whose length is the size.
        if cid.codec() != DAG_PB && depth > 0 {
            walk.local += u64::from(store.has(&cid)?);
            continue;
        }
        let Some(block) = store.get(&cid)? else {
            continue;
        };
        walk.local += 1;
        if cid.codec() != DAG_PB {
            walk.size = Some(block.len() as u64);
            continue;
        }
        let unreadable = |reason| ContentError::Unreadable { cid, reason };
        let node = dag::decode_file(&block).map_err(|error| unreadable(error.to_string()))?;
        if depth == 0 {
            walk.size = Some(node.size);
        }
        if depth == MAX_DEPTH {
            return Err(unreadable("the tree is too deep".into()));
        }
        for child in node.children {
            if seen.insert(child.cid) {
                stack.push((child.cid, depth + 1));
            }
        }
    }
    Ok(walk)
}
