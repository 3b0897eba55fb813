//! The node: owner of the swarm.
//!
//! One task (the event loop) owns the libp2p `Swarm`; everyone else holds a
//! cloneable [`Handle`], which sends bounded commands to that task and gets one
//! reply for each, or a bounded stream of replies.
//!
//! | file | noun |
//! |---|---|
//! | [`handle`] | what the rest of the program can ask of the node |
//! | [`identity`] | the key that makes the peer id |
//! | [`options`] | what the node is told when it starts |
//! | [`pulse`] | proof that the loop turns |
//! | [`ContentNetwork`] | the network as the block exchange sees it |
//! | [`streams`] | streams opened to peers, and accepted from them |
//! | `event_loop` | the loop: commands, swarm events, housekeeping; each of its subsystems |
//! | `command`, `reply`, [`Error`] | what the handle asks of the loop, and what it answers |
//! | `effect` | what a subsystem may read, and what it asks the loop to do |
//! | `dial_error`, `key_text`, `peer_addrs` | why a dial failed and what a key is, for people to read; where a peer can be dialed |
//! | `configured` | peers that the node is told to connect to, and relays: tried again and again |
//! | `behaviour` | the protocols spoken, composed |
//! | `compat` | every trick on libp2p, each with what libp2p would have to offer instead |
//! | `probe` | older connections of a peer, asked whether they live when a new one comes |
//! | `keep` | peers whose connections are kept though nothing uses them, agreed with them |
//! | `gossip` | gossipsub: what comes in, who judges it, and what this host publishes |
//! | `obstacle` | what was in the way of a dial or of a stream |
//! | `permits` | how many dials and walks all fetches together may have under way |
//! | `dht_intake` | requests to the DHT, within the budget of who asks, and this node's own records and walks |
//! | `record_store` | the records of [`crate::dht::records`] as Kademlia asks for them |
//! | `peers` | the adapter to [`crate::peers`], which knows who is connected |
//! | `address_book` | where peers can be dialed |
//! | `candidates` | addresses of this node on their way to being tested |
//! | [`misbehaviour`] | the lines about misbehaving peers, which fail2ban reads |
//! | `metrics` | what is counted of all this |
//! | `accounting`, `bandwidth` | what every stream passes: counts, the pace of new streams, ceilings |
//!
//! # Floors
//!
//! What asks, what decides and what carries out use each other in one direction only,
//! also by way of others. `tests/floors.rs` reads this drawing.
//!
//! ```text
//! content_network  the network as the block exchange sees it
//! event_loop handle  the two ends of the queue of commands
//! command  what one asks of the other
//! gossip  which the loop runs, and whose types the handle names
//! effect  what it asks of the loop
//! reply  where the answer goes
//! error  what is answered when it cannot be done
//! ```
//!
//! # Queues
//!
//! Every queue between a socket and a disk or a program is bounded, and when it
//! is full the side that fills it waits, or something is dropped that only one peer or
//! program loses:
//!
//! | queue | holds | when it is full |
//! |---|---|---|
//! | receive windows of yamux and QUIC | 256 KiB or 2 MiB a stream, and what the measured path adds, bounded for a connection | the peer stops sending on that stream |
//! | what peers have sent over yamux, in sum ([`crate::transport::memory`]) | an eighth of P2P_MAX_MEMORY | the connection that holds the most is closed |
//! | streams to be taken, in the multiplexers | P2P_MAX_INBOUND_STREAMS | QUIC gives no credit; yamux resets, and cuts off who goes on |
//! | pace of new streams (`accounting`) | one stream | the peer's next streams wait in the multiplexer |
//! | streams of a protocol that wait for their acceptor (`streams`) | 128, one peer half of what is free | the stream is reset and counted |
//! | turns at the ceilings (`bandwidth`) | one for each direction of an open stream | - |
//! | gossip to one peer (`gossip`) | a bounded number of messages | the new message is dropped for that peer only |
//! | messages to be published (`gossip`) | 1,024 and 32 MiB, one program half of each | the message is refused |
//! | commands to the loop (`handle`) | 64 | the caller waits |
//! | asks for streams (`streams`) | 64, and 256 unanswered for a peer | the caller waits, or is refused |
//! | messages for a subscription (`gossip`) | 2,048 | the subscriber loses messages and is told how many |
//! | provider records to their receivers ([`crate::dht::placement`]) | 1,024 of up to twenty receivers | the announcement is refused, and comes again |
//! | a program's stream (`control::pipe`) | 64 KiB each way | the other side of that stream waits |
//! | blocks on their way to a peer (`block::exchange`) | three groups of 1 MiB | the store is read no further for that stream |
//! | blocks that were asked for (`block::fetch`) | what the fetch has open | no more is asked for |
//!
//! The loop takes local work before new work from remotes, never waits for a
//! disk or a client, and shows that it turns through [`pulse::Pulse`].

mod accounting;
mod address_book;
pub(crate) mod bandwidth;
mod behaviour;
mod candidates;
mod command;
mod compat;
mod configured;
mod content_network;
mod dht_intake;
mod dial_error;
mod effect;
mod error;
mod event_loop;
pub mod gossip;
pub mod handle;
pub mod identity;
mod keep;
mod key_text;
mod metrics;
pub mod misbehaviour;
mod obstacle;
pub mod options;
mod peer_addrs;
mod peers;
mod permits;
mod probe;
pub mod pulse;
mod record_store;
mod reply;
pub mod streams;

