//! The part of a file's tree that is not delivered yet. The plan knows which blocks of it
//! are here, on their way, and next.
//!
//! The plan is the frontier of the tree in the order of the content: its leaves and
//! subtrees, by the offset of their first byte. Everything before the first of them has
//! been delivered. An inner node that arrives is replaced by its children. Only the first
//! [`INNER_AHEAD`] unexpanded inner nodes are asked for, and a node is expanded early
//! only while the frontier is short. So neither a wide nor a deep tree makes it grow.

mod block;
mod entry;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cid::Cid;

use super::charged_bytes::ChargedBytes;
use super::plan_error::PlanError;
use crate::content::address;
use crate::content::dag::{FileNode, MAX_DEPTH};
use crate::content::distinct::Distinct;
use block::{Block, State, weight};
use entry::{Entry, What};

/// The number of inner nodes that are asked for before they are needed. One with 1,024
/// links of 1 MiB covers a gibibyte. Small ones of other importers cover 40 MiB, so that
/// a few of them keep fast providers busy.
const INNER_AHEAD: usize = 4;

/// An inner node with no more content than this counts as a leaf that is encoded as
/// dag-pb. In older profiles there is such a leaf for every chunk.
const LIGHT: u64 = 2 << 20;

/// The number of such nodes that are asked for before they are needed.
const LIGHT_AHEAD: usize = 64;

/// The number of entries up to which inner nodes are expanded before they are needed.
/// These are 16 GiB of 1 MiB blocks, which take 5 MiB of memory at about 300 bytes per
/// entry.
const EAGER_FRONTIER: usize = 16 << 10;

/// The number of entries above which a tree is refused. This is enough for nodes of 8,192
/// links that are eight levels deep.
const MAX_FRONTIER: usize = 64 << 10;

/// The number of bytes of blocks that are kept in memory until they are needed. Blocks
/// beyond that wait in the store.
const CACHE: usize = 16 << 20;

/// How many bytes inner nodes may take beyond that, so that leaves that are waiting do
/// not prevent the next links from becoming known.
const NODE_ROOM: usize = 8 << 20;

/// A block that has arrived.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// A leaf, without its bytes when it was only found in the store.
    Leaf(Option<ChargedBytes>),
    /// An inner node.
    Node(FileNode),
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Plan {
    root: Cid,
    total: Option<u64>,
    done: u64,
    entries: BTreeMap<u64, Entry>,
    blocks: HashMap<Cid, Block>,
    /// The offsets of inner nodes that are not expanded.
    inner: BTreeSet<u64>,
    /// Those of them with more content than [`LIGHT`].
    heavy: BTreeSet<u64>,
    unknown: BTreeMap<u64, Cid>,
    missing: BTreeMap<u64, Cid>,
    asked: BTreeMap<u64, Cid>,
    cached: usize,
    nodes: Distinct,
    max_size: Option<u64>,
}

impl Plan {
    /// Creates a plan to read the whole of `root`.
    pub(crate) fn new(root: Cid, max_size: Option<u64>) -> Self {
        let mut plan = Plan {
            root,
            total: None,
            done: 0,
            entries: BTreeMap::new(),
            blocks: HashMap::new(),
            inner: BTreeSet::new(),
            heavy: BTreeSet::new(),
            unknown: BTreeMap::new(),
            missing: BTreeMap::new(),
            asked: BTreeMap::new(),
            cached: 0,
            nodes: Distinct::default(),
            max_size,
        };
        plan.insert(0, root, None, 0);
        plan
    }

    /// Returns the number of bytes of the whole content, which is known when the root is
    /// here.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns the number of bytes that were delivered in order.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Returns the number of nodes and leaves that were found so far, each counted once.
    pub(crate) fn nodes(&self) -> u64 {
        self.nodes.count()
    }

