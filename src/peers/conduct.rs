//! What a peer can do well or badly, and how much each is worth.
//!
//! A score runs from -100 to 100; see [`super::reputation`] for its consequences. The
//! weights follow from two questions: can an honest peer do this, because of a bug of its
//! own, a bad disk or bad luck; and what did it cost this node? An offence that no honest
//! peer ever commits costs much, and one that a slow line can cause costs little.

/// Something that a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conduct {
    /// A message or block whose signature does not match.
    InvalidSignature,
    /// A message whose sequence number was seen before.
    Replay,
    /// Bytes that are not a message of the protocol.
    Malformed,
    /// More bytes than the protocol or this node's limits allow.
    Oversized,
    /// A compressed message that claims to unpack to more than is allowed.
    Bomb,
    /// A block that is not the one that was asked for.
    WrongBlock,
    /// More messages or bytes than its budget allows, again and again.
    OverBudget,
    /// New streams, or frames that carry nothing, faster than this node accepts them.
    StreamFlood,
    /// DHT records that nobody asked for, in large numbers.
    RecordStuffing,
    /// A gossip score (v1.1) below the graylist threshold.
    LowGossipScore,
    /// No answer to pings.
    PingLost,
    /// The delivery of a block that was asked for and is correct.
    BlockDelivered,
    /// The delivery of a valid gossip message, before any other peer delivered it.
    MessageDelivered,
}

impl Conduct {
    /// All kinds of conduct, offences first.
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

    /// Returns how much it adds to the score.
    pub fn weight(self) -> f32 {
        match self {
            // The transport is authenticated, so noise on the line does not explain it. A
            // peer that verifies messages before it forwards them never sends one. Four
            // lead to a ban, so that a bug in somebody's release shows up in a log first.
            Conduct::InvalidSignature => -20.0,
            // A peer that has just started has no windows yet and may forward an old
            // message once. A peer that replays messages sends hundreds.
            Conduct::Replay => -5.0,
            // A future version may send something odd, but it does not keep doing so.
            Conduct::Malformed => -10.0,
            // As above: if the peer is configured with another limit, that explains a
            // few.
            Conduct::Oversized => -10.0,
            // It is made on purpose, to exhaust memory. Two lead to a ban.
            Conduct::Bomb => -50.0,
            // A bad disk explains one. Each costs this node a transfer.
            Conduct::WrongBlock => -25.0,
            // It is reported at most once a second while the excess lasts (see `bucket`):
            // a flood is cut off in 13 s and banned in 20 s, and a peer with one busy
            // minute is not.
            Conduct::OverBudget => -4.0,
            // As with `OverBudget`: a client with a bug does it too.
            Conduct::StreamFlood => -4.0,
            // A provider of much content announces much, so each one costs little.
            Conduct::RecordStuffing => -2.0,
            // Gossipsub has weighed many small things before it reports this, and it
            // reports it again for as long as it lasts.
            Conduct::LowGossipScore => -5.0,
            // A host that goes to sleep does this, and the connection ends anyway.
            Conduct::PingLost => -1.0,
            // A megabyte that this node wanted is worth something, and hard to fake.
            Conduct::BlockDelivered => 0.2,
            // It costs the publisher little; see `ceiling`.
            Conduct::MessageDelivered => 0.02,
        }
    }

    /// Returns how high this merit can raise a score. Anybody can publish as many valid
    /// messages as they like, so messages raise a score only a little. Blocks that this
    /// node asked for by their hash can raise it all the way.
    pub fn ceiling(self) -> f32 {
        match self {
            Conduct::MessageDelivered => 20.0,
            _ => super::reputation::BEST,
        }
    }

    /// Returns whether it is an offence.
    pub fn is_offence(self) -> bool {
        self.weight() < 0.0
    }

    /// Returns its name in logs and as the label of a metric. The names are fixed, so
    /// that fail2ban and alerts can rely on them.
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
