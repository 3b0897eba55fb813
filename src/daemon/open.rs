//! The start, until the daemon serves.
//!
//! Everything that can fail is opened before the node listens, beginning with what is
//! cheap and exclusive. A second daemon on the same folder or socket, a port that is in
//! use or a damaged store ends the start before any peer notices.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_std::channel::Receiver;
use async_std::future::timeout;
use async_std::task::spawn_blocking;
use futures::FutureExt;
use futures::channel::oneshot;
use libp2p::Multiaddr;
use nix::unistd::{Uid, User, geteuid};

use super::error::NotOurs;
use super::peer::Peer;
use super::reload::{Reloader, Rooms};
use super::tasks::{Task, Tasks};
use super::{Daemon, Error, options, resources, status, upkeep};
use crate::config::{Config, Inputs};
use crate::control;
use crate::node::{Handle, identity};
use crate::peers::Policy;
use crate::system::allocator;
use crate::system::manager::Manager;
use crate::telemetry::history::History;
use crate::transport;
use crate::web::http::{Http, NodeProbe, Readiness};
use crate::web::last_hour::LastHour;
use crate::web::metrics::Metrics;

/// How long the start waits for the first address of a listener. The kernel reports the
/// addresses of the interfaces within milliseconds.
const FIRST_ADDRESS: Duration = Duration::from_secs(2);

impl Daemon {
    pub(super) async fn open(
        config: &Config,
        inputs: Inputs,
        requested: Receiver<()>,
        manager: Manager,
    ) -> Result<Daemon, Error> {
        allocator::keep_large_blocks_apart();
        resources::report(config);
        let metrics = Metrics::new()?;
        let sockets = manager.sockets.clone();
        {
            // Inherited sockets that are not needed may occupy ports that are needed.
            let (sockets, wanted) = (sockets.clone(), options::bindings(config));
            spawn_blocking(move || sockets.keep_only(&wanted)).await;
        }
        // A disk that hangs must not prevent signals from being handled.
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
        let store = Peer::open_store(config, metrics.store.clone()).await?;
        let surplus_streams = metrics
            .node
            .traffic
            .streams_refused
            .with_label_values(&["surplus"]);
        let held = options::connection_memory(config);
        let stack = |policy: &Policy| {
            let transports = transport::Options {
                surplus_streams: Some(surplus_streams),
                handshakes_cut_off: Some(metrics.node.handshakes_cut_off.clone()),
                ..options::transport(config, policy.clone(), sockets.clone(), held.clone())?
            };
            Ok(transport::build(&identity, &transports)?)
        };
        let watchdog = manager.watchdog();
        let mut peer = Peer::start(
            config,
            identity.clone(),
            store.clone(),
            &metrics,
            stack,
            |options| {
                options.watchdog = watchdog;
                options.memory = held.clone();
            },
        )
        .await?;
        let handle = peer.node.handle();
        let pulse = peer.node.pulse();

        let readiness = Arc::new(Readiness::new());
        let probe = Arc::new(NodeProbe {
            pulse: pulse.clone(),
            readiness: readiness.clone(),
        });
        let last_hour = LastHour::new();
        let http = Http::bind(
            config.metrics_host,
            config.metrics_port,
            sockets.clone(),
            probe,
            metrics.clone(),
            last_hour.clone(),
        )
        .await?;
        let metrics_address = http.local_addr();
        // From here on the health pages report that the node is starting.
        let (stop_http, http_stopped) = oneshot::channel::<()>();
        let http = Task::spawn("metrics port", http.run(http_stopped.map(drop)));
        let mut tasks = Tasks::default();

        listen(&handle, &config.listen_addrs).await?;
        spawn_blocking(move || sockets.close_rest()).await;
        tasks.spawn(
            "samples for the status page",
            last_hour.run(handle.clone(), store.clone(), metrics.clone()),
        );

        let history = History::default();
        tasks.spawn(
            "metrics of the last minutes",
            history.clone().write(metrics.registry.clone()),
        );
        let low_water = Arc::new(AtomicUsize::new(config.max_connections as usize / 2));
        let reloader = Reloader::new(
            inputs,
            config,
            Rooms {
                handle: handle.clone(),
                store: store.clone(),
                content: peer.content.clone(),
                low_water: low_water.clone(),
                metrics: metrics.clone(),
                pulse: pulse.clone(),
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
                content: peer.content.clone(),
                store: store.clone(),
                pulse: pulse.clone(),
                readiness: Arc::new(move || ready.reason().map_or(Ok(()), Err)),
                low_water,
                keeper: peer.keeper.clone(),
                diag: options::diagnosis(config, metrics.registry.clone(), history, {
                    let reloader = reloader.clone();
                    Arc::new(move || reloader.settings())
                }),
                reload,
            },
            metrics.control.clone(),
        );
        peer.serve(&mut tasks);
        tasks.spawn("memory", upkeep::tend_memory());

        readiness.set_ready();
        // This line in the log says who the node is and where it listens.
        let listening = handle.status().await?.listen_addrs;
        let listening: Vec<String> = listening.iter().map(ToString::to_string).collect();
        let notifier = manager.notifier;
        let line = status::line(&pulse.clone(), &store);
        notifier.ready(&line);
        tasks.spawn(
            "status line",
            status::keep_current(
                notifier.clone(),
                line,
                pulse.clone(),
                store.clone(),
                readiness.clone(),
            ),
        );
        tasks.spawn("reloads", reloader.clone().run(requested));
        log::info!(
            version = env!("CARGO_PKG_VERSION"),
            peer:% = handle.local_peer_id(),
            listen = listening.join(",").as_str(),
            control:% = config.control_socket.display(),
            metrics:% = metrics_address;
            "ready"
        );
        Ok(Daemon {
            peer,
            control,
            readiness,
            notifier,
            http: (stop_http, http),
            tasks,
            reloader,
        })
    }
}

/// Creates the folder if it does not exist. Root refuses the folder of another user,
/// because the daemon of that user could not read the files that root would write.
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

/// Listens on every address. A wildcard socket may be of an address family for which no
/// interface has an address: IPv6 is switched off in many containers, and a network may
/// come up later. Such a socket is open but cannot report an address yet, so the start
/// does not wait for it.
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
