//! Bytes under the node's ceilings, and streams within their limits: real
//! daemons for what the operator sets, nodes in one process for what programs see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{DEADLINE, Daemon, eventually, same_bytes, write_noise};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use p2p_node::config::DhtMode;
use p2p_node::node::{Handle, Node, Options};
use p2p_node::observe::metrics::Metrics;
use p2p_node::transport;

const MIB: u64 = 1 << 20;

/// What each transport listens on.
const TRANSPORTS: [(&str, &str); 2] = [
    ("tcp", "/ip4/127.0.0.1/tcp/0"),
    ("quic-v1", "/ip4/127.0.0.1/udp/0/quic-v1"),
];

/// A daemon, and where its metrics are.
struct Observed {
    daemon: Daemon,
    metrics: String,
}

impl Observed {
    fn start(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("P2P_LOG_FORMAT", "json"), ("P2P_DHT_MODE", "server")];
        all.extend(variables);
        let daemon = Daemon::start(dir, &all);
        let metrics = eventually("the daemon says where its metrics are", || {
            let log = daemon.log();
            let mut lines = log.lines().filter_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                Some(line["metrics"].as_str()?.to_owned())
            });
            lines.next()
        });
        Observed { daemon, metrics }
    }

    /// Sum of the samples whose name, with labels, begins so.
    fn metric(&self, sample: &str) -> u64 {
        let mut socket = TcpStream::connect(&self.metrics).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let samples = text.lines().filter(|line| line.starts_with(sample));
        let sum: f64 = samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        sum as u64
    }

    fn bulk(&self, direction: &str) -> u64 {
        self.metric(&format!(
            "p2p_bandwidth_bytes_total{{class=\"bulk\",direction=\"{direction}\"}}"
        ))
    }

    /// Puts a file of noise; its CID and path.
    fn put(&self, dir: &Path, bytes: u64, seed: u64) -> (String, std::path::PathBuf) {
        let file = dir.join(format!("noise-{seed}"));
        write_noise(&file, bytes, seed);
        (self.daemon.ok(&["put", file.to_str().unwrap()]), file)
    }
}

/// What a ceiling of `rate` lets through in `time` at most: what `node/bandwidth`
/// says of its burst and its largest grant.
fn allowed(rate: u64, time: Duration) -> f64 {
    rate as f64 * time.as_secs_f64() + (rate / 10) as f64 + (64 << 10) as f64
}

#[test]
fn a_transfer_keeps_below_the_ceiling_of_the_sender_and_of_the_receiver() {
    const RATE: u64 = 4 * MIB;
    const SIZE: u64 = 8 * MIB;
    for (transport, listen) in TRANSPORTS {
        for limited in ["P2P_MAX_UPLOAD_RATE", "P2P_MAX_DOWNLOAD_RATE"] {
            let dir = tempfile::tempdir().unwrap();
            let variables = |name| {
                let rate = if name == limited { "4MiB" } else { "unlimited" };
                [("P2P_LISTEN_ADDRS", listen), (name, rate)]
            };
            let source = Observed::start(&dir.path().join("a"), &variables("P2P_MAX_UPLOAD_RATE"));
            let sink = Observed::start(&dir.path().join("b"), &variables("P2P_MAX_DOWNLOAD_RATE"));
            let (cid, file) = source.put(dir.path(), SIZE, 1);
            sink.daemon
                .ok(&["connect", &source.daemon.address(transport)]);
            let out = dir.path().join("out");
            let begin = Instant::now();
            sink.daemon.ok(&["get", &cid, "-o", out.to_str().unwrap()]);
            let time = begin.elapsed();
            assert!(same_bytes(&file, &out));
            let most = allowed(RATE, time);
            assert!(
                (SIZE as f64) <= most,
                "{SIZE} bytes in {time:?} over {transport} with {limited}; {most} are allowed"
            );
            let (by, direction) = match limited {
                "P2P_MAX_UPLOAD_RATE" => (&source, "out"),
                _ => (&sink, "in"),
            };
            assert!(by.bulk(direction) >= SIZE, "all of it is counted");
            let waits =
                format!("p2p_bandwidth_waits_total{{class=\"bulk\",direction=\"{direction}\"}}");
            assert!(by.metric(&waits) > 0, "{limited} over {transport}");
        }
    }
}