    /// Returns whether everything has been delivered.
    pub(crate) fn is_complete(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns whether any block has to come from a peer.
    pub(crate) fn needs_providers(&self) -> bool {
        !self.missing.is_empty() || !self.asked.is_empty()
    }

    /// Returns whether any block is waiting to be asked for.
    pub(crate) fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Returns the next blocks, at most `max`, that may be in the store already. Report
    /// each of them with [`Plan::arrived`] or [`Plan::absent`].
    pub(crate) fn look_up_next(&mut self, max: usize) -> Vec<Cid> {
        let heavy = self
            .heavy
            .iter()
            .nth(INNER_AHEAD)
            .copied()
            .unwrap_or(u64::MAX);
        let light = self
            .inner
            .iter()
            .nth(LIGHT_AHEAD)
            .copied()
            .unwrap_or(u64::MAX);
        let next = self.unknown.iter().filter(|(at, cid)| {
            let leaf = cid.codec() != address::DAG_PB;
            leaf || **at < light && (**at < heavy || !self.heavy.contains(at))
        });
        let next: Vec<(u64, Cid)> = next.take(max).map(|(at, cid)| (*at, *cid)).collect();
        for (at, cid) in &next {
            self.unknown.remove(at);
            self.set(cid, State::Busy);
        }
        next.into_iter().map(|(_, cid)| cid).collect()
    }

    /// Returns the first missing block that `may` accepts, among the first `scan`.
    pub(crate) fn first_missing(&self, scan: usize, may: impl Fn(&Cid) -> bool) -> Option<Cid> {
        self.missing
            .values()
            .take(scan)
            .find(|cid| may(cid))
            .copied()
    }

    /// Returns the blocks that have been asked for but have not arrived, in the order of
    /// the content.
    pub(crate) fn first_asked(&self) -> impl Iterator<Item = &Cid> {
        self.asked.values()
    }

    /// Returns the block at the head of the content, for which the delivery is waiting,
    /// when it has been asked for.
    pub(crate) fn head_asked(&self) -> Option<Cid> {
        let (at, _) = self.entries.first_key_value()?;
        self.asked.get(at).copied()
    }

    /// Returns the block at the head of the content, for which the delivery is waiting,
    /// when it is not here. It does not matter whether it is on its way.
    pub(crate) fn head(&self) -> Option<Cid> {
        let (_, entry) = self.entries.first_key_value()?;
        let What::Block(cid) = &entry.what else {
            return None;
        };
        let state = self.blocks.get(cid).map(|block| &block.state);
        let away = matches!(state, Some(State::Missing | State::Asked | State::Busy));
        away.then_some(*cid)
    }

    /// Returns whether the block is waiting to be asked for.
    pub(crate) fn is_missing(&self, cid: &Cid) -> bool {
        let state = self.blocks.get(cid).map(|block| &block.state);
        matches!(state, Some(State::Missing))
    }

    /// Returns whether the block is being looked for in the store or is being verified.
    pub(crate) fn is_busy(&self, cid: &Cid) -> bool {
        let state = self.blocks.get(cid).map(|block| &block.state);
        matches!(state, Some(State::Busy))
    }

    /// Makes the plan look up the first `scan` missing blocks again, since they may be in
    /// the store by now.
    pub(crate) fn look_again(&mut self, scan: usize) {
        let again: Vec<Cid> = self.missing.values().take(scan).copied().collect();
        for cid in again {
            self.move_to(&cid, State::Unknown);
        }
    }

    /// Notes that the block has been asked for.
    pub(crate) fn asked(&mut self, cid: &Cid) {
        self.move_to(cid, State::Asked);
    }

    /// Notes that the block is neither here nor on its way.
    pub(crate) fn absent(&mut self, cid: &Cid) {
        self.move_to(cid, State::Missing);
    }

    /// Notes that the block's bytes have arrived and are being verified.
    pub(crate) fn verifying(&mut self, cid: &Cid) {
        self.move_to(cid, State::Busy);
    }

    /// Returns the number of bytes of content that the block has according to its parent.
    pub(crate) fn stated_size(&self, cid: &Cid) -> Option<u64> {
        let first = self.blocks.get(cid)?.offsets.first()?;
        self.entries.get(first)?.size
    }

    /// Returns whether the block has not arrived yet.
    pub(crate) fn wants(&self, cid: &Cid) -> bool {
        let state = self.blocks.get(cid).map(|block| &block.state);
        matches!(state, Some(State::Missing | State::Asked))
    }

    /// Notes that the block is in the store. Its bytes are kept in memory if they are
    /// next, or if `may` is set and the cache has room for them.
    ///
    /// # Errors
    /// Returns an error when the tree contradicts itself or exceeds a bound.
    pub(crate) fn arrived(
        &mut self,
        cid: &Cid,
        arrived: Arrived,
        may: bool,
    ) -> Result<(), PlanError> {
        let Some(block) = self.blocks.get(cid) else {
            return Ok(());
        };
        let stated: Vec<(u64, Option<u64>)> = block
            .offsets
            .iter()
            .filter_map(|at| self.entries.get(at).map(|entry| (*at, entry.size)))
            .collect();
        let actual = match &arrived {
            Arrived::Leaf(held) => held.as_ref().map(|held| held.len() as u64),
            Arrived::Node(node) => Some(node.size),
        };
        if let Some(actual) = actual {
            for (at, size) in &stated {
                match size {
                    Some(size) if *size != actual => {
                        return Err(PlanError::Sizes {
                            cid: *cid,
                            stated: *size,
                            actual,
                        });
                    }
                    Some(_) => {}
                    None => self.size_root(*at, actual)?,
                }
            }
        }
        let first = self.entries.first_key_value().map(|(at, _)| *at);
        let is_next = stated.first().map(|(at, _)| *at) == first;
        let state = match arrived {
            Arrived::Leaf(held) => {
                let room =
                    |held: &ChargedBytes| is_next || may && self.cached + held.len() <= CACHE;
                State::Leaf(held.filter(room))
            }
            Arrived::Node(node) => {
                let room = is_next || self.cached + weight(&node) <= CACHE + NODE_ROOM;
                State::Node(room.then_some(node))
            }
        };
        self.move_to(cid, state);
        self.expand()
    }

    /// Returns the next bytes of the content, when they are here.
    pub(crate) fn next_data(&mut self) -> Result<Option<ChargedBytes>, PlanError> {
        let Some((at, entry)) = self.entries.first_key_value() else {
            return Ok(None);
        };
        let (at, size) = (*at, entry.size);
        let (data, cid) = match &entry.what {
            What::Inline(held) => (held.clone(), None),
            What::Block(cid) => match self.blocks.get(cid).map(|block| &block.state) {
                Some(State::Leaf(Some(held))) => (held.clone(), Some(*cid)),
                _ => return Ok(None),
            },
        };
        if let (Some(size), Some(cid)) = (size, cid)
            && size != data.len() as u64
        {
            return Err(PlanError::Sizes {
                cid,
                stated: size,
                actual: data.len() as u64,
            });
        }
        self.entries.remove(&at);
        match cid {
            Some(cid) => self.release(&cid, at),
            None => self.cached -= data.len(),
        }
        self.done += data.len() as u64;
        self.expand()?;
        Ok(Some(data))
    }

    /// Returns the next blocks of the content that are in the store and not in memory, up
    /// to about `bytes` of content. Report each of them with [`Plan::arrived`] or
    /// [`Plan::absent`].
    pub(crate) fn read_next(&mut self, bytes: u64) -> Vec<Cid> {
        let mut next = Vec::new();
        let mut sum = 0;
        for entry in self.entries.values() {
            let What::Block(cid) = &entry.what else {
                continue;
            };
            match self.blocks.get(cid).map(|block| &block.state) {
                Some(State::Leaf(None)) => {
                    if !next.contains(cid) {
                        next.push(*cid);
                    }
                }
                // The children of this node come before everything that follows it.
                Some(State::Node(None)) => {
                    if next.is_empty() {
                        next.push(*cid);
                    }
                    break;
                }
                Some(State::Leaf(Some(_))) => {}
                _ => break,
            }
            // The first block has no limit; otherwise a single large block could never be
            // read.
            sum += entry.size.unwrap_or(0);
            if sum >= bytes {
                break;
            }
        }
        for cid in &next {
            self.set(cid, State::Reading);
        }
        next
    }

    fn size_root(&mut self, at: u64, size: u64) -> Result<(), PlanError> {
        if let Some(max) = self.max_size
            && size > max
        {
            return Err(PlanError::TooLarge {
                cid: self.root,
                size,
                max,
            });
        }
        self.total = Some(size);
        if let Some(entry) = self.entries.get_mut(&at) {
            entry.size = Some(size);
        }
        Ok(())
    }

    /// Replaces inner nodes that are here by their children, in order.
    fn expand(&mut self) -> Result<(), PlanError> {
        while let Some(at) = self.inner.first().copied() {
            let Some(entry) = self.entries.get(&at) else {
                break;
            };
            let What::Block(cid) = entry.what else { break };
            let depth = entry.depth + 1;
            let is_next = self.entries.first_key_value().map(|(first, _)| *first) == Some(at);
            let Some(State::Node(Some(node))) = self.blocks.get(&cid).map(|block| &block.state)
            else {
                break;
            };
            let grown = self.entries.len() + node.children.len();
            let over = !node.data.is_empty() && self.cached + node.data.len() > CACHE + NODE_ROOM;
            if !is_next && (over || grown > EAGER_FRONTIER) {
                break;
            }
            if depth > MAX_DEPTH || grown > MAX_FRONTIER {
                return Err(PlanError::TooDeep { cid: self.root });
            }
            let node = node.clone();
            self.entries.remove(&at);
            self.release(&cid, at);
            let mut offset = at;
            if !node.data.is_empty() {
                let size = node.data.len() as u64;
                self.cached += node.data.len();
                let what = What::Inline(ChargedBytes::untracked(node.data));
                self.entries.insert(
                    offset,
                    Entry {
                        what,
                        size: Some(size),
                        depth,
                    },
                );
                offset += size;
            }
            for child in &node.children {
                self.insert(offset, child.cid, Some(child.size), depth);
                offset += child.size;
            }
        }
        Ok(())
    }

    fn insert(&mut self, at: u64, cid: Cid, size: Option<u64>, depth: usize) {
        self.nodes.add(&cid);
        self.entries.insert(
            at,
            Entry {
                what: What::Block(cid),
                size,
                depth,
            },
        );
        if cid.codec() == address::DAG_PB {
            self.inner.insert(at);
            if size.is_none_or(|size| size > LIGHT) {
                self.heavy.insert(at);
            }
        }
        let block = self.blocks.entry(cid).or_insert_with(|| Block {
            state: State::Unknown,
            offsets: BTreeSet::new(),
        });
        block.offsets.insert(at);
        // When a block is repeated, its later places are usually added later. A subtree
        // that is expanded late is an exception. In both cases the lists contain the
        // place that was added first.
        if block.offsets.len() == 1 {
            self.unknown.insert(at, cid);
        }
    }

    /// Notes that the block is no longer needed at this place.
    fn release(&mut self, cid: &Cid, at: u64) {
        self.inner.remove(&at);
        self.heavy.remove(&at);
        let Some(block) = self.blocks.get_mut(cid) else {
            return;
        };
        block.offsets.remove(&at);
        if block.offsets.is_empty()
            && let Some(block) = self.blocks.remove(cid)
        {
            self.cached -= block.state.weight();
        }
    }

    fn set(&mut self, cid: &Cid, state: State) {
        if let Some(block) = self.blocks.get_mut(cid) {
            self.cached = self.cached + state.weight() - block.state.weight();
            block.state = state;
        }
    }

    /// Changes the state, and the lists that reflect it.
    fn move_to(&mut self, cid: &Cid, state: State) {
        let Some(block) = self.blocks.get(cid) else {
            return;
        };
        let Some(first) = block.offsets.first().copied() else {
            return;
        };
        for at in &block.offsets {
            self.unknown.remove(at);
            self.missing.remove(at);
            self.asked.remove(at);
        }
        match state {
            State::Unknown => drop(self.unknown.insert(first, *cid)),
            State::Missing => drop(self.missing.insert(first, *cid)),
            State::Asked => drop(self.asked.insert(first, *cid)),
            _ => {}
        }
        self.set(cid, state);
    }
}
