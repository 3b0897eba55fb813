//! Why the content could not be had from anyone, counted and put into words.

use std::fmt;
use std::time::Duration;

use libp2p::PeerId;

use super::obstacle::Obstacle;
use super::outcome::Outcome;
use crate::text::count::counted;

/// The maximum number of other protocols that the text names.
const MAX_PROTOCOLS: usize = 4;

/// A number of peers with the same outcome, and one of them as an example. It is the one
/// with the most informative obstacle, and the first when several are equally
/// informative.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    count: usize,
    example: Option<Example>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    peer: PeerId,
    obstacle: Obstacle,
    words: String,
}

impl Group {
    fn add(&mut self, peer: &PeerId, obstacle: Obstacle, reason: &dyn fmt::Display) {
        self.count += 1;
        let best = self.example.as_ref();
        if best.is_none_or(|best| obstacle > best.obstacle) {
            self.example = Some(Example {
                peer: *peer,
                obstacle,
                words: reason.to_string(),
            });
        }
    }

    /// Counts a peer about which there is nothing more to say.
    fn count(&mut self) {
        self.count += 1;
    }
}

/// Why the content could not be had from anyone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// How long the fetch has waited.
    waited: Duration,
    /// The number of searches of the DHT that were completed.
    searches: usize,
    /// Why the last search did not begin.
    unsearched: Option<String>,
    /// The number of peers that the DHT or the caller named.
    named: usize,
    unreachable: Group,
    unsupported: Group,
    protocols: Vec<String>,
    lacking: Group,
    silent: Group,
    useless: Group,
    untried: usize,
    /// The number of peers that are only connected, and the number of those that do not
    /// have the content.
    connected: usize,
    connected_lacking: usize,
    /// The number of those that have not been asked yet.
    connected_untried: usize,
}

impl Reason {
    pub(crate) fn new(waited: Duration, searches: usize, unsearched: Option<String>) -> Self {
        Reason {
            waited,
            searches,
            unsearched,
            ..Reason::default()
        }
    }

    pub(crate) fn add(&mut self, peer: &PeerId, named: bool, outcome: Option<&Outcome>) {
        if !named {
            self.connected += 1;
            self.connected_untried += usize::from(outcome.is_none());
            self.connected_lacking += usize::from(matches!(outcome, Some(Outcome::Lacks)));
            return;
        }
        self.named += 1;
        match outcome {
            Some(Outcome::Unreachable(why)) => self.unreachable.add(peer, why.obstacle, why),
            Some(Outcome::Unsupported(speaks)) => {
                self.unsupported.count();
                for protocol in speaks {
                    if self.protocols.len() < MAX_PROTOCOLS && !self.protocols.contains(protocol) {
                        self.protocols.push(protocol.clone());
                    }
                }
            }
            Some(Outcome::Lacks) => self.lacking.count(),
            Some(Outcome::Silent) => self.silent.count(),
            Some(Outcome::Useless(why)) => self.useless.add(peer, why.obstacle(), why),
            None => self.untried += 1,
        }
    }

    /// Returns the number of peers that the DHT or the caller named.
    pub fn announced(&self) -> usize {
        self.named
    }

    /// Returns whether waiting longer cannot help. This is so when enough searches were
    /// completed, there were peers to ask, and all of the named ones were reached and are
    /// of no use. A host that cannot be reached may come back, so it is worth waiting
    /// for.
    pub(crate) fn is_final(&self) -> bool {
        let settled = self.lacking.count + self.unsupported.count;
        self.searches >= ENOUGH_SEARCHES
            && self.unsearched.is_none()
            && self.connected + self.named > 0
            && self.connected_untried == 0
            && settled == self.named
    }
}

