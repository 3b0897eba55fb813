//! Decisions about content: addresses, the trees of files, what to ask of which peer, and
//! when to announce what.
//!
//! | file | noun |
//! |---|---|
//! | [`address`] | the CID of a block; whether bytes are that block |
//! | [`dag`] | nodes of a file's tree: dag-pb and UnixFS |
//! | [`layout`] | the balanced tree over a file's chunks |
//! | `distinct` | counts distinct blocks in little memory |
//! | [`refusal`] | why a block that a peer sent is refused |
//! | `check` | the checks that a block must pass |
//! | [`fetch`] | the plan of a fetch: what is missing, whom to ask, why it failed |
//! | [`schedule`] | which root to announce to the DHT, and when |
//! | `upkeep` | what else the announcer does regularly, and when |
//! | `root_key` | the address of a root in little memory |
//!
//! Nothing here does any I/O, reads a clock or counts for the metrics: bytes, events and
//! times are arguments, and decisions are results. The module `block` carries them out.

pub mod address;
pub(crate) mod check;
pub mod dag;
pub(crate) mod distinct;
pub mod fetch;
pub mod layout;
pub mod refusal;
pub(crate) mod root_key;
pub mod schedule;
pub(crate) mod upkeep;

#[cfg(test)]
pub(crate) mod testing;
