//! Where gossip ends that does not go on.

/// Where a message ended before gossipsub, or after it; label values of
/// `p2p_gossip_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Its topic is not joined here.
    UnknownTopic,
    /// A copy of what is settled.
    Copy,
    /// Its peer is over its budget.
    OverBudget,
    /// Its author is over its budget, through others.
    Author,
    /// All peers together are over the node's ceiling, and this one over its share.
    Ceiling,
    /// Its signature, sequence number or source is not valid.
    Invalid,
    /// Control messages or subscriptions over their budget.
    Control,
    /// Accepted and passed on, and handed to no program on this host, since the disk
    /// does not answer. Not at arrival.
    Unrecorded,
}

impl Dropped {
    /// Every cause, in the order of the labels.
    pub(crate) const ALL: [Dropped; 8] = [
        Dropped::UnknownTopic,
        Dropped::Copy,
        Dropped::OverBudget,
        Dropped::Author,
        Dropped::Ceiling,
        Dropped::Invalid,
        Dropped::Control,
        Dropped::Unrecorded,
    ];

    /// Label of a metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Dropped::UnknownTopic => "unknown_topic",
            Dropped::Copy => "copy",
            Dropped::OverBudget => "over_budget",
            Dropped::Author => "author",
            Dropped::Ceiling => "ceiling",
            Dropped::Invalid => "invalid",
            Dropped::Control => "control",
            Dropped::Unrecorded => "unrecorded",
        }
    }
}
