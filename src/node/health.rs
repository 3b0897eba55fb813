//! Health of connections by ping: who answers none any more is let go.
//!
//! A connection can be dead without an end: a host that lost its power, a
//! firewall that forgot the flow, a remote that is stopped. TCP finds out only
//! when it has something to send, and a mesh or a stream keeps the connection.

use std::collections::HashMap;

use libp2p::swarm::ConnectionId;

/// Failures that are reported in a row until a connection is closed. libp2p
/// keeps the first one to itself, so it is the third lost ping. With a ping 15 s
/// after the last answer and 20 s for its own (`Options::ping_interval` and
/// `ping_timeout`), a connection that dies is closed after 55 to 70 s: up to 15 s
/// until the first ping that is lost, 20 s for its answer, 15 s until a stream for
/// the second one is asked for, and 10 s each until libp2p gives up the
/// negotiation of that stream and of the third ping's. A route change or a
/// laptop's lid costs nobody his connections, and a dead one holds its place no
/// longer than it has to. (QUIC gives up after 30 s by itself.)
const FAILURES: u32 = 2;

/// Failures in a row, for each connection that has any. Bounded by the
/// connections: an entry goes with its connection.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: HashMap<ConnectionId, u32>,
}

impl Health {
    /// A ping was answered.
    pub(super) fn answered(&mut self, id: ConnectionId) {
        self.failures.remove(&id);
    }

    /// A ping was not answered in time, or could not be sent. `true` when the
    /// connection is to be closed for it, once.
    pub(super) fn failed(&mut self, id: ConnectionId) -> bool {
        let count = self.failures.entry(id).or_default();
        *count += 1;
        *count == FAILURES
    }

    /// A connection ended; `true` when for its failures.
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
