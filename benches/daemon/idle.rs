//! Memory that idle connections cost a node, and how long its metrics take then.
//!
//! Each comes from a peer of its own, which lets itself be identified, answers
//! pings and is silent otherwise: what a public node has most of.

use std::time::{Duration, Instant};

use async_std::task::{JoinHandle, block_on, sleep, spawn};
use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, identify, ping};
use p2p_node::transport;

use crate::node::Daemon;
use crate::{Options, Result, scrape};

/// How long the node is left alone before its memory is read: identify is over,
/// and some rounds of pings.
const QUIET: Duration = Duration::from_secs(30);

/// How long a connection may take, of which at most [`AT_ONCE`] are being made.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fewer than the node's limit of handshakes under way.
const AT_ONCE: usize = 16;

pub(crate) fn measure(options: &Options) -> Result<()> {
    println!(
        "| {} idle connections | node alone, KiB: resident / anonymous | with them | KiB a connection: resident / anonymous |",
        options.connections
    );
    println!("|---|---|---|---|");
    let mut scrapes = Vec::new();
    for name in &options.transports {
        let listen = match name.as_str() {
            "tcp" => "/ip4/127.0.0.1/tcp/0",
            "quic" => "/ip4/127.0.0.1/udp/0/quic-v1",
            other => return Err(format!("unknown transport {other}").into()),
        };
        let home = options.dir.join(format!("idle-{name}"));
        let most = (2 * options.connections + 100).to_string();
        let daemon = Daemon::start_with(
            options,
            &home,
            listen,
            &[
                ("P2P_MAX_CONNECTIONS", &most),
                ("P2P_MAX_INBOUND_CONNECTIONS", &most),
                ("P2P_MAX_INBOUND_RATE", "1000"),
                ("P2P_CONNECTION_IDLE_TIMEOUT", "24h"),
            ],
        )?;
        let before = memory(&daemon)?;
        let address: Multiaddr = daemon.address()?.parse()?;
        let peers = block_on(connect(&address, options.connections))?;
        block_on(sleep(QUIET));
        let here = connected(&daemon)?;
        if here != options.connections {
            return Err(format!("{here} of {} connections are left", options.connections).into());
        }
        let after = memory(&daemon)?;
        if scrapes.is_empty() {
            // What carries the connections makes no difference to it.
            scrapes = scrape::lines(daemon.port, options.connections)?;
        }
        daemon.stop()?;
        for peer in peers {
            block_on(peer.cancel());
        }
        let each = |n: usize| (after[n] - before[n]) / options.connections as f64;
        println!(
            "| {name} | {:.0} / {:.0} | {:.0} / {:.0} | {:.1} / {:.1} |",
            before[0],
            before[1],
            after[0],
            after[1],
            each(0),
            each(1)
        );
    }
    println!();
    println!("{}\n{}\n", scrape::head(), scrapes.join("\n"));
    Ok(())
}

/// Resident and anonymous KiB, after a while of rest.
fn memory(daemon: &Daemon) -> Result<[f64; 2]> {
    std::thread::sleep(Duration::from_secs(10));
    Ok([daemon.memory("VmRSS")?, daemon.memory("RssAnon")?])
}

fn connected(daemon: &Daemon) -> Result<usize> {
    let (peers, ..) = daemon.run(&["--json", "peers"])?;
    let peers: serde_json::Value = serde_json::from_str(&peers)?;
    Ok(peers.as_array().map_or(0, Vec::len))
}

#[derive(NetworkBehaviour)]
struct Bare {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Peers that stay until they are cancelled.
async fn connect(to: &Multiaddr, count: usize) -> Result<Vec<JoinHandle<()>>> {
    let mut peers = Vec::new();
    while peers.len() < count {
        let some = AT_ONCE.min(count - peers.len());
        let some = (0..some).map(|_| peer(to.clone()));
        for peer in futures::future::join_all(some).await {
            peers.push(peer?);
        }
    }
    Ok(peers)
}

/// One that is connected and identified.
async fn peer(to: Multiaddr) -> Result<JoinHandle<()>> {
    let identity = Keypair::generate_ed25519();
    let (stack, _relay) = transport::build(&identity, &transport::Options::default())?;
    let config = identify::Config::new("bench".into(), identity.public());
    let behaviour = Bare {
        identify: identify::Behaviour::new(config),
        ping: ping::Behaviour::default(),
    };
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
            SwarmEvent::Behaviour(BareEvent::Identify(identify::Event::Received { .. })) => break,
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
