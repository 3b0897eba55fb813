//! Life of the daemon: open, listen, ready, run, drain, close.
//!
//! Everything that can be refused is opened before the node listens, the cheap
//! and exclusive things first: a second daemon on the same folder or socket, a
//! taken port or a damaged store end the start before any peer notices.
//!
//! The whole of the shutdown is in `Daemon::close`: readiness turns, the node
//! drains, transfers of clients finish, peers are saved, connections close. Each
//! step is bounded by `P2P_DRAIN_TIMEOUT`; a second signal cuts the waiting
//! short, and what has to be saved is saved all the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_std::future::timeout;
use async_std::task::{self, spawn_blocking};
use futures::StreamExt;
use futures::future::{Either, select};
use libp2p::Multiaddr;

use crate::admission::bucket::{Budget, Rates};
use crate::admission::keep::Keeper;
use crate::admission::limits::Limits;
use crate::admission::{self, Admission, gate};
use crate::block::content::{Content, ContentOptions};
use crate::block::exchange;
use crate::config::{Config, MemoryLimit};
use crate::control;
use crate::node::streams::IncomingStreams;
use crate::node::{self, ContentNetwork, Handle, Node, identity};
use crate::observe::http::{self, Http, NodeProbe, Readiness};
use crate::observe::metrics::Metrics;
use crate::store::{self, KnownPeer, Store};
use crate::system::signals::{Signal, Signals};
use crate::system::{allocator, memory, rlimits};
use crate::transport;

/// How often the routing table is saved. After `kill -9` the last few minutes of
/// it are lost, which costs the next start a few dials.
const SAVE_PEERS_EVERY: Duration = Duration::from_secs(300);

/// How long the start waits for the first address of a listener. The kernel
/// answers in milliseconds what addresses the interfaces have.
const FIRST_ADDRESS: Duration = Duration::from_secs(2);

/// Time to save the routing table and to say goodbye, also when
/// `P2P_DRAIN_TIMEOUT` is shorter: both take milliseconds unless something hangs.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// How often what has expired leaves the store.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How often the heap's unused pages go back to the kernel, and from how much
/// resident memory on: an idle node has half of that.
const TRIM_EVERY: Duration = Duration::from_secs(30);
const TRIM_FROM: u64 = 48 << 20;

