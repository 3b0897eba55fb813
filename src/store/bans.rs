//! The table of bans.
//!
//! Key: the target as text, a peer id or a network. Value: [`BanRow`].
//! A store that was made before this table existed has none, and no bans.

use prost::Message;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::database::Fail;
use crate::peers::bans::{Author, Ban, Change, MAX_AUTOMATIC, MAX_OPERATOR, Target};
use crate::text::unix_time::{from_unix_millis, unix_millis};

pub(super) const BANS: TableDefinition<&str, &[u8]> = TableDefinition::new("bans");

#[derive(Clone, PartialEq, prost::Message)]
struct BanRow {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(bool, tag = "2")]
    automatic: bool,
    #[prost(uint64, tag = "3")]
    since: u64,
    #[prost(uint64, optional, tag = "4")]
    until: Option<u64>,
    #[prost(uint32, tag = "5")]
    times: u32,
}

/// Writes changes in their order.
pub(super) fn write(tx: &WriteTransaction, changes: &[Change]) -> Result<(), Fail> {
    let mut table = tx.open_table(BANS)?;
    for change in changes {
        match change {
            Change::Keep(ban) => {
                let row = BanRow {
                    reason: ban.reason.clone(),
                    automatic: ban.author == Author::Automatic,
                    since: unix_millis(ban.since),
                    until: ban.until.map(unix_millis),
                    times: ban.times,
                };
                let key = ban.target.to_string();
                table.insert(key.as_str(), &row.encode_to_vec()[..])?;
            }
            Change::Remove(target) => {
                table.remove(target.to_string().as_str())?;
            }
        }
    }
    Ok(())
}

/// Every ban; rows that cannot be read are left out.
pub(super) fn read(tx: &ReadTransaction) -> Result<Vec<Ban>, Fail> {
    let table = match tx.open_table(BANS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut bans = Vec::new();
    // The table holds no more than could be written into it.
    for row in table.iter()?.take(MAX_OPERATOR + MAX_AUTOMATIC) {
        let (key, value) = row?;
        match decode(key.value(), value.value()) {
            Some(ban) => bans.push(ban),
            None => {
                log::warn!(target:% = key.value(); "a ban in the store cannot be read; it is not in force");
            }
        }
    }
    Ok(bans)
}

/// The ban of a row; `None` when it cannot be read.
pub(super) fn decode(key: &str, value: &[u8]) -> Option<Ban> {
    let target: Target = key.parse().ok()?;
    let row = BanRow::decode(value).ok()?;
    Some(Ban {
        target,
        reason: row.reason,
        author: match row.automatic {
            true => Author::Automatic,
            false => Author::Operator,
        },
        since: from_unix_millis(row.since),
        until: row.until.map(from_unix_millis),
        times: row.times,
    })
}
