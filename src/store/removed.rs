//! What was removed from the store.

/// Blocks that were removed, and how large they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Blocks that no other root holds.
    pub blocks: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
    }
}
