//! How gossipsub is set up, each bound with its reason.

use std::time::Duration;

use libp2p::gossipsub::{self, MaxCountSubscriptionFilter, TopicSubscriptionFilter};
use libp2p::identity::Keypair;

use crate::gossip::topics::{MAX_TOPIC_BYTES, MAX_TOPICS};
use crate::gossip::{HISTORY, MAX_GOSSIP_BYTES, MAX_IDS, QUEUE, mesh_bounds, scoring};
use crate::node::behaviour::BuildError;
use crate::node::compat::no_keep_alive::NoKeepAlive;
use crate::node::options::Options;

/// Topics that one peer may say it subscribes to. As many as this node may join
/// itself: at [`MAX_TOPIC_BYTES`] a name, a peer costs 256 KiB at the very most.
const MAX_TOPICS_OF_PEER: usize = MAX_TOPICS;

/// How long the id of a message is remembered: two minutes, as go and js do. A
/// message that is still under way after that is one that somebody replays.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Messages in one frame; they are verified in one go, 60 microseconds each, on a
/// thread that others wait for. Above [`MAX_IDS`] and the default burst.
const MAX_MESSAGES_A_FRAME: usize = 500;

/// Bytes of control messages and subscriptions in one frame: the hello of a node
/// that has joined as many topics as it may, with the longest names.
const MAX_CONTROL_BYTES: usize = MAX_TOPICS * (MAX_TOPIC_BYTES + 16);

/// How long a message waits for a peer that does not take it, be it published here
/// or passed on: gossipsub's default for what is published. Its one second for what
/// is passed on loses, at a hub whose processor is busy, what is within every budget.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gossipsub as wrapped here.
pub(in crate::node) type Gossipsub = NoKeepAlive<
    gossipsub::Behaviour<gossipsub::IdentityTransform, MaxCountSubscriptionFilter<ShortNames>>,
>;

/// Takes subscriptions to topics whose names are no longer than
/// [`MAX_TOPIC_BYTES`]: gossipsub keeps the name of every topic that a peer says
/// it subscribes to, whether this node knows the topic or not.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct ShortNames;

impl TopicSubscriptionFilter for ShortNames {
    fn can_subscribe(&mut self, topic: &gossipsub::TopicHash) -> bool {
        topic.as_str().len() <= MAX_TOPIC_BYTES
    }
}

/// Gossipsub set up after `options`, without its wrapping.
pub(super) fn gossipsub(identity: &Keypair, options: &Options) -> Result<Gossipsub, BuildError> {
    let (low, high, outbound_min) = mesh_bounds(options.gossip_d);
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(options.gossip_heartbeat)
        .mesh_n(options.gossip_d)
        .mesh_n_low(low)
        .mesh_n_high(high)
        .mesh_outbound_min(outbound_min)
        // When a mesh is too large, the peers that have been in it longest stay, but for
        // a quarter that is left to chance: many that come at once do not push out
        // those that were there.
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
        // mesh: peers that surround this node in a mesh cannot silence it.
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
    Ok(NoKeepAlive(behaviour))
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
