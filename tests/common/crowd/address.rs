//! Addresses on loopback for daemons that keep theirs over a restart.

use std::sync::atomic::{AtomicU8, Ordering};

/// A multiaddr to listen on that nobody else uses: the numbers of processes differ
/// in 22 bits, of which 16 are in the address and the rest in the port, and the
/// daemons of one process count on. The port is none that the kernel gives out.
pub(crate) fn own_address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(n < u8::MAX, "one process has addresses for 254 daemons");
    let pid = std::process::id();
    let [high, low] = [pid >> 8 & 0xff, pid & 0xff];
    format!("/ip4/127.{high}.{low}.{n}/tcp/{}", 10_000 + (pid >> 16))
}
