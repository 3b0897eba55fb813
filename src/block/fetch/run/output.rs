//! Moves the content to the reader.

use super::super::{Event, FetchError, Out};
use super::Run;
use crate::block::network::Network;

/// The number of bytes that are put into the reader's queue before it reads them.
pub(super) const MAX_OUT: usize = 4 << 20;

impl<N: Network> Run<N> {
    /// Moves the next bytes of the content to the reader's queue.
    pub(super) fn queue_output(&mut self) -> Result<(), FetchError> {
        if !self.sized
            && let Some(total) = self.plan.total()
        {
            self.sized = true;
            // Repeated blocks could make it fit after all. But that would only be known
            // at its end, when everything else has been evicted for it.
            let max = self.setting.store.usage().max_bytes;
            if total > max {
                return Err(FetchError::OverStore {
                    cid: self.root,
                    size: total,
                    max,
                });
            }
            self.out.push_back(Out::Event(Event::Size(total)));
        }
        while self.out_bytes < MAX_OUT {
            let Some(data) = self.plan.next_data()? else {
                break;
            };
            if data.len() > 0 {
                self.out_bytes += data.len();
                self.out.push_back(Out::Data(data));
            }
        }
        Ok(())
    }

    pub(super) fn send_one(&mut self) {
        let Some(out) = self.out.pop_front() else {
            return;
        };
        if let Out::Data(data) = &out {
            self.out_bytes -= data.len();
            self.reader.queue.put(data.len());
        }
        // The channel is ready. When the reader is gone, the next turn finds out.
        let _ = self.reader.output.start_send(Ok(out));
    }
}
