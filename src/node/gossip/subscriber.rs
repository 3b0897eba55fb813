//! A program on this host that listens to a topic, and the queue between it and the
//! event loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_std::channel::{Sender, unbounded};

use super::subscription::{SUBSCRIPTION_QUEUE, Subscription};
use crate::api::Message;
use crate::gossip::topics::Listener;

/// The event loop's end of a [`Subscription`].
#[derive(Debug)]
pub(in crate::node) struct Subscriber {
    queue: Sender<Arc<Message>>,
    dropped: Arc<AtomicU64>,
}

impl Subscriber {
    /// Both ends of a subscription to `topic`.
    pub(in crate::node) fn new(topic: String) -> (Self, Subscription) {
        // Grows with what waits, up to the bound, which `deliver` keeps: the loop is
        // the only one that sends.
        let (queue, messages) = unbounded();
        let dropped = Arc::new(AtomicU64::new(0));
        let subscription = Subscription {
            topic,
            messages,
            dropped: dropped.clone(),
        };
        (Subscriber { queue, dropped }, subscription)
    }

    /// Puts a message into the queue. A full queue loses the message and counts it:
    /// the loop waits for nobody.
    pub(in crate::node) fn deliver(&self, message: &Arc<Message>) {
        if self.queue.len() >= SUBSCRIPTION_QUEUE {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            // A program that has gone in this moment hears nothing more.
            let _ = self.queue.try_send(message.clone());
        }
    }
}

impl Listener for Subscriber {
    fn is_gone(&self) -> bool {
        self.queue.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_subscriber_loses_messages_and_others_do_not() {
        let (to_slow, slow) = Subscriber::new("t".into());
        let (to_quick, quick) = Subscriber::new("t".into());
        let message = Arc::new(Message {
            from: None,
            data: vec![1].into(),
            seqno: None,
            topic: "t".into(),
        });
        for _ in 0..SUBSCRIPTION_QUEUE + 5 {
            to_slow.deliver(&message);
            to_quick.deliver(&message);
            quick.messages.try_recv().unwrap();
        }
        assert_eq!(slow.dropped(), 5);
        assert_eq!(quick.dropped(), 0);
        drop(slow);
        assert!(to_slow.is_gone() && !to_quick.is_gone());
    }
}
