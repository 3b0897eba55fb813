//! Publishing faster than peers accept messages: real daemons that lose nothing and keep
//! the order, and nodes in one process for turns, limits and the content of the answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/local.rs"]
mod local;

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{DEADLINE, Daemon, Process, eventually, eventually_async};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use local::{Running, options};
use nix::sys::signal::Signal;
use p2p_node::api::Published;
use p2p_node::control::Client;
use p2p_node::node::{Changes, Handle, Options};
use p2p_node::peers::bucket::{Budget, Rates};
use p2p_node::peers::{Policy, Settings};

/// A topic of this network.
const OWN: &str = "/p2p-node/log";
/// A topic of another application.
const PLAIN: &str = "weblog";

/// A daemon on both topics, and the address of its metrics.
struct Observed {
    daemon: Daemon,
}

impl Observed {
    fn start(dir: &Path, topics: &str) -> Self {
        let variables = [
            // No walk through the DHT connects those that the test does not.
            ("P2P_DHT_MODE", "client"),
            // Connections do not end here because they are idle.
            ("P2P_CONNECTION_IDLE_TIMEOUT", "1h"),
            ("P2P_TOPICS", topics),
        ];
        let variables = if topics.is_empty() {
            &variables[..2]
        } else {
            &variables[..]
        };
        let daemon = Daemon::start(dir, variables);
        Observed { daemon }
    }

    fn connect(&self, to: &Observed) {
        self.daemon.ok(&["connect", &to.daemon.address("tcp")]);
    }

    fn id(&self) -> PeerId {
        self.daemon.id().parse().unwrap()
    }

    /// Waits until this daemon knows that `peers` subscribe to `topic`.
    fn hears_of(&self, topic: &str, peers: &[&Observed]) {
        let socket = self.daemon.socket();
        let wanted: Vec<PeerId> = peers.iter().map(|p| p.id()).collect();
        eventually("the subscriptions arrive", || {
            async_std::task::block_on(async {
                let mut client = Client::connect(&socket).await.unwrap();
                let known = client.topic_peers(topic).await.unwrap();
                wanted.iter().all(|p| known.contains(p)).then_some(())
            })
        });
    }

    fn metric(&self, sample: &str) -> f64 {
        self.daemon.metric_sum(sample)
    }

    /// Fails when this daemon has dropped any message but copies of others.
    fn dropped_nothing(&self, name: &str) {
        let scrape = self.daemon.scrape();
        let dropped = scrape.starting("p2p_gossip_dropped_total{");
        let unsent = scrape.starting("p2p_gossip_unsent_total");
        let lost: Vec<(&str, f64)> = dropped
            .chain(unsent)
            .filter(|(name, count)| *count != 0.0 && !name.contains("reason=\"copy\""))
            .collect();
        assert!(lost.is_empty(), "{name}: {lost:?}");
    }

    /// Starts a program on this daemon that receives the messages from now on.
    fn listen(&self, topic: &'static str) -> Ears {
        let mut subscription = async_std::task::block_on(async {
            let client = Client::connect(self.daemon.socket()).await.unwrap();
            client.subscribe(&[topic]).await.unwrap()
        });
        let (sender, messages) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            async_std::task::block_on(async {
                while let Ok(message) = subscription.next().await {
                    let data = String::from_utf8(message.data.to_vec()).unwrap();
                    if sender.send((message.from.unwrap(), data)).is_err() {
                        return;
                    }
                }
            });
        });
        Ears(messages)
    }
}

/// A subscriber on a daemon: publishers and their messages as they come.
struct Ears(std::sync::mpsc::Receiver<(PeerId, String)>);

impl Ears {
    fn next(&self) -> (PeerId, String) {
        self.0
            .recv_timeout(DEADLINE)
            .expect("the next message comes")
    }

