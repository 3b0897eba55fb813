//! The line shown by `systemctl status`, which gives a short overview of the node.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::node::Pulse;
use crate::store::Store;
use crate::system::notify::Notifier;
use crate::text::{count::counted, size};
use crate::web::http::Readiness;

/// How often the line is generated. It is sent only when it has changed.
const EVERY: Duration = Duration::from_secs(3);

/// Returns the line, such as `12 peers, 3041 blocks (1.2 GiB), mesh 6`.
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
    format!(
        "{}, {} ({}), mesh {mesh}",
        counted(peers, "peer", "peers"),
        counted(blocks, "block", "blocks"),
        size::show(bytes)
    )
}

/// Sends the line to the service manager whenever it differs from the last one, which is
/// `last` at first.
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
        // While the node drains, the shutdown sets the line.
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
}
