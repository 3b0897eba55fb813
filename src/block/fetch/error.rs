//! Why a fetch ended without all of the content.

use std::time::Duration;

use cid::Cid;
use libp2p::PeerId;

use crate::content::address::AddressError;
use crate::content::dag::DagError;
use crate::content::fetch::{PlanError, Reason};
use crate::content::refusal::Refusal;
use crate::store;

/// Why a fetch ended without all of the content. The blocks that arrived are kept in the
/// store for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// This node cannot fetch the CID.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A block was verified but is not a node of a file.
    #[error("cannot read block {block} of {root}: {source}")]
    Node {
        /// The content that was being fetched.
        root: Cid,
        /// The block.
        block: Cid,
        /// Why.
        source: DagError,
    },
    /// The tree cannot be fetched.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The content is larger than the store.
    #[error(
        "{cid} has {size} bytes, more than the {max} of this node's store; raise P2P_STORE_MAX_BYTES"
    )]
    OverStore {
        /// The content that was being fetched.
        cid: Cid,
        /// The number of bytes of content.
        size: u64,
        /// The number of bytes that the store may hold.
        max: u64,
    },
    /// No peer was found that has it.
    #[error("cannot get {cid}: {reason}{last}")]
    NoProviders {
        /// The content that was being fetched.
        cid: Cid,
        /// How long the fetch looked for it.
        waited: Duration,
        /// Which peers were asked, and with what result.
        reason: Box<Reason>,
        /// What is wrong with the copy that is here; empty when nothing is wrong.
        last: String,
    },
    /// There were providers, but they stopped delivering.
    #[error("{cid} stopped at {done} of {} bytes: nothing needed came for {}s; get it again to go on from there{last}", total.map_or("unknown".to_string(), |total| total.to_string()), waited.as_secs())]
    Stalled {
        /// The content that was being fetched.
        cid: Cid,
        /// The number of bytes delivered.
        done: u64,
        /// The number of bytes of the whole content, if known.
        total: Option<u64>,
        /// For how long nothing has arrived.
        waited: Duration,
        /// The last thing that went wrong; empty when nothing did.
        last: String,
    },
    /// Every copy that was found has expired, or is dated ahead of this host's clock.
    #[error("cannot get {cid}: block {block} of {peer} is refused: {why}")]
    Stale {
        /// The content that was being fetched.
        cid: Cid,
        /// The block.
        block: Cid,
        /// The peer that sent it.
        peer: PeerId,
        /// Why it is of no use.
        why: Refusal,
    },
    /// The clock of this host is not set.
    #[error(
        "cannot get {cid}: this host's clock shows a time before 2025, so that every block is dated ahead of it; set the clock (does NTP run?) and get it again"
    )]
    Clock {
        /// The content that was being fetched.
        cid: Cid,
    },
    /// The store failed.
    #[error("cannot store what was fetched: {0}")]
    Store(#[from] store::Error),
    /// The task that drove the fetch has ended.
    #[error("the fetch was stopped")]
    Stopped,
}
