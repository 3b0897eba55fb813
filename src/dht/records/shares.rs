//! How much of the store each sender may hold.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hash};

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

/// Where a peer is that sends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In a subnet of the network.
    Subnet(IpNet),
    /// On this host, over its loopback interface.
    ThisHost,
    /// Behind a relay; the relay's subnet when it is known.
    Relayed(Option<IpNet>),
    /// Wherever it is, the operator trusts it.
    Trusted,
}

/// Who stored a record, and in whose share it therefore counts: marks of a peer and of
/// the group of peers that are at the same place. Marks are keyed hashes, so that an entry
/// of the store stays small and nobody can choose to count as another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    peer: u64,
    group: u64,
    /// Whether the record counts in the peer's share, and in that of its subnet.
    of_peer: bool,
    of_subnet: bool,
    /// Whether it announced the address that it comes from, or was dialed.
    dialable: bool,
}

impl Sender {
    /// A sender whose records count in no share, and that belongs to no group.
    pub(crate) const EXEMPT: Sender = Sender {
        peer: 0,
        group: 0,
        of_peer: false,
        of_subnet: false,
        dialable: false,
    };

    /// The same sender, which can be dialed as it says, as far as that is known.
    pub(crate) fn dialable(self, dialable: bool) -> Sender {
        Sender { dialable, ..self }
    }

    pub(super) fn is_dialable(&self) -> bool {
        self.dialable
    }

    /// The mark of the peer; zero for nobody.
    pub(super) fn peer(&self) -> u64 {
        self.peer
    }

    /// The mark of those that are at the same place; zero if it shares none.
    pub(super) fn group(&self) -> u64 {
        self.group
    }

    fn of_share(&self) -> u64 {
        if self.of_peer { self.peer } else { 0 }
    }

    fn of_subnets_share(&self) -> u64 {
        if self.of_subnet { self.group } else { 0 }
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

    /// The sender that `peer` is at `origin`.
    pub(super) fn sender(&self, peer: &PeerId, origin: Origin) -> Sender {
        let peer = self.mark(peer);
        Sender {
            peer,
            group: match origin {
                Origin::Subnet(net) | Origin::Relayed(Some(net)) => self.mark(&net),
                Origin::ThisHost => self.mark(&"this host"),
                Origin::Relayed(None) => self.mark(&"behind relays"),
                Origin::Trusted => peer,
            },
            of_peer: origin != Origin::Trusted,
            of_subnet: matches!(origin, Origin::Subnet(_)),
            dialable: false,
        }
    }

    /// The mark of something: never zero, which stands for nobody.
    pub(super) fn mark(&self, of: &impl Hash) -> u64 {
        self.marks.hash_one(of).max(1)
    }

    /// `sender` holds one more record, of so many bytes.
    pub(super) fn add(&mut self, sender: Sender, bytes: usize) {
        for mark in [sender.of_share(), sender.of_subnets_share()] {
            if mark != 0 {
                let used = self.used.entry(mark).or_default();
                used.records += 1;
                used.bytes += bytes;
            }
        }
    }

    /// `sender` holds one record less, of so many bytes.
    pub(super) fn remove(&mut self, sender: Sender, bytes: usize) {
        for mark in [sender.of_share(), sender.of_subnets_share()] {
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
        let mark = sender.of_share();
        let same = replaced.is_some_and(|(before, _)| before.of_share() == mark);
        if !self.fits(mark, bytes, own(same), self.per_peer) {
            return Err(Refused::PeerShare(self.per_peer.records));
        }
        let mark = sender.of_subnets_share();
        let same = replaced.is_some_and(|(before, _)| before.of_subnets_share() == mark);
        if !self.fits(mark, bytes, own(same), self.per_subnet) {
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
