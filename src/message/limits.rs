//! The bounds of a message.

use super::publisher::{MAX_KEY_BYTES, MAX_SIGNATURE_BYTES};

/// The most bytes that an envelope has beside its payload: key and signature at
/// their bounds, three lengths, a number, a compression, and the tags.
pub const MAX_OVERHEAD: usize = MAX_KEY_BYTES + MAX_SIGNATURE_BYTES + 40;

/// Bounds of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an envelope.
    pub envelope: usize,
    /// Bytes of a payload when unpacked.
    pub payload: usize,
}

impl Limits {
    /// A payload of at most `payload` bytes, and an envelope that holds one
    /// that packing does not make smaller.
    pub fn of_payload(payload: usize) -> Self {
        Limits {
            envelope: payload.saturating_add(MAX_OVERHEAD),
            payload,
        }
    }
}
