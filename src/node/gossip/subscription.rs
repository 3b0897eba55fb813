//! A program's end of its subscription to a topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_std::channel::Receiver;

use crate::api::Message;

/// Gossip messages waiting for one subscriber: what this node lets in at once of all
/// peers together under the default budget (ten times P2P_RATE_BURST), so that
/// publishers that begin at the same time are all heard. What the messages of a
/// stalled subscriber take is bounded by the node's ceiling of bytes and by the half
/// minute after which the control socket gives it up: some 30 MiB, which all
/// subscribers share. A slower subscriber loses messages and is told how many.
pub(in crate::node) const SUBSCRIPTION_QUEUE: usize = 2048;

/// Messages of one topic for one subscriber. Dropping it leaves the topic when
/// it was the last one.
#[derive(Debug)]
pub struct Subscription {
    pub(super) topic: String,
    pub(super) messages: Receiver<Arc<Message>>,
    pub(super) dropped: Arc<AtomicU64>,
}

impl Subscription {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The next message; `None` when the node has stopped.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        self.messages.recv().await.ok()
    }

    /// Messages lost since the start because this subscriber was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
