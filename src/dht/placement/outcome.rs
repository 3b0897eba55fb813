//! What came of placing a record.

/// What came of placing a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Peers that were told.
    pub told: usize,
    /// Those of them that were seen to hold the record.
    pub confirmed: usize,
    /// Those of them that cannot say whether they do, or were not asked.
    pub unverified: usize,
    /// Whether enough of those that can say hold it.
    pub enough: bool,
}

impl Outcome {
    /// Judges whether enough peers hold the record.
    pub(super) fn of(told: usize, confirmed: usize, unverified: usize) -> Self {
        Outcome {
            told,
            confirmed,
            unverified,
            // Of those that may still turn out to be unable to say nothing is assumed.
            enough: told > 0 && confirmed >= enough(told - unverified),
        }
    }
}

/// How many of `told` peers have to hold a record. Half of them: of twenty, ten
/// are there when half of the network has left before the record is renewed. But
/// three where there are as many, and all of fewer: one holder alone takes the
/// record with it when it leaves.
pub(super) fn enough(told: usize) -> usize {
    told.div_ceil(2).max(told.min(3))
}
