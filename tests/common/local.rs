//! Nodes in the test's own process, over real sockets on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::future::Future;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use p2p_node::config::DhtMode;
use p2p_node::node::{Handle, Node, Options};
use p2p_node::peers::Policy;
use p2p_node::transport;
use p2p_node::web::metrics::Metrics;

use crate::common::eventually_async;

/// How a node is started.
pub(crate) struct Setup {
    pub(crate) identity: Keypair,
    pub(crate) transport: transport::Options,
    pub(crate) listen: String,
    pub(crate) options: Options,
}

impl Default for Setup {
    /// A new identity, TCP, and [`options`].
    fn default() -> Setup {
        Setup {
            identity: Keypair::generate_ed25519(),
            transport: transport::Options::default(),
            listen: "/ip4/127.0.0.1/tcp/0".into(),
            options: options(),
        }
    }
}

/// The defaults of a node that serves the DHT: on loopback none can find out whether
/// it is reached from outside.
pub(crate) fn options() -> Options {
    Options {
        dht_mode: DhtMode::Server,
        ..Options::default()
    }
}

/// A node that runs; it ends when this is dropped.
pub(crate) struct Running {
    pub(crate) node: Node,
    pub(crate) handle: Handle,
    pub(crate) peer: PeerId,
    /// Where it listens, with `/p2p/…`.
    pub(crate) address: Multiaddr,
    pub(crate) policy: Policy,
    pub(crate) metrics: Arc<Metrics>,
}

impl Setup {
    /// Starts it. The future is boxed: with what a node is made of in it, several of
    /// them, one in the other, need more than the stack of a test's thread.
    pub(crate) fn start(self) -> LocalBoxFuture<'static, Running> {
        Box::pin(async move {
            let (stack, relay) = transport::build(&self.identity, &self.transport).unwrap();
            let metrics = Metrics::new().unwrap();
            let policy = self.options.policy.clone();
            policy.observe(metrics.policy.clone());
            let of_node = metrics.node.clone();
            let node = Node::start(&self.identity, stack, relay, self.options, of_node).unwrap();
            let handle = node.handle();
            let peer = handle.local_peer_id();
            let address = handle.listen(self.listen.parse().unwrap()).await.unwrap();
            Running {
                node,
                handle,
                peer,
                address: address.with(Protocol::P2p(peer)),
                policy,
                metrics,
            }
        })
    }
}

/// Starts a node of a new identity.
pub(crate) fn start(options: Options) -> LocalBoxFuture<'static, Running> {
    start_as(Keypair::generate_ed25519(), options)
}

/// Starts a node.
pub(crate) fn start_as(identity: Keypair, options: Options) -> LocalBoxFuture<'static, Running> {
    let setup = Setup {
        identity,
        options,
        ..Setup::default()
    };
    setup.start()
}

impl Running {
    /// Waits until it knows that `peer` subscribes to `topic`.
    pub(crate) async fn hears(&self, topic: &str, peer: PeerId) {
        eventually_async("the subscription arrives", async || {
            let peers = self.handle.topic_peers(Some(topic.into())).await.unwrap();
            peers.contains(&peer).then_some(())
        })
        .await;
    }
}

/// Runs a test, with its log where cargo shows it.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let _ = env_logger::builder().is_test(true).try_init();
    async_std::task::block_on(test);
}

/// Whether `handle` has a connection with `peer`.
pub(crate) async fn connected(handle: &Handle, peer: PeerId) -> bool {
    handle.peers().await.unwrap().iter().any(|p| p.id == peer)
}
