//! What one peer, and all of them together, may bring of gossip. `node::gossip::intake`
//! asks for each message and each frame of control messages.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::gossipsub::{RawMessage, TopicHash};

use super::HISTORY;
use super::authors::Authors;
use super::ceiling::Ceiling;
use super::dropped::Dropped;
use super::seen::{Id, Seen};
use crate::peers::bucket::{Bucket, Budget, Rates};

/// New messages of all peers together: as many as ten peers may send. Gossipsub
/// keeps some 600 bytes of each for two minutes, which makes 70 MiB with the
/// default P2P_RATE_FILL.
const PEERS_AT_FULL_RATE: u64 = 10;

/// Bytes of messages that gossipsub may hold for those who ask, over the
/// [`HISTORY`] heartbeats for which it does. Room for sixty of the largest.
const CACHE: u64 = 64 << 20;

/// Bytes of all peers together, as a part of what one peer may send. It is less
/// than the whole since a node passes on what it lets in: each neighbour reads no
/// more than that from it, control messages and other protocols included, and
/// holds it against nobody that it cannot be faster.
const BYTES_SHARE: (u64, u64) = (3, 4);

/// Bytes that a message has on the wire beside its data: names, number, signature
/// and a topic of the usual length.
pub(crate) const AROUND: u64 = 256;

/// Copies of a settled message for one token.
const COPIES_A_TOKEN: u32 = 8;

/// Replays of its own messages that a publisher may send for each that is held
/// against it: a copy or two after a reconnect is nobody's fault.
const REPLAYS_FORGIVEN: u32 = 8;

/// Bytes of control messages and subscriptions of one peer: a list of five thousand
/// ids, the most that go sends, for a few topics at once; and for long, twice what a
/// peer of v1.2 says of a thousand messages a second.
const CONTROL: Budget = Budget {
    burst: 1 << 20,
    fill: 128 << 10,
};

/// What a subscription weighs beside its bytes. The hello of a peer that is on as many
/// topics as it may be takes less than a third of the burst, and after that a peer
/// can change a few hundred subscriptions a second.
const SUBSCRIPTION: u64 = 256;

/// A peer over its control budget is reported at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What is kept of a connected peer.
#[derive(Debug)]
struct Peer {
    control: Bucket,
    /// Messages that it brings of others.
    brought: Bucket,
    /// What is above that.
    excess: Bucket,
    copies: u32,
    replays: u32,
    reported_at: Option<Instant>,
}

impl Peer {
    fn new(brings: Budget, now: Instant) -> Self {
        Peer {
            control: Bucket::full(CONTROL, now),
            brought: Bucket::full(brings, now),
            excess: Bucket::full(brings, now),
            copies: 0,
            replays: 0,
            reported_at: None,
        }
    }

    /// Whether it is time to report it again.
    fn reports(&mut self, now: Instant) -> bool {
        let report = self
            .reported_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
        if report {
            self.reported_at = Some(now);
        }
        report
    }
}

/// What the peer that brings a message is to be charged for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// Nothing.
    Nothing,
    /// A token of its bucket of messages, since it is the author. If there is none, the
    /// message is dropped.
    Message,
    /// It brings more of others than it may. Its connection is to be read more slowly;
    /// when it is gross, the peer is to be reported as well.
    Excess {
        /// Whether it is gross.
        gross: bool,
    },
}

/// What is known of a message before it is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What it costs, in either case.
    pub(crate) charge: Charge,
    /// Why it ends here, if it does whether it is paid for or not.
    pub(crate) dropped: Option<Dropped>,
}

/// See the module's documentation.
pub(crate) struct Quotas {
    pub(crate) joined: HashSet<TopicHash>,
    pub(crate) seen: Seen,
    /// Of connected peers only.
    peers: HashMap<PeerId, Peer>,
    pub(crate) authors: Authors,
    rates: Rates,
    heartbeat: Duration,
    /// What each may bring of others.
    brings: Budget,
    messages: Ceiling,
    bytes: Ceiling,
}

