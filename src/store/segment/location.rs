//! Where a record is.

/// Records begin at multiples of this many bytes: the block size of ext4, xfs
/// and btrfs, and so the smallest hole that they can punch.
pub(in crate::store) const ALIGN: u64 = 4096;

/// Bytes of a record's header beside the multihash.
pub(super) const FIXED_HEADER: usize = 4 + 4 + 2;

/// Where a record is, and how long its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Location {
    pub(in crate::store) segment: u32,
    pub(in crate::store) offset: u64,
    pub(in crate::store) len: u32,
}

/// Bytes of disk that a record of `len` bytes of payload takes.
pub(in crate::store) fn footprint(key: &[u8], len: usize) -> u64 {
    ((FIXED_HEADER + key.len() + len) as u64).next_multiple_of(ALIGN)
}
