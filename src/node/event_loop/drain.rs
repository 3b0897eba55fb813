//! The drain, and the programs that wait until this node has finished what it does for
//! others.

use std::time::{Duration, Instant};

use crate::node::reply::Reply;

/// How long a drain waits for the disk, for the sake of programs on this host. A busy
/// host gets more time here than at the end of the loop, where less is left.
const WRITTEN: Duration = Duration::from_secs(5);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::node) struct Drain {
    /// The time until which it waits for the disk, once it has begun.
    writes_until: Option<Instant>,
    /// The programs that wait for its end.
    waiting: Vec<Reply<()>>,
}

impl Drain {
    /// Returns whether the drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.writes_until.is_some()
    }

    /// Begins the drain for a program, which waits for its end. Returns whether it begins
    /// with this call.
    pub(super) fn begin(&mut self, reply: Reply<()>, now: Instant) -> bool {
        self.waiting.push(reply);
        let begins = self.writes_until.is_none();
        self.writes_until.get_or_insert(now + WRITTEN);
        begins
    }

    /// Answers the programs that wait if nothing is `under_way` and if nothing is
    /// `unwritten`, or the time to write it is over.
    pub(super) fn finish(&mut self, under_way: bool, unwritten: bool, now: Instant) {
        let Some(until) = self.writes_until else {
            return;
        };
        if !under_way && (!unwritten || now >= until) {
            for reply in self.waiting.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot;

    use super::*;

    #[test]
    fn a_drain_waits_for_what_is_under_way_and_for_the_disk_only_so_long() {
        let (mut drain, now) = (Drain::default(), Instant::now());
        drain.finish(false, false, now);
        assert!(!drain.is_draining());
        let begin = |drain: &mut Drain| {
            let (reply, answer) = oneshot::channel();
            (drain.begin(reply, now), answer)
        };
        let (first, mut one) = begin(&mut drain);
        let (again, mut two) = begin(&mut drain);
        assert!(first && !again && drain.is_draining());
        drain.finish(true, false, now + 2 * WRITTEN);
        drain.finish(false, true, now);
        assert!(matches!(one.try_recv(), Ok(None)));
        drain.finish(false, true, now + WRITTEN);
        for answer in [&mut one, &mut two] {
            assert!(matches!(answer.try_recv(), Ok(Some(Ok(())))));
        }
        // A program that asks later is answered when there is nothing to wait for.
        let (_, mut late) = begin(&mut drain);
        drain.finish(false, false, now);
        assert!(matches!(late.try_recv(), Ok(Some(Ok(())))));
    }
}