#[test]
fn two_peers_get_as_much_though_one_has_many_streams() {
    let dir = tempfile::tempdir().unwrap();
    let source = Observed::start(&dir.path().join("a"), &[("P2P_MAX_UPLOAD_RATE", "1MiB")]);
    let many = Observed::start(&dir.path().join("b"), &[]);
    let one = Observed::start(&dir.path().join("c"), &[]);
    for sink in [&many, &one] {
        sink.daemon.ok(&["connect", &source.daemon.address("tcp")]);
    }
    let mut greedy: Vec<_> = (0..6)
        .map(|seed| {
            let (cid, _) = source.put(dir.path(), 8 * MIB, seed);
            let out = dir.path().join(format!("greedy-{seed}"));
            let mut get = many
                .daemon
                .command(&["get", &cid, "-o", out.to_str().unwrap()]);
            get.stdout(Stdio::null()).stderr(Stdio::null());
            get.spawn().unwrap()
        })
        .collect();
    let (cid, _) = source.put(dir.path(), 3 * MIB, 100);
    eventually("the greedy peer has its streams", || {
        (many.bulk("in") > 2 * MIB).then_some(())
    });
    let before = many.bulk("in");
    let out = dir.path().join("out");
    one.daemon.ok(&["get", &cid, "-o", out.to_str().unwrap()]);
    let greedy_got = many.bulk("in") - before;
    for get in &mut greedy {
        let _ = get.kill();
        let _ = get.wait();
    }
    // Shared by streams it would be six times as much, 18 MiB.
    assert!(
        (MIB..8 * MIB).contains(&greedy_got),
        "one stream got 3 MiB, six streams of another peer {greedy_got} bytes"
    );
}

