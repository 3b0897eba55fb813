//! The line that `systemctl status` shows: how the node does, at a glance.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::node::Pulse;
use crate::observe::http::Readiness;
use crate::store::Store;
use crate::system::notify::Notifier;

/// How often the line is made again. It is sent only when it has changed.
const EVERY: Duration = Duration::from_secs(3);

/// Such as `12 peers, 3041 blocks (1.2 GiB), mesh 6`.
pub(super) fn line(pulse: &Pulse, store: &Store) -> String {
    let usage = store.usage();
    words(
        pulse.connected_peers() as u64,
        usage.blocks,
        usage.bytes,
        pulse.mesh_peers() as u64,
    )
}

fn words(peers: u64, blocks: u64, bytes: u64, mesh: u64) -> String {
    let many = |n: u64, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    format!(
        "{}, {} ({}), mesh {mesh}",
        many(peers, "peer"),
        many(blocks, "block"),
        size(bytes)
    )
}

/// Bytes with one digit behind the point, in the largest unit that fits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Tells the manager each new line, from `last` on.
pub(super) async fn keep_current(
    notifier: Notifier,
    mut last: String,
    pulse: Arc<Pulse>,
    store: Store,
    readiness: Arc<Readiness>,
) {
    if !notifier.is_connected() {
        return;
    }
    let mut ticks = async_io::Timer::interval(EVERY);
    while ticks.next().await.is_some() {
        // While it drains the line says so.
        if readiness.reason().is_some() {
            return;
        }
        let now = line(&pulse, &store);
        if now != last {
            notifier.status(&now);
            last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_how_it_does() {
        assert_eq!(
            words(12, 3041, 1_288_490_189, 6),
            "12 peers, 3041 blocks (1.2 GiB), mesh 6"
        );
        assert_eq!(words(1, 1, 0, 0), "1 peer, 1 block (0 B), mesh 0");
    }

    #[test]
    fn sizes_read_well_at_the_edges() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024, "1.0 MiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
