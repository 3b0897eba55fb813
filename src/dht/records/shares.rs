//! How much of the store each sender may hold.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;

use ipnet::IpNet;
use libp2p::PeerId;

use super::amount::Amount;
use super::refused::Refused;

/// The part of the cap that one peer may hold: with the default, 8,192 records
/// and 8 MiB of values or provider records. In a network of fewer than twenty
/// nodes each holds what every other announces, so it is not less.
pub(super) const PEER_PART: usize = 8;

/// The part of the cap that one subnet may hold: a cluster behind one address
/// has more to announce than a peer, and must still leave half to the world.
pub(super) const SUBNET_PART: usize = 2;

/// Who stored a record, and in whose share it therefore counts: marks of a peer
/// and of a subnet, zero for none. Marks are keyed hashes, so that an entry of the
/// store grows by sixteen bytes and nobody can choose to count as another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    peer: u64,
    subnet: u64,
}

impl Sender {
    /// A sender whose records count in no share.
    pub(crate) const EXEMPT: Sender = Sender { peer: 0, subnet: 0 };

    /// Whether both are of the same known subnet.
    pub(super) fn shares_subnet(&self, other: &Sender) -> bool {
        self.subnet != 0 && self.subnet == other.subnet
    }
}

/// What each peer and subnet holds; an entry exists only while it holds something.
#[derive(Debug)]
pub(super) struct Shares {
    pub(super) used: HashMap<u64, Amount>,
    marks: RandomState,
    per_peer: Amount,
    per_subnet: Amount,
}

impl Shares {
    /// Nothing is held yet of a store with this cap.
    pub(super) fn of(cap: Amount) -> Self {
        Shares {
            used: HashMap::new(),
            marks: RandomState::new(),
            per_peer: cap.share(PEER_PART),
            per_subnet: cap.share(SUBNET_PART),
        }
    }

    /// The sender that `peer` at an address in `subnet` is.
    pub(super) fn sender(&self, peer: &PeerId, subnet: Option<IpNet>) -> Sender {
        // Zero stands for nobody.
        Sender {
            peer: self.marks.hash_one(peer).max(1),
            subnet: subnet.map_or(0, |net| self.marks.hash_one(net).max(1)),
        }
    }

    /// `sender` holds one more record, of so many bytes.
    pub(super) fn add(&mut self, sender: Sender, bytes: usize) {
        for mark in [sender.peer, sender.subnet] {
            if mark != 0 {
                let used = self.used.entry(mark).or_default();
                used.records += 1;
                used.bytes += bytes;
            }
        }
    }

    /// `sender` holds one record less, of so many bytes.
    pub(super) fn remove(&mut self, sender: Sender, bytes: usize) {
        for mark in [sender.peer, sender.subnet] {
            if let Entry::Occupied(mut used) = self.used.entry(mark) {
                let left = used.get_mut();
                left.records = left.records.saturating_sub(1);
                left.bytes = left.bytes.saturating_sub(bytes);
                if left.records == 0 {
                    used.remove();
                }
            }
        }
    }

    /// Nobody holds anything.
    pub(super) fn clear(&mut self) {
        self.used = HashMap::new();
    }

    /// Whether `sender` may hold one more record of so many bytes. `replaced` is the
    /// record whose place it takes: who stored it, and its bytes.
    ///
    /// # Errors
    /// When the peer or its subnet has used up its share.
    pub(super) fn check(
        &self,
        sender: Sender,
        bytes: usize,
        replaced: Option<(Sender, usize)>,
    ) -> Result<(), Refused> {
        let own = |same: bool| replaced.filter(|_| same).map(|(_, bytes)| bytes);
        let same = replaced.is_some_and(|(before, _)| before.peer == sender.peer);
        if !self.fits(sender.peer, bytes, own(same), self.per_peer) {
            return Err(Refused::PeerShare(self.per_peer.records));
        }
        let same = replaced.is_some_and(|(before, _)| before.subnet == sender.subnet);
        if !self.fits(sender.subnet, bytes, own(same), self.per_subnet) {
            return Err(Refused::SubnetShare(self.per_subnet.records));
        }
        Ok(())
    }

    /// Whether `mark` may hold one more record, in place of one of its own that takes
    /// `replaced` bytes.
    fn fits(&self, mark: u64, bytes: usize, replaced: Option<usize>, most: Amount) -> bool {
        if mark == 0 {
            return true;
        }
        let used = self.used.get(&mark).copied().unwrap_or_default();
        let after = Amount {
            records: used.records + usize::from(replaced.is_none()),
            bytes: used.bytes + bytes - replaced.unwrap_or(0),
        };
        most.allows(after)
    }
}
