//! Writes while the next bytes are being fetched.

use std::fs::File;
use std::io::{self, Write};
use std::thread::JoinHandle;

use async_std::channel::Sender;
use bytes::Bytes;

/// A thread that writes while the next bytes are being fetched.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) chunks: Sender<Bytes>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    pub(super) fn start(mut file: File) -> io::Result<Writer> {
        // Chunks are at most 1 MiB each. A few of them bridge a pause of the disk.
        let (chunks, receiver) = async_std::channel::bounded::<Bytes>(8);
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || {
                while let Ok(chunk) = receiver.recv_blocking() {
                    file.write_all(&chunk)?;
                }
                Ok(())
            })?;
        Ok(Writer { chunks, thread })
    }

    /// Waits until everything is written. This blocks the thread.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.chunks);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writing thread died")))
    }
}