#[test]
fn gossip_passes_while_a_transfer_fills_the_ceiling() {
    let dir = tempfile::tempdir().unwrap();
    let ceiling = [
        ("P2P_MAX_UPLOAD_RATE", "64KiB"),
        ("P2P_TOPICS", "news"),
        ("P2P_GOSSIP_HEARTBEAT", "200ms"),
    ];
    let source = Observed::start(&dir.path().join("a"), &ceiling);
    let sink = Observed::start(&dir.path().join("b"), &ceiling[1..]);
    sink.daemon.ok(&["connect", &source.daemon.address("tcp")]);
    let mut subscriber = sink.daemon.command(&["subscribe", "news"]);
    let mut subscriber = subscriber.stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    // At 64 KiB/s this takes 17 minutes: it goes on as long as the test.
    let (cid, _) = source.put(dir.path(), 64 * MIB, 1);
    let out = dir.path().join("out");
    let mut get = sink
        .daemon
        .command(&["get", &cid, "-o", out.to_str().unwrap()]);
    let mut get = get
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the transfer is held to the ceiling", || {
        let waits = source.metric("p2p_bandwidth_waits_total{class=\"bulk\",direction=\"out\"}");
        (sink.bulk("in") > MIB / 4 && waits > 0).then_some(())
    });
    eventually("the two are in one mesh", || {
        (source.metric("libp2p_gossipsub_peers") > 0).then_some(())
    });
    for n in 0..10 {
        let message = format!("message {n}");
        source.daemon.ok(&["publish", "news", &message]);
        let line = heard.next().unwrap().unwrap();
        assert!(line.contains(&message), "{line}");
    }
    assert_eq!(get.try_wait().unwrap(), None, "the transfer still runs");
    for child in [&mut get, &mut subscriber] {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A node in this process.
struct Running {
    _node: Node,
    handle: Handle,
    peer: PeerId,
    address: Multiaddr,
}

async fn start(listen: &str, inbound: usize, outbound: usize, idle: Duration) -> Running {
    let identity = Keypair::generate_ed25519();
    let transport = transport::Options {
        max_inbound_streams: inbound,
        max_outbound_streams: outbound,
        ..transport::Options::default()
    };
    let options = Options {
        dht_mode: DhtMode::Server,
        max_inbound_streams: inbound,
        max_outbound_streams: outbound,
        stream_idle_timeout: idle,
        ..Options::default()
    };
    let (stack, relay) = transport::build(&identity, &transport).unwrap();
    let node = Node::start(&identity, stack, relay, options, Metrics::new().unwrap()).unwrap();
    let handle = node.handle();
    let peer = handle.local_peer_id();
    let address = handle.listen(listen.parse().unwrap()).await.unwrap();
    Running {
        _node: node,
        handle,
        peer,
        address: address.with(Protocol::P2p(peer)),
    }
}

fn run(test: impl Future<Output = ()>) {
    async_std::task::block_on(async {
        async_std::future::timeout(DEADLINE, test)
            .await
            .expect("the test hangs");
    });
}

const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1.0.0");

#[test]
fn a_stream_on_which_nothing_moves_ends_at_both_ends() {
    for (transport, listen) in TRANSPORTS {
        run(async {
            // Only one end has so short a limit: the other hears of it.
            let a = start(listen, 128, 256, Duration::from_millis(300)).await;
            let b = start(listen, 128, 256, Duration::from_secs(3600)).await;
            let mut incoming = b.handle.accept(ECHO).unwrap();
            a.handle.dial(b.address.clone()).await.unwrap();
            // One that is read from, and nothing comes.
            let (mut silent, _) = a.handle.open_stream(b.peer, &[ECHO]).await.unwrap();
            silent.write_all(b"x").await.unwrap();
            silent.flush().await.unwrap();
            let (_, mut other) = incoming.next().await.unwrap();
            let mut byte = [0];
            other.read_exact(&mut byte).await.unwrap();
            let error = silent.read(&mut byte).await.unwrap_err();
            assert!(
                error.to_string().contains("P2P_STREAM_IDLE_TIMEOUT"),
                "{transport}: {error}"
            );
            drop(silent);
            let end = other.read(&mut byte).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{transport}: {end:?}");
            // One that is written to, and never read.
            let (mut full, _) = a.handle.open_stream(b.peer, &[ECHO]).await.unwrap();
            let chunk = vec![0; 64 << 10];
            let error = loop {
                if let Err(error) = full.write_all(&chunk).await {
                    break error;
                }
            };
            assert!(
                error.to_string().contains("P2P_STREAM_IDLE_TIMEOUT"),
                "{transport}: {error}"
            );
            // One that nobody uses at all.
            let (unused, _) = a.handle.open_stream(b.peer, &[ECHO]).await.unwrap();
            assert_eq!(unused.over().await, Duration::from_millis(300));
        });
    }
}

#[test]
fn streams_of_a_connection_are_limited_both_ways_and_the_refusal_says_by_whom() {
    for (transport, listen) in TRANSPORTS {
        run(async {
            let idle = Duration::from_secs(3600);
            // Outbound: of 16, an eighth is kept for the node's own protocols.
            let a = start(listen, 128, 16, idle).await;
            let b = start(listen, 128, 256, idle).await;
            let _incoming = b.handle.accept(ECHO).unwrap();
            a.handle.dial(b.address.clone()).await.unwrap();
            let mut open = Vec::new();
            let refusal = loop {
                match a.handle.open_stream(b.peer, &[ECHO]).await {
                    Ok(stream) => open.push(stream),
                    Err(e) => break e.to_string(),
                }
            };
            assert_eq!(open.len(), 14, "{transport}");
            assert!(
                refusal.contains("limit of this node")
                    && refusal.contains("P2P_MAX_OUTBOUND_STREAMS"),
                "{transport}: {refusal}"
            );
            // The node's own protocols have theirs.
            a.handle.find_peer(PeerId::random()).await.ok();
            open.pop();
            a.handle.open_stream(b.peer, &[ECHO]).await.unwrap();
            drop(open);

            // Inbound, at the other end, whatever the opener may have.
            let strict = start(listen, 16, 256, idle).await;
            let _incoming = strict.handle.accept(ECHO).unwrap();
            b.handle.dial(strict.address.clone()).await.unwrap();
            let mut open = Vec::new();
            let refusal = loop {
                match b.handle.open_stream(strict.peer, &[ECHO]).await {
                    Ok(stream) => open.push(stream),
                    Err(e) => break e.to_string(),
                }
            };
            assert!(
                (8..=16).contains(&open.len()),
                "{transport}: {}",
                open.len()
            );
            // yamux resets, and QUIC gives no credit, so that nothing comes.
            let theirs = match transport {
                "tcp" => "the peer's own limit",
                _ => "or allows no more streams on the connection",
            };
            assert!(refusal.contains(theirs), "{transport}: {refusal}");
        });
    }
}
