//! Content of which peers of the DHT were told, and their answers.

use futures::future::BoxFuture;

/// Content of which peers of the DHT were told.
pub struct Provided {
    /// The answers of these peers to the question whether they hold it.
    pub confirmation: BoxFuture<'static, Confirmation>,
}

/// The answers of the peers that were told of content, to the question whether they hold
/// the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The number of peers that hold it.
    pub holders: usize,
    /// Whether these are enough, as far as the peers can say.
    pub enough: bool,
}
