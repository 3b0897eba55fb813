use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use futures::task::{ArcWake, waker_ref};

use super::*;
use crate::transport::buffer::CHUNK;

/// What stands below in these tests: takes as many bytes as it has room for,
/// and keeps them in two steps, as a cipher does.
#[derive(Clone, Default)]
struct Cipher(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    room: usize,
    written: Vec<u8>,
    flushed: usize,
    runs: usize,
    readable: usize,
    closed: bool,
    broken: bool,
    waker: Option<Waker>,
}

impl Cipher {
    fn with_room(room: usize) -> Self {
        let cipher = Cipher::default();
        cipher.inside().room = room;
        cipher
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }
}

impl AsyncRead for Cipher {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut inside = self.inside();
        let n = inside.readable.min(buf.len());
        inside.readable -= n;
        if n == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(n))
        }
    }
}

impl AsyncWrite for Cipher {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inside = self.inside();
        if inside.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = inside.room.min(buf.len());
        if n == 0 {
            inside.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inside.room -= n;
        inside.runs += 1;
        inside.written.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inside = self.inside();
        inside.flushed = inside.written.len();
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inside = self.inside();
        inside.flushed = inside.written.len();
        inside.closed = true;
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(Mutex<usize>);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        *this.0.lock().unwrap() += 1;
    }
}

impl Woken {
    fn count(&self) -> usize {
        *self.0.lock().unwrap()
    }
}

const FRAME: [u8; 100] = [9; 100];

/// Writes and flushes one frame, as yamux does. Says whether it was taken.
fn frame<C: AsyncRead + AsyncWrite + Unpin>(
    layer: &mut Coalesce<C>,
    cx: &mut Context<'_>,
    frame: &[u8],
) -> bool {
    let mut at = 0;
    while at < frame.len() {
        match Pin::new(&mut *layer).poll_write(cx, &frame[at..]) {
            Poll::Ready(n) => at += n.unwrap(),
            Poll::Pending => return false,
        }
    }
    assert!(Pin::new(layer).poll_flush(cx).is_ready());
    true
}

fn read<C: AsyncRead + AsyncWrite + Unpin>(
    layer: &mut Coalesce<C>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    Pin::new(layer).poll_read(cx, &mut [0; 1024])
}

#[test]
fn frames_wait_for_the_read_that_ends_a_turn_and_leave_in_one_run() {
    let woken = Arc::new(Woken::default());
    let waker = waker_ref(&woken);
    let cx = &mut Context::from_waker(&waker);
    let cipher = Cipher::with_room(usize::MAX);
    let mut layer = Coalesce::new(cipher.clone());
    for _ in 0..50 {
        assert!(frame(&mut layer, cx, &FRAME));
    }
    assert_eq!(cipher.inside().runs, 0);
    assert!(read(&mut layer, cx).is_pending());
    assert_eq!(cipher.inside().runs, 1);
    assert_eq!(cipher.inside().flushed, 50 * FRAME.len());
    assert!(!layer.output.owns_memory());
}

#[test]
fn what_the_negotiation_left_in_the_cipher_is_flushed_too() {
    let woken = Arc::new(Woken::default());
    let waker = waker_ref(&woken);
    let cx = &mut Context::from_waker(&waker);
    let cipher = Cipher::with_room(usize::MAX);
    cipher.inside().written.extend_from_slice(b"/yamux/1.0.0");
    let mut layer = Coalesce::new(cipher.clone());
    assert!(read(&mut layer, cx).is_pending());
    assert_eq!(cipher.inside().flushed, 12);
}

