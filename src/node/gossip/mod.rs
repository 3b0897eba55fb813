//! Gossip: how gossipsub is set up, what it takes in, and who judges it.
//!
//! The way of a message that a peer sends:
//!
//! 1. gossipsub's codec, on the connection's own task: size, publisher's
//!    signature (StrictSign), form of the sequence number.
//! 2. [`intake`], in the event loop, before gossipsub keeps anything of it: the
//!    topic must be joined here, the peer's token bucket and the node's ceilings
//!    must allow it, and a copy of what is settled ends here.
//! 3. gossipsub: scores, duplicates, and the wait for a verdict. Nothing is
//!    forwarded before.
//! 4. The verdict. On a plain topic, of whatever application, it is at once
//!    "accept": what came this far is a valid libp2p message, and its sequence
//!    number may be random. On an envelope topic (`/<P2P_NETWORK>/…`) it is for
//!    the workers of [`validation`].
//! 5. Accepted: forwarded to the mesh at once, and given to the subscribers on this
//!    host when it is written down that it was seen ([`recording`]).
//!
//! What this host publishes waits for a peer that hears it ([`unheard`]), for its turn
//! ([`mod@line`]) and for the pace at which receivers take it ([`pace`]), is then sealed on
//! a topic of this network ([`sealing`]), and goes to every subscribed peer and to the
//! subscribers on this host; the answer says to how many.
//!
//! | file | noun |
//! |---|---|
//! | [`envelope`] | which topics are this network's own, and what a refusal there means |
//! | [`signed`] | what makes, opens and remembers signed messages |
//! | [`scoring`] | the parameters of peer scoring, each with its reason |
//! | [`intake`] | what is let in to gossipsub |
//! | [`quotas`] | what one peer and all together may bring |
//! | [`dropped`] | where gossip ends that does not go on |
//! | [`authors`] | what authors say through others |
//! | [`ceiling`] | the node's ceiling, and how those who send share it |
//! | [`seen`] | messages whose verdict stands |
//! | [`validation`] | workers that open envelopes |
//! | [`recording`] | accepted messages that wait for the disk |
//! | [`pace`] | how fast this host publishes |
//! | [`unheard`] | messages of this host that nobody would hear yet |
//! | [`mod@line`] | messages of this host that wait for the pace |
//! | [`sealing`] | numbers and signatures for this host's messages, in the order of their turns |
//! | [`sender`] | which connection of a peer carries what it is sent |

mod authors;
mod ceiling;
mod dropped;
pub(super) mod envelope;
mod intake;
pub(super) mod line;
pub(super) mod pace;
mod quotas;
pub(super) mod recording;
pub(super) mod scoring;
pub(super) mod sealing;
mod seen;
mod sender;
pub mod signed;
pub(super) mod unheard;
pub(super) mod validation;

use std::time::Duration;

use libp2p::gossipsub::{self, MaxCountSubscriptionFilter, TopicSubscriptionFilter};
use libp2p::identity::Keypair;

pub(crate) use dropped::DROPPED as GOSSIP_DROPPED;
pub(super) use dropped::Dropped;
pub use envelope::Messages;
pub(super) use intake::Intake;
pub(super) use quotas::AROUND;

use super::behaviour::BuildError;
use super::options::Options;
use super::quiet::Quiet;
use super::topics::{MAX_TOPIC_BYTES, MAX_TOPICS};

/// Largest frame of gossip taken: 1 MiB, as go-libp2p's pubsub has it, so that the
/// two accept each other's messages, and what is around the message.
///
/// A longer one is refused when more than this has come of it. That costs its
/// sender the stream, and gossipsub takes five streams of a connection and no
/// more; reputation it cannot cost, for gossipsub's handler tells nobody of it.
pub(crate) const MAX_GOSSIP_BYTES: usize = (1 << 20) + (64 << 10);

/// Most bytes of one published message: a frame of 1 MiB without what is around
/// the message (names, key and signature, some 2 KiB at most), and without one
/// read of the frame that follows: rust peers count that in (libp2p-gossipsub
/// 0.50) and drop the stream.
pub(crate) const MAX_PUBLISH_BYTES: usize = (1 << 20) - (16 << 10);

/// Topics that one peer may say it subscribes to. As many as this node may join
/// itself: at [`MAX_TOPIC_BYTES`] a name, a peer costs 256 KiB at the very most.
const MAX_TOPICS_OF_PEER: usize = MAX_TOPICS;

/// Heartbeats for which gossipsub keeps messages for those who ask for them, its
/// default; three of them it announces.
const HISTORY: usize = 5;

/// How long the id of a message is remembered: two minutes, as go and js do. A
/// message that is still under way after that is one that somebody replays.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Ids in one list of announced or wanted messages. A list takes some 50 bytes
/// an id, and other rust nodes refuse control messages over 16 KiB; and what one
/// answer brings (this many messages) fits the burst that a peer may send
/// (P2P_RATE_BURST).
const MAX_IDS: usize = 128;

/// Messages in one frame; they are verified in one go, 60 microseconds each, on a
/// thread that others wait for. Above [`MAX_IDS`] and the default burst.
const MAX_MESSAGES_A_FRAME: usize = 500;

/// Bytes of control messages and subscriptions in one frame: the hello of a node
/// that has joined as many topics as it may, with the longest names.
const MAX_CONTROL_BYTES: usize = MAX_TOPICS * (MAX_TOPIC_BYTES + 16);

