//! Copies of one block that are being verified.

/// Copies of one block that are being verified.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub(super) count: usize,
    /// One of them is of a provider whose blocks were right before.
    pub(super) of_proven: bool,
}

/// Copies of one block that are verified, when a stranger sent the first.
const MAX_COPIES: usize = 2;

impl Copies {
    /// Whether another copy is worth taking.
    pub(super) fn is_unsure(&self) -> bool {
        self.count < MAX_COPIES && !self.of_proven
    }
}
