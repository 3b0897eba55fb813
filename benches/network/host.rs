//! A host of the network in memory: an address, its connections, and what went
//! over them.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::pipe::Link;

/// See the module's page.
pub(crate) struct Host {
    pub(crate) ip: Ipv4Addr,
    /// Hosts on different sides do not reach each other.
    side: AtomicU8,
    sent: AtomicU64,
    dialed: AtomicU64,
    links: Mutex<Vec<Weak<Link>>>,
}

impl Host {
    pub(crate) fn new(ip: Ipv4Addr) -> Arc<Host> {
        Arc::new(Host {
            ip,
            side: AtomicU8::new(0),
            sent: AtomicU64::new(0),
            dialed: AtomicU64::new(0),
            links: Mutex::default(),
        })
    }

    /// Bytes that it has sent, all connections together.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Connections that it made and that were taken.
    pub(crate) fn dials(&self) -> u64 {
        self.dialed.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn dialed(&self) {
        self.dialed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reaches(&self, other: &Host) -> bool {
        self.side.load(Ordering::Acquire) == other.side.load(Ordering::Acquire)
    }

    /// Puts it on a side of the partition: whoever is on another one is cut off,
    /// without an end of any connection.
    pub(crate) fn stand_on(&self, side: u8) {
        self.side.store(side, Ordering::Release);
        for link in self.links() {
            link.nudge();
        }
    }

    /// Ends all its connections, as when its process dies.
    pub(crate) fn reset(&self) {
        for link in self.links() {
            link.reset();
        }
    }

    /// Takes a new connection into account.
    pub(crate) fn keep(&self, link: &Arc<Link>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() == links.capacity() {
            links.retain(|link| link.strong_count() > 0);
        }
        links.push(Arc::downgrade(link));
    }

    fn links(&self) -> Vec<Arc<Link>> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter_map(Weak::upgrade).collect()
    }
}
