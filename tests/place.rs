//! A place in the network, as users see it: connections that stay open even when nobody
//! uses them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/local.rs"]
mod local;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Daemon, eventually, eventually_async, own_address};
use libp2p::PeerId;
use local::{Running, Setup};
use p2p_node::config::DhtMode;
use p2p_node::node::Options;
use p2p_node::transport::{self, Security};

/// A daemon whose env file can change.
struct Host {
    daemon: Daemon,
}

impl Host {
    fn start(dir: &Path, variables: &[(&str, &str)]) -> Host {
        std::fs::create_dir_all(dir).unwrap();
        let file = dir.join("env");
        if !file.exists() {
            std::fs::write(&file, "").unwrap();
        }
        let mut all = vec![("P2P_ENV_FILE", file.to_str().unwrap())];
        all.extend(variables);
        let daemon = Daemon::start(dir, &all);
        Host { daemon }
    }

    fn reload(&self, dir: &Path, text: &str) {
        std::fs::write(dir.join("env"), text).unwrap();
        self.daemon.ok(&["reload"]);
    }

    fn id(&self) -> String {
        self.daemon.id()
    }

    fn metric(&self, name: &str) -> f64 {
        self.daemon.metric(name)
    }

    fn opened(&self) -> f64 {
        self.metric("libp2p_connections_opened_total")
    }

    fn kept(&self) -> f64 {
        self.metric("libp2p_connections_kept")
    }

    fn missing(&self) -> f64 {
        self.metric("libp2p_connections_missing")
    }

    /// Waits until the connection with `peer` is at least this old.
    fn stands_for(&self, peer: &str, seconds: f64) {
        eventually("a connection stands for long", || {
            let peers = self.daemon.json(&["peers"]);
            let connections = peers.as_array().unwrap().iter();
            let of_peer = connections.filter(|p| p["peer_id"] == *peer);
            let age = of_peer
                .flat_map(|p| p["connections"].as_array().unwrap())
                .filter_map(|c| c["age_seconds"].as_f64())
                .fold(0.0, f64::max);
            (age >= seconds).then_some(())
        });
    }
}

const IDLE: (&str, &str) = ("P2P_CONNECTION_IDLE_TIMEOUT", "2s");

#[test]
fn a_quiet_node_with_one_bootstrap_peer_stays_connected() {
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = Host::start(&dir.path().join("b"), &[IDLE]);
    let address = bootstrap.daemon.address("tcp");
    let quiet = Host::start(
        &dir.path().join("q"),
        &[IDLE, ("P2P_BOOTSTRAP_PEERS", &address)],
    );
    for (host, why) in [(&quiet, "floor"), (&bootstrap, "asked")] {
        eventually("both keep the connection, and say why", || {
            let peers = host.daemon.json(&["peers"]);
            let reasons = peers[0]["kept_for"].as_array()?;
            let said = reasons.iter().any(|r| r == why);
            (host.kept() == 1.0 && said).then_some(())
        });
        let table = host.daemon.ok(&["peers"]);
        assert!(table.contains("KEPT FOR") && table.contains(why), "{table}");
    }
    let before = (quiet.opened(), bootstrap.opened());
    // Five idle timeouts of either side.
    quiet.stands_for(&bootstrap.id(), 10.0);
    assert_eq!((quiet.opened(), bootstrap.opened()), before);
    // In a small network it is no fault that it knows nobody else.
    assert_eq!((quiet.missing(), bootstrap.missing()), (0.0, 0.0));
}

#[test]
fn neighbours_are_missing_where_those_that_are_known_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // There is room to keep one connection.
    let hub = Host::start(
        &path("hub"),
        &[
            IDLE,
            ("P2P_DHT_MODE", "server"),
            ("P2P_MIN_PEERS", "0"),
            ("P2P_MAX_CONNECTIONS", "2"),
        ],
    );
    let address = hub.daemon.address("tcp");
    let kept = Host::start(&path("kept"), &[IDLE]);
    kept.daemon.ok(&["connect", &address]);
    eventually("the hub keeps the first", || {
        (hub.kept() == 1.0).then_some(())
    });
    let refused = Host::start(&path("refused"), &[IDLE]);
    refused.daemon.ok(&["connect", &address]);
    eventually("the second one misses a neighbour", || {
        (refused.missing() == 1.0).then_some(())
    });
    assert_eq!(kept.missing(), 0.0);
    let diagnosis = refused.daemon.cli(&["diag"]);
    let text = String::from_utf8(diagnosis.stdout).unwrap();
    assert!(text.contains("it looks for 1 more"), "{text}");
}

/// Peers in the routing table of a host.
fn known(host: &Host) -> u64 {
    let status = host.daemon.json(&["status"]);
    status["dht"]["routing_table_size"].as_u64().unwrap()
}

/// A DHT server at an address that no other daemon here has, which dials nobody.
fn elsewhere(dir: &Path) -> Host {
    Host::start(
        dir,
        &[
            ("P2P_DHT_MODE", "server"),
            ("P2P_MIN_PEERS", "0"),
            ("P2P_LISTEN_ADDRS", "/ip4/127.0.0.2/tcp/0"),
        ],
    )
}

