//! What idle connections cost a node: memory and CPU, and how long its metrics
//! take then.
//!
//! Each comes from a peer of its own. A bare one lets itself be identified, answers
//! pings and is silent otherwise; with `--peers full` it is of the DHT and of a topic
//! too, and so keeps streams open. One node takes
//! more and more of them, and the cost of one is the slope between two numbers of
//! connections, so that what is there once does not count.

use std::time::{Duration, Instant};

use async_std::task::{JoinHandle, block_on, spawn};
use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm, gossipsub, identify, kad, ping};
use p2p_node::transport::{self, Security};

use crate::node::Daemon;
use crate::{Options, Result, scrape};

/// How long the node is left alone before it is looked at: identify is over, and
/// a first round of pings.
const QUIET: Duration = Duration::from_secs(20);

/// For how long its CPU time is taken: two rounds of pings.
const WATCHED: Duration = Duration::from_secs(30);

/// How long a connection may take, of which at most [`AT_ONCE`] are being made.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fewer than the node's limit of handshakes under way.
const AT_ONCE: usize = 16;

/// What a node costs with some number of connections.
struct Cost {
    connections: usize,
    resident: f64,
    anonymous: f64,
    /// Milliseconds of CPU in a second.
    cpu: f64,
}

pub(crate) fn measure(options: &Options) -> Result<()> {
    println!(
        "| transport | idle connections | KiB resident | of it anonymous | CPU, ms/s | a connection more: KiB resident | of it anonymous | CPU, µs/s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut scrapes = Vec::new();
    for name in &options.transports {
        let (listen, security) = match name.as_str() {
            "tcp" | "tcp-tls" => ("/ip4/127.0.0.1/tcp/0", Security::Tls),
            "tcp-noise" => ("/ip4/127.0.0.1/tcp/0", Security::Noise),
            "quic" => ("/ip4/127.0.0.1/udp/0/quic-v1", Security::Both),
            other => return Err(format!("unknown transport {other}").into()),
        };
        let home = options.dir.join(format!("idle-{name}"));
        let largest = options.connections.iter().copied().max().unwrap_or(0);
        let most = (2 * largest + 100).to_string();
        let daemon = Daemon::start_with(
            options,
            &home,
            listen,
            &[
                ("P2P_MAX_CONNECTIONS", &most),
                ("P2P_MAX_INBOUND_CONNECTIONS", &most),
                ("P2P_MAX_INBOUND_RATE", "1000"),
                ("P2P_CONNECTION_IDLE_TIMEOUT", "24h"),
                ("P2P_KAD_PROTOCOL", NETWORK),
                ("P2P_TOPICS", TOPIC),
            ],
        )?;
        let address: Multiaddr = daemon.address()?.parse()?;
        let mut peers = Vec::new();
        let mut before = look(&daemon, 0)?;
        println!("{}", row(name, &before, None));
        for &connections in &options.connections {
            let more = connections.saturating_sub(peers.len());
            peers.extend(block_on(connect(&address, security, options.full, more))?);
            let cost = look(&daemon, connections)?;
            let here = connected(&daemon)?;
            if here != connections {
                return Err(format!("{here} of {connections} connections are left").into());
            }
            println!("{}", row(name, &cost, Some(&before)));
            before = cost;
        }
        if scrapes.is_empty() {
            // What carries the connections makes no difference to it.
            scrapes = scrape::lines(daemon.http, peers.len())?;
        }
        daemon.stop()?;
        for peer in peers {
            block_on(peer.cancel());
        }
    }
    println!();
    println!("{}\n{}\n", scrape::head(), scrapes.join("\n"));
    Ok(())
}

fn row(transport: &str, now: &Cost, before: Option<&Cost>) -> String {
    let each = before.map_or("| | | |".into(), |before| {
        let more = (now.connections - before.connections) as f64;
        format!(
            "| {:.1} | {:.1} | {:.0} |",
            (now.resident - before.resident) / more,
            (now.anonymous - before.anonymous) / more,
            (now.cpu - before.cpu) / more * 1e3
        )
    });
    format!(
        "| {transport} | {} | {:.0} | {:.0} | {:.2} {each}",
        now.connections, now.resident, now.anonymous, now.cpu
    )
}

/// What it costs once it is at rest.
fn look(daemon: &Daemon, connections: usize) -> Result<Cost> {
    std::thread::sleep(QUIET);
    let (begun, used) = (Instant::now(), daemon.cpu());
    std::thread::sleep(WATCHED);
    let cpu = (daemon.cpu() - used) / begun.elapsed().as_secs_f64() * 1e3;
    Ok(Cost {
        connections,
        resident: daemon.memory("VmRSS"),
        anonymous: daemon.memory("RssAnon"),
        cpu,
    })
}

fn connected(daemon: &Daemon) -> Result<usize> {
    let (peers, ..) = daemon.run(&["--json", "peers"])?;
    let peers: serde_json::Value = serde_json::from_str(&peers)?;
    Ok(peers.as_array().map_or(0, Vec::len))
}

/// What the peers with a DHT and a topic share with the node.
const NETWORK: &str = "/bench/kad/1.0.0";
const TOPIC: &str = "bench";

#[derive(NetworkBehaviour)]
struct Peer {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kad: Toggle<kad::Behaviour<kad::store::MemoryStore>>,
    gossip: Toggle<gossipsub::Behaviour>,
}

impl Peer {
    fn new(identity: &Keypair, full: bool) -> Result<Self> {
        let local = identity.public().to_peer_id();
        let dht = || {
            let config = kad::Config::new(StreamProtocol::new(NETWORK));
            let store = kad::store::MemoryStore::new(local);
            let mut dht = kad::Behaviour::with_config(local, store, config);
            dht.set_mode(Some(kad::Mode::Server));
            dht
        };
        let topic = || -> Result<gossipsub::Behaviour> {
            let signed = gossipsub::MessageAuthenticity::Signed(identity.clone());
            let mut gossip = gossipsub::Behaviour::new(signed, gossipsub::Config::default())?;
            gossip.subscribe(&gossipsub::IdentTopic::new(TOPIC))?;
            Ok(gossip)
        };
        Ok(Peer {
            identify: identify::Behaviour::new(identify::Config::new(
                "bench".into(),
                identity.public(),
            )),
            ping: ping::Behaviour::default(),
            kad: full.then(dht).into(),
            gossip: full.then(topic).transpose()?.into(),
        })
    }
}

/// Peers that stay until they are cancelled.
async fn connect(
    to: &Multiaddr,
    security: Security,
    full: bool,
    count: usize,
) -> Result<Vec<JoinHandle<()>>> {
    let mut peers = Vec::new();
    while peers.len() < count {
        let some = AT_ONCE.min(count - peers.len());
        let some = (0..some).map(|_| peer(to.clone(), security, full));
        for peer in futures::future::join_all(some).await {
            peers.push(peer?);
        }
    }
    Ok(peers)
}

/// One that is connected and identified.
async fn peer(to: Multiaddr, security: Security, full: bool) -> Result<JoinHandle<()>> {
    let identity = Keypair::generate_ed25519();
    let options = transport::Options {
        security,
        ..Default::default()
    };
    let (stack, _relay) = transport::build(&identity, &options)?;
    let behaviour = Peer::new(&identity, full)?;
    let config = libp2p::swarm::Config::with_executor(|task| {
        spawn(task);
    })
    .with_idle_connection_timeout(Duration::from_secs(24 * 3600));
    let local = identity.public().to_peer_id();
    let mut swarm = Swarm::new(stack, behaviour, local, config);
    let begun = Instant::now();
    swarm.dial(to)?;
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        match async_std::future::timeout(left, swarm.select_next_some()).await? {
            SwarmEvent::Behaviour(PeerEvent::Identify(identify::Event::Received { .. })) => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            SwarmEvent::ConnectionClosed { cause, .. } => {
                return Err(format!("the node closed the connection: {cause:?}").into());
            }
            _ => {}
        }
    }
    Ok(spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    }))
}
