//! Messages of this host's programs that wait for the pace (see [`super::pace`]).
//!
//! The programs take turns, and what one of them published goes in the order in which
//! it came. A turn is counted in the time that a message takes of the pace:
//! beside a program with large messages, one with small ones has many. So a program
//! that publishes without end makes others wait for one message of its own at most,
//! and has the rest of the pace when they have nothing to say.
//!
//! What waits is bounded, [`MAX_WAITING`] messages and [`MAX_BYTES`], and one program
//! may have [`SHARE`] of either. A connection to the control socket has one message
//! in the line, since its next request is read after the answer to this one; so the
//! line is full only when very many publish at once.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Messages that wait: as many as the control socket has clients, and as many again
/// for the daemon's own.
pub(crate) const MAX_WAITING: usize = 1024;

/// Bytes that wait. Thirty-two of the largest messages, a minute of the default pace.
pub(crate) const MAX_BYTES: usize = 32 << 20;

/// What one program may take of both: a half.
const SHARE: usize = 2;

/// Who publishes: one number for each connection to the control socket.
pub(crate) type Client = u64;

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Messages that wait.
    pub(crate) messages: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    bytes: usize,
    cost: Duration,
    what: T,
}

/// What one program has in the line, and when its next turn is, in the time of the
/// pace that was used up before it.
#[derive(Debug)]
struct Queue<T> {
    turn: Duration,
    bytes: usize,
    waiting: VecDeque<Waiting<T>>,
}

/// See the module's documentation. `T` is what waits.
#[derive(Debug)]
pub(crate) struct Line<T> {
    /// Of those with something in the line, and those whose next turn is still to
    /// come because of what they have said.
    queues: HashMap<Client, Queue<T>>,
    /// The turn that was last taken.
    turn: Duration,
    messages: usize,
    bytes: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Line {
            queues: HashMap::new(),
            turn: Duration::ZERO,
            messages: 0,
            bytes: 0,
        }
    }
}

impl<T> Line<T> {
    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.messages
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Puts a message of `bytes`, which takes `cost` of the pace, at the end of what
    /// `client` has in the line.
    ///
    /// # Errors
    /// When too much waits, altogether or of this client; and the message back.
    pub(crate) fn push(
        &mut self,
        client: Client,
        bytes: usize,
        cost: Duration,
        what: T,
    ) -> Result<(), (T, Full)> {
        let (theirs, their_bytes) = self
            .queues
            .get(&client)
            .map_or((0, 0), |q| (q.waiting.len(), q.bytes));
        let full = Full {
            messages: self.messages,
            bytes: self.bytes,
        };
        if self.messages >= MAX_WAITING
            || self.bytes.saturating_add(bytes) > MAX_BYTES
            || theirs >= MAX_WAITING / SHARE
            || their_bytes.saturating_add(bytes) > MAX_BYTES / SHARE
        {
            return Err((what, full));
        }
        let turn = self.turn;
        let queue = self.queues.entry(client).or_insert_with(|| Queue {
            turn,
            bytes: 0,
            waiting: VecDeque::new(),
        });
        // A program saves no time while it has nothing in the line.
        if queue.waiting.is_empty() {
            queue.turn = queue.turn.max(turn);
        }
        queue.bytes += bytes;
        queue.waiting.push_back(Waiting { bytes, cost, what });
        self.messages += 1;
        self.bytes += bytes;
        Ok(())
    }

    fn next(&self) -> Option<Client> {
        self.queues
            .iter()
            .filter(|(_, queue)| !queue.waiting.is_empty())
            // Of two with the same turn the older connection's, so that the choice is
            // always the same.
            .min_by_key(|(client, queue)| (queue.turn, **client))
            .map(|(client, _)| *client)
    }

    /// The message whose turn is next, and whose it is.
    pub(crate) fn first(&self) -> Option<(Client, &T)> {
        let client = self.next()?;
        let first = self.queues.get(&client)?.waiting.front()?;
        Some((client, &first.what))
    }

    /// The first message of one client.
    pub(crate) fn first_of(&mut self, client: Client) -> Option<&mut T> {
        let first = self.queues.get_mut(&client)?.waiting.front_mut()?;
        Some(&mut first.what)
    }