/// Messages that wait for one peer: half a second of all that this node may pass
/// on. Each may be a MiB, so a longer queue would let a peer that never reads hold
/// gigabytes.
const QUEUE: usize = 512;

/// How long a message waits for a peer that does not take it, be it published here
/// or passed on: gossipsub's default for what is published. Its one second for what
/// is passed on loses, at a hub whose processor is busy, what is within every budget.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gossipsub as wrapped here.
type Gossipsub = Quiet<
    gossipsub::Behaviour<gossipsub::IdentityTransform, MaxCountSubscriptionFilter<ShortNames>>,
>;

/// Takes subscriptions to topics whose names are no longer than
/// [`MAX_TOPIC_BYTES`]: gossipsub keeps the name of every topic that a peer says
/// it subscribes to, whether this node knows the topic or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortNames;

impl TopicSubscriptionFilter for ShortNames {
    fn can_subscribe(&mut self, topic: &gossipsub::TopicHash) -> bool {
        topic.as_str().len() <= MAX_TOPIC_BYTES
    }
}

/// Bounds of the mesh around its degree D, in the proportions of the gossipsub
/// specification (6, 5 to 12): a quarter fewer before grafting, half more before
/// pruning, and at least two outbound peers so that inbound strangers alone
/// cannot make up a mesh.
pub(super) fn mesh_bounds(d: usize) -> (usize, usize, usize) {
    let low = (d * 3 / 4).max(1);
    let high = (d * 3).div_ceil(2).max(d + 1);
    let outbound_min = 2.min(d / 2).min(low.saturating_sub(1));
    (low, high, outbound_min)
}

/// Gossipsub set up after `options`, without its wrapping.
fn gossipsub(identity: &Keypair, options: &Options) -> Result<Gossipsub, BuildError> {
    let (low, high, outbound_min) = mesh_bounds(options.gossip_d);
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(options.gossip_heartbeat)
        .mesh_n(options.gossip_d)
        .mesh_n_low(low)
        .mesh_n_high(high)
        .mesh_outbound_min(outbound_min)
        // When a mesh is too large, those who have been in it longest stay, but for
        // a quarter that is left to chance: many who come at once do not push out
        // who was there.
        .retain_scores(low)
        .max_transmit_size(MAX_GOSSIP_BYTES)
        .validation_mode(gossipsub::ValidationMode::Strict)
        // Nothing is forwarded before its verdict.
        .validate_messages()
        // Our own messages come back after a restart, from peers that still
        // announce them; gossipsub would call those peers liars. They are ignored
        // by their verdict instead.
        .allow_self_origin(true)
        .history_length(HISTORY)
        .history_gossip(3)
        .duplicate_cache_time(REMEMBERED)
        .max_control_messages_sent(MAX_IDS)
        // Lists taken from a peer in one heartbeat: one a topic is usual.
        .max_ihave_messages_heartbeat(10)
        .max_publish_messages(MAX_MESSAGES_A_FRAME)
        .max_control_message_size(MAX_CONTROL_BYTES)
        .connection_handler_queue_len(QUEUE)
        .publish_queue_duration(PATIENCE)
        .forward_queue_duration(PATIENCE)
        // What this host publishes goes to every subscribed peer, not only to the
        // mesh: who has surrounded this node in a mesh cannot silence it.
        .flood_publish(true)
        // Peers are told "I have it" about what is larger than a packet.
        .idontwant_message_size_threshold(1000)
        // Author and sequence number, as go and js have it: the same message has
        // the same id everywhere.
        .message_id_fn(|m| {
            let mut id = m.source.map(|p| p.to_bytes()).unwrap_or_default();
            id.extend_from_slice(&m.sequence_number.unwrap_or_default().to_be_bytes());
            gossipsub::MessageId::from(id)
        })
        .build()
        .map_err(|e| BuildError {
            what: "gossip (P2P_GOSSIP_D, P2P_GOSSIP_HEARTBEAT)",
            reason: e.to_string(),
        })?;
    let failed = |reason: String| BuildError {
        what: "gossip",
        reason,
    };
    let mut behaviour = gossipsub::Behaviour::new_with_subscription_filter(
        gossipsub::MessageAuthenticity::Signed(identity.clone()),
        config,
        MaxCountSubscriptionFilter {
            filter: ShortNames,
            max_subscribed_topics: MAX_TOPICS_OF_PEER,
            // One message may leave all of its topics and join as many others.
            max_subscriptions_per_request: 2 * MAX_TOPICS_OF_PEER,
        },
    )
    .map_err(|reason| failed(reason.to_string()))?;
    behaviour
        .with_peer_score(scoring::peer(), scoring::thresholds())
        .map_err(failed)?;
    Ok(Quiet(behaviour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mesh_degree_that_config_accepts_gives_bounds_that_gossipsub_accepts() {
        let identity = Keypair::generate_ed25519();
        for d in 1..=64 {
            let options = Options {
                gossip_d: d,
                ..Options::default()
            };
            assert!(
                gossipsub(&identity, &options).is_ok(),
                "D = {d}: {:?}",
                mesh_bounds(d)
            );
        }
        assert_eq!(mesh_bounds(8), (6, 12, 2));
    }
}
