//! The state of one stream, on this side of the connection.

use std::collections::VecDeque;
use std::task::{Context, Waker};
use std::time::Instant;

use super::frame::{ACK, SYN};
use super::window::{DEFAULT_WINDOW, Window};

/// What a stream costs beside its buffers: this state, its place in a table, and what the
/// layers above keep for it, which begins with the negotiation of its protocol.
pub(super) const STREAM: usize = 2048;

/// Unread bytes from which an empty buffer is kept for the next stream that needs one.
const LARGE: usize = 16 * 1024;

/// The bytes of a stream that have arrived and have not been read. They lie in one ring,
/// however many frames brought them. An empty one holds no memory.
#[derive(Debug, Default)]
pub(super) struct Inbox(VecDeque<u8>);

impl Inbox {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The memory that it holds.
    pub(super) fn held(&self) -> usize {
        self.0.capacity()
    }

    /// Adds bytes. A large buffer that another stream has emptied may be taken from
    /// `spare`, so that bulk data needs no new memory for each read.
    pub(super) fn push(&mut self, bytes: &[u8], spare: &mut VecDeque<u8>) {
        if self.0.capacity() == 0 && bytes.len() >= LARGE {
            std::mem::swap(&mut self.0, spare);
        }
        self.0.extend(bytes);
    }

    /// Moves as many bytes as there are and fit into `out`.
    pub(super) fn pop(&mut self, out: &mut [u8], spare: &mut VecDeque<u8>) -> usize {
        let n = out.len().min(self.0.len());
        let (front, back) = self.0.as_slices();
        let first = front.len().min(n);
        out[..first].copy_from_slice(&front[..first]);
        out[first..n].copy_from_slice(&back[..n - first]);
        if n < self.0.len() {
            self.0.drain(..n);
        } else {
            self.release(spare);
        }
        n
    }

    /// Drops everything, and the memory with it unless it can be used soon.
    fn release(&mut self, spare: &mut VecDeque<u8>) {
        let mut bytes = std::mem::take(&mut self.0);
        if bytes.capacity() >= LARGE && spare.capacity() == 0 {
            bytes.clear();
            *spare = bytes;
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct State {
    pub(super) inbox: Inbox,
    /// What the remote may send.
    pub(super) window: Window,
    /// What this side may send.
    pub(super) credit: u32,
    /// Whether the remote may still send: it has neither ended nor reset the stream.
    pub(super) receives: bool,
    /// Whether this side may still send.
    pub(super) sends: bool,
    /// Whether the remote reset it.
    pub(super) reset: bool,
    /// Whether it is reset when bytes arrive, since nobody reads them.
    pub(super) one_way: bool,
    /// The flag that the first frame from this side carries.
    first: u16,
    /// Whether the remote has acknowledged it, or does not have to.
    pub(super) acknowledged: bool,
    /// The round of the output in which this stream wrote last.
    pub(super) round: u32,
    /// Who waits for bytes, and who for room or credit.
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl State {
    /// A stream that this side opens. The remote learns of it with the first frame.
    pub(super) fn outbound(now: Instant) -> Self {
        State {
            inbox: Inbox::default(),
            window: Window::new(now),
            credit: DEFAULT_WINDOW,
            receives: true,
            sends: true,
            reset: false,
            one_way: false,
            first: SYN,
            acknowledged: false,
            round: 0,
            reader: None,
            writer: None,
        }
    }

    /// A stream that the remote opened.
    pub(super) fn inbound(now: Instant) -> Self {
        State {
            first: ACK,
            acknowledged: true,
            ..State::outbound(now)
        }
    }

    /// The flag of the next frame from this side.
    pub(super) fn flag(&self) -> u16 {
        self.first
    }

    /// Notes that a frame with the flag was sent.
    pub(super) fn announced(&mut self) {
        self.first = 0;
    }

    /// Whether the remote has not heard of the stream.
    pub(super) fn is_secret(&self) -> bool {
        self.first == SYN
    }
}

/// Registers the task of `cx` in `slot`.
pub(super) fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_bytes_cost_single_bytes() {
        let mut inbox = Inbox::default();
        let mut spare = VecDeque::new();
        assert_eq!(inbox.held(), 0);
        for n in 0..100_000_u32 {
            inbox.push(&[n as u8], &mut spare);
        }
        assert_eq!(inbox.len(), 100_000);
        assert!(inbox.held() < 2 * 100_000 + 64, "{}", inbox.held());
        let mut out = [0; 777];
        let mut next = 0_u32;
        while !inbox.is_empty() {
            let n = inbox.pop(&mut out, &mut spare);
            for byte in &out[..n] {
                assert_eq!(*byte, next as u8);
                next += 1;
            }
        }
        assert_eq!(next, 100_000);
        assert_eq!(inbox.held(), 0);
        // The large buffer is there for whoever needs one next.
        assert!(spare.is_empty() && spare.capacity() >= LARGE);
        inbox.push(&[1], &mut spare);
        assert!(inbox.held() < 64);
    }
}
