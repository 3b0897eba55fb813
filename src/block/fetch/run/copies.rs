//! Copies of one block that are being verified.

/// Copies of one block that are being verified.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub(super) count: usize,
    /// Whether one of them comes from a provider whose blocks were right before.
    pub(super) of_proven: bool,
}

/// The maximum number of copies of one block that are verified, when the first came from
/// a stranger.
const MAX_COPIES: usize = 2;

impl Copies {
    /// Returns whether another copy is worth taking.
    pub(super) fn is_unsure(&self) -> bool {
        self.count < MAX_COPIES && !self.of_proven
    }
}
