//! What survives a restart: blocks, the roots that hold them, peers, bans,
//! reputations and sequence numbers.
//!
//! An embedded database (`store.redb`) records which blocks there are and why;
//! their payloads are in segment files (`blocks/`), which only grow. A commit
//! flushes the segments, then the database, and only then returns: what the
//! database knows is complete on disk, and what it does not know is garbage that
//! [`Store::scrub`] removes.
//!
//! # Why segments
//!
//! Measured on two cores of a virtual machine, ext4 on a virtual disk, Linux
//! 6.18, three rounds of each variant in turn in one run (median; written and
//! made durable in one commit, then read back from the page cache):
//!
//! | blocks | redb | a file each, fdatasync | a file each, syncfs | segments |
//! |---|---|---|---|---|
//! | 300 of 1 MiB, write | 773 ms | 306 ms | 309 ms | 177 ms |
//! | 300 of 1 MiB, read | 35 ms | 16 ms | 17 ms | 22 ms |
//! | 300 of 1 MiB, disk | 629 MB | 315 MB | 315 MB | 316 MB |
//! | 3,000 of 4 KiB, write | 88 ms | 3,249 ms | 2,412 ms | 56 ms |
//! | 3,000 of 300 B, write | 9 ms | 2,809 ms | 2,332 ms | 26 ms |
//!
//! A file for each block pays the file system's journal for each; redb rounds
//! a value up to a power of two and so takes twice the disk. Segments also
//! need no folder scan to find orphans: a length in the database says how far a
//! segment is valid. `benches/store.rs` measures this code beside a plain file,
//! and opening with 100,000 blocks, which reads a few pages and flushes once.
//!
//! # Layout
//!
//! | file | noun |
//! |---|---|
//! | `handle` | [`Store`]: opening it, its parts, and its transactions |
//! | `batch` | [`Batch`], the only way to add blocks |
//! | `reading` | reading blocks, and dropping those that are damaged |
//! | `root` | [`Root`]: content that somebody named, and its removal |
//! | `lifetime` | how long a block is kept, and who decides that |
//! | `options` | the limits of a store |
//! | `usage` | how full a store is |
//! | `capacity` | measures how full it is, and makes room for more |
//! | `sweep` | expiry, eviction, and giving disk space back |
//! | `jumps` | whether the wall clock was set |
//! | `protection` | blocks that open batches rely on |
//! | `touches` | when blocks were last read |
//! | `removed` | what was removed |
//! | `index` | the tables of blocks and roots |
//! | `segment` | the files of payloads |
//! | `database` | the redb file |
//! | `folder` | folders that only this user can enter |
//! | `clock` | the clocks of this host, which are read nowhere else |
//! | `sequence` | this node's own message numbers |
//! | `windows`, [`journal`] | the numbers of other publishers' messages |
//! | `announcements` | when the DHT was told of which root |
//! | `bans`, `reputations` | what [`crate::peers`] remembers; [`Keeper`] carries it here and back |
//! | `peers` | remembered peers |
//! | `metrics` | what is counted of all this |
//! | `error` | what can go wrong |
//!
//! A [`Store`] is cheap to clone and blocking: async callers go through
//! `async_std::task::spawn_blocking`. A further kind of state is a further file like
//! `peers`: its table, its bounds, its methods on [`Store`], and its table named in
//! `index::create`.

mod announcements;
mod bans;
mod batch;
mod capacity;
mod clock;
mod database;
mod error;
mod folder;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod index;
pub mod journal;
mod jumps;
mod keeper;
mod lifetime;
mod metrics;
mod options;
mod peers;
mod protection;
mod reading;
mod removed;
mod reputations;
mod root;
mod segment;
mod sequence;
mod sweep;
#[cfg(test)]
mod tests;
mod touches;
mod usage;
mod windows;

pub use batch::Batch;
pub use error::Error;
pub use handle::Store;
pub use keeper::Keeper;
pub use lifetime::Lifetime;
pub use metrics::Metrics;
pub use options::Options;
pub use peers::{KnownPeer, MAX_ADDRS, MAX_EARLIER, MAX_PEERS};
pub use removed::Removed;
pub use reputations::Saved;
pub use root::Root;
pub use sweep::Swept;
pub use usage::Usage;
