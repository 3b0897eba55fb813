//! The protocols that the node speaks, composed into one libp2p behaviour.

use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, autonat, dcutr, identify, kad, ping, relay};

use super::address_book;
use super::candidates;
use super::compat::swarm_pauses;
use super::dht_intake::DhtIntake;
use super::gossip::Intake;
use super::keep;
use super::options::{AGENT, DhtMode, Options};
use super::peers::behaviour as gate;
use super::probe;
use super::streams;
use crate::dht::records::Records;
use crate::node::Metrics;

/// A Kademlia query that has not ended by then gives what it has.
const KAD_QUERY_TIMEOUT: Duration = Duration::from_secs(60);

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

/// All protocols of the node. Order matters for refusals: the gate stands first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    /// It refuses nothing, and is asked before the others whether they go on.
    pub(super) pauses: swarm_pauses::Behaviour,
    pub(super) gate: gate::Behaviour,
    pub(super) book: address_book::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) probe: probe::Behaviour,
    pub(super) keep: keep::Behaviour,
    pub(super) kad: DhtIntake,
    pub(super) gossip: Intake,
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
        metrics: &Arc<Metrics>,
        terms: streams::Terms,
    ) -> Result<Self, BuildError> {
        let local = identity.public().to_peer_id();
        Ok(Behaviour {
            pauses: swarm_pauses::Behaviour,
            gate,
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
            probe: probe::Behaviour::new(options.policy.clone()),
            keep: keep::Behaviour::new(
                local,
                protocol(
                    format!("/{}/keep/1.0.0", options.network),
                    "kept connections (P2P_NETWORK)",
                )?,
                options.limits.total,
                options.welcome(),
            ),
            kad: DhtIntake::new(local, kad(local, options)?, options.policy.clone()),
            gossip: Intake::new(identity, options, options.policy.clone(), metrics.clone())?,
            streams: streams::Behaviour::new(
                options.max_outbound_streams,
                metrics
                    .traffic
                    .streams_refused
                    .with_label_values(&["queue_full"]),
                terms,
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

fn protocol(name: String, what: &'static str) -> Result<StreamProtocol, BuildError> {
    StreamProtocol::try_from_owned(name).map_err(|e| BuildError {
        what,
        reason: e.to_string(),
    })
}

fn kad(local: libp2p::PeerId, options: &Options) -> Result<kad::Behaviour<Records>, BuildError> {
    let name = options.kad_protocol.clone();
    let mut config = kad::Config::new(protocol(name, "the DHT (P2P_KAD_PROTOCOL)")?);
    config.set_query_timeout(KAD_QUERY_TIMEOUT);
    // Records of others come to the event loop, which completes and stores them.
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    // Who gets a place in the routing table is decided in `dht/table`.
    config.set_kbucket_inserts(kad::BucketInserts::Manual);
    // A look-up takes several ways that share no peer, so that one peer which names only
    // its own does not decide where it ends.
    config.disjoint_query_paths(true);
    // Who provides decides how long: content is announced again by the room that
    // knows whether it is still here.
    config.set_provider_publication_interval(None);
    // The node knows when its table needs it: see `dht/refresh`.
    config.set_periodic_bootstrap_interval(None);
    let mut behaviour =
        kad::Behaviour::with_config(local, Records::new(local, options.dht_max_records), config);
    behaviour.set_mode(match options.dht_mode {
        DhtMode::Auto => None,
        DhtMode::Server => Some(kad::Mode::Server),
        DhtMode::Client => Some(kad::Mode::Client),
    });
    Ok(behaviour)
}
