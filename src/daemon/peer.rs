//! One peer of the network: the node, its content, and the regular work beside them.
//!
//! This is the part of the daemon that other hosts see. It excludes what only programs on
//! its own host and the service manager see. The daemon runs it over real sockets. The
//! network of `benches/network` runs hundreds of these peers over connections in memory,
//! so that it measures the same code.

use std::sync::Arc;

use async_std::task::spawn_blocking;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::identity::Keypair;
use libp2p::relay;

use super::tasks::{Task, Tasks};
use super::{Error, options, upkeep};
use crate::block::content::{Content, ContentOptions};
use crate::block::exchange;
use crate::config::Config;
use crate::node::streams::IncomingStreams;
use crate::node::{self, ContentNetwork, Node};
use crate::peers::Policy;
use crate::store::Keeper;
use crate::store::{self, Store};
use crate::transport::Stack;
use crate::web::metrics::Metrics;

/// See the module's page.
#[derive(Debug)]
pub struct Peer {
    /// The event loop, which does not listen yet.
    pub node: Node,
    /// The content of the node.
    pub content: Content<ContentNetwork>,
    /// The store of the content and of the rest of the node's state.
    pub store: Store,
    /// Saves bans and reputations to the store.
    pub keeper: Keeper,
    /// Incoming streams of peers that ask for content, until [`Peer::serve`] takes them.
    incoming: Option<IncomingStreams>,
}

impl Peer {
    /// Opens the store in the data folder that `config` names.
    ///
    /// # Errors
    /// Returns an error when the store cannot be opened.
    pub async fn open_store(config: &Config, metrics: Arc<store::Metrics>) -> Result<Store, Error> {
        let dir = config.data_dir.clone();
        let options = store::Options {
            max_bytes: config.store_max_bytes,
            max_block_bytes: config.max_block_bytes,
        };
        Ok(spawn_blocking(move || Store::open(&dir, options, metrics)).await?)
    }

    /// Starts the node as `config` says, over the transport that `stack` makes. The
    /// transport may ask who is banned. `amend` can change the node's options last.
    ///
    /// # Errors
    /// Returns an error when the store cannot be read, or a protocol cannot be set up.
    pub async fn start(
        config: &Config,
        identity: Keypair,
        store: Store,
        metrics: &Metrics,
        stack: impl FnOnce(&Policy) -> Result<(Stack, relay::client::Behaviour), Error>,
        amend: impl FnOnce(&mut node::Options),
    ) -> Result<Peer, Error> {
        let remembered =
            {
                let store = store.clone();
                spawn_blocking(move || store.load_peers()).await.unwrap_or_else(|e| {
                log::warn!(error:% = e; "cannot read the remembered peers; starting without");
                Vec::new()
            })
            };
        // This comes before the node listens; otherwise a banned peer could connect for a
        // moment.
        let keeper = Keeper::new(Policy::new(options::trust(config)), store.clone());
        keeper.load().await?;
        let (stack, relay_client) = stack(keeper.policy())?;
        let messages = {
            let (own, store) = (identity.public().to_peer_id(), store.clone());
            let metrics = metrics.node.clone();
            spawn_blocking(move || node::Messages::stored(own, store, metrics)).await?
        };
        let policy = keeper.policy().clone();
        policy.observe(metrics.policy.clone());
        let mut options = node::Options {
            messages: Some(messages),
            ..options::node(config, remembered, policy.clone())
        };
        amend(&mut options);
        let node = Node::start(
            &identity,
            stack,
            relay_client,
            options,
            metrics.node.clone(),
        )?;
        let handle = node.handle();
        let protocol = exchange::protocol(&config.network)?;
        let network = ContentNetwork::new(handle.clone(), protocol.clone(), policy);
        let content = Content::new(
            store.clone(),
            network,
            identity,
            metrics.block.clone(),
            ContentOptions {
                max_block: config.max_block_bytes,
                ttl: config.block_ttl,
                ..ContentOptions::default()
            },
        );
        let incoming = handle.accept(protocol)?;
        Ok(Peer {
            node,
            content,
            store,
            keeper,
            incoming: Some(incoming),
        })
    }

    /// Serves other peers and does the regular work beside that, until `tasks` are
    /// cancelled.
    pub fn serve(&mut self, tasks: &mut Tasks) {
        let content = self.content.clone();
        tasks.spawn("announcements", async move { content.run().await });
        tasks.spawn("store", upkeep::tend_store(self.store.clone()));
        tasks.spawn("bans and reputations", self.keeper.clone().run());
        tasks.spawn(
            "routing table",
            upkeep::keep_peers_saved(self.node.handle(), self.node.pulse(), self.store.clone()),
        );
        if let Some(incoming) = self.incoming.take() {
            tasks.spawn(
                "exchange of blocks",
                serve_content(incoming, self.content.clone()),
            );
        }
    }

    /// Saves what must not be lost when the node stops: the routing table, bans,
    /// reputations and the times of announcements.
    pub async fn save(&self) {
        save(
            &self.node.handle(),
            &self.store,
            &self.keeper,
            &self.content,
        )
        .await;
    }
}

/// Does the same as [`Peer::save`], given the parts of a peer.
pub(super) async fn save(
    handle: &node::Handle,
    store: &Store,
    keeper: &Keeper,
    content: &Content<ContentNetwork>,
) {
    upkeep::save_peers(handle, store).await;
    content.save_announcements().await;
    if let Err(e) = keeper.save().await {
        log::warn!(error:% = e; "cannot save bans and reputations");
    }
}

/// Answers the exchange streams of peers, up to the number that the server allows at
/// once. Each stream has a separate task, so that the processors share the work. All of
/// these tasks end together with this one.
async fn serve_content(incoming: IncomingStreams, content: Content<ContentNetwork>) {
    let mut incoming = incoming.fuse();
    let mut serving = FuturesUnordered::new();
    loop {
        futures::select! {
            stream = incoming.next() => {
                let Some((peer, stream)) = stream else { break };
                let content = content.clone();
                let task = Task::one_of_many("one exchange stream", async move {
                    if let Err(e) = content.serve(peer, stream).await {
                        log::debug!(peer:% = peer, error:% = e; "exchange stream ended");
                    }
                });
                serving.push(task.join());
            }
            _ = serving.select_next_some() => {}
        }
    }
    // The node has stopped. The streams that are being served end with their connections.
    while serving.next().await.is_some() {}
}
