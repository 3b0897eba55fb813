//! The events of a fetch.

use bytes::Bytes;

use super::{Progress, Summary};
use crate::content::fetch::charged_bytes::ChargedBytes;

/// An event of a fetch, in the order in which they occur.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The content has this number of bytes. This occurs once, before the first data.
    Size(u64),
    /// The next bytes of the content, which have been verified.
    Data(Bytes),
    /// The progress of the fetch, which is reported about twice a second.
    Progress(Progress),
    /// All bytes have been delivered. They are durable here if the options say to keep
    /// them.
    Done(Summary),
}

/// An event whose bytes still count as memory of the fetch.
#[derive(Debug)]
pub(super) enum Out {
    Data(ChargedBytes),
    Event(Event),
}