    /// Returns the next `count` messages, and waits until there are as many.
    fn take(&self, count: usize) -> Vec<(PeerId, String)> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn message(n: usize) -> String {
    format!("{n:064}")
}

#[test]
fn two_thousand_publishes_as_fast_as_can_be_all_arrive_in_order_near_and_far() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, topics| Observed::start(&dir.path().join(name), topics);
    let topics = format!("{PLAIN},{OWN}");
    // One subscriber is a neighbour. The other is far away, behind two hubs on which no
    // program listens.
    let (mouth, near, far) = (start("mouth", ""), start("near", ""), start("far", ""));
    let (hub, next) = (start("hub", &topics), start("next", &topics));
    mouth.connect(&near);
    mouth.connect(&hub);
    hub.connect(&next);
    next.connect(&far);
    std::thread::scope(|scope| {
        // Half of them on each kind of topic, as if by two programs.
        for topic in [PLAIN, OWN] {
            let (mouth, near, far, hub, next) = (&mouth, &near, &far, &hub, &next);
            scope.spawn(move || {
                let ears = [("near", near.listen(topic)), ("far", far.listen(topic))];
                mouth.hears_of(topic, &[near, hub]);
                hub.hears_of(topic, &[next]);
                next.hears_of(topic, &[far]);
                eventually("the chain is meshed", || {
                    let meshed = |at: &Observed| at.metric("libp2p_gossipsub_peers") >= 1.0;
                    (meshed(hub) && meshed(next) && meshed(far)).then_some(())
                });
                async_std::task::block_on(async {
                    let mut client = Client::connect(mouth.daemon.socket()).await.unwrap();
                    for n in 0..1000 {
                        let told = client.publish(topic, message(n).into()).await.unwrap();
                        assert_eq!(told.unwrap().peers, 2, "the neighbour and the hub");
                    }
                });
                let from = mouth.id();
                for (name, ears) in ears {
                    for (n, came) in ears.take(1000).into_iter().enumerate() {
                        assert_eq!(came, (from, message(n)), "{name}");
                    }
                }
            });
        }
    });
    for (name, at) in [
        ("mouth", &mouth),
        ("near", &near),
        ("hub", &hub),
        ("next", &next),
        ("far", &far),
    ] {
        at.dropped_nothing(name);
    }
    assert!(mouth.metric("p2p_gossip_publishes_paced_total") > 0.0);
    assert_eq!(mouth.metric("p2p_gossip_publishes_waiting"), 0.0);
}

#[test]
fn several_publishers_at_the_full_rate_lose_nothing_at_a_hub_that_passes_all_of_them_on() {
    const EACH: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| Observed::start(&dir.path().join(name), OWN);
    // The publishers are in the mesh as well, and forward the messages of others.
    let (hub, ears) = (start("hub"), start("ears"));
    let mouths: Vec<Observed> = (0..4).map(|n| start(&format!("mouth-{n}"))).collect();
    for at in &mouths {
        at.connect(&hub);
    }
    for pair in mouths.windows(2) {
        pair[0].connect(&pair[1]);
    }
    ears.connect(&hub);
    for at in mouths.iter().chain([&ears]) {
        at.hears_of(OWN, &[&hub]);
        hub.hears_of(OWN, &[at]);
    }
    eventually("all are in the hub's mesh", || {
        (hub.metric("libp2p_gossipsub_peers") >= 5.0).then_some(())
    });
    let listeners: Vec<Ears> = mouths
        .iter()
        .chain([&hub, &ears])
        .map(|at| at.listen(OWN))
        .collect();
    std::thread::scope(|scope| {
        for at in &mouths {
            scope.spawn(move || {
                async_std::task::block_on(async {
                    let mut client = Client::connect(at.daemon.socket()).await.unwrap();
                    for n in 0..EACH {
                        client.publish(OWN, message(n).into()).await.unwrap();
                    }
                });
            });
        }
    });
    for listener in &listeners {
        let mut next: HashMap<PeerId, usize> = HashMap::new();
        for (from, data) in listener.take(mouths.len() * EACH) {
            let next = next.entry(from).or_default();
            assert_eq!(data, message(*next), "in the order of its publisher");
            *next += 1;
        }
        assert!(next.values().all(|n| *n == EACH) && next.len() == mouths.len());
    }
    for (n, at) in mouths.iter().enumerate() {
        at.dropped_nothing(&format!("mouth {n}"));
    }
    hub.dropped_nothing("hub");
    ears.dropped_nothing("ears");
}

