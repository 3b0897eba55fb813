//! Files: storing, fetching, listing and removing them.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::{AsyncRead, AsyncReadExt};

use super::{Client, Error, Kind, request};
use crate::api::{Entry, Progress};
use crate::control::codec::MAX_FRAME;
use crate::control::pb;

/// Options of [`Client::put`].
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Time to live in the store; the daemon's default (`P2P_BLOCK_TTL`) when `None`.
    pub ttl: Option<Duration>,
    /// A name for people, such as the file's; at most 255 bytes are kept.
    pub name: Option<String>,
    /// Return when the file is stored, and let it be announced in the background.
    pub background: bool,
}

impl Client {
    /// Stores what is read from `input` until its end, and announces it. `sent` is called
    /// with the number of bytes that the daemon has taken so far.
    ///
    /// The daemon stores nothing unless all of it arrives: when `input` fails, or this future
    /// is dropped, nothing is left behind.
    pub async fn put<R: AsyncRead + Unpin>(
        &mut self,
        mut input: R,
        options: PutOptions,
        mut sent: impl FnMut(u64),
    ) -> Result<Entry, Error> {
        self.block(pb::BlockRequest {
            ttl: options.ttl.map(|d| d.as_secs()),
            name: options.name,
            background: options.background.then_some(true),
            ..block(pb::block_request::Type::Put)
        })
        .await?;
        let mut buffer = vec![0; MAX_FRAME];
        let mut total = 0u64;
        let written = loop {
            // Only full frames are sent: a pipe delivers 64 KiB at a time, and each frame
            // costs a wake-up.
            let n = match read_full(&mut input, &mut buffer).await {
                Ok(n) => n,
                Err(e) => return Err(Error::Input(e)),
            };
            // An empty frame is the end mark.
            if let Err(e) = self.channel.write_frame(&buffer[..n]).await {
                break Err(e);
            }
            if n == 0 {
                break Ok(());
            }
            total += n as u64;
            sent(total);
        };
        // A daemon that cannot go on sends the reason and hangs up, which makes a write
        // fail here. Its reason is more useful than the error of the write.
        let end = match (self.block_answer().await, written) {
            (Ok(end), _) => end,
            (Err(Error::Refused(why)), _) => return Err(Error::Refused(why)),
            (Err(_), Err(e)) => return Err(self.lost(e.into())),
            (Err(e), Ok(())) => return Err(e),
        };
        let entry = end
            .entries
            .into_iter()
            .next()
            .ok_or(Error::Unexpected("block.entries"))?;
        Ok(Entry::from_pb(entry)?)
    }

    /// Fetches a file. This returns when the daemon has begun; the bytes are read with
    /// [`Download::next`]. `patience` is how long the daemon goes on without any
    /// progress; it is 60 s when `None`.
    pub async fn get(
        &mut self,
        cid: &Cid,
        patience: Option<Duration>,
    ) -> Result<Download<'_>, Error> {
        self.send(pb::Request {
            block: Some(pb::BlockRequest {
                cid: Some(Bytes::from(cid.to_bytes())),
                timeout: patience.map(|d| d.as_secs().max(1)),
                ..block(pb::block_request::Type::Get)
            }),
            ..request(Kind::Block)
        })
        .await?;
        Ok(Download {
            client: self,
            done: false,
        })
    }

    /// Returns the files in the local store.
    pub async fn list_blocks(&mut self) -> Result<Vec<Entry>, Error> {
        self.block(block(pb::block_request::Type::Ls)).await?;
        let mut entries = Vec::new();
        loop {
            let answer = self.block_answer().await?;
            for entry in answer.entries {
                entries.push(Entry::from_pb(entry)?);
            }
            if answer.r#type == pb::block_response::Type::End as i32 {
                return Ok(entries);
            }
        }
    }

    /// Removes a file from the local store, and returns how many bytes this has freed.
    pub async fn remove_block(&mut self, cid: &Cid) -> Result<u64, Error> {
        let answer = self
            .block(pb::BlockRequest {
                cid: Some(Bytes::from(cid.to_bytes())),
                ..block(pb::block_request::Type::Rm)
            })
            .await?;
        Ok(answer.size.unwrap_or(0))
    }

    /// Describes a file in the local store.
    pub async fn stat_block(&mut self, cid: &Cid) -> Result<Entry, Error> {
        let answer = self
            .block(pb::BlockRequest {
                cid: Some(Bytes::from(cid.to_bytes())),
                ..block(pb::block_request::Type::Stat)
            })
            .await?;
        let entry = answer
            .entries
            .into_iter()
            .next()
            .ok_or(Error::Unexpected("block.entries"))?;
        Ok(Entry::from_pb(entry)?)
    }

    async fn block(&mut self, ask: pb::BlockRequest) -> Result<pb::BlockResponse, Error> {
        let answer = self
            .ask(pb::Request {
                block: Some(ask),
                ..request(Kind::Block)
            })
            .await?;
        answer.block.ok_or(Error::Unexpected("block"))
    }

    /// Reads the next answer about content that is being stored or fetched.
    async fn block_answer(&mut self) -> Result<pb::BlockResponse, Error> {
        self.answer().await?.block.ok_or(Error::Unexpected("block"))
    }
}

fn block(kind: pb::block_request::Type) -> pb::BlockRequest {
    pb::BlockRequest {
        r#type: kind as i32,
        ..Default::default()
    }
}

async fn read_full<R: AsyncRead + Unpin>(input: &mut R, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match input.read(&mut buffer[n..]).await {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// One step of a [`Download`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The fetch has begun to deliver bytes. This event carries the file's length and
    /// occurs once, before any data.
    Begin {
        /// The length in bytes.
        size: u64,
    },
    /// The next bytes of the file.
    Data(Bytes),
    /// The progress of the fetch. It may come before `Begin`, while the daemon looks for
    /// providers.
    Progress(Progress),
}

/// A file that is being fetched, from [`Client::get`].
#[derive(Debug)]
pub struct Download<'a> {
    client: &'a mut Client,
    done: bool,
}

impl Download<'_> {
    /// Returns the next event, or `None` when the whole file has arrived.
    ///
    /// # Errors
    /// See [`Error`]; after an error, what has arrived so far is not the whole file.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        use pb::block_response::Type;
        if self.done {
            return Ok(None);
        }
        let answer = self.client.block_answer().await?;
        match Type::try_from(answer.r#type) {
            Ok(Type::Begin) => Ok(Some(Event::Begin {
                size: answer.size.unwrap_or(0),
            })),
            Ok(Type::Data) => Ok(Some(Event::Data(answer.data.unwrap_or_default()))),
            Ok(Type::Progress) => {
                let p = answer.progress.unwrap_or_default();
                Ok(Some(Event::Progress(Progress {
                    done: p.done.unwrap_or(0),
                    total: p.total,
                    providers: p.providers.unwrap_or(0),
                    received: p.received.unwrap_or(0),
                })))
            }
            Ok(Type::End) => {
                self.done = true;
                Ok(None)
            }
            Ok(Type::Entries) | Err(_) => Err(Error::Unexpected("block.type of a download")),
        }
    }
}