    /// Takes the message whose turn is next out of the line; whether it `goes`, and
    /// so takes its time from those behind it.
    pub(crate) fn pop(&mut self, goes: bool) -> Option<T> {
        let client = self.next()?;
        let queue = self.queues.get_mut(&client)?;
        let first = queue.waiting.pop_front()?;
        queue.bytes -= first.bytes;
        self.messages -= 1;
        self.bytes -= first.bytes;
        if goes {
            self.turn = self.turn.max(queue.turn);
            queue.turn += first.cost;
        }
        if self.is_empty() {
            self.queues.clear();
            self.turn = Duration::ZERO;
        } else {
            let turn = self.turn;
            self.queues
                .retain(|_, queue| !queue.waiting.is_empty() || queue.turn > turn);
        }
        Some(first.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Duration = Duration::from_millis(10);

    fn drain(line: &mut Line<(Client, u32)>) -> Vec<(Client, u32)> {
        std::iter::from_fn(|| line.pop(true)).collect()
    }

    #[test]
    fn the_messages_of_one_program_keep_their_order() {
        let mut line = Line::default();
        for n in 0..100 {
            line.push(1, 64, COST, (1, n)).unwrap();
        }
        let all: Vec<_> = (0..100).map(|n| (1, n)).collect();
        assert_eq!(drain(&mut line), all);
        assert!(line.queues.is_empty(), "nothing is kept of who has left");
    }

    #[test]
    fn programs_take_turns_however_much_one_of_them_has_to_say() {
        let mut line = Line::default();
        for n in 0..50 {
            line.push(1, 64, COST, (1, n)).unwrap();
        }
        // The flooder has had ten turns when others come.
        for n in 0..10 {
            assert_eq!(line.pop(true), Some((1, n)));
        }
        for n in 0..2 {
            line.push(2, 64, COST, (2, n)).unwrap();
            line.push(3, 64, COST, (3, n)).unwrap();
        }
        let next: Vec<_> = (0..6).map(|_| line.pop(true).unwrap()).collect();
        assert_eq!(next, [(2, 0), (3, 0), (1, 10), (2, 1), (3, 1), (1, 11)]);
        let rest = drain(&mut line);
        assert_eq!(rest, (12..50).map(|n| (1, n)).collect::<Vec<_>>());
    }

    #[test]
    fn beside_large_messages_small_ones_have_many_turns() {
        let mut line = Line::default();
        for n in 0..2 {
            line.push(1, 1 << 20, 100 * COST, (1, n)).unwrap();
        }
        for n in 0..100 {
            line.push(2, 64, COST, (2, n)).unwrap();
        }
        let order = drain(&mut line);
        assert_eq!(order[0], (1, 0));
        let second = order.iter().position(|m| *m == (1, 1));
        assert_eq!(second, Some(101));
    }

    #[test]
    fn one_that_comes_back_has_saved_nothing_and_lost_nothing() {
        let mut line = Line::default();
        for n in 0..20 {
            line.push(1, 64, COST, (1, n)).unwrap();
        }
        line.push(2, 64, COST, (2, 0)).unwrap();
        for _ in 0..10 {
            line.pop(true).unwrap();
        }
        // It has rested for nine turns, and gets one of the next two and no more.
        line.push(2, 64, COST, (2, 1)).unwrap();
        line.push(2, 64, COST, (2, 2)).unwrap();
        let next: Vec<_> = (0..4).map(|_| line.pop(true).unwrap().0).collect();
        assert_eq!(next, [2, 1, 2, 1]);
    }

    #[test]
    fn one_that_does_not_go_takes_no_time_from_the_others() {
        let mut line = Line::default();
        line.push(1, 64, COST, (1, 0)).unwrap();
        line.push(1, 64, COST, (1, 1)).unwrap();
        line.push(2, 64, COST, (2, 0)).unwrap();
        assert_eq!(line.pop(false), Some((1, 0)));
        assert_eq!(line.pop(true), Some((1, 1)));
        assert_eq!(line.pop(true), Some((2, 0)));
        assert_eq!(line.pop(true), None);
    }

    #[test]
    fn what_waits_is_bounded_altogether_and_of_one_program() {
        let mut line = Line::default();
        let mut taken = 0;
        while line.push(1, 64, COST, (1, taken)).is_ok() {
            taken += 1;
        }
        assert_eq!(taken as usize, MAX_WAITING / 2);
        let mut client = 2;
        let full = loop {
            match line.push(client, 64, COST, (client, 0)) {
                Ok(()) => client += 1,
                Err((_, full)) => break full,
            }
        };
        assert_eq!(full.messages, MAX_WAITING);
        assert_eq!(full.bytes, 64 * MAX_WAITING);

        let mut line = Line::default();
        let mut taken = 0;
        while line.push(1, 1 << 20, COST, (1, 0)).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, (MAX_BYTES / 2) >> 20);
        let mut client = 2;
        while line.push(client, 1 << 20, COST, (client, 0)).is_ok() {
            client += 1;
        }
        assert_eq!(line.bytes, MAX_BYTES);
        drain(&mut line);
        assert_eq!((line.len(), line.bytes), (0, 0));
    }
}
