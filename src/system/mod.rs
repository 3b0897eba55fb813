//! What the kernel tells us and what we ask of it.

pub mod memory;
pub mod rlimits;
pub mod signals;
