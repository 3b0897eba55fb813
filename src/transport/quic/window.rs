//! How much the remote may send before it is read: little at first, and more while this
//! node reads it quickly.
//!
//! quinn keeps what arrives until somebody reads it, and grants windows once, for each
//! stream and for all streams of a connection. A remote that fills them on streams which
//! nobody reads makes this node hold the window of the connection. So that one begins at
//! [`FIRST`]. It is doubled when half of it has been read within two round trips, which
//! says that the window is what holds the remote back, up to the maximum of the options.
//! What connections grow by comes from the memory that all of them share, so that many
//! strangers cannot grow all at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::options::Grants;
use crate::transport::memory::{Memory, Reservation};

/// The window of a connection at first: that of one stream, and half as much again for the
/// others, so that one stream that is not read does not stop them.
pub(super) fn first(stream: u32, max: u32) -> u32 {
    stream.saturating_add(stream / 2).min(max)
}

/// Bytes read between two looks at the clock.
const LOOK: u64 = 64 * 1024;

/// The window of one connection. Its streams share it.
#[derive(Debug)]
pub(super) struct Window {
    quinn: quinn::Connection,
    /// Bytes read since the last look.
    read: AtomicU64,
    growth: Mutex<Growth>,
}

impl Window {
    pub(super) fn new(quinn: quinn::Connection, grants: &Grants) -> Arc<Self> {
        let (first, max) = (grants.first_window, grants.max_window);
        let memory = grants.memory.clone();
        Arc::new(Window {
            quinn,
            read: AtomicU64::new(0),
            growth: Mutex::new(Growth::new(first, max, memory, Instant::now())),
        })
    }

    /// Counts what was read from a stream.
    pub(super) fn read(&self, bytes: usize) {
        let bytes = bytes as u64;
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if read < LOOK {
            return;
        }
        let read = self.read.swap(0, Ordering::Relaxed);
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = growth.read(read, Instant::now(), || self.quinn.rtt()) {
            self.quinn.set_receive_window(window.into());
        }
    }
}

/// When and by how much a window grows.
#[derive(Debug)]
struct Growth {
    window: u32,
    max: u32,
    /// When half of the window was last read, and what was read since then.
    since: Instant,
    read: u64,
    memory: Memory,
    reserved: Vec<Reservation>,
}

impl Growth {
    fn new(first: u32, max: u32, memory: Memory, now: Instant) -> Self {
        Growth {
            window: first,
            max,
            since: now,
            read: 0,
            memory,
            reserved: Vec::new(),
        }
    }

    /// Counts what was read until `now`. Gives the window if it has changed.
    fn read(
        &mut self,
        bytes: u64,
        now: Instant,
        round_trip: impl FnOnce() -> Duration,
    ) -> Option<u32> {
        if self.window >= self.max {
            return None;
        }
        self.read += bytes;
        if self.read < u64::from(self.window / 2) {
            return None;
        }
        let took = now.saturating_duration_since(self.since);
        self.since = now;
        self.read = 0;
        if took >= round_trip() * 2 {
            return None;
        }
        let more = self.window.min(self.max - self.window);
        self.reserved.push(self.memory.reserve(more as usize)?);
        self.window += more;
        Some(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(100);
    const MIB: u32 = 1 << 20;

    fn fast(growth: &mut Growth, now: &mut Instant) -> u32 {
        for _ in 0..1000 {
            *now += TRIP / 100;
            growth.read(u64::from(MIB), *now, || TRIP);
        }
        growth.window
    }

    #[test]
    fn a_window_grows_while_it_is_read_quickly_and_gives_back_at_the_end() {
        let memory = Memory::new(64 << 20);
        let mut now = Instant::now();
        let mut growth = Growth::new(3 * MIB, 12 * MIB, memory.clone(), now);
        for _ in 0..100 {
            // Two megabytes in three round trips: the remote is not held back.
            now += TRIP * 3;
            assert_eq!(growth.read(2 << 20, now, || TRIP), None);
        }
        assert_eq!(fast(&mut growth, &mut now), 12 * MIB);
        assert_eq!(memory.used(), 9 << 20);
        drop(growth);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn many_connections_do_not_grow_beyond_their_share_of_the_memory() {
        let memory = Memory::new(64 << 20);
        let mut now = Instant::now();
        let mut all: Vec<_> = (0..20)
            .map(|_| Growth::new(3 * MIB, 12 * MIB, memory.clone(), now))
            .collect();
        let windows: u32 = all.iter_mut().map(|g| fast(g, &mut now)).sum();
        assert!(windows > 20 * 3 * MIB);
        assert!(memory.used() <= 32 << 20, "{}", memory.used());
    }
}
