//! Bandwidth limits and limits on streams: with real daemons for what the operator sets,
//! and with nodes in one process for what programs see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/local.rs"]
mod local;

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::task::Poll;
use std::time::{Duration, Instant};

use common::{DEADLINE, Daemon, Process, eventually, eventually_async, same_bytes, write_noise};
use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::muxing::StreamMuxerExt;
use libp2p::core::transport::{DialOpts, PortUse, Transport};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use local::{Running, Setup, options};
use p2p_node::control::Client;
use p2p_node::node::Options;
use p2p_node::peers::Policy;
use p2p_node::transport;

const MIB: u64 = 1 << 20;

/// What each transport listens on.
const TRANSPORTS: [(&str, &str); 2] = [
    ("tcp", "/ip4/127.0.0.1/tcp/0"),
    ("quic-v1", "/ip4/127.0.0.1/udp/0/quic-v1"),
];

/// A daemon and the address of its metrics.
struct Observed {
    daemon: Daemon,
}

impl Observed {
    fn start(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("P2P_DHT_MODE", "server")];
        all.extend(variables);
        let daemon = Daemon::start(dir, &all);
        Observed { daemon }
    }

    /// Returns the sum of the samples whose name, with labels, begins with this text.
    fn metric(&self, sample: &str) -> u64 {
        self.daemon.metric_sum(sample) as u64
    }

    fn bulk(&self, direction: &str) -> u64 {
        self.metric(&format!(
            "p2p_bandwidth_bytes_total{{class=\"bulk\",direction=\"{direction}\"}}"
        ))
    }

    /// Puts a file of noise, and returns its CID and its path.
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
    let greedy: Vec<_> = (0..6)
        .map(|seed| {
            let (cid, _) = source.put(dir.path(), 8 * MIB, seed);
            let out = dir.path().join(format!("greedy-{seed}"));
            let mut get = many
                .daemon
                .command(&["get", &cid, "-o", out.to_str().unwrap()]);
            get.stdout(Stdio::null()).stderr(Stdio::null());
            Process::spawn(&mut get)
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
    drop(greedy);
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
    let mut subscriber = Process::spawn(subscriber.stdout(Stdio::piped()));
    let mut heard = BufReader::new(subscriber.take_stdout()).lines();
    // At 64 KiB/s this takes 17 minutes, which is longer than the test.
    let (cid, _) = source.put(dir.path(), 64 * MIB, 1);
    let out = dir.path().join("out");
    let mut get = sink
        .daemon
        .command(&["get", &cid, "-o", out.to_str().unwrap()]);
    let mut get = Process::spawn(get.stdout(Stdio::null()).stderr(Stdio::null()));
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
    assert_eq!(get.ended(), None, "the transfer still runs");
}

async fn start(listen: &str, inbound: usize, outbound: usize, idle: Duration) -> Running {
    start_with(listen, inbound, outbound, idle, Policy::default()).await
}

async fn start_with(
    listen: &str,
    inbound: usize,
    outbound: usize,
    idle: Duration,
    policy: Policy,
) -> Running {
    let setup = Setup {
        transport: transport::Options {
            max_inbound_streams: inbound,
            max_outbound_streams: outbound,
            ..transport::Options::default()
        },
        listen: listen.into(),
        options: Options {
            max_inbound_streams: inbound,
            max_outbound_streams: outbound,
            stream_idle_timeout: idle,
            policy,
            ..options()
        },
        ..Setup::default()
    };
    setup.start().await
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
            // Only one end has so short a limit. It tells the other end.
            let a = start(listen, 128, 256, Duration::from_millis(300)).await;
            let b = start(listen, 128, 256, Duration::from_secs(3600)).await;
            let mut incoming = b.handle.accept(ECHO).unwrap();
            a.handle.dial(b.address.clone()).await.unwrap();
            // This stream is read from, and nothing arrives.
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
            // This stream is written to, and the other end never reads.
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
            // Neither end uses this stream.
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
            // Outbound: of 16, six are kept for the node's own protocols.
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
            assert_eq!(open.len(), 10, "{transport}");
            assert!(
                refusal.contains("limit of this node")
                    && refusal.contains("P2P_MAX_OUTBOUND_STREAMS"),
                "{transport}: {refusal}"
            );
            // The node's own protocols have the rest.
            if let Err(error) = a.handle.find_peer(PeerId::random()).await {
                let error = error.to_string();
                assert!(
                    !error.contains("no DHT peer answered"),
                    "{transport}: {error}"
                );
            }
            open.pop();
            a.handle.open_stream(b.peer, &[ECHO]).await.unwrap();
            drop(open);

            // The other end limits inbound streams, whatever the opener's limit is.
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

#[test]
fn a_flood_of_streams_ends_the_connection_and_costs_reputation() {
    run(async {
        let policy = Policy::default();
        let idle = Duration::from_secs(3600);
        let victim = start_with(TRANSPORTS[0].1, 128, 256, idle, policy.clone()).await;
        let identity = Keypair::generate_ed25519();
        let attacker = identity.public().to_peer_id();
        let options = transport::Options {
            max_outbound_streams: 100_000,
            ..transport::Options::default()
        };
        let (mut stack, _relay) = transport::build(&identity, &options).unwrap();
        let how = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let mut dial = stack.dial(victim.address.clone(), how).unwrap();
        let (_, mut muxer) = poll_fn(|cx| {
            let _ = Pin::new(&mut stack).poll(cx);
            dial.poll_unpin(cx)
        })
        .await
        .unwrap();
        let mut opened = 0;
        poll_fn(|cx| {
            for _ in 0..100 {
                match muxer.poll_outbound_unpin(cx) {
                    // Each of them is closed at once.
                    Poll::Ready(Ok(mut stream)) => {
                        let _ = Pin::new(&mut stream).poll_write(cx, b"x");
                        opened += 1;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if let Poll::Ready(Err(_)) = muxer.poll_unpin(cx) {
                return Poll::Ready(());
            }
            assert!(opened < 1_000_000, "never cut off");
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        eventually_async("the attacker is held to account", async || {
            (policy.score_of(&attacker, Instant::now()) < 0.0).then_some(())
        })
        .await;
    });
}

/// A program that takes the streams of `protocol` for a daemon.
fn handler(daemon: &Daemon, dir: &Path, protocol: &str) -> UnixListener {
    let path = dir.join("handler.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = Multiaddr::from(Protocol::Unix(path.to_str().unwrap().into()));
    async_std::task::block_on(async {
        let mut client = Client::connect(daemon.socket()).await.unwrap();
        client.handle_streams(&address, &[protocol]).await.unwrap();
    });
    listener
}

fn peer_of(daemon: &Daemon) -> PeerId {
    daemon.json(&["id"])["peer_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn programs_at_both_ends_see_that_an_idle_stream_ended() {
    let dir = tempfile::tempdir().unwrap();
    let a = Observed::start(&dir.path().join("a"), &[("P2P_STREAM_IDLE_TIMEOUT", "1s")]);
    let b = Observed::start(&dir.path().join("b"), &[]);
    let listener = handler(&b.daemon, dir.path(), "/test/idle/1");
    a.daemon.ok(&["connect", &b.daemon.address("tcp")]);
    let peer = peer_of(&b.daemon);
    // It has carried a byte before anything else can happen to it.
    let taken = std::thread::spawn(move || {
        let (mut theirs, _) = listener.accept().unwrap();
        theirs.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut all = Vec::new();
        let end = theirs.read_to_end(&mut all);
        (all, end.map_err(|e| e.kind()))
    });
    run(async {
        let client = Client::connect(a.daemon.socket()).await.unwrap();
        let stream = client.open_stream(peer, &["/test/idle/1"], None).await;
        let mut ours = stream.unwrap().io;
        ours.write_all(b"only this").await.unwrap();
        let mut rest = Vec::new();
        let end = ours.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
        assert!(
            matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() != std::io::ErrorKind::TimedOut)
        );
    });
    let (all, end) = taken.join().unwrap();
    assert!(all.ends_with(b"only this"), "{all:?}");
    assert_ne!(end, Err(std::io::ErrorKind::WouldBlock), "it never ended");
    eventually("the log says why", || {
        let log = a.daemon.log();
        log.contains("moved on it for P2P_STREAM_IDLE_TIMEOUT")
            .then_some(())
    });
    assert_eq!(a.metric("p2p_streams_idle_closed_total"), 1);
}

/// Opens streams through the control socket until one is refused: how many, and
/// the refusal.
async fn open_until_refused(daemon: &Daemon, peer: PeerId, protocol: &str) -> (usize, String) {
    let mut open = Vec::new();
    loop {
        let client = Client::connect(daemon.socket()).await.unwrap();
        match client.open_stream(peer, &[protocol], None).await {
            Ok(stream) => open.push(stream),
            Err(e) => return (open.len(), e.to_string()),
        }
    }
}

#[test]
fn a_program_that_opens_too_many_streams_is_told_whose_limit_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let a = Observed::start(&dir.path().join("a"), &[("P2P_MAX_OUTBOUND_STREAMS", "16")]);
    let b = Observed::start(&dir.path().join("b"), &[("P2P_MAX_INBOUND_STREAMS", "24")]);
    let c = Observed::start(&dir.path().join("c"), &[]);
    let listener = handler(&b.daemon, dir.path(), "/test/many/1");
    std::thread::spawn(move || {
        let taken: Vec<UnixStream> = listener.incoming().map_while(Result::ok).collect();
        drop(taken);
    });
    let peer = peer_of(&b.daemon);
    for opener in [&a, &c] {
        opener.daemon.ok(&["connect", &b.daemon.address("tcp")]);
    }
    run(async {
        let (open, refusal) = open_until_refused(&a.daemon, peer, "/test/many/1").await;
        assert_eq!(open, 10, "six are kept");
        assert!(
            refusal.contains("limit of this node") && refusal.contains("P2P_MAX_OUTBOUND_STREAMS"),
            "{refusal}"
        );
        let (open, refusal) = open_until_refused(&c.daemon, peer, "/test/many/1").await;
        assert!((12..=24).contains(&open), "{open}");
        assert!(refusal.contains("the peer's own limit"), "{refusal}");
    });
}