/// Waits until a host has `connected` peers, knows no others, and misses none.
fn misses_nobody(host: &Host, connected: usize) {
    eventually("who is refused is forgotten, and not missing", || {
        let peers = host.daemon.json(&["peers"]);
        let left = peers.as_array().unwrap().len() == connected;
        let forgotten = known(host) == connected as u64;
        (left && forgotten && host.missing() == 0.0).then_some(())
    });
    let diagnosis = host.daemon.cli(&["diag"]);
    let text = String::from_utf8(diagnosis.stdout).unwrap();
    assert!(!text.contains("it looks for"), "{text}");
}

#[test]
fn banned_peers_are_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let server = ("P2P_DHT_MODE", "server");
    let friend = Host::start(&path("friend"), &[server]);
    let by_id = Host::start(&path("by_id"), &[server]);
    let by_address = elsewhere(&path("by_address"));
    let host = Host::start(&path("host"), &[server]);
    for other in [&friend, &by_id, &by_address] {
        host.daemon.ok(&["connect", &other.daemon.address("tcp")]);
    }
    eventually("all are known", || (known(&host) == 3).then_some(()));
    host.daemon.ok(&["ban", &by_id.id(), "127.0.0.2/32"]);
    misses_nobody(&host, 1);
}

#[test]
fn peers_in_a_network_that_is_denied_are_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let other = elsewhere(&path("other"));
    let host = Host::start(&path("host"), &[]);
    host.daemon.ok(&["connect", &other.daemon.address("tcp")]);
    eventually("it is known", || (known(&host) == 1).then_some(()));
    host.reload(&path("host"), "P2P_DENY_CIDRS=127.0.0.2/32\n");
    misses_nobody(&host, 0);
}

#[test]
fn a_peer_of_p2p_peering_is_connected_whatever_is_full_and_again_when_it_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let none = ("P2P_MIN_PEERS", "0");
    let hub = Host::start(&path("hub"), &[IDLE, none, ("P2P_MAX_CONNECTIONS", "1")]);
    let stranger = Host::start(&path("stranger"), &[none]);
    // It gets the only place, and keeps it.
    let at_hub = hub.daemon.address("tcp");
    stranger.reload(&path("stranger"), &format!("P2P_PEERING={at_hub}\n"));
    stranger.stands_for(&hub.id(), 1.0);

    let listen = own_address();
    let friend = || {
        let variables = [none, IDLE, ("P2P_LISTEN_ADDRS", &listen)];
        Host::start(&path("friend"), &variables)
    };
    let first = friend();
    let (id, at_friend) = (first.id(), first.daemon.address("tcp"));
    assert!(
        !hub.daemon.cli(&["connect", &at_friend]).status.success(),
        "the hub has room for one"
    );
    hub.reload(&path("hub"), &format!("P2P_PEERING={at_friend}\n"));
    hub.stands_for(&id, 6.0);
    assert_eq!(first.opened(), 1.0);
    let failed = || hub.metric("p2p_peer_dial_failures_total");
    let before = failed();
    assert_eq!(first.daemon.stop(), Some(0));
    // It is away for so long that the pauses between dials have grown. Then it starts
    // again at the same address.
    eventually("the hub tries again and again", || {
        (failed() >= before + 4.0).then_some(())
    });
    let second = friend();
    hub.stands_for(&id, 6.0);
    assert_eq!(second.kept(), 1.0);
    assert_eq!(hub.kept(), 2.0);
    // When the configuration no longer names it, nothing keeps the connection.
    hub.reload(&path("hub"), "");
    eventually("the friend is let go", || (hub.kept() == 1.0).then_some(()));
}

#[test]
fn a_peer_of_p2p_peering_comes_in_by_itself_to_a_host_that_takes_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let none = ("P2P_MIN_PEERS", "0");
    let friend = || Host::start(&path("friend"), &[none, IDLE]);
    let before = friend();
    let (id, address) = (before.id(), before.daemon.address("tcp"));
    assert_eq!(before.daemon.stop(), Some(0));
    // Nobody listens there any more, so the dials of the hub fail.
    let hub = Host::start(
        &path("hub"),
        &[
            none,
            IDLE,
            ("P2P_PEERING", &address),
            ("P2P_MAX_INBOUND_CONNECTIONS", "0"),
            ("P2P_MAX_OUTBOUND_CONNECTIONS", "0"),
            ("P2P_MAX_CONNECTIONS_PER_PEER", "1"),
            ("P2P_MAX_INBOUND_RATE", "1"),
            // Less than a daemon has when it does nothing.
            ("P2P_MAX_MEMORY", "32MiB"),
        ],
    );
    let at_hub = hub.daemon.address("tcp");
    let stranger = Host::start(&path("stranger"), &[none]);
    let strange = stranger.daemon.cli(&["connect", &at_hub]);
    assert!(!strange.status.success(), "the hub takes nobody");
    // It listens at another address than the hub knows.
    let friend = friend();
    assert_eq!(friend.id(), id);
    friend.daemon.ok(&["connect", &at_hub]);
    hub.stands_for(&id, 6.0);
    assert_eq!((hub.opened(), hub.kept()), (1.0, 1.0));
}

