//! The answer that whoever asks something of the event loop waits for.

use futures::channel::oneshot;

use super::error::Error;

/// Where the answer goes. Sending it neither waits nor fails; nobody may want it any more.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;
