//! A block at the frontier of a plan, and where it is.

use std::collections::BTreeSet;

use crate::content::dag::{Child, FileNode};
use crate::content::fetch::charged_bytes::ChargedBytes;

#[derive(Debug)]
pub(super) enum State {
    /// It is not known whether the block is here.
    Unknown,
    /// The block is being looked for in the store, or is being verified.
    Busy,
    /// The block has to be asked for.
    Missing,
    /// The block has been asked for.
    Asked,
    /// The block is in the store, and its bytes are here too if there is room.
    Leaf(Option<ChargedBytes>),
    /// The block is in the store and is being read.
    Reading,
    /// An inner node in the store that is waiting to be expanded. Its decoded form is
    /// here too if there is room.
    Node(Option<FileNode>),
}

impl State {
    /// Returns the number of bytes that it takes in the cache.
    pub(super) fn weight(&self) -> usize {
        match self {
            State::Leaf(Some(held)) => held.len(),
            State::Node(Some(node)) => weight(node),
            _ => 0,
        }
    }
}

pub(super) fn weight(node: &FileNode) -> usize {
    node.data.len() + node.children.len() * size_of::<Child>()
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) state: State,
    /// The offsets at which the block is needed.
    pub(super) offsets: BTreeSet<u64>,
}