/// What the node takes of all peers together: messages, and bytes.
fn ceilings(heartbeat: Duration, rates: Rates) -> (Budget, Budget) {
    let rate = rates.messages;
    let messages = Budget {
        burst: rate.burst.saturating_mul(PEERS_AT_FULL_RATE),
        fill: rate.fill.saturating_mul(PEERS_AT_FULL_RATE),
    };
    let held = heartbeat.as_secs_f64() * HISTORY as f64;
    let part = |of: u64| (of / BYTES_SHARE.1).saturating_mul(BYTES_SHARE.0);
    let bytes = Budget {
        burst: part(rates.bytes.burst).min(CACHE / 2),
        fill: part(rates.bytes.fill).min(((CACHE / 2) as f64 / held.max(0.001)) as u64),
    };
    (messages, bytes)
}

impl Quotas {
    pub(crate) fn new(heartbeat: Duration, rates: Rates, now: Instant) -> Self {
        let (messages, bytes) = ceilings(heartbeat, rates);
        Quotas {
            joined: HashSet::new(),
            seen: Seen::default(),
            peers: HashMap::new(),
            authors: Authors::new(rates.messages),
            rates,
            heartbeat,
            brings: messages,
            messages: Ceiling::new(messages, now),
            bytes: Ceiling::new(bytes, now),
        }
    }

    /// Other budgets of peers from `now` on, and what follows from them.
    pub(crate) fn set_rates(&mut self, rates: Rates, now: Instant) {
        if rates == self.rates {
            return;
        }
        let (messages, bytes) = ceilings(self.heartbeat, rates);
        self.rates = rates;
        self.authors.set_budget(rates.messages);
        self.brings = messages;
        for peer in self.peers.values_mut() {
            peer.brought = Bucket::full(messages, now);
            peer.excess = Bucket::full(messages, now);
        }
        self.messages.set_budget(messages, now);
        self.bytes.set_budget(bytes, now);
    }

    pub(crate) fn enter(&mut self, peer: PeerId, weight: f32, now: Instant) {
        let brings = self.brings;
        self.peers
            .entry(peer)
            .or_insert_with(|| Peer::new(brings, now));
        self.messages.enter(peer, weight);
        self.bytes.enter(peer, weight);
    }

    pub(crate) fn leave(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        self.messages.leave(peer);
        self.bytes.leave(peer);
    }

    pub(crate) fn weigh(&mut self, peer: &PeerId, weight: f32) {
        self.messages.weigh(peer, weight);
        self.bytes.weigh(peer, weight);
    }

    /// What a receiver takes that is configured as this node is: messages of each
    /// peer, and bytes of all peers together.
    pub(crate) fn takes(&self) -> (Budget, Budget) {
        let (_, bytes) = ceilings(self.heartbeat, self.rates);
        (self.rates.messages, bytes)
    }

    /// The connected peers.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// Counts a replay that `peer` sent of its own; whether it is to be held against it.
    pub(crate) fn persistent_replay(&mut self, peer: &PeerId) -> bool {
        self.peers.get_mut(peer).is_some_and(|peer| {
            peer.replays = (peer.replays + 1) % REPLAYS_FORGIVEN;
            peer.replays == 0
        })
    }

    /// Takes what passes without asking.
    pub(crate) fn charge(&mut self, data: usize, now: Instant) {
        self.messages.charge(1, now);
        self.bytes.charge(data as u64 + AROUND, now);
    }

    /// Returns what a message costs: a token of the peer's own bucket when it is the
    /// author; otherwise it is taken of what the peer may bring.
    fn charge_for(&mut self, peer: &PeerId, own: bool, now: Instant, trusted: bool) -> Charge {
        if own {
            return Charge::Message;
        }
        let brings = self.brings;
        let Some(entry) = self.peers.get_mut(peer) else {
            return Charge::Nothing;
        };
        if entry.brought.take(1, brings, now) || trusted {
            return Charge::Nothing;
        }
        let gross = !entry.excess.take(1, brings, now) && entry.reports(now);
        if gross {
            entry.excess = Bucket::full(brings, now);
        }
        Charge::Excess { gross }
    }