/// The number of searches after which it is final that no provider was found. One search
/// can miss a provider whose announcement is still on its way, and another can lose an
/// answer.
const ENOUGH_SEARCHES: usize = 3;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.waited.as_secs();
        if self.named == 0 {
            match (&self.unsearched, self.searches) {
                (Some(why), _) => write!(f, "the DHT could not be searched: {why}")?,
                (None, 0) => write!(f, "no search of the DHT came to its end in {seconds} s")?,
                (None, _) => write!(
                    f,
                    "nobody announces it ({} of the DHT in {seconds} s)",
                    counted(self.searches as u64, "search", "searches")
                )?,
            }
            match self.connected {
                0 => write!(f, ", and no peer is connected")?,
                n if n == self.connected_lacking => write!(
                    f,
                    ", and {} not have it",
                    counted(n as u64, "connected peer does", "connected peers do")
                )?,
                n => write!(
                    f,
                    ", and of {} {} said no and the others did not answer",
                    counted(n as u64, "connected peer", "connected peers"),
                    self.connected_lacking
                )?,
            }
            return write!(f, "; is a host that has it online, and on this network?");
        }
        write!(
            f,
            "{} it",
            counted(self.named as u64, "peer announces", "peers announce")
        )?;
        let mut parts = Vec::new();
        let of = |group: &Group, one: &str, many: &str| {
            let words = counted(group.count as u64, one, many);
            match &group.example {
                Some(example) => format!("{words} ({}: {})", example.peer, example.words),
                None => words,
            }
        };
        if self.unreachable.count > 0 {
            parts.push(of(
                &self.unreachable,
                "cannot be reached",
                "cannot be reached",
            ));
        }
        if self.lacking.count > 0 {
            parts.push(of(
                &self.lacking,
                "was reached and does not have it",
                "were reached and do not have it",
            ));
        }
        if self.unsupported.count > 0 {
            let speaks = match (self.protocols.is_empty(), self.unsupported.count) {
                (true, _) => String::new(),
                (false, 1) => format!("; it speaks {}", self.protocols.join(", ")),
                (false, _) => format!("; they speak {}", self.protocols.join(", ")),
            };
            parts.push(of(
                &self.unsupported,
                &format!("was reached and does not speak this network's block exchange{speaks}"),
                &format!("were reached and do not speak this network's block exchange{speaks}"),
            ));
        }
        if self.silent.count > 0 {
            parts.push(of(
                &self.silent,
                "was reached and did not answer",
                "were reached and did not answer",
            ));
        }
        if self.useless.count > 0 {
            parts.push(of(&self.useless, "was of no use", "were of no use"));
        }
        if self.untried > 0 {
            parts.push(counted(
                self.untried as u64,
                "has not answered yet",
                "have not answered yet",
            ));
        }
        write!(f, ": {}", parts.join("; "))?;
        let only = |group: &Group| group.count == self.named;
        if only(&self.unreachable) {
            write!(f, "; is that host online, and can it be dialed from here?")?;
        } else if only(&self.lacking) {
            write!(f, "; it may have been removed there, or its time is over")?;
        } else if only(&self.unsupported) {
            write!(f, "; is P2P_NETWORK the same on both hosts?")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::fetch::{Unreachable, Useless};

    fn reason(named: &[Outcome], connected: &[Outcome]) -> Reason {
        let mut reason = Reason::new(Duration::from_secs(12), 5, None);
        for (all, named) in [(named, true), (connected, false)] {
            for outcome in all {
                reason.add(&peer(), named, Some(outcome));
            }
        }
        reason
    }

    fn peer() -> PeerId {
        let key = b"\x08\x01\x12\x20\x3b\x6a\x27\xbc\xce\xb6\xa4\x2d\x62\xa3\xa8\xd0\x2a\x6f\x0d\x73\x65\x32\x15\x77\x1d\xe2\x43\xa6\x3a\xc0\x48\xa1\x8b\x59\xda\x29";
        libp2p::identity::PublicKey::try_decode_protobuf(key)
            .unwrap()
            .to_peer_id()
    }

    #[test]
    fn each_way_to_fail_has_its_words() {
        let gone = Outcome::Unreachable(Unreachable::new(Obstacle::Refused, "connection refused"));
        let other = Outcome::Unsupported(vec!["/ipfs/bitswap/1.2.0".into()]);
        let (lacks, silent) = (Outcome::Lacks, Outcome::Silent);
        let lied = Outcome::Useless(Useless::Session {
            obstacle: Obstacle::Other,
            words: "block X: is not what its CID names".into(),
        });
        let id = peer();
        for (named, connected, words) in [
            (
                &[][..],
                &[][..],
                "nobody announces it (5 searches of the DHT in 12 s), and no peer is connected; is a host that has it online, and on this network?".to_string(),
            ),
            (
                &[],
                &[lacks.clone(), lacks.clone()],
                "nobody announces it (5 searches of the DHT in 12 s), and 2 connected peers do not have it; is a host that has it online, and on this network?".into(),
            ),
            (
                &[],
                &[lacks.clone(), silent.clone()],
                "nobody announces it (5 searches of the DHT in 12 s), and of 2 connected peers 1 said no and the others did not answer; is a host that has it online, and on this network?".into(),
            ),
            (
                &[gone.clone(), gone.clone()],
                std::slice::from_ref(&lacks),
                format!("2 peers announce it: 2 cannot be reached ({id}: connection refused); is that host online, and can it be dialed from here?"),
            ),
            (
                std::slice::from_ref(&lacks),
                &[],
                "1 peer announces it: 1 was reached and does not have it; it may have been removed there, or its time is over".into(),
            ),
            (
                &[other.clone(), other.clone()],
                &[],
                "2 peers announce it: 2 were reached and do not speak this network's block exchange; they speak /ipfs/bitswap/1.2.0; is P2P_NETWORK the same on both hosts?".into(),
            ),
            (
                &[gone, lacks.clone(), other, silent, lied],
                &[],
                format!("5 peers announce it: 1 cannot be reached ({id}: connection refused); 1 was reached and does not have it; 1 was reached and does not speak this network's block exchange; it speaks /ipfs/bitswap/1.2.0; 1 was reached and did not answer; 1 was of no use ({id}: block X: is not what its CID names)"),
            ),
        ] {
            assert_eq!(reason(named, connected).to_string(), words);
        }
        let refused = Reason::new(Duration::from_secs(1), 0, Some("too many queries".into()));
        let words = "the DHT could not be searched: too many queries, and no peer is connected; is a host that has it online, and on this network?";
        assert_eq!(refused.to_string(), words);
    }

    #[test]
    fn of_many_that_failed_the_one_is_named_that_tells_most() {
        let late = (Obstacle::NoAnswer, "no stream within 10s");
        let refused = (Obstacle::Refused, "nothing listens on that port");
        let nowhere = (Obstacle::NoAddress, "no address of it is known");
        for order in [
            [late, refused, nowhere],
            [refused, nowhere, late],
            [nowhere, late, refused],
        ] {
            let mut reason = Reason::new(Duration::from_secs(12), 5, None);
            let peers = order.map(|why| (PeerId::random(), why));
            for (peer, (obstacle, words)) in &peers {
                let outcome = Outcome::Unreachable(Unreachable::new(*obstacle, *words));
                reason.add(peer, true, Some(&outcome));
            }
            let (best, _) = peers.iter().find(|(_, why)| *why == refused).unwrap();
            let words = format!("3 cannot be reached ({best}: {})", refused.1);
            assert!(reason.to_string().contains(&words), "{reason}");
        }
        // When two are equally informative, the first one is named.
        let mut reason = Reason::new(Duration::from_secs(12), 5, None);
        let useless = [PeerId::random(), PeerId::random(), PeerId::random()];
        let session = |words: &str| Useless::Session {
            obstacle: Obstacle::Other,
            words: words.into(),
        };
        let reasons = [Useless::Slower, session("one"), session("two")];
        for (peer, why) in useless.iter().zip(reasons) {
            reason.add(peer, true, Some(&Outcome::Useless(why)));
        }
        let words = format!("3 were of no use ({}: one)", useless[1]);
        assert!(reason.to_string().contains(&words), "{reason}");
    }

    #[test]
    fn waiting_helps_when_somebody_may_come_back_or_nobody_was_asked() {
        let gone = Outcome::Unreachable(Unreachable::new(Obstacle::Refused, "connection refused"));
        let lacks = Outcome::Lacks;
        assert!(reason(&[], std::slice::from_ref(&lacks)).is_final());
        assert!(reason(&[lacks.clone(), Outcome::Unsupported(vec![])], &[]).is_final());
        assert!(!reason(&[], &[]).is_final(), "it knows nobody yet");
        assert!(!reason(&[lacks.clone(), gone], &[]).is_final());
        assert!(!reason(&[lacks.clone(), Outcome::Silent], &[]).is_final());
        let early = Reason {
            searches: 2,
            ..reason(&[lacks], &[])
        };
        assert!(!early.is_final());
    }
}
