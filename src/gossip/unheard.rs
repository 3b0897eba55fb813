//! Messages of this host's programs that nobody would hear yet.
//!
//! When a program publishes and no peer is there to take the message, the node looks for
//! one: it dials its bootstrap peers and those that it knows, and asks the DHT
//! for members of the topic. That takes some seconds at most where there is somebody
//! to be found, so the message waits for it, [`PATIENCE`] long, and the program learns
//! how it ended. It ends earlier when there is nothing left to wait for.
//!
//! Pure: time comes as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p::gossipsub::TopicHash;

/// How long a message waits by default. A node that is alone, and has a network to
/// come back to over lines with a round trip of a third of a second, needs a second
/// until the loop dials, two to connect and to be told who is there (six round trips),
/// one to ask the DHT, and one to connect with a member. A member that is not found by
/// then is found by later searches, for which no program should have to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Messages that wait. A connection to the control socket has one at a time, so this
/// is a quarter of all programs that there can be; those of the others are answered
/// at once. Whoever is heard of is looked for in each of them.
const MOST: usize = 64;

/// Bytes that wait: four of the largest messages.
const MOST_BYTES: usize = 4 << 20;

#[derive(Debug)]
struct Waiting<T> {
    topic: TopicHash,
    until: Instant,
    size: usize,
    what: T,
}

/// See the module's documentation. `T` is what waits.
#[derive(Debug)]
pub(crate) struct Unheard<T> {
    patience: Duration,
    /// In the order in which they came.
    list: VecDeque<Waiting<T>>,
    bytes: usize,
}

impl<T> Unheard<T> {
    /// Where messages wait for so long.
    pub(crate) fn new(patience: Duration) -> Self {
        Unheard {
            patience,
            list: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a message on this topic waits.
    pub(crate) fn has(&self, topic: &TopicHash) -> bool {
        self.list.iter().any(|waiting| waiting.topic == *topic)
    }

    /// Lets `what`, which is for `topic` and takes up `size` bytes, wait from `now` on.
    ///
    /// # Errors
    /// It back, when too much waits already.
    pub(crate) fn push(
        &mut self,
        topic: TopicHash,
        size: usize,
        what: T,
        now: Instant,
    ) -> Result<(), T> {
        if self.list.len() >= MOST || self.bytes + size > MOST_BYTES {
            return Err(what);
        }
        self.bytes += size;
        self.list.push_back(Waiting {
            topic,
            until: now + self.patience,
            size,
            what,
        });
        Ok(())
    }

    /// Takes out, in their order, the messages for which `is_over` is true, and those
    /// whose time is over.
    pub(crate) fn take(&mut self, now: Instant, mut is_over: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut over = Vec::new();
        for waiting in std::mem::take(&mut self.list) {
            if waiting.until <= now || is_over(&waiting.what) {
                self.bytes -= waiting.size;
                over.push(waiting.what);
            } else {
                self.list.push_back(waiting);
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicHash {
        TopicHash::from_raw(name)
    }

    #[test]
    fn messages_wait_until_their_time_is_over_or_somebody_is_there() {
        let (mut unheard, now) = (Unheard::new(PATIENCE), Instant::now());
        let second = Duration::from_secs(1);
        assert!(unheard.is_empty());
        unheard.push(topic("t"), 1, "a", now).unwrap();
        unheard.push(topic("t"), 1, "b", now + second).unwrap();
        unheard.push(topic("t"), 1, "c", now + 2 * second).unwrap();
        let almost = now + PATIENCE - Duration::from_millis(1);
        assert!(unheard.take(almost, |_| false).is_empty());
        assert_eq!(unheard.take(now, |what| *what == "b"), ["b"]);
        assert_eq!(unheard.take(now + PATIENCE, |_| false), ["a"]);
        assert!(!unheard.is_empty());
        assert_eq!(unheard.take(now, |_| true), ["c"]);
        assert!(unheard.is_empty());
    }

    #[test]
    fn a_subscription_concerns_what_waits_on_its_very_topic() {
        let (mut unheard, now) = (Unheard::new(PATIENCE), Instant::now());
        unheard.push(topic("a"), 1, 1, now).unwrap();
        unheard.push(topic("b"), 1, 2, now).unwrap();
        assert!(unheard.has(&topic("a")) && unheard.has(&topic("b")));
        assert!(!unheard.has(&topic("c")));
        unheard.take(now, |what| *what == 1);
        assert!(!unheard.has(&topic("a")) && unheard.has(&topic("b")));
    }

    #[test]
    fn what_waits_is_bounded_and_gives_its_room_back() {
        let (mut unheard, now) = (Unheard::new(PATIENCE), Instant::now());
        for n in 0..MOST {
            unheard.push(topic("t"), 1, n, now).unwrap();
        }
        assert_eq!(unheard.push(topic("t"), 1, MOST, now), Err(MOST));
        assert_eq!(unheard.take(now, |_| true).len(), MOST);
        unheard.push(topic("t"), MOST_BYTES, 0, now).unwrap();
        assert_eq!(unheard.push(topic("t"), 1, 1, now), Err(1));
        unheard.take(now, |_| true);
        unheard.push(topic("t"), MOST_BYTES, 0, now).unwrap();
    }
}
