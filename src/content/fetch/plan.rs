//! The part of a file's tree that is not delivered yet: what of it is known, here, on its
//! way, and next.
//!
//! The plan is the tree's frontier, in the order of the content: leaves and subtrees by
//! the offset of their first byte. What comes before the first of them is delivered. An
//! inner node that arrives is replaced by its children. Only the first [`INNER_AHEAD`]
//! unexpanded inner nodes are asked for, and a node is expanded early only while the
//! frontier is short, so that neither a wide nor a deep tree makes it grow.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cid::Cid;

use super::memory::ChargedBytes;
use super::plan_error::PlanError;
use crate::content::address;
use crate::content::dag::{Child, FileNode, MAX_DEPTH};
use crate::content::distinct::Distinct;

/// Inner nodes asked for before their turn. One of 1,024 links of 1 MiB covers a
/// gibibyte; small ones of other importers cover 40 MiB, so a few of them keep
/// fast providers busy.
const INNER_AHEAD: usize = 4;

/// An inner node over no more content than this is taken for a leaf that is encoded as
/// dag-pb, as in older profiles, where there is one for every chunk.
const LIGHT: u64 = 2 << 20;

/// Such nodes asked for before their turn.
const LIGHT_AHEAD: usize = 64;

/// Entries up to which inner nodes are expanded before their turn: 16 GiB of
/// 1 MiB blocks, at about 300 bytes an entry 5 MiB of memory.
const EAGER_FRONTIER: usize = 16 << 10;

/// Entries over which a tree is refused. Nodes of 8,192 links, eight levels deep.
const MAX_FRONTIER: usize = 64 << 10;

/// Bytes of blocks kept in memory until their turn comes; what is over it waits
/// in the store.
const CACHE: usize = 16 << 20;

/// What inner nodes may take beyond that, so that leaves that wait for their
/// turn do not keep the next links from being known.
const NODE_ROOM: usize = 8 << 20;

#[derive(Debug)]
struct Entry {
    what: What,
    /// Bytes of content; `None` for the root until it is here.
    size: Option<u64>,
    depth: usize,
}

#[derive(Debug)]
enum What {
    Block(Cid),
    /// Content that an inner node carried itself.
    Inline(ChargedBytes),
}

#[derive(Debug)]
enum State {
    /// Not known whether it is here.
    Unknown,
    /// Being looked for in the store, or being verified.
    Busy,
    /// To be asked for.
    Missing,
    /// Asked for.
    Asked,
    /// In the store; its bytes also here, if there is room.
    Leaf(Option<ChargedBytes>),
    /// In the store and being read.
    Reading,
    /// An inner node in the store that waits for its turn to be expanded; also
    /// decoded, if there is room.
    Node(Option<FileNode>),
}

impl State {
    /// Bytes of memory on the account of the cache.
    fn weight(&self) -> usize {
        match self {
            State::Leaf(Some(held)) => held.len(),
            State::Node(Some(node)) => weight(node),
            _ => 0,
        }
    }
}

fn weight(node: &FileNode) -> usize {
    node.data.len() + node.children.len() * size_of::<Child>()
}

#[derive(Debug)]
struct Block {
    state: State,
    /// Where it is needed.
    offsets: BTreeSet<u64>,
}

/// A block that is here.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// A leaf; without bytes when it was only seen in the store.
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
    /// Offsets of unexpanded inner nodes.
    inner: BTreeSet<u64>,
    /// Those of them that are over more than [`LIGHT`].
    heavy: BTreeSet<u64>,
    unknown: BTreeMap<u64, Cid>,
    missing: BTreeMap<u64, Cid>,
    asked: BTreeMap<u64, Cid>,
    cached: usize,
    nodes: Distinct,
    max_size: Option<u64>,
}

impl Plan {
    /// A plan to read the whole of `root`.
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

    /// Bytes of the whole content, known when the root is here.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Bytes delivered in order.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Nodes and leaves met so far, each counted once.
    pub(crate) fn nodes(&self) -> u64 {
        self.nodes.count()
    }

