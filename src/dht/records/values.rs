//! Values that others have stored here.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::kad::{Record, RecordKey};

use super::amount::{Amount, OVERHEAD};
use super::refused::Refused;
use super::shares::{Sender, Shares};

/// Largest value: what one Kademlia message of libp2p (16 KiB packets) can
/// carry beside its key and peers.
pub(crate) const MAX_VALUE_BYTES: usize = 14 * 1024;

/// How new a value is that the owner of its key has signed: its sequence number, and
/// the second at which it ends. The larger is the newer.
pub(crate) type Rank = (u64, u64);

/// A value of another, and who may change it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) record: Record,
    pub(super) sender: Sender,
    /// The mark of its writer: the peer that it names as its publisher, or else the one
    /// that sent it.
    writer: u64,
    /// Of a value that the owner of its key has signed.
    rank: Option<Rank>,
}

/// The values of others, by key.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) by_key: HashMap<RecordKey, Held>,
    /// Bytes of them all, by [`size`].
    pub(super) bytes: usize,
}

/// The memory that a value takes.
pub(super) fn size(record: &Record) -> usize {
    OVERHEAD + record.key.as_ref().len() + record.value.len()
}

/// What becomes of a value that comes beside the one under its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It takes the place of the other.
    Replace,
    /// It is the same, and the one that is here may live until then.
    Renew(Option<Instant>),
}

impl Values {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The value under a key.
    pub(super) fn get(&self, key: &RecordKey) -> Option<&Record> {
        self.by_key.get(key).map(|held| &held.record)
    }

    /// All values.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.by_key.values().map(|held| &held.record)
    }

    /// Who stored the value under a key, and its bytes.
    pub(super) fn stored(&self, key: &RecordKey) -> Option<(Sender, usize)> {
        let held = self.by_key.get(key)?;
        Some((held.sender, size(&held.record)))
    }

    /// What becomes of `record`, which `sender` sent.
    ///
    /// A value that the owner of its key has signed gives way to a newer one, whoever
    /// sends it. Any other value can be changed before its end only by its writer, over a
    /// connection of the writer's own: the name of a publisher in a record proves nothing,
    /// and the peer at the other end of a connection has proved who it is. What nodes near
    /// the key repeat is the same value, which may then live longer, and never shorter.
    ///
    /// # Errors
    /// When the value that is here stays.
    pub(super) fn judge(
        &self,
        record: &Record,
        rank: Option<Rank>,
        sender: Sender,
        now: Instant,
        shares: &Shares,
    ) -> Result<Verdict, Refused> {
        let held = match self.by_key.get(&record.key) {
            Some(held) if !held.record.is_expired(now) => held,
            _ => return Ok(Verdict::Replace),
        };
        let same = held.record.value == record.value;
        let longer = Verdict::Renew(held.record.expires.max(record.expires));
        if rank.is_some() {
            return match held.rank.cmp(&rank) {
                _ if same => Ok(longer),
                std::cmp::Ordering::Less => Ok(Verdict::Replace),
                _ => Err(Refused::Older),
            };
        }
        if sender.peer() == held.writer {
            return Ok(Verdict::Replace);
        }
        match same {
            true if writer(record, sender, shares) == held.writer => Ok(longer),
            true => Ok(Verdict::Renew(held.record.expires)),
            false => Err(Refused::OfAnother),
        }
    }

    /// The value under a key, which is here, may live until `expires`.
    pub(super) fn renew(&mut self, key: &RecordKey, expires: Option<Instant>) {
        if let Some(held) = self.by_key.get_mut(key) {
            held.record.expires = expires;
        }
    }

    /// Whether there is room for a value, in place of the one under its key.
    pub(super) fn fits(&self, record: &Record, cap: Amount) -> bool {
        let before = self.get(&record.key);
        cap.allows(Amount {
            records: self.len() + usize::from(before.is_none()),
            bytes: self.bytes + size(record) - before.map_or(0, size),
        })
    }

    /// Puts a value in place of the one under its key.
    pub(super) fn insert(
        &mut self,
        record: Record,
        rank: Option<Rank>,
        sender: Sender,
        shares: &mut Shares,
    ) {
        let bytes = size(&record);
        self.bytes += bytes;
        shares.add(sender, bytes);
        let held = Held {
            writer: writer(&record, sender, shares),
            sender,
            rank,
            record,
        };
        if let Some(before) = self.by_key.insert(held.record.key.clone(), held) {
            self.forget(&before, shares);
        }
    }

    /// Removes the value under a key.
    pub(super) fn remove(&mut self, key: &RecordKey, shares: &mut Shares) {
        if let Some(removed) = self.by_key.remove(key) {
            self.forget(&removed, shares);
        }
    }

    fn forget(&mut self, held: &Held, shares: &mut Shares) {
        self.bytes -= size(&held.record);
        shares.remove(held.sender, size(&held.record));
    }

    /// Removes what has expired by `now`, and adds what is left to `shares`, which
    /// are empty.
    pub(super) fn remove_expired(&mut self, now: Instant, shares: &mut Shares) {
        self.by_key.retain(|_, held| !held.record.is_expired(now));
        self.bytes = 0;
        for held in self.by_key.values() {
            let bytes = size(&held.record);
            self.bytes += bytes;
            shares.add(held.sender, bytes);
        }
    }
}

/// The mark of who wrote a record, as it says, or of who sent it.
fn writer(record: &Record, sender: Sender, shares: &Shares) -> u64 {
    let named = record.publisher.as_ref();
    named.map_or(sender.peer(), |named| shares.mark(named))
}