#[test]
fn who_is_refused_does_not_come_back_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // There is room to keep one connection.
    let hub = Host::start(
        &path("hub"),
        &[IDLE, ("P2P_MIN_PEERS", "0"), ("P2P_MAX_CONNECTIONS", "2")],
    );
    let address = hub.daemon.address("tcp");
    let enter = [IDLE, ("P2P_BOOTSTRAP_PEERS", address.as_str())];
    let kept = Host::start(&path("kept"), &enter);
    eventually("the hub keeps the first", || {
        (hub.kept() == 1.0).then_some(())
    });
    let before = kept.opened();
    let since = Instant::now();
    let refused = Host::start(&path("refused"), &enter);
    let closed = || {
        let of = |cause| {
            refused.metric(&format!(
                "libp2p_connections_closed_total{{cause=\"{cause}\"}}"
            ))
        };
        of("idle") + of("remote")
    };
    eventually("the second one's connection ends", || {
        (closed() >= 1.0).then_some(())
    });
    kept.stands_for(&hub.id(), 15.0);
    // It is a minute until it comes back, half of it at least. Without the floor
    // the two would have found each other, or come back every few seconds.
    let most = 1.0 + (since.elapsed().as_secs_f64() / 30.0).floor();
    assert!(refused.opened() <= most, "{} of {most}", refused.opened());
    assert_eq!(kept.opened(), before);
    assert_eq!(
        refused.metric("libp2p_connections_closed_total{cause=\"error\"}"),
        0.0
    );
}

#[test]
fn connect_finds_a_peer_that_only_the_dht_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (none, server) = (("P2P_MIN_PEERS", "0"), ("P2P_DHT_MODE", "server"));
    let entrance = Host::start(&path("entrance"), &[server]);
    let address = entrance.daemon.address("tcp");
    let enter = ("P2P_BOOTSTRAP_PEERS", address.as_str());
    let asking = Host::start(&path("asking"), &[none, enter]);
    asking.stands_for(&entrance.id(), 0.0);
    // It joins when the other has finished its first search already.
    let other = Host::start(&path("other"), &[none, server, enter]);
    eventually("the entrance can tell of it", || {
        let status = entrance.daemon.json(&["status"]);
        (status["dht"]["routing_table_size"] == 1).then_some(())
    });
    assert_eq!(
        asking.daemon.ok(&["connect", &other.id()]),
        format!("connected to {}", other.id())
    );

    let nobody = PeerId::random().to_string();
    let output = asking.daemon.cli(&["connect", &nobody]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for part in ["no address of it is known", "the DHT was asked", &nobody] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
}

async fn start(security: Security, listen: &str, idle: Duration) -> Running {
    let setup = Setup {
        transport: transport::Options {
            security,
            ..transport::Options::default()
        },
        listen: listen.into(),
        options: Options {
            dht_mode: DhtMode::Client,
            connection_idle_timeout: idle,
            min_peers: 0,
            ..Options::default()
        },
        ..Setup::default()
    };
    setup.start().await
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually_async(what, async || holds().await.then_some(())).await;
}

#[test]
fn whoever_closes_an_idle_connection_says_goodbye() {
    let tcp = "/ip4/127.0.0.1/tcp/0";
    for (security, listen) in [
        (Security::Tls, tcp),
        (Security::Noise, tcp),
        (Security::Both, "/ip4/127.0.0.1/tcp/0/ws"),
        (Security::Both, "/ip4/127.0.0.1/udp/0/quic-v1"),
    ] {
        async_std::task::block_on(async {
            let long = Duration::from_secs(3600);
            let closing = start(security, listen, Duration::from_millis(300)).await;
            let other = start(security, listen, long).await;
            closing.handle.dial(other.address.clone()).await.unwrap();
            let closed = |of: &Running, cause: &str| {
                let closed = &of.metrics.node.connections_closed;
                closed.with_label_values(&[cause]).get()
            };
            until("the other side sees the end", async || {
                let causes = ["idle", "local", "ping", "remote", "error"];
                causes.iter().any(|cause| closed(&other, cause) > 0)
            })
            .await;
            assert_eq!(closed(&other, "remote"), 1, "{security:?} {listen}");
            assert_eq!(closed(&closing, "idle"), 1, "{security:?} {listen}");

            // And when a node stops.
            let third = start(security, listen, long).await;
            third.handle.dial(other.address.clone()).await.unwrap();
            let there = third.peer;
            until("it is there", async || {
                let peers = other.handle.peers().await.unwrap();
                peers.iter().any(|p| p.id == there)
            })
            .await;
            third.node.stop().await;
            until("the end of the node is seen", async || {
                closed(&other, "remote") == 2
            })
            .await;
            closing.node.stop().await;
            other.node.stop().await;
        });
    }
}
