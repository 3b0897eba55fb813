//! Doors to the rows of the database; see [`crate::fuzzing`].

use prost::Message;

use super::journal::{self, Found};
use super::root::RootRow;
use super::{KnownPeer, Root, Saved, bans, index, peers, reputations, windows};
use crate::message::provenance::Provenance;
use crate::message::windows::{Mark, Row};
use crate::peers::Ban;

/// A remembered peer.
pub fn peer(key: &[u8], row: &[u8]) -> Option<KnownPeer> {
    peers::decode(key, row).map(|(_, peer)| peer)
}

/// A root.
pub fn root(row: &[u8]) -> Option<Root> {
    RootRow::decode(row).ok()?.to_root()
}

/// What the publisher of a block says of it.
pub fn provenance(row: &[u8]) -> Option<Provenance> {
    index::decode_provenance(row)
}

/// A ban.
pub fn ban(key: &str, row: &[u8]) -> Option<Ban> {
    bans::decode(key, row)
}

/// A reputation.
pub fn reputation(key: &[u8], row: &[u8]) -> Option<Saved> {
    reputations::decode(key, row)
}

/// The replay window of a publisher, and how it is written.
pub fn window(key: &[u8], row: &[u8]) -> Option<(Row, Vec<u8>)> {
    let row = windows::decode(key, row)?;
    Some((row, windows::encode(&row).to_vec()))
}

/// The marks in the bytes of a journal, each with how it is written.
pub fn journal(bytes: &[u8]) -> (Found, Vec<(Mark, Vec<u8>)>) {
    let mut found = Found::default();
    let mut marks = Vec::new();
    let mut take = |mark: Mark| marks.push((mark, journal::encode(&mark).to_vec()));
    // Memory does not fail.
    let _ = journal::scan(bytes, &mut found, &mut take);
    (found, marks)
}
