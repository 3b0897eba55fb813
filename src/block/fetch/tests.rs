//! Fetches over pipes in memory, with providers of every kind.

mod bounds;
mod crowd;
mod misbehaviour;
mod providers;
mod refusals;
mod resumed;
mod shared;
mod whole;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_std::os::unix::net::UnixStream;
use async_std::task::block_on;
use bytes::Bytes;
use cid::Cid;
use futures::channel::mpsc;
use futures::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use futures::{FutureExt, StreamExt};
use libp2p::PeerId;

use super::*;
use crate::block::exchange::frame::{self, FrameReader};
use crate::block::exchange::pb::exchange::{Response, Status, Want};
use crate::block::exchange::pb::message::Block;
use crate::block::network::{Fault, OpenError};
use crate::block::testing::{Count, Node, publish, read};
use crate::content::address::{self, Codec};
use crate::content::dag::{Child, encode_file};
use crate::content::fetch::{Obstacle, PlanError, Unreachable};
use crate::content::refusal::Refusal;
use crate::content::testing::{content, foreign, unhex};
use crate::store::Store;

const MIB: usize = 1 << 20;

/// The wants on a stream, one after the other, with the methods to answer them.
struct Asked {
    reader: FrameReader<ReadHalf<UnixStream>>,
    writer: WriteHalf<UnixStream>,
    queue: Vec<Want>,
}

impl Asked {
    fn on(stream: UnixStream) -> Self {
        let (reader, writer) = stream.split();
        Asked {
            reader: FrameReader::new(reader, 1 << 16),
            writer,
            queue: Vec::new(),
        }
    }

    /// Returns the next want of a block. Questions whether a block is here are answered
    /// with yes.
    async fn next(&mut self) -> Option<(u64, Cid)> {
        loop {
            let want = self.next_want().await?;
            if !want.have_only {
                return Some((want.id, Cid::try_from(&want.cid[..]).unwrap()));
            }
            self.say(want.id, Status::Have).await;
        }
    }

    /// Returns the next want of any kind.
    async fn next_want(&mut self) -> Option<Want> {
        while self.queue.is_empty() {
            let request = self.reader.request().await.ok()??;
            self.queue.extend(request.wants);
        }
        Some(self.queue.remove(0))
    }

    async fn say(&mut self, id: u64, status: Status) {
        let response = Response {
            id,
            status: status as i32,
            block: None,
        };
        let _ = frame::write_message(&mut self.writer, &response).await;
        let _ = self.writer.flush().await;
    }

    async fn answer(&mut self, id: u64, cid: &Cid, data: &Bytes) {
        self.send(id, &publish(cid, data)).await;
    }

    async fn send(&mut self, id: u64, block: &Block) {
        let _ = frame::write_block(&mut self.writer, id, block).await;
        let _ = self.writer.flush().await;
    }
}

fn refused(node: &Node, reason: &str) -> u64 {
    let refused = &node.metrics.blocks_refused;
    refused.with_label_values(&[reason]).get()
}

/// Serves blocks from a store, one by one, until `stop` returns true.
async fn serve_until(stream: UnixStream, store: Store, mut stop: impl FnMut(usize) -> bool) {
    let mut asked = Asked::on(stream);
    let mut count = 0;
    while let Some((id, cid)) = asked.next().await {
        if stop(count) {
            return;
        }
        let data = store.get(&cid).unwrap().unwrap();
        asked.answer(id, &cid, &data).await;
        count += 1;
    }
}
