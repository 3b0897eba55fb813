//! What a stream is for.

/// What a stream is for, which decides how long it waits at a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The node's own protocols: gossip, DHT, identify, ping, relaying. They
    /// keep the mesh alive and are small.
    Own,
    /// Content, and the streams of programs.
    Bulk,
}

impl Class {
    /// Both, each at the position that its number says.
    pub(crate) const ALL: [Class; 2] = [Class::Own, Class::Bulk];

    /// The label value in metrics: `own` or `bulk`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Class::Own => "own",
            Class::Bulk => "bulk",
        }
    }
}
