//! The table of remembered peers: the routing table and the address book as they were
//! last saved, with which a node finds its network again after a restart.

use std::collections::HashSet;
use std::time::SystemTime;

use libp2p::{Multiaddr, PeerId};
use prost::Message;
use redb::{ReadableTable, TableDefinition};

use super::{Error, Store};
use crate::text::unix_time::{from_unix_millis, unix_millis};

/// Key: peer id. Value: [`PeerRow`].
pub(super) const PEERS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("peers");

/// Peers remembered at most: several full Kademlia buckets (20 each) more than
/// a restart needs, and still one small transaction of some 200 KiB.
pub const MAX_PEERS: usize = 1024;

/// Peers of earlier saves that are kept beside those of the last one. The routing table
/// of a node that has just started, or whose network is down, holds only a few peers, and
/// these are then the way back: eight times as many as a start dials at once.
pub const MAX_EARLIER: usize = 64;

/// Addresses remembered of one peer at most. An honest peer has a few for each
/// of its interfaces and transports; a hostile one could list thousands.
pub const MAX_ADDRS: usize = 16;

/// A longer address is not remembered. Circuit addresses with certificate hashes are
/// shorter, and no honest address is nearly as long.
const MAX_ADDR_BYTES: usize = 512;

/// A peer and where it was reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    /// Its id.
    pub peer: PeerId,
    /// Where it was reachable, the best address first.
    pub addrs: Vec<Multiaddr>,
    /// When this node was last connected to it.
    pub last_seen: SystemTime,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PeerRow {
    #[prost(bytes = "vec", repeated, tag = "1")]
    addrs: Vec<Vec<u8>>,
    #[prost(uint64, tag = "2")]
    last_seen: u64,
    /// Place in the saved order, the most recent first.
    #[prost(uint32, tag = "3")]
    rank: u32,
}

impl Store {
    /// Remembers these peers, the last seen first, each with its first [`MAX_ADDRS`]
    /// addresses; behind them, of those that were remembered before and are not among
    /// them, the first [`MAX_EARLIER`]; in all at most [`MAX_PEERS`]. Durable when it
    /// returns.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn save_peers(&self, peers: &[KnownPeer]) -> Result<(), Error> {
        let mut latest: Vec<&KnownPeer> = peers.iter().collect();
        latest.sort_by_key(|peer| std::cmp::Reverse(peer.last_seen));
        latest.truncate(MAX_PEERS);
        self.database().write(|tx| {
            let mut table = tx.open_table(PEERS)?;
            let mut earlier = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                earlier.extend(decode(key.value(), value.value()));
            }
            earlier.sort_by_key(|(rank, _)| *rank);
            let now: HashSet<PeerId> = latest.iter().map(|peer| peer.peer).collect();
            let earlier = earlier.iter().map(|(_, peer)| peer);
            let earlier = earlier.filter(|peer| !now.contains(&peer.peer));
            let all = latest.iter().copied().chain(earlier.take(MAX_EARLIER));
            table.retain(|_, _| false)?;
            for (rank, peer) in all.take(MAX_PEERS).enumerate() {
                let row = PeerRow {
                    addrs: peer
                        .addrs
                        .iter()
                        .map(|addr| addr.to_vec())
                        .filter(|addr| addr.len() <= MAX_ADDR_BYTES)
                        .take(MAX_ADDRS)
                        .collect(),
                    last_seen: unix_millis(peer.last_seen),
                    rank: rank as u32,
                };
                let key = peer.peer.to_bytes();
                // Ordered by time, so of one peer named twice the later stays.
                if table.get(&key[..])?.is_none() {
                    table.insert(&key[..], &row.encode_to_vec()[..])?;
                }
            }
            Ok(())
        })
    }

    /// The peers that [`Self::save_peers`] has remembered, in its order.
    /// Rows that cannot be read are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load_peers(&self) -> Result<Vec<KnownPeer>, Error> {
        let mut rows = self.database().read(|tx| {
            let mut rows = Vec::new();
            for row in tx.open_table(PEERS)?.iter()? {
                let (key, value) = row?;
                rows.extend(decode(key.value(), value.value()));
            }
            Ok(rows)
        })?;
        rows.sort_by_key(|(rank, _)| *rank);
        Ok(rows.into_iter().map(|(_, peer)| peer).collect())
    }
}

/// The peer of a row and its place in the saved order; `None` when the row
/// cannot be read.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<(u32, KnownPeer)> {
    let peer = PeerId::from_bytes(key).ok()?;
    let row = PeerRow::decode(value).ok()?;
    let addrs = row.addrs.into_iter();
    let peer = KnownPeer {
        peer,
        addrs: addrs.filter_map(|a| Multiaddr::try_from(a).ok()).collect(),
        last_seen: from_unix_millis(row.last_seen),
    };
    Some((row.rank, peer))
}
