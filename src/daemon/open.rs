//! The start, up to the moment from which the daemon serves.
//!
//! Everything that can be refused is opened before the node listens, the cheap
//! and exclusive things first: a second daemon on the same folder or socket, a
//! taken port or a damaged store end the start before any peer notices.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_std::channel::Receiver;
use async_std::future::timeout;
use async_std::task::{self, spawn_blocking};
use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};
use libp2p::Multiaddr;
use nix::unistd::{Uid, User, geteuid};

use super::error::NotOurs;
use super::reload::{Reloader, Rooms};
use super::{Daemon, Error, options, resources, status, upkeep};
use crate::admission::keep::Keeper;
use crate::admission::{Admission, gate};
use crate::block::content::{Content, ContentOptions};
use crate::block::exchange;
use crate::config::{Config, Inputs};
use crate::control;
use crate::node::streams::IncomingStreams;
use crate::node::{self, ContentNetwork, Handle, Node, identity};
use crate::observe::history::History;
use crate::observe::hour::Hour;
use crate::observe::http::{Http, NodeProbe, Readiness};
use crate::observe::metrics::Metrics;
use crate::store::{self, Store};
use crate::system::allocator;
use crate::system::manager::Manager;
use crate::transport;

/// How long the start waits for the first address of a listener. The kernel
/// answers in milliseconds what addresses the interfaces have.
const FIRST_ADDRESS: Duration = Duration::from_secs(2);

impl Daemon {
    pub(super) async fn open(
        config: &Config,
        inputs: Inputs,
        rings: Receiver<()>,
        manager: Manager,
    ) -> Result<Daemon, Error> {
        allocator::keep_large_blocks_apart();
        resources::report(config);
        let metrics = Metrics::new()?;
        let sockets = manager.sockets.clone();
        {
            // First what is in the way of others.
            let (sockets, wanted) = (sockets.clone(), options::places(config));
            spawn_blocking(move || sockets.keep_only(&wanted)).await;
        }
        // A disk that hangs must not keep a signal from being heard.
        let dir = config.data_dir.clone();
        spawn_blocking(move || make_data_dir(&dir, geteuid())).await?;
        let socket = {
            let (path, sockets) = (config.control_socket.clone(), sockets.clone());
            spawn_blocking(move || control::Server::bind(path, &sockets)).await?
        };
        let dir = config.data_dir.clone();
        let identity =
            spawn_blocking(move || identity::obtain(&dir, identity::credential().as_deref()))
                .await?;
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
        let keeper = Keeper::new(Admission::new(options::trust(config)), store.clone());
        keeper.load().await?;
        let rules = gate::LiveRules::new(options::gate_rules(config));
        let transports = transport::Options {
            surplus_streams: Some(metrics.streams_refused.with_label_values(&["surplus"])),
            ..options::transport(
                config,
                keeper.admission().clone(),
                rules.clone(),
                sockets.clone(),
            )?
        };
        let (stack, relay_client) = transport::build(&identity, &transports)?;
        let messages = {
            let (own, store) = (identity.public().to_peer_id(), store.clone());
            let metrics = metrics.clone();
            spawn_blocking(move || node::Messages::stored(own, store, metrics)).await?
        };
        let options = node::Options {
            messages: Some(messages),
            watchdog: manager.watchdog(),
            ..options::node(config, remembered, keeper.admission().clone())
        };
        let admission = options.admission.clone();
        let node = Node::start(&identity, stack, relay_client, options, metrics.clone())?;
        let handle = node.handle();

        let readiness = Arc::new(Readiness::new());
        let probe = Arc::new(NodeProbe {
            pulse: node.pulse(),
            readiness: readiness.clone(),
        });
        let hour = Hour::new();
        let http = Http::bind(
            config.metrics_host,
            config.metrics_port,
            sockets.clone(),
            probe,
            metrics.clone(),
            hour.clone(),
        )
        .await?;
        let metrics_address = http.local_addr();
        // From here on whoever asks hears that the node is starting.
        let (stop_http, http_stopped) = oneshot::channel::<()>();
        let http = task::spawn(http.run(http_stopped.map(drop)));

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
        spawn_blocking(move || sockets.close_rest()).await;
        let limits = upkeep::limits(store.clone(), metrics.clone());
        task::spawn(hour.run(handle.clone(), metrics.clone(), limits));

        let history = History::watch(metrics.clone());
        let low_water = Arc::new(AtomicUsize::new(config.max_connections as usize / 2));
        let reloader = Reloader::new(
            inputs,
            config,
            Rooms {
                handle: handle.clone(),
                store: store.clone(),
                content: content.clone(),
                rules,
                low_water: low_water.clone(),
                metrics: metrics.clone(),
                pulse: node.pulse(),
                notifier: manager.notifier.clone(),
            },
        );
        let reload: control::Reload = {
            let reloader = reloader.clone();
            Arc::new(move || {
                let reloader = reloader.clone();
                async move { reloader.reload().await }.boxed()
            })
        };
        let ready = readiness.clone();
        let control = socket.serve(
            control::Backend {
                handle: handle.clone(),
                content: content.clone(),
                store: store.clone(),
                readiness: Arc::new(move || ready.reason().map_or(Ok(()), Err)),
                low_water,
                keeper: keeper.clone(),
                diag: options::diagnosis(config, node.pulse(), history, {
                    let reloader = reloader.clone();
                    Arc::new(move || reloader.settings())
                }),
                reload,
            },
            metrics,
        );
        task::spawn(serve_content(incoming, content.clone()));
        task::spawn({
            let content = content.clone();
            async move { content.run().await }
        });
        task::spawn(upkeep::tend_store(store.clone()));
        task::spawn(upkeep::tend_memory());
        task::spawn(keeper.clone().run());
        task::spawn(upkeep::save_peers_periodically(
            handle.clone(),
            store.clone(),
        ));

        readiness.set_ready();
        // The one line that says who this is and where.
        let listening = handle.status().await?.listen_addrs;
        let listening: Vec<String> = listening.iter().map(ToString::to_string).collect();
        let notifier = manager.notifier;
        let line = status::line(&node.pulse(), &store);
        notifier.ready(&line);
        task::spawn(status::keep_current(
            notifier.clone(),
            line,
            node.pulse(),
            store.clone(),
            readiness.clone(),
        ));
        task::spawn(reloader.clone().heed(rings));
        log::info!(
            version = env!("CARGO_PKG_VERSION"),
            peer:% = handle.local_peer_id(),
            listen = listening.join(",").as_str(),
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
            notifier,
            http: (stop_http, http),
            content,
            reloader,
        })
    }
}

/// Makes the folder if there is none. Root refuses the folder of another user:
/// what it would write there, the daemon of that user could not read.
fn make_data_dir(path: &std::path::Path, me: Uid) -> Result<(), Error> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let cannot = |source| Error::DataDir {
        path: path.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(cannot)?;
    if me.is_root() {
        let uid = std::fs::metadata(path).map_err(cannot)?.uid();
        if uid != me.as_raw() {
            let user = User::from_uid(uid.into()).ok().flatten();
            return Err(Error::NotOurs(Box::new(NotOurs {
                path: path.to_owned(),
                uid,
                user: user.map(|user| user.name),
            })));
        }
    }
    Ok(())
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
