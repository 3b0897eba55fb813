//! The plan of a fetch.
//!
//! | file | noun |
//! |---|---|
//! | `plan` | the part of the tree that is not delivered yet |
//! | `plan_error` | why a tree cannot be fetched from anyone |
//! | `candidates` | the peers that may be asked, and when to ask them again |
//! | `speed` | how fast a provider is, and how much to ask of it at once |
//! | `hedge` | how many providers to ask for the block at the head of the content |
//! | `memory` | the bytes of blocks that a fetch holds |
//! | `charged_bytes` | bytes that are counted while they are held |
//! | `budget` | the bytes that all fetches may hold together |
//! | `outcome` | the outcome of the attempt to get content from one peer |
//! | `obstacle` | what prevented an attempt, ordered by how informative it is |
//! | `unreachable` | why a peer cannot be reached |
//! | `useless` | why a peer that was reached was of no use |
//! | `reason` | why the content could not be had from anyone |

pub(crate) mod budget;
pub(crate) mod candidates;
pub(crate) mod charged_bytes;
pub(crate) mod hedge;
pub(crate) mod memory;
mod obstacle;
pub(crate) mod outcome;
pub(crate) mod plan;
mod plan_error;
mod reason;
pub(crate) mod speed;
mod unreachable;
mod useless;

pub use obstacle::Obstacle;
pub use plan_error::PlanError;
pub use reason::Reason;
pub use unreachable::Unreachable;
pub use useless::Useless;
