//! What this node decides as a member of the distributed hash table (Kademlia).
//!
//! | file | noun |
//! |---|---|
//! | [`records`] | the values and provider records that this node holds, and their bounds |
//! | [`owned`] | keys that name their owner, and the values that are valid under them |
//! | [`answer`] | answers to others, cut to what a packet holds |
//! | [`placement`] | the node's own provider records on their way to those that are to hold them |
//! | [`addresses`] | which addresses that others report of a peer are used |
//! | [`table`] | who gets a place in the routing table |
//! | [`refresh`] | when to walk through the DHT |
//! | [`walk`] | where a walk leads |
//!
//! Nothing here reads a clock or does I/O: time and chance come as arguments. The
//! behaviours of libp2p that do what is decided here are in `node`.

pub(crate) mod addresses;
pub(crate) mod answer;
pub(crate) mod owned;
pub(crate) mod placement;
pub(crate) mod records;
pub(crate) mod refresh;
pub(crate) mod table;
pub(crate) mod walk;

pub use addresses::MAX_ADDRS_PER_PEER;
pub use placement::Outcome;
