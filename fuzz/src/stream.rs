//! A stream in memory that returns its bytes in pieces, as a network does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

/// Gives `data` in pieces and keeps what is written.
#[derive(Debug)]
pub struct Pieces<'a> {
    data: &'a [u8],
    /// State of the generator of lengths; 0 gives everything at once.
    random: u64,
    /// What was written.
    pub written: Vec<u8>,
}

impl<'a> Pieces<'a> {
    /// All at once.
    pub fn whole(data: &'a [u8]) -> Self {
        Pieces {
            data,
            random: 0,
            written: Vec::new(),
        }
    }

    /// In pieces whose lengths follow from the data, so that an input is
    /// always cut in the same way.
    pub fn cut(data: &'a [u8]) -> Self {
        Pieces {
            random: hash(data) | 1,
            ..Pieces::whole(data)
        }
    }

    /// Bytes that were not read.
    pub fn left(&self) -> usize {
        self.data.len()
    }
}

/// FNV-1a.
pub fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The next number after `x`, which is not 0 (xorshift).
pub fn next(x: u64) -> u64 {
    let x = x ^ x << 13;
    let x = x ^ x >> 7;
    x ^ x << 17
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut most = buf.len();
        if self.random != 0 {
            self.random = next(self.random);
            if self.random & 7 == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Mostly a few bytes; now and then much.
            let longest = if self.random & 0x70 == 0 { 40_000 } else { 6 };
            most = most.min(1 + (self.random >> 8) as usize % longest);
        }
        let n = most.min(self.data.len());
        let (now, later) = self.data.split_at(n);
        buf[..n].copy_from_slice(now);
        self.data = later;
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
