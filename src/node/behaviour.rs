//! The protocols that the node speaks, composed into one libp2p behaviour.

use std::time::Duration;

use libp2p::gossipsub::{MaxCountSubscriptionFilter, TopicSubscriptionFilter};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, autonat, dcutr, gossipsub, identify, kad, ping, relay};

use super::address_book;
use super::candidates;
use super::options::{AGENT, DhtMode, Options};
use super::quiet::Quiet;
use super::records::Records;
use super::streams;
use super::topics::MAX_TOPIC_BYTES;
use crate::admission::ban_gate;
use crate::admission::behaviour as gate;
use crate::observe::metrics::Metrics;

/// Largest gossip message: 1 MiB, as go-libp2p's pubsub has it, so that the two
/// accept each other's messages.
pub(super) const MAX_GOSSIP_BYTES: usize = 1 << 20;

/// A Kademlia query that has not ended by then gives what it has.
const KAD_QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Topics that one peer may say it subscribes to. As many as this node may join
/// itself: at [`MAX_TOPIC_BYTES`] a name, a peer costs 256 KiB at the very most.
const MAX_TOPICS_OF_PEER: usize = super::topics::MAX_TOPICS;

/// How often an address that nobody tested yet is given to an autonat server to
/// dial back. Until one is confirmed the node is only a client of the DHT.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Why the node's protocols could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up {what}: {reason}")]
pub struct BuildError {
    /// The protocol or option.
    pub what: &'static str,
    /// Why.
    pub reason: String,
}

/// Gossipsub with bounds on what a peer may subscribe to.
pub(super) type Gossip = Quiet<
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

/// All protocols of the node. Order matters for refusals: the gate stands first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) gate: gate::Behaviour,
    pub(super) ban_gate: ban_gate::Behaviour,
    pub(super) book: address_book::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) kad: kad::Behaviour<Records>,
    pub(super) gossip: Gossip,
    pub(super) streams: streams::Behaviour,
    pub(super) relay_client: relay::client::Behaviour,
    pub(super) dcutr: dcutr::Behaviour,
    pub(super) autonat_client: candidates::Behaviour,
    pub(super) relay_server: Toggle<relay::Behaviour>,
    pub(super) autonat_server: Toggle<autonat::v2::server::Behaviour>,
}

impl Behaviour {
    /// Composes the protocols after `options`.
    ///
    /// # Errors
    /// When an option is out of what a protocol accepts.
    pub(super) fn new(
        identity: &Keypair,
        relay_client: relay::client::Behaviour,
        options: &Options,
        gate: gate::Behaviour,
        metrics: &Metrics,
        bandwidth: super::bandwidth::Bandwidth,
    ) -> Result<Self, BuildError> {
        let local = identity.public().to_peer_id();
        Ok(Behaviour {
            gate,
            ban_gate: ban_gate::Behaviour::new(options.admission.clone()),
            book: address_book::Behaviour::new(),
            identify: identify::Behaviour::new(
                // Without a signed peer record: libp2p 0.57 signs it under a domain
                // of its own that other implementations reject, and identify has
                // no way to choose the standard one.
                identify::Config::new(format!("{}/1.0.0", options.network), identity.public())
                    .with_agent_version(AGENT.into())
                    .with_push_listen_addr_updates(true)
                    // The address book holds what identify tells, filtered and bounded.
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(options.ping_interval)
                    .with_timeout(options.ping_timeout),
            ),
            kad: kad(local, options)?,
            gossip: gossip(identity, options)?,
            streams: streams::Behaviour::new(
                options.max_outbound_streams,
                metrics.streams_refused.clone(),
                streams::Terms {
                    bandwidth,
                    idle: streams::Idle::new(
                        options.stream_idle_timeout,
                        metrics.streams_idle_closed.clone(),
                    ),
                },
            ),
            relay_client,
            dcutr: dcutr::Behaviour::new(local),
            autonat_client: candidates::Behaviour::new(autonat::v2::client::Behaviour::new(
                rand::make_rng::<rand::rngs::StdRng>(),
                autonat::v2::client::Config::default().with_probe_interval(PROBE_INTERVAL),
            )),
            relay_server: options
                .relay_server
                .then(|| relay::Behaviour::new(local, relay::Config::default()))
                .into(),
            autonat_server: options
                .autonat_server
                .then(autonat::v2::server::Behaviour::default)
                .into(),
        })
    }
}

fn kad(local: libp2p::PeerId, options: &Options) -> Result<kad::Behaviour<Records>, BuildError> {
    let protocol =
        StreamProtocol::try_from_owned(options.kad_protocol.clone()).map_err(|e| BuildError {
            what: "the DHT (P2P_KAD_PROTOCOL)",
            reason: e.to_string(),
        })?;
    let mut config = kad::Config::new(protocol);
    config.set_query_timeout(KAD_QUERY_TIMEOUT);
    // Records of others come to the event loop, which completes and stores them.
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    // Who provides decides how long: content is announced again by the room that
    // knows whether it is still here.
    config.set_provider_publication_interval(None);
    let mut behaviour =
        kad::Behaviour::with_config(local, Records::new(local, options.dht_max_records), config);
    behaviour.set_mode(match options.dht_mode {
        DhtMode::Auto => None,
        DhtMode::Server => Some(kad::Mode::Server),
        DhtMode::Client => Some(kad::Mode::Client),
    });
    Ok(behaviour)
}

/// Bounds of the mesh around its degree D, in the proportions of the gossipsub
/// specification (6, 5 to 12): a quarter fewer before grafting, half more before
/// pruning, and at least two outbound peers so that inbound strangers alone
/// cannot make up a mesh.
fn mesh_bounds(d: usize) -> (usize, usize, usize) {
    let low = (d * 3 / 4).max(1);
    let high = (d * 3).div_ceil(2).max(d + 1);
    let outbound_min = 2.min(d / 2).min(low.saturating_sub(1));
    (low, high, outbound_min)
}

fn gossip(identity: &Keypair, options: &Options) -> Result<Gossip, BuildError> {
    let (low, high, outbound_min) = mesh_bounds(options.gossip_d);
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(options.gossip_heartbeat)
        .mesh_n(options.gossip_d)
        .mesh_n_low(low)
        .mesh_n_high(high)
        .mesh_outbound_min(outbound_min)
        .max_transmit_size(MAX_GOSSIP_BYTES)
        .validation_mode(gossipsub::ValidationMode::Strict)
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
    gossipsub::Behaviour::new_with_subscription_filter(
        gossipsub::MessageAuthenticity::Signed(identity.clone()),
        config,
        MaxCountSubscriptionFilter {
            filter: ShortNames,
            max_subscribed_topics: MAX_TOPICS_OF_PEER,
            // One message may leave all of its topics and join as many others.
            max_subscriptions_per_request: 2 * MAX_TOPICS_OF_PEER,
        },
    )
    .map(Quiet)
    .map_err(|reason| BuildError {
        what: "gossip",
        reason: reason.to_string(),
    })
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
                gossip(&identity, &options).is_ok(),
                "D = {d}: {:?}",
                mesh_bounds(d)
            );
        }
        assert_eq!(mesh_bounds(8), (6, 12, 2));
    }
}
