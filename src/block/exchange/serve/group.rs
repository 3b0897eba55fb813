//! Answers that are read together and written together.

use std::collections::VecDeque;
use std::time::Instant;

use cid::Cid;
use futures::io::AsyncWrite;

use super::super::frame;
use super::super::pb::exchange::{Response, Status};
use super::super::pb::message::Block;
use super::entry::GroupMemory;
use super::source::{Source, Stored};
use super::wants::Want;
use crate::message::compression;
use crate::telemetry::throttle;

/// Blocks are read in groups of about this size. Handing work to a blocking thread costs
/// tens of microseconds, and reading 1 MiB costs hundreds.
pub(super) const GROUP_BYTES: usize = 1 << 20;

/// The maximum number of answers in one group, for blocks that are small or missing.
pub(super) const GROUP_ANSWERS: usize = 64;

/// The answer to one want.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) arrived: Instant,
    pub(super) result: Result<Box<Block>, Status>,
}

/// Answers that are written together.
pub(super) struct Group {
    pub(super) answers: Vec<Answer>,
    /// The memory that the blocks take; `None` when there are no blocks.
    pub(super) memory: Option<GroupMemory>,
}

impl Answer {
    pub(super) async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> std::io::Result<()> {
        match &self.result {
            Ok(block) => frame::write_block(writer, self.id, block).await,
            Err(status) => {
                let response = Response {
                    id: self.id,
                    status: *status as i32,
                    block: None,
                };
                frame::write_message(writer, &response).await
            }
        }
    }
}

/// Reads the blocks of `queued` until the group is full, and returns the rest.
pub(super) fn load<S: Source>(
    source: &S,
    mut queued: VecDeque<Want>,
) -> (Vec<Answer>, VecDeque<Want>) {
    let mut answers = Vec::new();
    let mut bytes = 0;
    while bytes < GROUP_BYTES && answers.len() < GROUP_ANSWERS {
        let Some(want) = queued.pop_front() else {
            break;
        };
        let found = match want.have_only {
            true => source.has(&want.cid).map(|has| has.then_some(None)),
            false => source.block(&want.cid).map(|stored| stored.map(Some)),
        };
        let result = match found {
            Ok(Some(Some(stored))) => {
                bytes += stored.data.len();
                Ok(pack(&want.cid, stored))
            }
            Ok(Some(None)) => Err(Status::Have),
            Ok(None) => Err(Status::DontHave),
            Err(error) => {
                // This happens when the disk is bad and a peer asks again and again.
                if let Some(suppressed) = throttle::allow("unreadable block") {
                    log::warn!(cid:% = want.cid, error:% = error, suppressed; "cannot read a block that a peer wants");
                }
                Err(Status::Unavailable)
            }
        };
        answers.push(Answer {
            id: want.id,
            arrived: want.arrived,
            result,
        });
    }
    (answers, queued)
}

/// Returns the block as it is sent. It is compressed if that makes it smaller.
fn pack(cid: &Cid, stored: Stored) -> Box<Block> {
    let said = stored.provenance;
    let (data, how) = compression::pack(stored.data);
    Box::new(Block {
        hash: cid.hash().to_bytes().into(),
        data,
        timestamp: said.timestamp,
        ttl: said.ttl,
        version: said.version,
        signature: said.signature,
        key: said.key,
        compression: how as i32,
    })
}
