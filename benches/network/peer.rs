//! One node of the network: where it is, and the peer that runs there.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cid::Cid;
use futures::StreamExt;
use libp2p::core::Transport as _;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, noise, relay};
use p2p_node::block::content::{Announce, Content, ImportOptions};
use p2p_node::block::fetch::Event;
use p2p_node::config::Config;
use p2p_node::daemon;
use p2p_node::daemon::tasks::Tasks;
use p2p_node::node::{ContentNetwork, Handle};
use p2p_node::system::resources::Resources;
use p2p_node::transport::{self, Stack};
use p2p_node::web::metrics::Metrics;

use crate::host::Host;
use crate::plain::Plain;
use crate::wire::{Wire, multiaddr};
use crate::{DEADLINE, Result};

/// The port that every node listens on.
const PORT: u16 = 4001;

/// What a node is over a restart: its place, its identity and its data folder.
pub(crate) struct Site {
    pub(crate) host: Arc<Host>,
    identity: Keypair,
    dir: PathBuf,
    /// Variables of its environment file.
    variables: Vec<(&'static str, String)>,
}

impl Site {
    /// The nth of a network, with what its operator would write into its
    /// environment file beside the defaults.
    pub(crate) fn new(
        wire: &Wire,
        n: usize,
        dir: PathBuf,
        variables: Vec<(&'static str, String)>,
    ) -> Site {
        Site {
            host: wire.host(address(n)),
            identity: Keypair::generate_ed25519(),
            dir,
            variables,
        }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.identity.public().to_peer_id()
    }

    fn listens_on(&self) -> Multiaddr {
        multiaddr(SocketAddrV4::new(self.host.ip, PORT))
    }

    /// Where others find it, with its peer id.
    pub(crate) fn address(&self) -> Multiaddr {
        self.listens_on().with(Protocol::P2p(self.peer()))
    }

    /// Starts the peer, as the daemon starts its own.
    pub(crate) async fn start(&self, wire: &Wire, noise: bool) -> Result<Peer> {
        std::fs::create_dir_all(&self.dir)?;
        let own = [
            ("P2P_LISTEN_ADDRS", self.listens_on().to_string()),
            // Others can dial it: it is a server of the DHT.
            ("P2P_EXTERNAL_ADDRS", self.listens_on().to_string()),
            ("P2P_DATA_DIR", self.dir.display().to_string()),
            ("P2P_CONTROL_SOCKET", "/nowhere/control.sock".to_owned()),
        ];
        let all = own.iter().chain(&self.variables);
        let config = Config::from_pairs(all.map(|(name, value)| (*name, value.as_str())))?;
        let metrics = Metrics::new()?;
        let store = self.open_store(&config, &metrics).await?;
        let mut peer = daemon::peer::Peer::start(
            &config,
            self.identity.clone(),
            store,
            &metrics,
            |_| Ok(self.stack(wire, noise, &metrics)?),
            // Nothing is refused for what a thousand others use.
            |options| options.resources = Some(Resources::new()),
        )
        .await?;
        peer.node.handle().listen(self.listens_on()).await?;
        let mut tasks = Tasks::default();
        peer.serve(&mut tasks);
        Ok(Peer {
            inner: peer,
            tasks,
            metrics,
            host: self.host.clone(),
        })
    }

    /// The store is locked until the last task of the run before has let go of it.
    async fn open_store(
        &self,
        config: &Config,
        metrics: &Arc<Metrics>,
    ) -> Result<p2p_node::store::Store> {
        let end = Instant::now() + DEADLINE;
        loop {
            match daemon::peer::Peer::open_store(config, metrics.store.clone()).await {
                Err(daemon::Error::Store(p2p_node::store::Error::Locked { .. }))
                    if Instant::now() < end =>
                {
                    async_io::Timer::after(Duration::from_millis(50)).await;
                }
                other => return Ok(other?),
            }
        }
    }

    fn stack(
        &self,
        wire: &Wire,
        noise: bool,
        metrics: &Metrics,
    ) -> std::result::Result<(Stack, relay::client::Behaviour), transport::BuildError> {
        let surplus = metrics
            .node
            .traffic
            .streams_refused
            .with_label_values(&["surplus"]);
        let options = transport::Options {
            surplus_streams: Some(surplus),
            ..transport::Options::default()
        };
        let local = self.peer();
        let (relayed, client) = relay::client::new(local);
        let direct = wire.transport(self.host.clone());
        let stack = if noise {
            let config = noise::Config::new(&self.identity)?;
            transport::over(relayed, config.clone(), &options)
                .or_transport(transport::over(direct, config, &options))
                .map(|either, _| either.into_inner())
                .boxed()
        } else {
            transport::over(relayed, Plain(local), &options)
                .or_transport(transport::over(direct, Plain(local), &options))
                .map(|either, _| either.into_inner())
                .boxed()
        };
        Ok((stack, client))
    }
}

/// A node that runs.
pub(crate) struct Peer {
    inner: daemon::peer::Peer,
    tasks: Tasks,
    pub(crate) metrics: Arc<Metrics>,
    host: Arc<Host>,
}

impl Peer {
    pub(crate) fn handle(&self) -> Handle {
        self.inner.node.handle()
    }

    /// Ends it without a word to anybody, as `kill -9` does.
    pub(crate) async fn kill(self) {
        self.host.reset();
        self.tasks.cancel().await;
        self.inner.node.stop().await;
    }

    /// Stops it as `systemctl stop` does.
    pub(crate) async fn stop(self) {
        self.inner.save().await;
        self.tasks.cancel().await;
        self.inner.node.stop().await;
    }

    /// The way to its content, which may be kept while the node ends.
    pub(crate) fn door(&self) -> Door {
        Door(self.inner.content.clone())
    }
}

/// What `put` and `get` go through on a node.
#[derive(Clone)]
pub(crate) struct Door(Content<ContentNetwork>);

impl Door {
    /// Imports `bytes` and announces them, as `put` does.
    pub(crate) async fn put(&self, bytes: &[u8]) -> Result<Cid> {
        let options = ImportOptions {
            announce: Announce::Wait,
            ..ImportOptions::default()
        };
        Ok(self.0.import(bytes, options).await?.cid)
    }

    /// Fetches content to its end and says how many bytes it had, as `get` does.
    pub(crate) async fn get(&self, cid: &Cid) -> Result<usize> {
        let mut options = self.0.fetch_options();
        options.patience = crate::PATIENCE.unwrap_or(options.patience);
        let mut fetch = self.0.fetch(cid, options)?;
        let mut bytes = 0;
        while let Some(event) = fetch.next().await {
            match event? {
                Event::Data(data) => bytes += data.len(),
                Event::Done(_) => return Ok(bytes),
                Event::Size(_) | Event::Progress(_) => {}
            }
        }
        Err("the fetch ended without an end".into())
    }
}

/// The address of the nth host. Each of the first twenty thousand has a /16 of its
/// own, so that rules about subnets find as many as there are hosts; neighbours in
/// number are not neighbours in address. Nothing is ever sent to them.
pub(crate) fn address(n: usize) -> Ipv4Addr {
    let byte = |value: usize| (value % 256) as u8;
    Ipv4Addr::new(
        byte(20 + n % 80),
        byte(n / 80 * 37),
        byte(n * 11),
        byte(1 + n / 20_480),
    )
}