#[test]
fn a_full_cipher_pushes_back_and_nothing_is_lost_or_reordered() {
    let woken = Arc::new(Woken::default());
    let waker = waker_ref(&woken);
    let cx = &mut Context::from_waker(&waker);
    let cipher = Cipher::with_room(10);
    let mut layer = Coalesce::new(cipher.clone());
    let sent: Vec<u8> = (0..2 * CHUNK).map(|i| (i / 7) as u8).collect();
    let mut at = 0;
    let mut pushed_back = 0;
    while at < sent.len() {
        match Pin::new(&mut layer).poll_write(cx, &sent[at..sent.len().min(at + 999)]) {
            Poll::Ready(n) => at += n.unwrap(),
            Poll::Pending => {
                // Bounded: what is taken and not passed on fits one chunk.
                assert!(at - cipher.inside().written.len() <= CHUNK);
                pushed_back += 1;
                let waker = cipher.inside().waker.take().expect("a waker is registered");
                waker.wake();
                cipher.inside().room += 10_000;
            }
        }
    }
    assert!(pushed_back > 1 && woken.count() == pushed_back);
    assert!(Pin::new(&mut layer).poll_flush(cx).is_ready());
    // The last part goes as the cipher takes it, each time the task is woken.
    while cipher.inside().flushed < sent.len() {
        assert!(read(&mut layer, cx).is_pending());
        let mut inside = cipher.inside();
        if inside.flushed < sent.len() {
            inside.waker.take().expect("a waker is registered").wake();
            inside.room += 10_000;
        }
    }
    assert!(cipher.inside().written == sent);
}

#[test]
fn a_remote_that_never_stops_sending_does_not_hold_up_answers() {
    let woken = Arc::new(Woken::default());
    let waker = waker_ref(&woken);
    let cx = &mut Context::from_waker(&waker);
    let cipher = Cipher::with_room(usize::MAX);
    cipher.inside().readable = usize::MAX;
    let mut layer = Coalesce::new(cipher.clone());
    assert!(frame(&mut layer, cx, &FRAME));
    let mut seen = 0;
    while cipher.inside().flushed < FRAME.len() {
        match read(&mut layer, cx) {
            Poll::Ready(n) => seen += n.unwrap(),
            Poll::Pending => panic!("there is always more to read"),
        }
        assert!(seen <= PATIENCE + 1024, "no flush after {seen} bytes");
    }
}

#[test]
fn a_remote_that_never_stops_sending_leaves_turns_to_others() {
    let woken = Arc::new(Woken::default());
    let waker = waker_ref(&woken);
    let cx = &mut Context::from_waker(&waker);
    let cipher = Cipher::with_room(usize::MAX);
    cipher.inside().readable = usize::MAX;
    let mut layer = Coalesce::new(cipher);
    let mut seen = 0;
    while let Poll::Ready(n) = read(&mut layer, cx) {
        seen += n.unwrap();
        assert!(seen <= TURN + 1024, "no pause after {seen} bytes");
    }
    assert_eq!(woken.count(), 1, "and comes back by itself");
    assert!(read(&mut layer, cx).is_ready());
}

#[test]
fn closing_sends_what_waits() {
    let woken = Arc::new(Woken::default());
    let waker = waker_ref(&woken);
    let cx = &mut Context::from_waker(&waker);
    let cipher = Cipher::with_room(60);
    let mut layer = Coalesce::new(cipher.clone());
    assert!(frame(&mut layer, cx, &FRAME));
    assert!(Pin::new(&mut layer).poll_close(cx).is_pending());
    assert!(!cipher.inside().closed);
    cipher.inside().room = 100;
    assert!(Pin::new(&mut layer).poll_close(cx).is_ready());
    assert!(cipher.inside().closed);
    assert_eq!(cipher.inside().flushed, FRAME.len());
}

#[test]
fn a_failed_flush_ends_the_connection() {
    let woken = Arc::new(Woken::default());
    let waker = waker_ref(&woken);
    let cx = &mut Context::from_waker(&waker);
    let cipher = Cipher::default();
    cipher.inside().broken = true;
    let mut layer = Coalesce::new(cipher);
    assert!(frame(&mut layer, cx, &FRAME));
    match read(&mut layer, cx) {
        Poll::Ready(Err(e)) => assert_eq!(e.kind(), io::ErrorKind::BrokenPipe),
        other => panic!("{other:?}"),
    }
}
