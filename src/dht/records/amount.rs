//! A number of records together with the bytes that they take.

use super::values::MAX_VALUE_BYTES;

/// Bytes allowed for each record of the cap, on the average over a full store:
/// names and small documents, or a key with a handful of providers. With the
/// default cap, values and provider records take at most 64 MiB each.
pub(super) const BYTES_A_RECORD: usize = 1024;

/// What an entry costs beside the bytes that it carries: tables, pointers, times.
pub(super) const OVERHEAD: usize = 192;

/// A share is never smaller than this, however small the cap.
const LEAST_SHARE: usize = 64;

/// What is held, or what may be held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Amount {
    /// What a store of `max_records` may hold of values, and again of provider
    /// records. Even a small cap holds a few records of the largest size.
    pub(super) fn cap(max_records: usize) -> Amount {
        Amount {
            records: max_records,
            bytes: max_records
                .saturating_mul(BYTES_A_RECORD)
                .max(4 * MAX_VALUE_BYTES),
        }
    }

    /// What one sender may hold whose share is one part in `parts` of this cap.
    pub(super) fn share(self, parts: usize) -> Amount {
        Amount {
            records: (self.records / parts).max(LEAST_SHARE),
            bytes: (self.bytes / parts).max(4 * MAX_VALUE_BYTES),
        }
    }

    /// Whether `other` is within this limit, in records and in bytes.
    pub(super) fn allows(self, other: Amount) -> bool {
        other.records <= self.records && other.bytes <= self.bytes
    }
}
