//! The health of connections, by ping: a peer that no longer answers is disconnected.
//!
//! A connection can be dead although nobody closed it: a host lost its power, a
//! firewall forgot the flow, or the remote process is stopped. TCP notices that only
//! when it has something to send, and a mesh or a stream keeps the connection.

use std::collections::HashMap;

use libp2p::swarm::ConnectionId;

/// The number of failures in a row that are reported before a connection is closed.
/// libp2p does not report the first one, so this is the third lost ping. With a ping
/// 15 s after the last answer and 20 s for its own answer (`Options::ping_interval` and
/// `ping_timeout`), a dead connection is closed after 55 to 70 s: up to 15 s
/// until the first ping that is lost, 20 s for its answer, 15 s until a stream for
/// the second one is requested, and 10 s each until libp2p gives up the
/// negotiation of that stream and of the third ping's. So a route change or a laptop
/// that is closed for a moment does not cost any connections, and a dead connection
/// does not hold its place longer than necessary. (QUIC itself gives up after 30 s.)
const FAILURES: u32 = 2;

/// The failures in a row of each connection that has any. Bounded by the number of
/// connections, since an entry is removed with its connection.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: HashMap<ConnectionId, u32>,
}

impl Health {
    /// A ping was answered.
    pub(super) fn answered(&mut self, id: ConnectionId) {
        self.failures.remove(&id);
    }

    /// A ping was not answered in time, or could not be sent. Returns `true`, once, when
    /// the connection should be closed for it.
    pub(super) fn failed(&mut self, id: ConnectionId) -> bool {
        let count = self.failures.entry(id).or_default();
        *count += 1;
        *count == FAILURES
    }

    /// A connection ended. Returns `true` if it was closed for its failures.
    pub(super) fn ended(&mut self, id: ConnectionId) -> bool {
        self.failures.remove(&id).is_some_and(|n| n >= FAILURES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_close_a_connection_once_and_an_answer_forgives() {
        let mut health = Health::default();
        let id = ConnectionId::new_unchecked(1);
        for _ in 0..10 {
            assert!(!health.failed(id));
            health.answered(id);
        }
        assert!(!health.failed(id));
        assert!(health.failed(id));
        assert!(!health.failed(id), "closing is said once");
        assert!(health.ended(id));
        assert!(health.failures.is_empty());
        assert!(!health.failed(id));
        assert!(!health.ended(id));
    }
}
