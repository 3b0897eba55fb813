//! Makes an asynchronous reader of a file or of standard input. A thread reads ahead, so
//! that the disk and the socket work at the same time and a slow terminal or pipe never
//! blocks the executor.

use std::io::{self, Read};

use bytes::Bytes;
use futures::{AsyncRead, TryStreamExt};

/// The number of bytes read at a time: one frame of the control socket.
const CHUNK: usize = 1 << 20;

/// The number of chunks read ahead: enough to bridge a pause on either side, and few
/// enough to take little memory.
const AHEAD: usize = 4;

/// Reads `input` to its end on a separate thread.
pub(crate) fn feed(input: impl Read + Send + 'static) -> io::Result<impl AsyncRead + Unpin> {
    let (sender, receiver) = async_std::channel::bounded::<io::Result<Bytes>>(AHEAD);
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || {
            let mut input = input;
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                let read = input.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
                let last = !matches!(read, Ok(n) if n > 0);
                let item = read.map(|_| Bytes::from(chunk));
                // Nothing is sent at the end of the file: the channel is closed instead.
                let end_of_file = matches!(&item, Ok(chunk) if chunk.is_empty());
                if end_of_file || sender.send_blocking(item).is_err() || last {
                    return;
                }
            }
        })?;
    Ok(Box::pin(receiver).into_async_read())
}

#[cfg(test)]
mod tests {
    use futures::AsyncReadExt;

    use super::*;

    fn read(input: impl Read + Send + 'static) -> (Vec<u8>, io::Result<usize>) {
        let mut got = Vec::new();
        let done =
            async_std::task::block_on(async { feed(input).unwrap().read_to_end(&mut got).await });
        (got, done)
    }

    #[test]
    fn gives_every_byte_in_order() {
        let bytes: Vec<u8> = (0..CHUNK * 5 / 2).map(|i| (i % 251) as u8).collect();
        let (got, done) = read(io::Cursor::new(bytes.clone()));
        assert_eq!(done.unwrap(), bytes.len());
        assert!(got == bytes);
        assert_eq!(read(io::empty()).1.unwrap(), 0);
    }

    #[test]
    fn passes_errors_on() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::other("broken"));
                }
                let n = self.0.min(out.len());
                self.0 -= n;
                Ok(n)
            }
        }
        let (_, done) = read(Broken(3 * CHUNK));
        assert_eq!(done.unwrap_err().to_string(), "broken");
    }
}
