//! The table of reputations, and saving what [`crate::peers`] remembers.
//!
//! Key: peer id. Value: [`ReputationRow`]. A store that was made before this table
//! existed has none, as with bans.

use std::time::SystemTime;

use libp2p::PeerId;
use prost::Message;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::database::Fail;
use super::{Error, Store, bans};
use crate::peers::Unsaved;
use crate::peers::bans::Ban;
use crate::peers::reputation::{CAPACITY, Reputation};
use crate::text::unix_time::{from_unix_millis, unix_millis};

pub(super) const REPUTATIONS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("reputations");

#[derive(Clone, PartialEq, prost::Message)]
struct ReputationRow {
    #[prost(float, tag = "1")]
    score: f32,
    #[prost(float, tag = "2")]
    strikes: f32,
    /// When they had these values.
    #[prost(uint64, tag = "3")]
    at: u64,
}

/// A reputation as it was saved, with the time of day at which it was.
pub type Saved = (PeerId, Reputation, SystemTime);

impl Store {
    /// Saves what has changed of bans and reputations. Durable when it returns.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is saved then.
    pub fn save_trust(&self, unsaved: &Unsaved, now: SystemTime) -> Result<(), Error> {
        self.database().write(|tx| {
            if !unsaved.bans.is_empty() {
                bans::write(tx, &unsaved.bans)?;
            }
            write(tx, unsaved, now)
        })
    }

    /// The bans and reputations that were saved. Rows that cannot be read are
    /// left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load_trust(&self) -> Result<(Vec<Ban>, Vec<Saved>), Error> {
        self.database().read(|tx| Ok((bans::read(tx)?, read(tx)?)))
    }
}

fn write(tx: &WriteTransaction, unsaved: &Unsaved, now: SystemTime) -> Result<(), Fail> {
    let mut table = tx.open_table(REPUTATIONS)?;
    for (peer, reputation) in &unsaved.reputations {
        let key = peer.to_bytes();
        match reputation {
            Some(reputation) => {
                let row = ReputationRow {
                    score: reputation.score,
                    strikes: reputation.strikes,
                    at: unix_millis(now),
                };
                table.insert(&key[..], &row.encode_to_vec()[..])?;
            }
            None => {
                table.remove(&key[..])?;
            }
        }
    }
    Ok(())
}

fn read(tx: &ReadTransaction) -> Result<Vec<Saved>, Fail> {
    let table = match tx.open_table(REPUTATIONS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut saved = Vec::new();
    // Rows of peers that were forgotten may not have been removed yet.
    for row in table.iter()?.take(4 * CAPACITY) {
        let (key, value) = row?;
        saved.extend(decode(key.value(), value.value()));
    }
    Ok(saved)
}

/// The reputation of a row; `None` when it cannot be read.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Saved> {
    let peer = PeerId::from_bytes(key).ok()?;
    let row = ReputationRow::decode(value).ok()?;
    let reputation = Reputation {
        score: row.score,
        strikes: row.strikes,
    };
    Some((peer, reputation, from_unix_millis(row.at)))
}
