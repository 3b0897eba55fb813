//! Test vectors that this module and those above it share.

use serde::Deserialize;
use std::sync::LazyLock;

/// One row of `tests/vectors/unixfs-v1-2025.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Vector {
    pub(crate) size: u64,
    pub(crate) chunk: usize,
    pub(crate) links: usize,
    pub(crate) cid: String,
    pub(crate) blocks: u64,
}

/// One tree of `tests/vectors/foreign.json`, with all its blocks in hex.
#[derive(Debug, Deserialize)]
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) cid: String,
    #[serde(default)]
    pub(crate) directory: bool,
    pub(crate) data: Vec<(String, String)>,
}

pub(crate) fn vectors() -> Vec<Vector> {
    #[derive(Deserialize)]
    struct File {
        files: Vec<Vector>,
    }
    let text = include_str!("../../tests/vectors/unixfs-v1-2025.json");
    serde_json::from_str::<File>(text).unwrap().files
}

pub(crate) fn foreign() -> Vec<Foreign> {
    #[derive(Deserialize)]
    struct File {
        trees: Vec<Foreign>,
    }
    let text = include_str!("../../tests/vectors/foreign.json");
    serde_json::from_str::<File>(text).unwrap().trees
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

/// The content of the vectors: see `tests/vectors/generate.mjs`.
static PERIOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut x = 0x9E37_79B9_u32;
    let mut out = Vec::with_capacity(1_048_586);
    while out.len() < 1_048_583 {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        out.extend(x.to_le_bytes());
    }
    out.truncate(1_048_583);
    out
});

/// Returns `len` bytes of the vectors' content, from `offset` on.
pub(crate) fn content(offset: u64, len: usize) -> Vec<u8> {
    let mut at = (offset % PERIOD.len() as u64) as usize;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        let n = (PERIOD.len() - at).min(len - out.len());
        out.extend_from_slice(&PERIOD[at..at + n]);
        at = 0;
    }
    out
}