    /// Returns what a message costs that its codec found valid, and whether it ends here.
    /// Whatever it costs is to be taken. If it does not end here and is paid for,
    /// [`Quotas::admit`] says whether it goes on.
    pub(crate) fn ask(
        &mut self,
        peer: &PeerId,
        message: &RawMessage,
        now: Instant,
        trusted: bool,
    ) -> Asked {
        let own = message.source.as_ref() == Some(peer);
        // A message that nobody asked for is charged like any other, since it was read
        // and verified.
        if !self.joined.contains(&message.topic) {
            return Asked {
                charge: self.charge_for(peer, own, now, trusted),
                dropped: Some(Dropped::UnknownTopic),
            };
        }
        if Id::of(message).is_some_and(|id| self.seen.contains(&id)) {
            let pays = self.peers.get_mut(peer).is_some_and(|peer| {
                peer.copies = (peer.copies + 1) % COPIES_A_TOKEN;
                peer.copies == 0
            });
            let charge = match pays {
                true => self.charge_for(peer, own, now, trusted),
                false => Charge::Nothing,
            };
            return Asked {
                charge,
                dropped: Some(Dropped::Copy),
            };
        }
        Asked {
            charge: self.charge_for(peer, own, now, trusted),
            dropped: None,
        }
    }

    /// Returns whether a message that is paid for goes on to gossipsub.
    pub(crate) fn admit(
        &mut self,
        peer: &PeerId,
        message: &RawMessage,
        now: Instant,
        trusted: bool,
    ) -> Result<(), Dropped> {
        if trusted {
            self.charge(message.data.len(), now);
            return Ok(());
        }
        let author = message.source.as_ref().filter(|author| *author != peer);
        if author.is_some_and(|author| !self.authors.may_speak(author, now)) {
            return Err(Dropped::Author);
        }
        let bytes = message.data.len() as u64 + AROUND;
        if !self.messages.fits(peer, 1, now) || !self.bytes.fits(peer, bytes, now) {
            return Err(Dropped::Ceiling);
        }
        self.messages.take(peer, 1);
        self.bytes.take(peer, bytes);
        Ok(())
    }

    /// Whether control messages or subscriptions of this weight go on; and whether it
    /// is time to report their peer.
    pub(crate) fn admit_control(
        &mut self,
        peer: &PeerId,
        weight: u64,
        now: Instant,
        trusted: bool,
    ) -> (bool, bool) {
        let Some(peer) = self.peers.get_mut(peer) else {
            return (true, false);
        };
        if trusted || peer.control.take(weight, CONTROL, now) {
            return (true, false);
        }
        (false, peer.reports(now))
    }
}

/// What `count` subscriptions of so many bytes together weigh: their bytes, and what each
/// costs beside them. Each that changes something is an event for the event loop, however
/// short its topic is.
pub(crate) fn subscriptions_weight(bytes: u64, count: usize) -> u64 {
    bytes.saturating_add(SUBSCRIPTION.saturating_mul(count as u64))
}

#[cfg(test)]
mod tests {
    use libp2p::gossipsub::IdentTopic;

    use super::*;
    use crate::gossip::topics::{MAX_TOPIC_BYTES, MAX_TOPICS};
    use crate::peers::{Conduct, Policy};
    use crate::system::moment::Moment;

    const HEARTBEAT: Duration = Duration::from_secs(1);

    struct Bench {
        quotas: Quotas,
        policy: Policy,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            let policy = Policy::default();
            let mut quotas = Quotas::new(HEARTBEAT, policy.rates(), now);
            quotas.joined.insert(topic("joined"));
            Bench {
                quotas,
                policy,
                now,
            }
        }

        fn connect(&mut self) -> PeerId {
            let peer = PeerId::random();
            self.quotas.enter(peer, 1.0, self.now);
            peer
        }

        fn admit(&mut self, peer: &PeerId, message: &RawMessage) -> Result<(), Dropped> {
            let (policy, now) = (&self.policy, self.now);
            let trusted = policy.is_trusted(peer);
            let Asked { charge, dropped } = self.quotas.ask(peer, message, now, trusted);
            let paid = match charge {
                Charge::Nothing => true,
                Charge::Message => policy.allow(peer, 1, self.moment()).is_ok(),
                Charge::Excess { gross } => {
                    if gross {
                        policy.report(peer, Conduct::OverBudget, self.moment());
                    }
                    true
                }
            };
            match dropped {
                Some(cause) => Err(cause),
                None if !paid => Err(Dropped::OverBudget),
                None => self.quotas.admit(peer, message, now, trusted),
            }
        }

        fn moment(&self) -> Moment {
            Moment {
                mono: self.now,
                wall: std::time::UNIX_EPOCH,
            }
        }