#[test]
fn publish_of_lines_says_whom_they_went_to_and_how_many_went_when_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| Observed::start(&dir.path().join(name), "");
    let (mouth, ears) = (start("mouth"), start("ears"));
    mouth.connect(&ears);
    let listener = ears.listen(PLAIN);
    mouth.hears_of(PLAIN, &[&ears]);
    let publish = || {
        let mut command = mouth.daemon.command(&["publish", PLAIN, "--json"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Process::spawn(&mut command)
    };
    let mut whole = publish();
    let mut lines = whole.take_stdin();
    for n in 0..100 {
        writeln!(lines, "{}", message(n)).unwrap();
    }
    drop(lines);
    let said = whole.output();
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(json["messages"], 100);
    assert_eq!(json["peers"], 1);
    assert_eq!(json["deliveries"], 100);
    assert_eq!(json["local_only"], 0);
    let heard = listener.take(100);
    assert!(heard.iter().enumerate().all(|(n, m)| m.1 == message(n)));

    // These are more messages than can have been sent when it is interrupted.
    let mut cut = publish();
    let mut lines = cut.take_stdin();
    let writer = std::thread::spawn(move || {
        for n in 0..1_000_000 {
            if writeln!(lines, "{}", message(n)).is_err() {
                return;
            }
        }
    });
    let before = listener.take(10);
    assert!(before.iter().enumerate().all(|(n, m)| m.1 == message(n)));
    cut.signal(Signal::SIGINT);
    let said = cut.output();
    writer.join().unwrap();
    assert_eq!(said.status.code(), Some(130), "{said:?}");
    let line = String::from_utf8(said.stderr).unwrap();
    assert!(
        line.contains("interrupted") && line.contains("messages published to 1 peer before that"),
        "{line}"
    );
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let went = json["messages"].as_u64().unwrap() as usize;
    // What was reported as sent arrives, and at most one message besides, which was under
    // way. It may be the last of those that were received before the interruption, when
    // its answer had not arrived yet.
    mouth.daemon.ok(&["publish", PLAIN, "end"]);
    let after = std::iter::from_fn(|| Some(listener.next()).filter(|m| m.1 != "end"));
    let heard: Vec<_> = before.iter().cloned().chain(after).collect();
    assert!(heard.iter().enumerate().all(|(n, m)| m.1 == message(n)));
    let heard = heard.len();
    assert!((went..=went + 1).contains(&heard), "{heard} of {went}");
}

async fn start(rates: Rates) -> Running {
    // Other tests set how long a message waits.
    start_with(rates, Duration::ZERO).await
}

async fn start_with(rates: Rates, publish_patience: Duration) -> Running {
    let options = Options {
        policy: Policy::new(Settings {
            rates,
            ..Settings::default()
        }),
        connection_idle_timeout: Duration::from_secs(3600),
        publish_patience,
        ..options()
    };
    local::start(options).await
}

/// Two nodes, of which the second subscribes to `topics`, and the first knows it.
async fn pair(
    rates: Rates,
    topics: &[&str],
) -> (Running, Running, Vec<p2p_node::node::Subscription>) {
    let (mouth, ears) = (start(rates).await, start(Rates::default()).await);
    mouth.handle.dial(ears.address.clone()).await.unwrap();
    let mut subscriptions = Vec::new();
    for topic in topics {
        subscriptions.push(ears.handle.subscribe((*topic).into()).await.unwrap());
        hears(&mouth, &ears, topic).await;
    }
    (mouth, ears, subscriptions)
}

/// Waits until `mouth` knows that `ears` subscribes to `topic`.
async fn hears(mouth: &Running, ears: &Running, topic: &str) {
    mouth.hears(topic, ears.peer).await;
}

fn run(test: impl Future<Output = ()>) {
    let _ = env_logger::builder().is_test(true).try_init();
    async_std::task::block_on(async {
        async_std::future::timeout(DEADLINE, test)
            .await
            .expect("the test hangs");
    });
}

/// More than any test publishes.
fn fast() -> Rates {
    Rates {
        messages: Budget {
            burst: 100_000,
            fill: 4_000,
        },
        ..Rates::default()
    }
}

#[test]
fn two_connections_of_one_peer_keep_the_order_of_what_it_is_sent() {
    run(async {
        let (a, b) = (start(fast()).await, start(fast()).await);
        // Without a name at its end an address is dialed again.
        let mut bare = b.address.clone();
        bare.pop();
        for _ in 0..2 {
            a.handle.dial(bare.clone()).await.unwrap();
        }
        let connections = a.handle.peers().await.unwrap()[0].connections.len();
        assert_eq!(connections, 2);
        let mut ears = b.handle.subscribe(PLAIN.into()).await.unwrap();
        hears(&a, &b, PLAIN).await;
        let hear = async {
            for n in 0..2000_u32 {
                let came = ears.next().await.unwrap();
                assert_eq!(came.data[..], n.to_be_bytes(), "in order");
            }
        };
        let say = async {
            for n in 0..2000_u32 {
                let data = n.to_be_bytes().to_vec();
                a.handle.publish(PLAIN.into(), data).await.unwrap();
            }
        };
        futures::join!(say, hear);
    });
}

/// Nine messages in twenty seconds.
fn slow() -> Rates {
    Rates {
        messages: Budget { burst: 1, fill: 1 },
        ..Rates::default()
    }
}

#[test]
fn the_answer_says_to_how_many_peers_and_programs_a_message_went() {
    run(async {
        let (mouth, ears, _there) = pair(slow(), &[PLAIN]).await;
        let publish = async |topic: &str| mouth.handle.publish(topic.into(), b"x".to_vec()).await;
        let to = |peers, listeners| Published { peers, listeners };
        assert_eq!(publish(PLAIN).await.unwrap(), to(1, 0));
        let _here = mouth.handle.subscribe(PLAIN.into()).await.unwrap();
        let _also = mouth.handle.subscribe(PLAIN.into()).await.unwrap();
        assert_eq!(publish(PLAIN).await.unwrap(), to(1, 2));
        // At first only this host listens. Then nobody does, which is an error.
        let only = mouth.handle.subscribe("here".into()).await.unwrap();
        assert_eq!(publish("here").await.unwrap(), to(0, 1));
        // This does not wait for the pace, at which the messages would take minutes.
        for _ in 0..300 {
            assert_eq!(publish("here").await.unwrap(), to(0, 1));
        }
        drop(only);
        let refused = publish("here").await.unwrap_err().to_string();
        assert!(
            refused.contains("no connected peer subscribes"),
            "{refused}"
        );
        drop(ears);
    });
}

#[test]
fn what_is_published_with_nobody_connected_waits_for_a_peer_and_keeps_its_order() {
    run(async {
        let mouth = start_with(fast(), DEADLINE).await;
        let metrics = &mouth.metrics.node;
        let ears = start(fast()).await;
        let mut heard = ears.handle.subscribe(PLAIN.into()).await.unwrap();
        let waits = async |n: i64| {
            eventually_async("so many publishes wait", async || {
                (metrics.gossip_publishes_waiting.get() == n).then_some(())
            })
            .await;
        };
        let mut publishes = Vec::new();
        for n in 0..3 {
            let handle = mouth.handle.clone();
            let message = message(n).into_bytes();
            let publish = async move { handle.publish(PLAIN.into(), message).await };
            publishes.push(async_std::task::spawn(publish));
            waits(n as i64 + 1).await;
        }
        // Messages of a program that disconnects do not wait.
        publishes.remove(1).cancel().await;
        waits(2).await;
        // The topic needs no connection when a program on this host is on it.
        let _here = mouth.handle.subscribe("here".into()).await.unwrap();
        let here = mouth.handle.publish("here".into(), b"x".to_vec()).await;
        let to = |peers, listeners| Published { peers, listeners };
        assert_eq!(here.unwrap(), to(0, 1));

        ears.handle.dial(mouth.address.clone()).await.unwrap();
        for publish in publishes {
            assert_eq!(publish.await.unwrap(), to(1, 0));
        }
        for n in [0, 2] {
            let next = heard.next().await.unwrap();
            assert_eq!(next.data, message(n).into_bytes());
        }
    });
}

#[test]
fn what_is_published_with_nobody_to_be_found_is_refused_after_a_while() {
    run(async {
        let alone = start_with(fast(), Duration::from_secs(2)).await;
        let metrics = &alone.metrics.node;
        let since = Instant::now();
        let refused = alone.handle.publish(PLAIN.into(), b"x".to_vec()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(since.elapsed() >= Duration::from_secs(2), "it did not wait");
        for part in ["no peer is connected", "none was found within 2 s"] {
            assert!(refused.contains(part), "{part:?} is not in {refused}");
        }
        assert_eq!(metrics.gossip_publishes_waiting.get(), 0);
    });
}

#[test]
fn a_program_that_publishes_without_end_holds_up_no_other() {
    run(async {
        let (mouth, _ears, mut there) = pair(Rates::default(), &[PLAIN]).await;
        let publish = |client: Handle, count: usize, word: &'static [u8]| {
            join_all((0..count).map(move |_| {
                let client = client.clone();
                async move { client.publish(PLAIN.into(), word.to_vec()).await.unwrap() }
            }))
        };
        // They come at once: the burst, and as many as may wait for five seconds.
        let flood = publish(mouth.handle.for_client(), 400, b"flood");
        let flood = async_std::task::spawn(flood);
        for _ in 0..100 {
            there[0].next().await.unwrap();
        }
        let other = publish(mouth.handle.for_client(), 20, b"other");
        let other = async_std::task::spawn(other);
        let mut beside = 0;
        let mut others = 0;
        while others < 20 {
            match &there[0].next().await.unwrap().data[..] {
                b"other" => others += 1,
                _ if others > 0 => beside += 1,
                _ => {}
            }
        }
        // They take turns, so nineteen go first if all twenty were there at once. Without
        // turns, all messages of the flooder would go first.
        assert!((10..300).contains(&beside), "{beside} of the flooder's");
        other.await;
        flood.await;
    });
}

#[test]
fn large_messages_of_this_network_arrive_however_many_small_ones_go_between() {
    const LARGE: usize = 32 << 10;
    // 450 messages a second, one after the other. A large one takes as long of the
    // pace as forty small ones, so eight programs with small ones use more numbers
    // between two large ones than receivers remember.
    let rates = Rates {
        messages: Budget {
            burst: 1,
            fill: 1000,
        },
        ..Rates::default()
    };
    run(async {
        let (mouth, ears) = (start(rates).await, start(fast()).await);
        mouth.handle.dial(ears.address.clone()).await.unwrap();
        let mut there = ears.handle.subscribe(OWN.into()).await.unwrap();
        hears(&mouth, &ears, OWN).await;
        let small: Vec<_> = (0..8)
            .map(|_| {
                let client = mouth.handle.for_client();
                async_std::task::spawn(async move {
                    loop {
                        client.publish(OWN.into(), b"small".to_vec()).await.unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            there.next().await.unwrap();
        }
        let (large, end) = (mouth.handle.for_client(), mouth.handle.for_client());
        let large = async_std::task::spawn(async move {
            for n in 0..4_u8 {
                // Compression does not make it smaller.
                let noise = std::iter::repeat_with(rand::random);
                let data: Vec<u8> = [n].into_iter().chain(noise.take(LARGE)).collect();
                large.publish(OWN.into(), data).await.unwrap();
            }
            end.publish(OWN.into(), b"end".to_vec()).await.unwrap();
        });
        let (mut arrived, mut between) = (Vec::new(), 0);
        loop {
            match &there.next().await.unwrap().data[..] {
                b"small" => between += 1,
                b"end" => break,
                large => arrived.push(large[0]),
            }
        }
        assert_eq!(arrived, [0, 1, 2, 3]);
        // Otherwise the test would prove nothing.
        assert!(between > 3 * 64, "{between} small ones");
        large.await;
        for one in small {
            one.cancel().await;
        }
    });
}

#[test]
fn when_too_much_waits_the_refusal_says_what_to_do() {
    run(async {
        let (mouth, _ears, _there) = pair(slow(), &[PLAIN]).await;
        let client = mouth.handle.for_client();
        let mut all: FuturesUnordered<_> = (0..600_usize)
            .map(|n| client.publish(PLAIN.into(), vec![n as u8]))
            .collect();
        // Accepted messages wait for minutes, so the early answers are refusals.
        let refused = loop {
            if let Some(Err(e)) = all.next().await {
                break e.to_string();
            }
        };
        assert!(
            refused.contains("512 messages") && refused.contains("P2P_RATE_FILL"),
            "{refused}"
        );
    });
}

#[test]
fn who_gives_up_waiting_leaves_the_line_and_a_reload_changes_the_pace() {
    run(async {
        let (mouth, _ears, mut there) = pair(slow(), &[PLAIN]).await;
        let publish = |n: u8| {
            let client = mouth.handle.for_client();
            async_std::task::spawn(async move { client.publish(PLAIN.into(), vec![n]).await })
        };
        publish(0).await.unwrap();
        // At nine messages in twenty seconds these would take minutes.
        let given_up: Vec<_> = (1..=50).map(&publish).collect();
        for one in given_up {
            one.cancel().await;
        }
        let waiting: Vec<_> = (51..=250).map(&publish).collect();
        let changes = Changes {
            stream_idle_timeout: Duration::from_secs(60),
            trust: Settings {
                rates: Rates {
                    messages: Budget {
                        burst: 1000,
                        fill: 1000,
                    },
                    ..Rates::default()
                },
                ..Settings::default()
            },
            ..Changes::default()
        };
        mouth.handle.adjust(changes).await.unwrap();
        for one in waiting {
            one.await.unwrap();
        }
        let (mut waited, mut given_up) = (0, 0);
        while waited < 200 {
            match there[0].next().await.unwrap().data[0] {
                0 => {}
                1..=50 => given_up += 1,
                _ => waited += 1,
            }
        }
        // Some may have been sent before they were given up.
        assert!(given_up < 25, "{given_up}");
    });
}
