//! The balanced layout. It takes leaves, and emits inner nodes as soon as they are full.
//!
//! It follows profile `unixfs-v1-2025` of IPIP-499: every leaf is at the same depth, a
//! node has at most [`PROFILE_WIDTH`] children, and a file of one leaf is just that leaf.
//! The memory needed is one unfinished node per level (width × levels × about 120 bytes),
//! and 16 bytes per block to count them.

use cid::Cid;

use super::address::{Codec, address};
use super::dag::{Child, encode_file};
use super::distinct::Distinct;

/// The number of links of a full node under `unixfs-v1-2025`.
pub const PROFILE_WIDTH: usize = 1024;
/// The number of bytes of a full chunk under `unixfs-v1-2025`.
pub const PROFILE_CHUNK: usize = 1 << 20;

/// Builds the tree from leaves that are pushed in order.
#[derive(Debug)]
pub struct Builder {
    width: usize,
    /// The unfinished nodes, beginning with the parents of leaves.
    levels: Vec<Vec<Child>>,
    blocks: Distinct,
}

/// The finished tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its root: the address, the bytes of content, and the bytes including inner nodes.
    pub root: Child,
    /// The number of leaves and inner nodes, each counted once.
    pub blocks: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new(PROFILE_WIDTH)
    }
}

impl Builder {
    /// Creates a builder of nodes with at most `width` children, which must be at least
    /// 2.
    pub fn new(width: usize) -> Self {
        Builder {
            width: width.max(2),
            levels: vec![Vec::new()],
            blocks: Distinct::default(),
        }
    }

    /// Adds the next leaf. `emit` is called with every inner node that becomes full.
    ///
    /// # Errors
    /// Returns the errors of `emit`. The builder cannot be used after one.
    pub fn push<E>(
        &mut self,
        leaf: Child,
        emit: &mut impl FnMut(&Cid, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.blocks.add(&leaf.cid);
        self.add(0, leaf, emit)
    }

    /// Finishes the nodes that are not full and returns the tree, or `None` when there
    /// are no leaves.
    ///
    /// # Errors
    /// Returns the errors of `emit`.
    pub fn finish<E>(
        mut self,
        emit: &mut impl FnMut(&Cid, &[u8]) -> Result<(), E>,
    ) -> Result<Option<Tree>, E> {
        let mut level = 0;
        loop {
            let top = level + 1 == self.levels.len();
            if top && self.levels[level].len() <= 1 {
                let root = self.levels[level].first().copied();
                return Ok(root.map(|root| Tree {
                    root,
                    blocks: self.blocks.count(),
                }));
            }
            if !self.levels[level].is_empty() {
                self.close(level, emit)?;
            }
            level += 1;
        }
    }

    fn add<E>(
        &mut self,
        level: usize,
        child: Child,
        emit: &mut impl FnMut(&Cid, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(child);
        if self.levels[level].len() == self.width {
            self.close(level, emit)?;
        }
        Ok(())
    }

    /// Combines the children of `level` into one node of the level above.
    fn close<E>(
        &mut self,
        level: usize,
        emit: &mut impl FnMut(&Cid, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let children = &mut self.levels[level];
        let block = encode_file(children);
        let node = Child {
            cid: address(&block, Codec::DagPb),
            size: children.iter().map(|child| child.size).sum(),
            total: children.iter().map(|child| child.total).sum::<u64>() + block.len() as u64,
        };
        children.clear();
        self.blocks.add(&node.cid);
        emit(&node.cid, &block)?;
        self.add(level + 1, node, emit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::dag;
    use super::super::testing::{Vector, content, vectors};
    use super::*;
    use bytes::Bytes;
    use std::collections::HashMap;
    use std::convert::Infallible;

    fn import(vector: &Vector) -> Tree {
        let mut builder = Builder::new(vector.links);
        let mut emit = |_: &Cid, _: &[u8]| Ok::<_, Infallible>(());
        let mut at = 0;
        loop {
            let chunk = content(at, vector.chunk.min((vector.size - at) as usize));
            if !chunk.is_empty() || vector.size == 0 {
                let size = chunk.len() as u64;
                let cid = address(&chunk, Codec::Raw);
                builder
                    .push(
                        Child {
                            cid,
                            size,
                            total: size,
                        },
                        &mut emit,
                    )
                    .unwrap();
                at += size;
            }
            if at == vector.size {
                return builder.finish(&mut emit).unwrap().unwrap();
            }
        }
    }

    /// The vectors were made by an implementation that shares no code with this one: see
    /// `tests/vectors/generate.mjs`.
    #[test]
    fn cids_are_those_of_the_foreign_importer() {
        let vectors = vectors();
        assert!(vectors.len() > 10);
        for vector in vectors {
            let tree = import(&vector);
            assert_eq!(tree.root.cid.to_string(), vector.cid, "{vector:?}");
            assert_eq!(tree.root.size, vector.size);
            assert_eq!(tree.blocks, vector.blocks, "{vector:?}");
        }
    }

    #[test]
    fn no_leaves_make_no_tree() {
        let none = Builder::new(3)
            .finish(&mut |_, _| Ok::<_, Infallible>(()))
            .unwrap();
        assert_eq!(none, None);
    }

    /// For any number of leaves, walking the tree returns them in order, and no node is
    /// wider than requested.
    #[test]
    fn trees_of_every_small_shape_walk_back_to_their_leaves() {
        fn walk(cid: &Cid, blocks: &HashMap<Cid, Bytes>, width: usize, out: &mut Vec<Cid>) {
            if cid.codec() == super::super::address::RAW {
                return out.push(*cid);
            }
            let node = dag::decode_file(&blocks[cid]).unwrap();
            assert!(node.children.len() <= width);
            for child in node.children {
                walk(&child.cid, blocks, width, out);
            }
        }
        for width in [2, 3, 5] {
            for count in 1..140_u32 {
                let mut blocks = HashMap::new();
                let mut emit = |cid: &Cid, block: &[u8]| {
                    blocks.insert(*cid, Bytes::copy_from_slice(block));
                    Ok::<_, Infallible>(())
                };
                let mut builder = Builder::new(width);
                let mut leaves = Vec::new();
                for i in 0..count {
                    let cid = address(&i.to_le_bytes(), Codec::Raw);
                    leaves.push(cid);
                    builder
                        .push(
                            Child {
                                cid,
                                size: 4,
                                total: 4,
                            },
                            &mut emit,
                        )
                        .unwrap();
                }
                let tree = builder.finish(&mut emit).unwrap().unwrap();
                assert_eq!(tree.root.size, u64::from(count) * 4);
                let mut walked = Vec::new();
                walk(&tree.root.cid, &blocks, width, &mut walked);
                assert_eq!(walked, leaves, "{count} leaves, {width} wide");
            }
        }
    }
}
