//! What of a tree is here. Blocking.

use std::collections::HashSet;

use cid::Cid;

use super::content::ContentError;
use crate::content::address::DAG_PB;
use crate::content::dag::{self, MAX_DEPTH};
use crate::message::provenance::Provenance;
use crate::store::{Root, Store};

/// What is here of some content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The content.
    pub cid: Cid,
    /// Bytes of the whole content; `None` while its root block is not here.
    pub size: Option<u64>,
    /// Blocks of the tree that are known, each counted once. All of them when
    /// `complete`.
    pub blocks: u64,
    /// Those of them that are here.
    pub local_blocks: u64,
    /// Every block is here.
    pub complete: bool,
    /// The store's entry, when it is kept as content and not only as cache.
    pub root: Option<Root>,
    /// What its publisher says of its root block; absent when the store has it
    /// from a time before blocks had a publisher.
    pub provenance: Option<Provenance>,
}

/// What a walk through a tree in the store found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// Bytes of content, when the root block is here.
    pub(super) size: Option<u64>,
    /// Blocks met, each counted once.
    pub(super) blocks: u64,
    /// Those of them that are in the store.
    pub(super) local: u64,
}

/// Walks what is here of `root`. Each block is looked at once, however often the
/// tree repeats it, so the walk ends after as many steps as the store has links.
pub(super) fn walk(store: &Store, root: &Cid) -> Result<Walk, ContentError> {
    let mut walk = Walk::default();
    let mut seen = HashSet::from([*root]);
    let mut stack = vec![(*root, 0)];
    while let Some((cid, depth)) = stack.pop() {
        walk.blocks += 1;
        // A leaf is only counted, but for a root, whose length is the size.
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
