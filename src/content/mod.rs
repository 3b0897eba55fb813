//! What is decided of content: addresses, the trees that files are, what to ask of whom,
//! and when to announce what.
//!
//! | file | noun |
//! |---|---|
//! | [`address`] | the CID of a block; whether bytes are that block |
//! | [`dag`] | nodes of a file's tree: dag-pb and UnixFS |
//! | [`layout`] | the balanced tree over a file's chunks |
//! | `distinct` | a count of distinct blocks in little memory |
//! | [`refusal`] | why a block that a peer sent is refused |
//! | `check` | the check that refuses it |
//! | [`fetch`] | the plan of a fetch: what is missing, whom to ask, why it failed |
//! | [`schedule`] | which root is to be announced to the DHT, and when |
//! | `upkeep` | what the announcer does from time to time, and when |
//! | `root_key` | the address of a root in little memory |
//!
//! Nothing here does any I/O, reads a clock or counts for the metrics: bytes, events and
//! times are arguments, and decisions are results. The room `block` carries them out.

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