/// Why the daemon could not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be made.
    #[error(
        "cannot make the data folder {path}: {source}; set P2P_DATA_DIR to a folder that this user may write"
    )]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The identity cannot be read or made.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The control socket cannot be bound.
    #[error(transparent)]
    Control(#[from] control::server::BindError),
    /// The metrics port cannot be bound.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The network's key cannot be read.
    #[error(transparent)]
    NetworkKey(#[from] crate::config::Error),
    /// The transports cannot be built.
    #[error(transparent)]
    Transport(#[from] transport::BuildError),
    /// The node cannot be built.
    #[error(transparent)]
    Node(#[from] node::BuildError),
    /// An address cannot be listened on, or another request to the node failed.
    #[error(transparent)]
    Listen(#[from] node::Error),
    /// The metrics cannot be registered.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The name of the network cannot be part of a protocol id.
    #[error("P2P_NETWORK cannot be part of a protocol id: {0}")]
    Protocol(#[from] libp2p::swarm::InvalidProtocol),
    /// The event loop is no more, which only a fault in the program can cause.
    #[error(
        "the node's event loop ended by itself, which is a fault in p2p-node; the lines before this one say where; restart it, and report them"
    )]
    LoopEnded,
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(std::io::Error),
}

/// Runs the daemon until a signal stops it.
///
/// # Errors
/// When it cannot start; a clean stop is `Ok`.
pub fn run(config: &Config) -> Result<(), Error> {
    task::block_on(async {
        let mut signals = Signals::new().map_err(Error::Signals)?;
        let daemon = {
            let open = std::pin::pin!(Daemon::open(config));
            let stop = std::pin::pin!(next_stop(&mut signals));
            match select(open, stop).await {
                Either::Left((daemon, _)) => daemon?,
                Either::Right((signal, _)) => {
                    log::info!(signal = signal.name(); "stopped while starting");
                    return Ok(());
                }
            }
        };
        let mut daemon = daemon;
        {
            let stop = std::pin::pin!(next_stop(&mut signals));
            match select(stop, std::pin::pin!(daemon.node.ended())).await {
                Either::Left((signal, _)) => {
                    log::info!(signal = signal.name(); "stopping");
                }
                // Without its loop the node is a process that looks alive.
                Either::Right(_) => return Err(Error::LoopEnded),
            }
        }
        daemon.close(&mut signals).await;
        Ok(())
    })
}

/// The next signal that stops the daemon.
async fn next_stop(signals: &mut Signals) -> Signal {
    loop {
        match signals.next().await {
            Some(Signal::Hangup) => {
                log::warn!(
                    "SIGHUP: this version reads its configuration at start only; restart to apply changes"
                );
            }
            Some(signal) => return signal,
            None => return Signal::Terminate,
        }
    }
}

/// The daemon, ready.
struct Daemon {
    node: Node,
    store: Store,
    keeper: Keeper,
    control: control::server::Running,
    readiness: Arc<Readiness>,
    drain_timeout: Duration,
}

impl Daemon {
    async fn open(config: &Config) -> Result<Daemon, Error> {
        allocator::keep_large_blocks_apart();
        report_resources(config);
        make_data_dir(&config.data_dir)?;
        let metrics = Metrics::new()?;
        let socket = control::Server::bind(&config.control_socket)?;
        let identity = identity::load_or_create(&config.data_dir)?;
        let store = {
            let (dir, metrics) = (config.data_dir.clone(), metrics.clone());
            let options = store::Options {
                max_bytes: config.store_max_bytes,
                max_block_bytes: config.max_block_bytes,
            };
            spawn_blocking(move || Store::open(&dir, options, metrics)).await?
        };
        let remembered =
            {
                let store = store.clone();
                spawn_blocking(move || store.load_peers()).await.unwrap_or_else(|e| {
                log::warn!(error:% = e; "cannot read the remembered peers; starting without");
                Vec::new()
            })
            };

        // Before it listens, or a banned peer would find the door open for a moment.
        let keeper = Keeper::new(Admission::new(trust_settings(config)), store.clone());
        keeper.load().await?;
        let transports = transport_options(config, keeper.admission().clone())?;
        let (stack, relay_client) = transport::build(&identity, &transports)?;
        let messages = {
            let (own, store) = (identity.public().to_peer_id(), store.clone());
            let metrics = metrics.clone();
            spawn_blocking(move || node::Messages::stored(own, store, metrics)).await?
        };
        let options = node::Options {
            messages: Some(messages),
            ..node_options(config, remembered, keeper.admission().clone())
        };
        let admission = options.admission.clone();
        let node = Node::start(&identity, stack, relay_client, options, metrics.clone())?;
        let handle = node.handle();

        let readiness = Arc::new(Readiness::new());
        let probe = Arc::new(NodeProbe {
            pulse: node.pulse(),
            readiness: readiness.clone(),
        });
        let http = Http::bind(
            config.metrics_host,
            config.metrics_port,
            probe,
            metrics.clone(),
        )
        .await?;
        let metrics_address = http.local_addr();
        // From here on whoever asks hears that the node is starting.
        task::spawn(http.run());

        let protocol = exchange::protocol(&config.network)?;
        let network = ContentNetwork::new(handle.clone(), protocol.clone(), admission);
        let content = Content::new(
            store.clone(),
            network,
            identity,
            metrics.clone(),
            ContentOptions {
                max_block: config.max_block_bytes,
                ttl: config.block_ttl,
                ..ContentOptions::default()
            },
        );
        let incoming = handle.accept(protocol)?;
        listen(&handle, &config.listen_addrs).await?;

        let ready = readiness.clone();
        let control = socket.serve(
            control::Backend {
                handle: handle.clone(),
                content: content.clone(),
                store: store.clone(),
                readiness: Arc::new(move || ready.reason().map_or(Ok(()), Err)),
                low_water: config.max_connections as usize / 2,
                keeper: keeper.clone(),
            },
            metrics,
        );
        task::spawn(serve_content(incoming, content.clone()));
        task::spawn(async move { content.run().await });
        task::spawn(tend_store(store.clone()));
        task::spawn(tend_memory());
        task::spawn(keeper.clone().run());
        task::spawn(save_peers_periodically(handle.clone(), store.clone()));

        readiness.set_ready();
        log::info!(
            peer:% = handle.local_peer_id(),
            control:% = config.control_socket.display(),
            metrics:% = metrics_address;
            "ready"
        );
        Ok(Daemon {
            node,
            store,
            keeper,
            control,
            readiness,
            drain_timeout: config.drain_timeout,
        })
    }

    /// The whole of the shutdown.
    async fn close(self, signals: &mut Signals) {
        self.readiness.set_not_ready("draining");
        let handle = self.node.handle();
        let begin = std::time::Instant::now();
        let left = || self.drain_timeout.saturating_sub(begin.elapsed());
        let drained = async {
            // What is saved is what was known before the peers go. A disk that
            // hangs must not keep the daemon from stopping.
            let saved = async {
                save_peers(&handle, &self.store).await;
                if let Err(e) = self.keeper.save().await {
                    log::warn!(error:% = e; "cannot save bans and reputations");
                }
            };
            if timeout(self.drain_timeout.max(LEAST_PATIENCE), saved)
                .await
                .is_err()
            {
                log::warn!(
                    "the routing table and reputations were not saved within P2P_DRAIN_TIMEOUT; the disk does not answer"
                );
            }
            if timeout(left(), handle.drain()).await.is_err() {
                log::warn!("DHT operations did not end within P2P_DRAIN_TIMEOUT; ending them");
            }
            self.control.close(left()).await;
        };
        let second = next_stop(signals);
        if let Either::Right((signal, _)) =
            select(std::pin::pin!(drained), std::pin::pin!(second)).await
        {
            log::warn!(signal = signal.name(); "second signal: not waiting for the drain");
        }
        if timeout(LEAST_PATIENCE, self.node.stop()).await.is_err() {
            log::warn!("the event loop does not turn; leaving without its goodbyes");
        }
        log::info!("stopped");
    }
}

fn make_data_dir(path: &std::path::Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::DataDir {
            path: path.to_owned(),
            source,
        })
}

/// Raises what can be raised, and says what limits the node.
fn report_resources(config: &Config) {
    match rlimits::raise_descriptors() {
        Ok(limit) => {
            // Beside its connections a node holds files, clients and listeners.
            let wanted = u64::from(config.max_connections) + 128;
            if limit.now < wanted {
                log::warn!(
                    allowed = limit.now, wanted = wanted;
                    "too few file descriptors for P2P_MAX_CONNECTIONS; raise LimitNOFILE or lower the variable"
                );
            }
        }
        Err(e) => log::warn!(error:% = e; "cannot read the limit of file descriptors"),
    }
    for variable in config.set_without_effect() {
        let name = variable.name;
        log::warn!("{name} is set, but this version does not enforce it yet");
    }
}

fn max_memory(config: &Config) -> Option<u64> {
    match config.max_memory {
        MemoryLimit::Bytes(bytes) => Some(bytes),
        MemoryLimit::Percent(percent) => match memory::limit() {
            Ok(limit) => Some(limit.bytes / 100 * u64::from(percent)),
            Err(e) => {
                log::warn!(error:% = e; "cannot tell how much memory there is; P2P_MAX_MEMORY is not in force");
                None
            }
        },
    }
}

fn transport_options(config: &Config, admission: Admission) -> Result<transport::Options, Error> {
    let network_key = match &config.network_key_file {
        Some(path) => Some(crate::config::network_key::load(path)?),
        None => None,
    };
    Ok(transport::Options {
        network_key,
        max_inbound_streams: config.max_inbound_streams as usize,
        max_outbound_streams: config.max_outbound_streams as usize,
        permit: {
            let rules = gate_rules(config);
            transport::dns::Permit::new(move |ip, name| {
                let trusted = admission.is_trusted_at(ip);
                rules
                    .dial(ip, name, trusted)
                    .map_err(|refusal| refusal.to_string())?;
                let ban = match trusted {
                    true => admission.banned_ip_by_operator(ip),
                    false => admission.banned_ip(ip),
                };
                match ban {
                    Some(_) => Err(format!("{ip} is banned by this node; see `p2p-node bans`")),
                    None => Ok(()),
                }
            })
        },
        quic: transport::quic::Options {
            subnets: prefixes(config),
            ..transport::quic::Options::default()
        },
        ..transport::Options::default()
    })
}

fn trust_settings(config: &Config) -> admission::Settings {
    admission::Settings {
        rates: Rates {
            messages: Budget {
                burst: config.rate_burst.into(),
                fill: config.rate_fill.into(),
            },
            bytes: Budget {
                burst: config.rate_bytes_burst,
                fill: config.rate_bytes_fill,
            },
        },
        trusted: config.trusted_peers.clone(),
        prefixes: prefixes(config),
    }
}

fn node_options(
    config: &Config,
    remembered: Vec<KnownPeer>,
    admission: Admission,
) -> node::Options {
    node::Options {
        network: config.network.clone(),
        kad_protocol: config.kad_protocol.clone(),
        dht_mode: config.dht_mode,
        dht_max_records: config.dht_max_records,
        bootstrap_peers: config
            .bootstrap_peers
            .iter()
            .map(|p| p.address.clone())
            .collect(),
        remembered_peers: remembered
            .into_iter()
            .map(|p| node::PeerAddrs {
                peer: p.peer,
                addrs: p.addrs,
            })
            .collect(),
        external_addrs: config.external_addrs.clone(),
        relays: config.relays.iter().map(|p| p.address.clone()).collect(),
        relay_server: config.relay_server,
        autonat_server: config.autonat_server,
        topics: config.topics.clone(),
        gossip_d: config.gossip_d,
        gossip_heartbeat: config.gossip_heartbeat,
        limits: Limits {
            total: config.max_connections,
            inbound: config.max_inbound_connections,
            outbound: config.max_outbound_connections,
            per_peer: config.max_connections_per_peer,
            memory: max_memory(config),
        },
        gate: gate_rules(config),
        max_inbound_streams: config.max_inbound_streams as usize,
        max_outbound_streams: config.max_outbound_streams as usize,
        connection_idle_timeout: config.connection_idle_timeout,
        stream_idle_timeout: config.stream_idle_timeout,
        max_upload_rate: config.max_upload_rate,
        max_download_rate: config.max_download_rate,
        trusted_peers: config.trusted_peers.clone(),
        admission,
        ..node::Options::default()
    }
}

fn gate_rules(config: &Config) -> gate::Rules {
    gate::Rules {
        allow: config.allow_cidrs.iter().copied().collect(),
        deny: config.deny_cidrs.iter().copied().collect(),
        per_subnet: config.max_connections_per_subnet,
        prefixes: prefixes(config),
        rate: config.max_inbound_rate,
        subnet_rate: config.max_inbound_rate_per_subnet,
        trusted: config.trusted_peers.iter().copied().collect(),
    }
}

fn prefixes(config: &Config) -> gate::Prefixes {
    gate::Prefixes {
        ipv4: config.subnet_prefixes.ipv4,
        ipv6: config.subnet_prefixes.ipv6,
    }
}

/// Listens on every address. A wildcard socket of a family of which no interface
/// has an address (IPv6 switched off, as in many containers; a network that comes
/// up later) is open and has nothing to tell yet: that is no reason to wait.
async fn listen(handle: &Handle, addresses: &[Multiaddr]) -> Result<(), Error> {
    let all = addresses.iter().map(|address| async move {
        match timeout(FIRST_ADDRESS, handle.listen(address.clone())).await {
            Ok(listening) => drop(listening?),
            Err(_) => log::warn!(
                address:% = address;
                "no interface has an address for this listener yet; it begins when one has"
            ),
        }
        Ok(())
    });
    futures::future::try_join_all(all).await.map(drop)
}

/// Answers the exchange streams of peers, as many at once as the server allows.
async fn serve_content(mut incoming: IncomingStreams, content: Content<ContentNetwork>) {
    while let Some((peer, stream)) = incoming.next().await {
        let content = content.clone();
        task::spawn(async move {
            if let Err(e) = content.serve(peer, stream).await {
                log::debug!(peer:% = peer, error:% = e; "exchange stream ended");
            }
        });
    }
}

/// Clears what a killed run left, then what expires.
async fn tend_store(store: Store) {
    let scrubbed = {
        let store = store.clone();
        spawn_blocking(move || store.scrub()).await
    };
    if let Err(e) = scrubbed {
        log::warn!(error:% = e; "cannot clear what an earlier run left in the store");
    }
    let mut ticks = async_io::Timer::interval(SWEEP_EVERY);
    while ticks.next().await.is_some() {
        let store = store.clone();
        if let Err(e) = spawn_blocking(move || store.sweep(SystemTime::now(), Instant::now())).await
        {
            log::warn!(error:% = e; "cannot remove expired blocks");
        }
    }
}

/// Gives memory back to the kernel that a burst of work or an attack has left
/// unused.
async fn tend_memory() {
    let mut ticks = async_io::Timer::interval(TRIM_EVERY);
    while ticks.next().await.is_some() {
        spawn_blocking(|| {
            if memory::resident().is_ok_and(|bytes| bytes >= TRIM_FROM) {
                allocator::give_back();
            }
        })
        .await;
    }
}

async fn save_peers_periodically(handle: Handle, store: Store) {
    let mut ticks = async_io::Timer::interval(SAVE_PEERS_EVERY);
    while ticks.next().await.is_some() {
        save_peers(&handle, &store).await;
    }
}

/// Saves the routing table. An empty one is not saved: the peers of the last
/// run are then the only way back in.
async fn save_peers(handle: &Handle, store: &Store) {
    let Ok(table) = handle.routing_table().await else {
        return;
    };
    if table.is_empty() {
        return;
    }
    let now = SystemTime::now();
    let peers: Vec<KnownPeer> = table
        .into_iter()
        .map(|p| KnownPeer {
            peer: p.peer,
            addrs: p.addrs,
            last_seen: now,
        })
        .collect();
    let store = store.clone();
    match spawn_blocking(move || store.save_peers(&peers).map(|()| peers.len())).await {
        Ok(count) => log::debug!(peers = count; "routing table saved"),
        Err(e) => log::warn!(error:% = e; "cannot save the routing table"),
    }
}
