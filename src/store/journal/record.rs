//! The record of one accepted message.

use sha2::{Digest, Sha256};

use crate::message::windows::Mark;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 40;

/// Makes the record of a mark.
pub(in crate::store) fn encode(mark: &Mark) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&mark.id);
    record[16..24].copy_from_slice(&mark.number.to_le_bytes());
    record[24..28].copy_from_slice(&mark.at.to_le_bytes());
    record[28] = mark.lane;
    let check = Sha256::digest(&record[..32]);
    record[32..].copy_from_slice(&check[..8]);
    record
}

/// Reads a record; `None` when its check is wrong or it was cut short.
pub(super) fn decode(record: &[u8]) -> Option<Mark> {
    let record: &[u8; RECORD_BYTES] = record.try_into().ok()?;
    if Sha256::digest(&record[..32])[..8] != record[32..] {
        return None;
    }
    Some(Mark {
        id: record[..16].try_into().ok()?,
        number: u64::from_le_bytes(record[16..24].try_into().ok()?),
        at: u32::from_le_bytes(record[24..28].try_into().ok()?),
        lane: record[28],
    })
}
