//! BLOCK: storing files, fetching them, and listing the store.
//!
//! The bytes of an upload go from the socket directly into the importer's buffer; those
//! of a download go from the fetch's buffer directly into the socket.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_lock::SemaphoreGuardArc;
use bytes::Bytes;
use cid::Cid;
use futures::{AsyncRead, StreamExt};
use unsigned_varint::{decode, encode};

use super::codec::{Channel, MAX_FRAME};
use super::pb;
use super::pb::block_request::Type;
use super::pb::block_response::Type as Part;
use super::session::{End, Failure, Session, ok};
use super::wire;
use crate::api::{AnnouncementStatus, Entry, Publication, StoreStatus};
use crate::block::content::{Announce, ImportOptions};
use crate::block::fetch;
use crate::block::import::ImportError;
use crate::message::varint;
use crate::store::Root;

/// The maximum number of uploads and downloads at once. An upload holds 16 MiB while it
/// runs, so that all of them together hold a gigabyte. More of them would only share the
/// same disk and network. A download whose client does not read holds one block, and
/// another one waits at the client. What downloads read ahead comes from memory that they
/// share (64 MiB, see `content::fetch::memory`).
pub(super) const MAX_TRANSFERS: usize = 64;

/// How long a download waits for a client that does not read. It is longer than for other
/// answers because a person may pause a pipe, and everything that waits is bounded.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(600);

/// The longest time without progress that a client may allow for a download.
const MAX_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// The longest time to live that is accepted: 100 years, so that no sum overflows.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The maximum length of a name, which is that of a file name on Linux: 255 bytes.
const MAX_NAME: usize = 255;

/// The number of entries in one message of a list. Such a message has about ten KiB.
const ENTRIES: usize = 128;