use std::sync::Arc;
use std::time::Instant;

use async_std::task::JoinHandle;
use futures::channel::oneshot;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Swarm, Transport, relay, swarm};

pub use behaviour::BuildError;
use compat::boxed_handlers::BoxedHandlers;
pub use content_network::{ContentNetwork, dht_key};
pub use error::Error;
pub use gossip::{Messages, Subscription};
pub use handle::{Handle, Placed};
pub use metrics::Metrics;
pub(crate) use metrics::REFRESH;
pub use options::{Changes, Options};
pub use peer_addrs::PeerAddrs;
pub use peers::PeerMetrics;
pub use pulse::Pulse;

use crate::gossip::NetworkTopics;
use crate::system::resources::Resources;
use crate::telemetry::coop;

/// Tells the policy of a node with these options where peers are, as far as it is known
/// before the first of them comes.
fn introduce(options: &Options) {
    let (bootstrap, relays) = (&options.bootstrap_peers, &options.relays);
    let configured = configured::addresses(bootstrap, relays, &options.peering);
    options.policy.write(|peers| {
        peers.configured(&configured);
        for known in &options.remembered_peers {
            for address in &known.addrs {
                peers.remembered_at(&known.peer, address);
            }
        }
    });
}

/// A running node. Stop it with [`Node::stop`]; dropping it stops it too, but
/// without waiting for its goodbyes.
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    pulse: Arc<Pulse>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
    messages: Messages,
}

impl Node {
    /// Starts the event loop over a transport made by [`crate::transport::build`].
    /// It listens nowhere yet: see [`Handle::listen`].
    ///
    /// # Errors
    /// When an option is out of what a protocol accepts.
    pub fn start(
        identity: &Keypair,
        transport: Boxed<(PeerId, StreamMuxerBox)>,
        relay_client: relay::client::Behaviour,
        options: Options,
        metrics: Arc<Metrics>,
    ) -> Result<Node, BuildError> {
        let local = identity.public().to_peer_id();
        introduce(&options);
        let bandwidth =
            bandwidth::Bandwidth::new(options.max_upload_rate, options.max_download_rate, &metrics);
        let accounting =
            accounting::Accounting::new(bandwidth.clone(), metrics.clone(), options.policy.clone());
        let idle = streams::Idle::new(
            options.stream_idle_timeout,
            metrics.streams_idle_closed.clone(),
        );
        let pending = compat::pending_handshakes::Pending::default();
        let resources = options.resources.clone().unwrap_or_else(|| {
            let resources = Resources::new();
            resources.watch();
            resources
        });
        let gate = peers::behaviour::Behaviour::new(
            options.policy.clone(),
            options.limits.clone(),
            resources,
            pending.clone(),
        );
        let terms = streams::Terms {
            bandwidth: bandwidth.clone(),
            idle: idle.clone(),
        };
        let behaviour =
            behaviour::Behaviour::new(identity, relay_client, &options, gate, &metrics, terms)?;
        let streams = behaviour.streams.control();
        let counted = accounting.clone();
        let transport = compat::abortable_handshakes::Transport::new(transport, pending)
            .map(move |(peer, muxer), point| (peer, counted.wrap(peer, point.is_relayed(), muxer)))
            .boxed();
        let config = swarm::Config::with_executor(|task| {
            async_std::task::spawn(coop::watch("connection", task));
        })
        .with_idle_connection_timeout(options.connection_idle_timeout)
        .with_max_negotiating_inbound_streams(options.max_inbound_streams);
        let swarm = Swarm::new(transport, BoxedHandlers(behaviour), local, config);
        let network_topics = NetworkTopics::of(&options.network);
        let messages = match &options.messages {
            Some(messages) => messages.clone(),
            None => Messages::unstored(local, metrics.clone()),
        };
        let sealer = messages.sealer(identity.clone());
        let gossip = gossip::Gossip::start(
            &options,
            &messages,
            sealer.clone(),
            &swarm.behaviour().gossip,
            metrics.clone(),
            Instant::now(),
        );
        let (commands, receiver) = async_std::channel::bounded(command::COMMAND_QUEUE);
        let (stop, stopped) = oneshot::channel();
        let (alive, ended) = oneshot::channel();
        let pulse = Arc::new(Pulse::new());
        let event_loop = event_loop::EventLoop::new(event_loop::Parts {
            swarm,
            commands: receiver,
            stop: stopped,
            alive,
            options,
            metrics,
            pulse: pulse.clone(),
            accounting,
            bandwidth,
            idle,
            gossip,
            identity: identity.clone(),
        });
        let task = async_std::task::spawn(coop::watch("event loop", event_loop.run()));
        let public_key = identity.public();
        Ok(Node {
            handle: Handle {
                local,
                public_key,
                commands,
                streams,
                network_topics,
                sealer,
                client: 0,
                clients: Default::default(),
            },
            messages,
            pulse,
            stop,
            task,
            ended,
        })
    }

    /// A handle to the node.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Proof that the event loop turns.
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Resolves when the event loop has ended, also by a panic.
    pub async fn ended(&mut self) {
        // Nothing is ever sent; the loop's end drops the sender.
        let _ = (&mut self.ended).await;
    }

    /// Closes all connections and ends the event loop.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await;
        self.messages.close().await;
    }
}
