//! The shutdown. The daemon reports that it is not ready, the node drains, transfers
//! finish, the knowledge about peers is saved, and the connections close.
//!
//! Work that is under way has `P2P_DRAIN_TIMEOUT` to finish, unless a second signal ends
//! the wait. Saving runs at the same time. The daemon waits for it in either case, but
//! only for a limited time: a disk that does not answer must not keep it from ending.

use std::time::{Duration, Instant};

use async_io::Timer;
use async_std::future::timeout;
use async_std::task;
use futures::future::{Either, join, join3, select};

use super::reload::Requests;
use super::{Daemon, next_stop, peer};
use crate::api::State;
use crate::system::signals::Signals;

/// The time allowed for saving the routing table and reputations, and again for closing
/// connections and saving what gossip remembers. Each takes milliseconds unless something
/// hangs.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest time that the steps after the drain take together when each of them waits
/// for something that hangs: saving, closing the connections, and the metrics port with
/// the other tasks. It includes some seconds for a machine that is slow because it is
/// shutting down.
const REST: Duration = Duration::from_secs(15);

/// How long the node waits, after it has told peers that it leaves its meshes, before it
/// closes their connections. This is enough for a turn of each connection's task and of
/// the socket.
const FAREWELL: Duration = Duration::from_millis(200);

/// How long no request for blocks may be unanswered before transfers count as finished. A
/// peer that fetches a file asks for blocks in advance, so that this is longer than a
/// round trip around the world.
const QUIET: Duration = Duration::from_millis(500);

impl Daemon {
    /// Carries out the whole shutdown.
    pub(super) async fn close(self, signals: &mut Signals, requests: &Requests) {
        self.reloader.stop();
        let drain_timeout = self.reloader.drain_timeout();
        self.readiness.set_not_ready(State::Draining.as_str());
        self.notifier.stopping(drain_timeout + REST);
        let handle = self.peer.node.handle();
        let begin = Instant::now();
        let left = || drain_timeout.saturating_sub(begin.elapsed());

        // What is known is saved before the peers leave. This happens in a separate task,
        // so that neither a second signal nor the end of a wait cancels it.
        let saved = task::spawn({
            let (handle, store) = (handle.clone(), self.peer.store.clone());
            let keeper = self.peer.keeper.clone();
            let content = self.peer.content.clone();
            async move { peer::save(&handle, &store, &keeper, &content).await }
        });

        let peers = self.peer.node.pulse().connected_peers() > 0;
        let drained = async {
            let node = async {
                if timeout(left(), handle.drain()).await.is_err() {
                    log::warn!(
                        "DHT operations and relayed connections did not end within P2P_DRAIN_TIMEOUT; ending them"
                    );
                }
                if peers {
                    Timer::after(FAREWELL).await;
                }
            };
            let served = async {
                if timeout(left(), self.peer.content.served(QUIET))
                    .await
                    .is_err()
                {
                    log::warn!(
                        "blocks are still on their way to peers after P2P_DRAIN_TIMEOUT; ending them"
                    );
                }
            };
            join3(node, served, self.control.close(left())).await;
        };
        let second = next_stop(signals, requests);
        if let Either::Right((signal, _)) =
            select(std::pin::pin!(drained), std::pin::pin!(second)).await
        {
            log::warn!(signal = signal.name(); "second signal: not waiting for the drain");
        }

        if timeout(PATIENCE, saved).await.is_err() {
            log::warn!(
                "the routing table and reputations could not be saved; the disk does not answer"
            );
        }
        if timeout(PATIENCE, self.peer.node.stop()).await.is_err() {
            log::warn!(
                "stopping without closing the connections properly: the event loop does not turn, or the disk does not answer"
            );
        }
        let (stop_http, http) = self.http;
        drop(stop_http);
        // The tasks have saved everything by now. A task that does not end is waiting for
        // a disk that does not answer.
        let _ = timeout(PATIENCE, join(http.join(), self.tasks.cancel())).await;
        log::info!("stopped");
    }
}