impl Session {
    pub(super) async fn block(&mut self, ask: pb::BlockRequest) -> Result<(), End> {
        let cid = || wire::cid("cid", ask.cid.as_deref().unwrap_or_default());
        let kind = Type::try_from(ask.r#type);
        let result = match kind {
            Ok(Type::Put) => return self.put(ask).await,
            Ok(Type::Ls) => return self.list().await,
            Ok(Type::Get) => match cid() {
                Ok(cid) => return self.get(cid, ask.timeout).await,
                Err(e) => Err(e.into()),
            },
            Ok(Type::Rm) => match cid() {
                Ok(cid) => self.remove(cid).await,
                Err(e) => Err(e.into()),
            },
            Ok(Type::Stat) => match cid() {
                Ok(cid) => self.stat(cid).await,
                Err(e) => Err(e.into()),
            },
            Err(_) => Err("unknown kind of BLOCK request".into()),
        };
        self.reply(result).await
    }

    /// Returns how full the store is, for STATUS.
    pub(super) fn store_status(&self) -> StoreStatus {
        let store = &self.shared.node.store;
        let usage = store.usage();
        StoreStatus {
            blocks: usage.blocks,
            bytes: usage.bytes,
            max_bytes: usage.max_bytes,
            roots: store.roots_len(),
            disk_bytes: usage.disk_bytes,
        }
    }

    /// Returns what is waiting to be announced, for STATUS.
    pub(super) fn announcement_status(&self) -> AnnouncementStatus {
        let backlog = self.shared.node.content.announcements();
        AnnouncementStatus {
            waiting: backlog.waiting as u64,
            lateness: backlog.lateness,
        }
    }

    /// Takes a place for an upload or a download, which becomes free again when it is
    /// dropped.
    fn transfer(&self) -> Result<SemaphoreGuardArc, Failure> {
        if self.shared.draining.load(Ordering::Acquire) {
            return Err(Failure(
                "the node is draining and takes no new uploads and downloads".into(),
            ));
        }
        self.shared.transfers.try_acquire_arc().ok_or_else(|| {
            Failure(format!(
                "{MAX_TRANSFERS} uploads and downloads are under way, which is the limit of the control socket; \
                 try again when one has ended"
            ))
        })
    }

    async fn put(&mut self, ask: pb::BlockRequest) -> Result<(), End> {
        let _place = match self.transfer() {
            Ok(place) => place,
            Err(e) => return self.reply(Err(e)).await,
        };
        let mut name = ask.name;
        if name.as_ref().is_some_and(|n| n.len() > MAX_NAME) {
            name = name.map(|n| cut(n, MAX_NAME));
        }
        self.answer(&part(Part::Begin)).await?;
        let options = ImportOptions {
            ttl: ask.ttl.map(|s| Duration::from_secs(s).min(MAX_TTL)),
            name,
            announce: match ask.background {
                Some(true) => Announce::Background,
                _ => Announce::Wait,
            },
            ..ImportOptions::default()
        };
        let content = self.shared.node.content.clone();
        let mut upload = Upload::new(&mut self.channel);
        let result = content.import(&mut upload, options).await;
        let whole = upload.ended;
        let imported = match result {
            Ok(imported) => imported,
            Err(ImportError::Read { source, .. })
                if source.kind() != io::ErrorKind::InvalidData =>
            {
                // The client has gone before its end mark. Nothing is stored, and no one
                // is left to be told.
                return Err(End::Over);
            }
            Err(e) => {
                self.reply(Err(Failure(e.to_string()))).await?;
                // What is still on its way would be mistaken for requests.
                return if whole { Ok(()) } else { Err(End::Over) };
            }
        };
        let stat = content.stat(&imported.cid).await;
        let root = stat.ok().and_then(|s| s.root);
        let entry = Entry {
            cid: imported.cid,
            size: imported.size,
            blocks: imported.blocks,
            blocks_here: imported.blocks,
            pinned: root.as_ref().is_none_or(|r| r.pinned),
            added: root.as_ref().map(|r| r.put_at),
            expires: root.as_ref().and_then(|r| r.expires_at),
            name: root.and_then(|r| r.name),
            announce_error: imported.announce_error.map(|e| e.reason),
            announcing: imported.announcing as u64,
            publication: None,
        };
        self.answer(&end(imported.size, vec![entry])).await
    }

    async fn get(&mut self, cid: Cid, patience: Option<u64>) -> Result<(), End> {
        let _place = match self.transfer() {
            Ok(place) => place,
            Err(e) => return self.reply(Err(e)).await,
        };
        let content = self.shared.node.content.clone();
        let mut options = content.fetch_options();
        if let Some(seconds) = patience.filter(|s| *s > 0) {
            options.patience = Duration::from_secs(seconds).min(MAX_PATIENCE);
        }
        let mut fetch = match content.fetch(&cid, options) {
            Ok(fetch) => fetch,
            Err(e) => return self.reply(Err(Failure(e.to_string()))).await,
        };
        loop {
            // When a client hangs up, the fetch is dropped, which ends it.
            match self.attend(fetch.next()).await? {
                Some(Ok(fetch::Event::Data(data))) => self.data(&data).await?,
                Some(Ok(fetch::Event::Size(size))) => {
                    let mut begin = part(Part::Begin);
                    if let Some(block) = &mut begin.block {
                        block.size = Some(size);
                    }
                    self.answer(&begin).await?;
                }
                Some(Ok(fetch::Event::Progress(p))) => {
                    let mut progress = part(Part::Progress);
                    if let Some(block) = &mut progress.block {
                        block.progress = Some(pb::BlockProgress {
                            done: Some(p.done),
                            total: p.total,
                            providers: Some(p.providers as u64),
                            received: Some(p.received),
                        });
                    }
                    self.answer(&progress).await?;
                }
                Some(Ok(fetch::Event::Done(summary))) => {
                    return self.answer(&end(summary.size, Vec::new())).await;
                }
                Some(Err(e)) => return self.reply(Err(Failure(e.to_string()))).await,
                None => {
                    return self
                        .reply(Err("the fetch ended without its end".into()))
                        .await;
                }
            }
        }
    }

    /// Writes the next bytes of a download.
    async fn data(&mut self, data: &Bytes) -> Result<(), End> {
        for piece in data.chunks(MAX_FRAME) {
            let head = data_head(piece.len());
            let write = self.channel.write_pair(&head, piece);
            match async_std::future::timeout(DOWNLOAD_PATIENCE, write).await {
                Ok(result) => result?,
                Err(_) => return Err(End::Stalled),
            }
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), End> {
        let roots = match self.shared.node.content.roots().await {
            Ok(roots) => roots,
            Err(e) => return self.reply(Err(Failure(e.to_string()))).await,
        };
        self.answer(&part(Part::Begin)).await?;
        for some in roots.chunks(ENTRIES) {
            let mut message = part(Part::Entries);
            if let Some(block) = &mut message.block {
                block.entries = some.iter().map(|r| listed(r).to_pb()).collect();
            }
            self.answer(&message).await?;
        }
        self.answer(&part(Part::End)).await
    }

    async fn remove(&self, cid: Cid) -> Result<pb::Response, Failure> {
        let removed = self.shared.node.content.remove(&cid).await;
        let removed = removed.map_err(|e| Failure(e.to_string()))?;
        Ok(end(removed.bytes, Vec::new()))
    }

    async fn stat(&self, cid: Cid) -> Result<pb::Response, Failure> {
        let stat = self.shared.node.content.stat(&cid).await;
        let stat = stat.map_err(|e| Failure(e.to_string()))?;
        if stat.local_blocks == 0 {
            return Err(Failure(format!(
                "no block of {cid} is in the store; `p2p-node get` fetches it"
            )));
        }
        let publication = stat.provenance.and_then(|said| {
            Some(Publication {
                publisher: said.publisher()?,
                at: said.published_at(),
                until: said.expires_at(),
            })
        });
        let root = stat.root;
        let entry = Entry {
            cid: stat.cid,
            size: stat.size.unwrap_or(0),
            blocks: stat.blocks,
            blocks_here: stat.local_blocks,
            pinned: root.as_ref().is_some_and(|r| r.pinned),
            added: root.as_ref().map(|r| r.put_at),
            expires: root.as_ref().and_then(|r| r.expires_at),
            name: root.and_then(|r| r.name),
            announce_error: None,
            announcing: 0,
            publication,
        };
        Ok(end(entry.size, vec![entry]))
    }
}

/// Returns a root as an entry of a list. All of its blocks are in the store, which
/// removes a root only together with them.
fn listed(root: &Root) -> Entry {
    Entry {
        cid: root.cid,
        size: root.size,
        blocks: root.blocks,
        blocks_here: root.blocks,
        pinned: root.pinned,
        added: Some(root.put_at),
        expires: root.expires_at,
        name: root.name.clone(),
        announce_error: None,
        announcing: 0,
        publication: None,
    }
}

/// Returns the beginning of `text`, in at most `max` bytes.
fn cut(mut text: String, max: usize) -> String {
    let mut at = max.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.truncate(at);
    text
}

fn part(kind: Part) -> pb::Response {
    pb::Response {
        block: Some(pb::BlockResponse {
            r#type: kind as i32,
            ..Default::default()
        }),
        ..ok()
    }
}

fn end(size: u64, entries: Vec<Entry>) -> pb::Response {
    let mut end = part(Part::End);
    if let Some(block) = &mut end.block {
        block.size = Some(size);
        block.entries = entries.iter().map(Entry::to_pb).collect();
    }
    end
}

/// Returns everything that precedes the bytes in a DATA answer, including its length. It
/// is encoded by hand, so that the bytes need not be copied.
fn data_head(length: usize) -> Vec<u8> {
    // The tags of the protobuf encoding are: field number << 3 | wire type (0 varint, 2
    // bytes).
    const RESPONSE_TYPE: u8 = 1 << 3;
    const RESPONSE_BLOCK: u32 = 102 << 3 | 2;
    const BLOCK_TYPE: u8 = 1 << 3;
    const BLOCK_DATA: u8 = 3 << 3 | 2;
    let mut buffer = encode::u64_buffer();
    let mut block = vec![BLOCK_TYPE, Part::Data as u8, BLOCK_DATA];
    block.extend_from_slice(encode::u64(length as u64, &mut buffer));
    let mut response = vec![RESPONSE_TYPE, pb::response::Type::Ok as u8];
    response.extend_from_slice(encode::u64(u64::from(RESPONSE_BLOCK), &mut buffer));
    response.extend_from_slice(encode::u64((block.len() + length) as u64, &mut buffer));
    response.extend_from_slice(&block);
    let mut head = encode::u64((response.len() + length) as u64, &mut buffer).to_vec();
    head.extend_from_slice(&response);
    head
}

/// Reads an upload: the bytes of the data frames, up to the empty frame that is the end
/// mark.
pub(crate) struct Upload<'a, S> {
    channel: &'a mut Channel<S>,
    /// The number of bytes left in the frame that is being read.
    left: usize,
    ended: bool,
}

impl<'a, S> Upload<'a, S> {
    pub(crate) fn new(channel: &'a mut Channel<S>) -> Self {
        Upload {
            channel,
            left: 0,
            ended: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Upload<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let invalid =
            |why: String| Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        loop {
            if self.ended || buf.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if self.left > 0 {
                let n = self.left.min(buf.len());
                let n = ready!(self.channel.poll_take(cx, &mut buf[..n]))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.left -= n;
                return Poll::Ready(Ok(n));
            }
            match varint::decode(self.channel.ahead()) {
                Ok((length, rest)) => {
                    let used = self.channel.buffered() - rest.len();
                    if length > MAX_FRAME as u64 {
                        return invalid(format!(
                            "a data frame of {length} bytes is over the limit of {MAX_FRAME}"
                        ));
                    }
                    self.channel.skip(used);
                    self.left = length as usize;
                    self.ended = length == 0;
                }
                Err(decode::Error::Insufficient) => {
                    if ready!(self.channel.poll_ahead(cx))? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                Err(_) => {
                    return invalid("the length in front of a data frame is no varint".into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_io::Async;
    use async_std::task::block_on;
    use futures::{AsyncReadExt, AsyncWriteExt};
    use prost::Message;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_head_of_data_is_what_the_encoder_writes() {
        for length in [1, 127, 128, 16_000, MAX_FRAME] {
            let data = Bytes::from(vec![5; length]);
            let mut message = part(Part::Data);
            message.block.as_mut().unwrap().data = Some(data.clone());
            let mut by_hand = data_head(length);
            by_hand.extend_from_slice(&data);
            assert!(
                by_hand == message.encode_length_delimited_to_vec(),
                "{length}"
            );
        }
    }

    async fn upload(wire: Vec<u8>) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (ours, mut theirs) = (Async::new(ours).unwrap(), Async::new(theirs).unwrap());
        let send = async move {
            let _ = theirs.write_all(&wire).await;
        };
        let mut channel = Channel::new(ours);
        let receive = async {
            let mut got = Vec::new();
            let result = Upload::new(&mut channel).read_to_end(&mut got).await;
            (result.map(|_| got), channel.ahead().to_vec())
        };
        futures::join!(send, receive).1
    }

    #[test]
    fn an_upload_ends_at_its_mark_and_leaves_what_follows() {
        block_on(async {
            let mut wire = Vec::new();
            let mut whole = Vec::new();
            let mut buffer = encode::u64_buffer();
            for (i, size) in [1usize, 200, 70_000, MAX_FRAME].into_iter().enumerate() {
                wire.extend_from_slice(encode::u64(size as u64, &mut buffer));
                wire.extend(vec![i as u8; size]);
                whole.extend(vec![i as u8; size]);
            }
            wire.extend_from_slice(&[0, 2, 8, 0]);
            let (got, rest) = upload(wire).await;
            assert!(got.unwrap() == whole);
            assert_eq!(rest, [2, 8, 0]);
        });
    }

    #[test]
    fn an_upload_without_its_mark_is_an_error() {
        block_on(async {
            for wire in [&[][..], &[3, 1, 2], &[3, 1, 2, 3], &[0x80]] {
                let error = upload(wire.to_vec()).await.0.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{wire:?}");
            }
        });
    }

    #[test]
    fn a_frame_over_the_limit_or_without_a_length_is_refused() {
        block_on(async {
            for wire in [&[0x81, 0x80, 0x40][..], &[0xff; 11]] {
                let error = upload(wire.to_vec()).await.0.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{wire:?}");
            }
        });
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(cut("größe".into(), 3), "gr");
        assert_eq!(cut("abc".into(), 5), "abc");
    }
}