    /// Everything is delivered.
    pub(crate) fn is_complete(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether some block has to come from elsewhere.
    pub(crate) fn needs_providers(&self) -> bool {
        !self.missing.is_empty() || !self.asked.is_empty()
    }

    /// Whether a block waits to be asked for.
    pub(crate) fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The next blocks, at most `max`, that may be in the store already; answer
    /// each with [`Plan::arrived`] or [`Plan::absent`].
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

    /// The first block that is missing and that `may` accepts, among the first
    /// `scan`.
    pub(crate) fn first_missing(&self, scan: usize, may: impl Fn(&Cid) -> bool) -> Option<Cid> {
        self.missing
            .values()
            .take(scan)
            .find(|cid| may(cid))
            .copied()
    }

    /// The first blocks of the content that are asked for and not here.
    pub(crate) fn first_asked(&self) -> impl Iterator<Item = &Cid> {
        self.asked.values()
    }

    /// The block at the head of the content, for which the delivery waits, when it is on
    /// its way.
    pub(crate) fn head_asked(&self) -> Option<Cid> {
        let (at, _) = self.entries.first_key_value()?;
        self.asked.get(at).copied()
    }

    /// The block at the head of the content, for which the delivery waits, when it is not
    /// here, whether or not it is on its way.
    pub(crate) fn head(&self) -> Option<Cid> {
        let (_, entry) = self.entries.first_key_value()?;
        let What::Block(cid) = &entry.what else {
            return None;
        };
        let state = self.blocks.get(cid).map(|block| &block.state);
        let away = matches!(state, Some(State::Missing | State::Asked | State::Busy));
        away.then_some(*cid)
    }

    /// Whether the block waits to be asked for.
    pub(crate) fn is_missing(&self, cid: &Cid) -> bool {
        let state = self.blocks.get(cid).map(|block| &block.state);
        matches!(state, Some(State::Missing))
    }

    /// Whether the block is being looked for here, or verified.
    pub(crate) fn is_busy(&self, cid: &Cid) -> bool {
        let state = self.blocks.get(cid).map(|block| &block.state);
        matches!(state, Some(State::Busy))
    }

    /// The first `scan` blocks that are missing may be here by now.
    pub(crate) fn look_again(&mut self, scan: usize) {
        let again: Vec<Cid> = self.missing.values().take(scan).copied().collect();
        for cid in again {
            self.move_to(&cid, State::Unknown);
        }
    }

    /// The block has been asked of somebody.
    pub(crate) fn asked(&mut self, cid: &Cid) {
        self.move_to(cid, State::Asked);
    }

    /// The block is neither here nor on its way.
    pub(crate) fn absent(&mut self, cid: &Cid) {
        self.move_to(cid, State::Missing);
    }

    /// The block's bytes have come and are being verified.
    pub(crate) fn verifying(&mut self, cid: &Cid) {
        self.move_to(cid, State::Busy);
    }

    /// Bytes of content that the block's parent says it has.
    pub(crate) fn stated_size(&self, cid: &Cid) -> Option<u64> {
        let first = self.blocks.get(cid)?.offsets.first()?;
        self.entries.get(first)?.size
    }

    /// Whether the block is still to come.
    pub(crate) fn wants(&self, cid: &Cid) -> bool {
        let state = self.blocks.get(cid).map(|block| &block.state);
        matches!(state, Some(State::Missing | State::Asked))
    }

    /// The block is in the store. Its bytes are kept if they are next, or if they
    /// `may` be and the cache has room.
    ///
    /// # Errors
    /// When the tree contradicts itself or breaks a bound.
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

    /// The next bytes of the content, when they are here.
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

    /// The next blocks of the content that are in the store and not in memory, up to about
    /// `bytes` of content; answer each with [`Plan::arrived`] or [`Plan::absent`].
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
                // Its children come before whatever follows it.
                Some(State::Node(None)) => {
                    if next.is_empty() {
                        next.push(*cid);
                    }
                    break;
                }
                Some(State::Leaf(Some(_))) => {}
                _ => break,
            }
            // The first has no limit, or one large block could never be read.
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
        // A repeated block comes later in the content than its first place, but
        // for a subtree that is expanded late; its lists know the first place.
        if block.offsets.len() == 1 {
            self.unknown.insert(at, cid);
        }
    }

    /// The block is no longer needed at that place.
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

    /// Changes the state and the lists that mirror it.
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
