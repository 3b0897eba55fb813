//! What the publisher of a block says of it, as a row of the database.

use bytes::Bytes;
use prost::Message;

use crate::message::provenance::Provenance;

/// A provenance as a row: protobuf, so that fields can be added. Some 120 bytes with an ed25519 key, which is repeated in each row: 3% of the
/// 4 KiB that the smallest block takes.
#[derive(Clone, PartialEq, prost::Message)]
struct ProvenanceRow {
    #[prost(uint64, tag = "1")]
    timestamp: u64,
    #[prost(uint32, tag = "2")]
    ttl: u32,
    #[prost(uint32, tag = "3")]
    version: u32,
    #[prost(bytes = "bytes", tag = "4")]
    signature: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    key: Bytes,
}

/// Reads a row; `None` when it cannot be read.
pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Provenance> {
    let row = ProvenanceRow::decode(bytes).ok()?;
    Some(Provenance {
        timestamp: row.timestamp,
        ttl: row.ttl,
        version: row.version,
        key: row.key,
        signature: row.signature,
    })
}

/// Makes a row.
pub(super) fn encode(said: &Provenance) -> Vec<u8> {
    let row = ProvenanceRow {
        timestamp: said.timestamp,
        ttl: said.ttl,
        version: said.version,
        signature: said.signature.clone(),
        key: said.key.clone(),
    };
    row.encode_to_vec()
}