        /// Tokens left.
        fn tokens(&self, peer: &PeerId) -> u32 {
            (0..1000)
                .take_while(|_| self.policy.allow(peer, 1, self.moment()).is_ok())
                .count() as u32
        }
    }

    fn topic(name: &str) -> TopicHash {
        IdentTopic::new(name).hash()
    }

    fn message(name: &str, publisher: PeerId, seqno: u64, bytes: usize) -> RawMessage {
        RawMessage {
            source: Some(publisher),
            data: vec![0; bytes],
            sequence_number: Some(seqno),
            topic: topic(name),
            signature: None,
            key: None,
            validated: false,
        }
    }

    #[test]
    fn a_peer_over_its_budget_is_dropped_and_others_are_not() {
        let mut bench = Bench::new();
        let (flooder, honest) = (bench.connect(), bench.connect());
        let passed = (0..2000)
            .filter(|n| {
                let random = message("joined", flooder, n * 7919, 10);
                bench.admit(&flooder, &random).is_ok()
            })
            .count();
        assert_eq!(passed, 200, "the burst");
        let last = message("joined", flooder, 1, 10);
        assert_eq!(bench.admit(&flooder, &last), Err(Dropped::OverBudget));
        let other = message("joined", honest, 1, 10);
        assert_eq!(bench.admit(&honest, &other), Ok(()));
        // Nor does the flooder's message count as known: another may bring it,
        // and is not charged for what it did not write.
        assert_eq!(bench.admit(&honest, &last), Ok(()));
    }

    #[test]
    fn a_topic_that_is_not_joined_is_dropped_and_charged() {
        let mut bench = Bench::new();
        let peer = bench.connect();
        for n in 0..150 {
            let strange = message("strange", peer, n, 10);
            assert_eq!(bench.admit(&peer, &strange), Err(Dropped::UnknownTopic));
        }
        assert_eq!(bench.tokens(&peer), 50);
    }

    #[test]
    fn copies_of_what_is_settled_end_here_at_an_eighth_of_the_price() {
        let mut bench = Bench::new();
        let peer = bench.connect();
        let publisher = peer;
        bench.quotas.seen.insert(&Id(&publisher, 5));
        let copy = message("joined", publisher, 5, 10);
        for _ in 0..800 {
            assert_eq!(bench.admit(&peer, &copy), Err(Dropped::Copy));
        }
        assert_eq!(bench.tokens(&peer), 100);
        let next = message("joined", publisher, 6, 10);
        assert_ne!(bench.admit(&peer, &next), Err(Dropped::Copy));
    }

    #[test]
    fn all_peers_together_cannot_exceed_the_ceilings_and_trusted_ones_pass() {
        let mut bench = Bench::new();
        let mut passed = 0;
        for n in 0..40 {
            let peer = bench.connect();
            for seqno in 0..100 {
                let new = message("joined", peer, n * 1000 + seqno, 10);
                passed += usize::from(bench.admit(&peer, &new).is_ok());
            }
        }
        // The burst, but for the quarter that strangers leave and what they save.
        assert!((1300..=2000).contains(&passed), "{passed}");
        let friend = bench.connect();
        let reloaded = crate::peers::Settings {
            rates: bench.policy.rates(),
            trusted: vec![friend],
            ..Default::default()
        };
        bench.policy.write(|peers| peers.adjust(reloaded, &[]));
        for n in 0..100 {
            let new = message("joined", friend, n, 10);
            assert_eq!(bench.admit(&friend, &new), Ok(()));
        }
        // And in bytes.
        let mut bench = Bench::new();
        let mut bytes = 0;
        for _ in 0..200 {
            let peer = bench.connect();
            let large = message("joined", peer, 1, 1 << 20);
            match bench.admit(&peer, &large) {
                Ok(()) => bytes += 1 << 20,
                Err(cause) => assert_eq!(cause, Dropped::Ceiling),
            }
        }
        assert!((2 << 20..=6 << 20).contains(&bytes), "{bytes}");
        // As much as a neighbour reads of what is passed on.
        assert!(bytes <= bench.policy.rates().bytes.burst);
    }

    #[test]
    fn a_peer_that_brings_what_others_say_within_their_budgets_loses_nothing() {
        // Fifty publishers at five a second, for a minute, all through one peer.
        let mut bench = Bench::new();
        let forwarder = bench.connect();
        let publishers: Vec<PeerId> = (0..50).map(|_| PeerId::random()).collect();
        for n in 0..15_000 {
            bench.now += Duration::from_millis(4);
            let publisher = publishers[n as usize % 50];
            let new = message("joined", publisher, n, 300);
            assert_eq!(bench.admit(&forwarder, &new), Ok(()), "the {n}th");
            bench.quotas.seen.insert(&Id(&publisher, n));
            bench.quotas.authors.spoke(&publisher, bench.now);
            // And a copy of each, at a time.
            assert_eq!(bench.admit(&forwarder, &new), Err(Dropped::Copy));
        }
        assert_eq!(bench.policy.score_of(&forwarder, bench.now), 0.0);
        assert_eq!(bench.tokens(&forwarder), 200, "its own bucket is untouched");
    }

    #[test]
    fn a_neighbour_in_a_flood_is_dropped_from_and_not_blamed_and_a_gross_one_is() {
        let brought = |a_second: u64, seconds: u64| {
            let mut bench = Bench::new();
            let peer = bench.connect();
            let mut dropped = 0;
            for n in 0..a_second * seconds {
                bench.now += Duration::from_secs(1) / a_second as u32;
                let new = message("joined", PeerId::random(), n, 10);
                dropped += usize::from(bench.admit(&peer, &new).is_err());
            }
            (dropped, bench.policy.score_of(&peer, bench.now))
        };
        // All that a node at its ceiling passes on, and half as much again.
        assert_eq!(brought(1000, 20), (0, 0.0));
        let (dropped, reputation) = brought(1500, 20);
        assert!(dropped > 5000, "{dropped}");
        assert_eq!(reputation, 0.0);
        let (_, reputation) = brought(4000, 20);
        assert!(reputation < -8.0, "{reputation}");
    }

    #[test]
    fn an_author_cannot_say_more_through_many_than_it_may_itself() {
        let mut bench = Bench::new();
        let author = PeerId::random();
        let mut passed = 0;
        for n in 0..20 {
            let forwarder = bench.connect();
            for m in 0..50 {
                let new = message("joined", author, n * 50 + m, 10);
                match bench.admit(&forwarder, &new) {
                    Ok(()) => {
                        bench.quotas.authors.spoke(&author, bench.now);
                        passed += 1;
                    }
                    Err(cause) => assert_eq!(cause, Dropped::Author),
                }
            }
        }
        assert_eq!(passed, 200);
    }

    #[test]
    fn subscriptions_are_charged_and_the_hello_of_a_peer_on_many_topics_passes() {
        let mut bench = Bench::new();
        let (peer, now) = (bench.connect(), bench.now);
        let mut passes = |topics: usize, bytes: usize| {
            // What gossipsub keeps of a subscription beside the name is smaller than this.
            let weight = subscriptions_weight((topics * (bytes + 25) + 8) as u64, topics);
            bench.quotas.admit_control(&peer, weight, now, false).0
        };
        // It is said again when one of several connections has ended.
        for _ in 0..3 {
            assert!(passes(MAX_TOPICS, MAX_TOPIC_BYTES));
        }
        let passed = (0..1000).take_while(|_| passes(MAX_TOPICS, 1)).count();
        assert!(passed < 4, "{passed}");
    }

    #[test]
    fn control_messages_have_a_budget_of_their_own_and_are_reported_once_a_second() {
        let mut bench = Bench::new();
        let peer = bench.connect();
        // A list of 5000 ids, with the length of each.
        let list = 5000 * (46 + 8) + 8;
        let t = bench.now;
        let admitted = (0..100)
            .filter(|_| bench.quotas.admit_control(&peer, list, t, false).0)
            .count();
        assert_eq!(admitted as u64, CONTROL.burst / list);
        let later = t + REPORT_EVERY / 2;
        assert!(!bench.quotas.admit_control(&peer, list, later, false).1);
        let later = t + REPORT_EVERY;
        assert_eq!(
            bench
                .quotas
                .admit_control(&peer, CONTROL.burst, later, false),
            (false, true)
        );
        // Messages are another matter.
        let new = message("joined", peer, 1, 10);
        assert_eq!(bench.admit(&peer, &new), Ok(()));
        assert!(bench.quotas.admit_control(&peer, CONTROL.burst, t, true).0);
    }
}
