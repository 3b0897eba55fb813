//! The wants of one stream.

use std::collections::VecDeque;
use std::time::Instant;

use cid::Cid;

use super::super::MAX_WANTS;
use super::super::pb::exchange::Status;
use super::ServeError;
use super::group::{Answer, GROUP_ANSWERS};
use super::unanswered::Unanswered;

/// One want of a peer.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) id: u64,
    pub(super) cid: Cid,
    /// Whether the peer only asks if the block is here.
    pub(super) have_only: bool,
    pub(super) arrived: Instant,
}

/// The wants of one stream between their arrival and their answer.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) queue: VecDeque<Want>,
    cancelled: Vec<Want>,
    /// The number of those in the two fields above, being read, or being written.
    pub(super) unanswered: usize,
    /// The number of unanswered wants of all streams together.
    of_all: Unanswered,
    /// The number of requests that cost something although no block was sent for them,
    /// and for which the peer has not been charged yet.
    pub(super) uncharged: u32,
}

impl Wants {
    pub(super) fn counted_in(of_all: Unanswered) -> Self {
        Wants {
            queue: VecDeque::new(),
            cancelled: Vec::new(),
            unanswered: 0,
            of_all,
            uncharged: 0,
        }
    }

    pub(super) fn answered(&mut self, count: usize) {
        self.unanswered -= count;
        self.of_all.answered(count);
    }

    pub(super) fn push(&mut self, want: Want) -> Result<(), ServeError> {
        if self.unanswered >= MAX_WANTS {
            return Err(ServeError::TooManyWants);
        }
        self.unanswered += 1;
        self.of_all.arrived();
        self.queue.push_back(want);
        Ok(())
    }

    /// Cancels a want, and returns whether it was still in the queue. Otherwise its
    /// answer is being prepared and will be sent.
    pub(super) fn cancel(&mut self, id: u64) -> bool {
        let Some(at) = self.queue.iter().position(|want| want.id == id) else {
            return false;
        };
        self.cancelled.extend(self.queue.remove(at));
        true
    }

    pub(super) fn take_group(&mut self) -> (Vec<Answer>, VecDeque<Want>) {
        let cancelled = self.cancelled.drain(..).map(|want| Answer {
            id: want.id,
            arrived: want.arrived,
            result: Err(Status::Cancelled),
        });
        let answers = cancelled.collect();
        let few = self.queue.len().min(GROUP_ANSWERS);
        (answers, self.queue.drain(..few).collect())
    }

    pub(super) fn put_back(&mut self, rest: VecDeque<Want>) {
        for want in rest.into_iter().rev() {
            self.queue.push_front(want);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.cancelled.is_empty()
    }
}

impl Drop for Wants {
    fn drop(&mut self) {
        self.of_all.answered(self.unanswered);
    }
}
