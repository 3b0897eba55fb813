//! The amount of memory that the process may use.

use super::{Parsed, number, show_size, size};

/// The amount of memory that the process may use before new connections are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// A percentage (1 to 100) of the cgroup's limit, or of the machine's memory.
    Percent(u8),
    /// A number of bytes.
    Bytes(u64),
}

pub(in crate::config) fn memory(text: &str) -> Parsed<MemoryLimit> {
    match text.strip_suffix('%') {
        Some(percent) => Ok(MemoryLimit::Percent(
            number(percent.trim_end(), 1, 100)? as u8
        )),
        // An idle node needs some 20 MiB. With less, it would refuse every peer.
        None => size(text, 32 << 20, u64::MAX).map(MemoryLimit::Bytes),
    }
}

pub(in crate::config) fn show_memory(limit: MemoryLimit) -> String {
    match limit {
        MemoryLimit::Percent(p) => format!("{p}%"),
        MemoryLimit::Bytes(b) => show_size(b),
    }
}
