//! What a peer can do well or badly, and what each is worth.
//!
//! A score runs from -100 to 100; see [`super::reputation`] for what it leads
//! to. The weights follow from two questions: can an honest peer do this, by a
//! bug of its own, a bad disk or bad luck; and what did it cost this node?
//! What nobody honest ever does is dear, what a slow line can do is cheap.

/// Something that a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conduct {
    /// A message or block whose signature does not match.
    InvalidSignature,
    /// A message whose sequence number was seen before.
    Replay,
    /// Bytes that are no message of the protocol.
    Malformed,
    /// More bytes than the protocol or this node's limits allow.
    Oversized,
    /// A compressed message that says it unpacks to more than is allowed.
    Bomb,
    /// A block that is not the one that was asked for.
    WrongBlock,
    /// More messages or bytes than its budget, again and again.
    OverBudget,
    /// New streams faster than this node takes them.
    StreamFlood,
    /// DHT records that nobody asked for, in bulk.
    RecordStuffing,
    /// A gossip score (v1.1) under the graylist threshold.
    LowGossipScore,
    /// It answers no pings.
    PingLost,
    /// It delivered a block that was asked for and is right.
    BlockDelivered,
    /// It delivered a valid gossip message first.
    MessageDelivered,
}

impl Conduct {
    /// Every conduct, offences first.
    pub const ALL: [Conduct; 13] = [
        Conduct::InvalidSignature,
        Conduct::Replay,
        Conduct::Malformed,
        Conduct::Oversized,
        Conduct::Bomb,
        Conduct::WrongBlock,
        Conduct::OverBudget,
        Conduct::StreamFlood,
        Conduct::RecordStuffing,
        Conduct::LowGossipScore,
        Conduct::PingLost,
        Conduct::BlockDelivered,
        Conduct::MessageDelivered,
    ];

    /// What it adds to the score.
    pub fn weight(self) -> f32 {
        match self {
            // The transport is authenticated, so no line noise explains it; a
            // peer that verifies before it forwards never sends one. Four are a
            // ban, so that a bug in somebody's release is seen in a log first.
            Conduct::InvalidSignature => -20.0,
            // A peer that has just started has no windows yet and may forward an
            // old message once; a replayer sends hundreds.
            Conduct::Replay => -5.0,
            // A version of the future may send something odd; it does not go on.
            Conduct::Malformed => -10.0,
            // As above: another limit in its configuration explains a few.
            Conduct::Oversized => -10.0,
            // Made by hand, to exhaust memory. Two end in a ban.
            Conduct::Bomb => -50.0,
            // A bad disk explains one; it costs us a transfer each time.
            Conduct::WrongBlock => -25.0,
            // Comes at most once a second while the excess lasts (see
            // `bucket`): a flood is cut off in 13 s and banned in 20 s, and a
            // peer with one busy minute is not.
            Conduct::OverBudget => -4.0,
            // As OverBudget: a client with a bug does it too.
            Conduct::StreamFlood => -4.0,
            // A provider of much content announces much: cheap each time.
            Conduct::RecordStuffing => -2.0,
            // Gossipsub has weighed many small things before it says so, and
            // says it again while it lasts.
            Conduct::LowGossipScore => -5.0,
            // A host that sleeps does this; the connection ends anyway.
            Conduct::PingLost => -1.0,
            // A megabyte that we wanted: worth something, and hard to fake.
            Conduct::BlockDelivered => 0.2,
            // Cheap for whoever publishes; see `ceiling`.
            Conduct::MessageDelivered => 0.02,
        }
    }

    /// How high this merit can lift a score. Anybody can publish valid messages
    /// at will, so they make a peer known, not respected; blocks that this node
    /// asked for by their hash can do the rest.
    pub fn ceiling(self) -> f32 {
        match self {
            Conduct::MessageDelivered => 20.0,
            _ => super::reputation::BEST,
        }
    }

    /// Whether it is an offence.
    pub fn is_offence(self) -> bool {
        self.weight() < 0.0
    }

    /// Its name in logs and as a metric's label; fixed, so that fail2ban and
    /// alerts can rely on it.
    pub fn name(self) -> &'static str {
        match self {
            Conduct::InvalidSignature => "invalid-signature",
            Conduct::Replay => "replay",
            Conduct::Malformed => "malformed",
            Conduct::Oversized => "oversized",
            Conduct::Bomb => "bomb",
            Conduct::WrongBlock => "wrong-block",
            Conduct::OverBudget => "over-budget",
            Conduct::StreamFlood => "stream-flood",
            Conduct::RecordStuffing => "record-stuffing",
            Conduct::LowGossipScore => "low-gossip-score",
            Conduct::PingLost => "ping-lost",
            Conduct::BlockDelivered => "block-delivered",
            Conduct::MessageDelivered => "message-delivered",
        }
    }
}

impl std::fmt::Display for Conduct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_and_fit_for_a_label_and_a_regular_expression() {
        let names: HashSet<_> = Conduct::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), Conduct::ALL.len());
        for name in names {
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{name}"
            );
        }
    }

    #[test]
    fn only_what_cannot_be_an_accident_bans_within_four() {
        for conduct in Conduct::ALL.into_iter().filter(|c| c.is_offence()) {
            let to_ban = (super::super::reputation::BAN / conduct.weight()).ceil();
            let by_hand = matches!(
                conduct,
                Conduct::InvalidSignature | Conduct::Bomb | Conduct::WrongBlock
            );
            assert_eq!(to_ban <= 4.0, by_hand, "{conduct}: {to_ban}");
        }
    }
}
