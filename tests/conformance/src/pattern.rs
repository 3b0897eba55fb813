//! Bytes that look random and that both ends can generate, to check a transfer
//! without storing it.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Written and checked at once: larger than a frame of any multiplexer here.
const CHUNK: usize = 96 * 1024;

struct Pattern(u64);

impl Pattern {
    /// Sequences of different seeds share nothing.
    fn new(seed: u64) -> Pattern {
        Pattern(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes()[..word.len()]);
        }
    }
}

/// Writes `len` bytes and closes.
pub(crate) async fn send(mut to: impl AsyncWrite + Unpin, seed: u64, mut len: usize) {
    let mut pattern = Pattern::new(seed);
    let mut chunk = vec![0; CHUNK];
    while len > 0 {
        let now = len.min(CHUNK);
        pattern.fill(&mut chunk);
        to.write_all(&chunk[..now]).await.unwrap();
        len -= now;
    }
    to.close().await.unwrap();
}

/// Reads exactly the `len` bytes of `seed`, then the end.
pub(crate) async fn check(mut from: impl AsyncRead + Unpin, seed: u64, mut len: usize) {
    let mut pattern = Pattern::new(seed);
    let (mut expected, mut got) = (vec![0; CHUNK], vec![0; CHUNK]);
    while len > 0 {
        let now = len.min(CHUNK);
        pattern.fill(&mut expected);
        from.read_exact(&mut got[..now]).await.unwrap();
        assert!(
            got[..now] == expected[..now],
            "the content changed on the way"
        );
        len -= now;
    }
    assert_eq!(from.read(&mut got).await.unwrap(), 0, "more than was sent");
}
