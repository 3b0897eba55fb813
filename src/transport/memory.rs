//! The memory that all connections together hold for what peers have sent and nobody has
//! read yet.
//!
//! Each connection says how much it holds, in bytes as they are allocated. When a
//! connection takes more and the sum is above the cap, the connection that holds the most
//! is ended, and then the next one, until the rest is below the cap. So a stranger that
//! fills buffers is the one who pays, and honest peers with small buffers stay.
//!
//! The sum is one atomic number. The connections are looked at one by one only when it is
//! above the cap.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;
use libp2p::PeerId;

/// A cap on the memory of connections. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    cap: usize,
    used: AtomicUsize,
    /// Bounded by the connections that exist.
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    members: BTreeMap<u64, Arc<Member>>,
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Member {
    /// The peer at the other end, if its account was opened with it.
    peer: Option<PeerId>,
    held: AtomicUsize,
    /// Set when the connection has to end.
    doomed: AtomicBool,
    /// The connection's task.
    waker: AtomicWaker,
}

/// The least that a node can work with: one connection whose windows have grown to the
/// most, or 64 unread windows of the size that the specification grants.
const LEAST: u64 = 16 << 20;

/// More is of no use to honest peers: sixteen connections whose windows have grown to the
/// most, and nobody reads from any of them.
const MOST: u64 = 256 << 20;

impl Default for Memory {
    fn default() -> Self {
        Memory::within(None)
    }
}

impl Memory {
    /// The cap for a node that may take `limit` bytes in all: an eighth of it. In 256 MiB
    /// the node takes 40 with nothing to do, and as much again with 400 connections, so
    /// 32 for what strangers fill leave room for the rest of what it does. Buffers grow by
    /// doubling, and the old one is freed only after the new one is there, so that in the
    /// worst case half as much again is taken for a moment.
    pub fn within(limit: Option<u64>) -> Self {
        let bytes = limit.unwrap_or(MOST * 8) / 8;
        Memory::new(usize::try_from(bytes.clamp(LEAST, MOST)).unwrap_or(usize::MAX))
    }

    /// A cap of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Memory(Arc::new(Pool {
            cap: bytes,
            used: AtomicUsize::new(0),
            members: Mutex::default(),
        }))
    }

    /// The bytes that all connections together may hold.
    pub fn cap(&self) -> usize {
        self.0.cap
    }

    /// The bytes that all connections hold now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Sets `bytes` aside for what may come to be held, as long as less than half of the
    /// cap is used then. The other half is for what is held already or has no choice.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let used = &self.0.used;
        let half = self.0.cap / 2;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= half);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        Some(Reservation {
            pool: self.0.clone(),
            bytes,
        })
    }

    /// Returns the bytes that the connections with each peer hold now.
    pub fn held(&self) -> HashMap<PeerId, u64> {
        let mut held = HashMap::new();
        for member in self.0.lock().members.values() {
            if let Some(peer) = member.peer {
                *held.entry(peer).or_default() += member.held.load(Ordering::Relaxed) as u64;
            }
        }
        held
    }

    /// Opens the account of a new connection with `peer`, if that is known.
    pub(crate) fn account(&self, peer: Option<PeerId>) -> Account {
        let member = Arc::new(Member {
            peer,
            ..Member::default()
        });
        let mut members = self.0.lock();
        let key = members.next;
        members.next += 1;
        members.members.insert(key, member.clone());
        drop(members);
        Account {
            pool: self.0.clone(),
            key,
            member,
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends those that hold the most, until the others are below the cap.
    fn reclaim(&self) {
        let members = self.lock();
        let held = |member: &Member| member.held.load(Ordering::Relaxed);
        let (doomed, mut rest): (Vec<_>, Vec<_>) = members
            .members
            .values()
            .partition(|m| m.doomed.load(Ordering::Relaxed));
        let freed: usize = doomed.into_iter().map(|m| held(m)).sum();
        let mut left = self.used.load(Ordering::Relaxed).saturating_sub(freed);
        // The oldest comes first among equals.
        rest.sort_by_key(|m| std::cmp::Reverse(held(m)));
        for member in rest {
            if left <= self.cap {
                break;
            }
            left = left.saturating_sub(held(member));
            member.doomed.store(true, Ordering::Relaxed);
            member.waker.wake();
        }
    }
}

/// What one connection holds. Dropping it gives everything back.
#[derive(Debug)]
pub(crate) struct Account {
    pool: Arc<Pool>,
    key: u64,
    member: Arc<Member>,
}

impl Account {
    /// Says that the connection holds `bytes` now.
    pub(crate) fn set(&self, bytes: usize) {
        let before = self.member.held.swap(bytes, Ordering::Relaxed);
        let used = &self.pool.used;
        if bytes > before {
            let more = bytes - before;
            if used.fetch_add(more, Ordering::Relaxed) + more > self.pool.cap {
                self.pool.reclaim();
            }
        } else {
            used.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// Whether the connection has to end, and give back what it holds. Wakes the task of
    /// `waker` when it comes to that later.
    pub(crate) fn watch(&self, waker: &Waker) -> bool {
        self.member.waker.register(waker);
        self.is_doomed()
    }

    /// Whether the connection has to end, and give back what it holds.
    pub(crate) fn is_doomed(&self) -> bool {
        self.member.doomed.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pool.lock().members.remove(&self.key);
        self.set(0);
    }
}

/// Memory that was set aside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doomed(accounts: &[&Account]) -> Vec<bool> {
        let is_doomed = |account: &&Account| account.watch(Waker::noop());
        accounts.iter().map(is_doomed).collect()
    }

    #[test]
    fn whoever_holds_the_most_is_ended_until_the_rest_fits() {
        let memory = Memory::new(100);
        let [a, b, c] = [(); 3].map(|()| memory.account(None));
        a.set(30);
        b.set(50);
        c.set(20);
        assert_eq!(doomed(&[&a, &b, &c]), [false; 3]);
        // Whoever asks last is not the one who pays.
        c.set(21);
        assert_eq!(doomed(&[&a, &b, &c]), [false, true, false]);
        // What is being given back counts as given back.
        c.set(40);
        assert_eq!(doomed(&[&a, &b, &c]), [false, true, false]);
        drop(b);
        assert_eq!(memory.used(), 70);
        a.set(101);
        assert_eq!(doomed(&[&a, &c]), [true, false]);
        drop((a, c));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn what_connections_hold_is_told_by_peer() {
        let memory = Memory::new(100);
        let peer = PeerId::random();
        let accounts = [Some(peer), Some(peer), None].map(|peer| memory.account(peer));
        for account in &accounts {
            account.set(10);
        }
        assert_eq!(memory.held(), HashMap::from([(peer, 20)]));
        drop(accounts);
        assert_eq!(memory.held(), HashMap::new());
    }
}
