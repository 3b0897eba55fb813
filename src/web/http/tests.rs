//! Tests the real server over raw sockets.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream as Client},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::api::Health;
use crate::system::sockets::Sockets;

/// A deadline that is only reached when something hangs.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Fake {
    stuck: AtomicBool,
    draining: AtomicBool,
}

impl Probe for Fake {
    fn health(&self, _: Instant) -> Health {
        let live = !self.stuck.load(Ordering::Relaxed);
        let ready = live && !self.draining.load(Ordering::Relaxed);
        Health {
            live,
            ready,
            reason: (!ready).then(|| "draining".to_string()),
            connected_peers: 5,
            routing_table_size: 7,
            uptime: Duration::from_secs(11),
        }
    }
}

struct World {
    addr: SocketAddr,
    fake: Arc<Fake>,
}

fn world() -> World {
    let fake = Arc::new(Fake::default());
    let bind = Http::bind(
        Ipv4Addr::LOCALHOST.into(),
        0,
        Sockets::default(),
        fake.clone(),
        Metrics::new().unwrap(),
        LastHour::new(),
    );
    let http = async_std::task::block_on(bind).unwrap();
    let addr = http.local_addr();
    async_std::task::spawn(http.run(std::future::pending()));
    World { addr, fake }
}

impl World {
    fn client(&self) -> Client {
        let client = Client::connect(self.addr).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client
    }

    /// Sends bytes, and reads until the server closes the connection.
    fn send(&self, bytes: &[u8]) -> String {
        let mut client = self.client();
        client.write_all(bytes).unwrap();
        answer(&mut client)
    }

    fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }
}

fn answer(client: &mut Client) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn the_pages_answer() {
    let world = world();
    let metrics = world.get("/metrics");
    assert_eq!(status(&metrics), "200");
    assert!(
        metrics.contains("Content-Type: text/plain; version=0.0.4"),
        "{metrics}"
    );
    assert!(body(&metrics).contains("\nlibp2p_connections_active 0\n"));
    let length = format!("Content-Length: {}\r\n", body(&metrics).len());
    assert!(metrics.contains(&length));

    assert_eq!(body(&world.get("/health/live")), r#"{"status":"ok"}"#);
    let ready = world.get("/health/ready?x=y");
    assert_eq!(status(&ready), "200");
    let ready: serde_json::Value = serde_json::from_str(body(&ready)).unwrap();
    assert_eq!(
        ready,
        serde_json::json!({
            "status": "ok", "connected_peers": 5, "routing_table_size": 7, "uptime_seconds": 11
        })
    );
    let page = world.get("/");
    assert_eq!(status(&page), "200");
    assert!(
        page.contains("text/html") && page.contains("<title>Ready, 5 peers - p2p-node"),
        "{page}"
    );
}

#[test]
fn health_turns_to_503() {
    let world = world();
    world.fake.draining.store(true, Ordering::Relaxed);
    let ready = world.get("/health/ready");
    assert_eq!(status(&ready), "503");
    let ready: serde_json::Value = serde_json::from_str(body(&ready)).unwrap();
    assert_eq!(ready["status"], "not ready");
    assert_eq!(ready["reason"], "draining");
    assert_eq!(status(&world.get("/health/live")), "200");
    let metrics = world.get("/metrics");
    assert!(metrics.contains("\np2p_live 1\n") && metrics.contains("\np2p_ready 0\n"));
    world.fake.stuck.store(true, Ordering::Relaxed);
    assert_eq!(status(&world.get("/health/live")), "503");
    assert!(world.get("/metrics").contains("\np2p_live 0\n"));
}

#[test]
fn other_paths_are_404_and_other_methods_405() {
    let world = world();
    for path in [
        "/x",
        "/metrics/",
        "//metrics",
        "/health",
        "*",
        "/%2e%2e/metrics",
        "/metrics%0d%0a",
    ] {
        assert_eq!(status(&world.get(path)), "404", "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let answer =
            world.send(format!("{method} /metrics HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), "405", "{method}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    }
    let head = world.send(b"HEAD /health/live HTTP/1.1\r\n\r\n");
    assert_eq!((status(&head), body(&head)), ("200", ""));
    assert!(head.contains("Content-Length: 15\r\n"), "{head}");
    assert_eq!(status(&world.send(b"HEAD /x HTTP/1.0\r\n\r\n")), "404");
}

#[test]
fn garbage_is_refused_and_nothing_of_it_comes_back() {
    let world = world();
    let garbage: [&[u8]; 6] = [
        b"GET /x\r\nSet-Cookie: evil=1\r\n\r\n",
        b"GET /x\rSet-Cookie: evil=1 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03evil",
        b"GET / HTTP/9.9\r\n\r\n",
        b"evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nevil\r\n\r\n",
    ];
    for bytes in garbage {
        let answer = world.send(bytes);
        assert_eq!(status(&answer), "400", "{bytes:?}");
        assert!(!answer.contains("evil"), "{answer}");
    }
    let answer = world.send(b"GET /evil?%0d%0aSet-Cookie:%20evil HTTP/1.1\r\nX: evil\r\n\r\n");
    assert_eq!(status(&answer), "404");
    assert!(!answer.contains("evil"), "{answer}");
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let world = world();
    let mut long = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    long.resize(MAX_HEAD + 2000, b'a');
    assert_eq!(status(&world.send(&long)), "431");
    // The head is now complete, but still too long.
    long.extend_from_slice(b"\r\n\r\n");
    assert_eq!(status(&world.send(&long)), "431");
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert_eq!(status(&world.send(many.as_bytes())), "431");
    // This head is just short enough.
    let mut fits = b"GET /health/live HTTP/1.1\r\nX: ".to_vec();
    fits.resize(MAX_HEAD - 4, b'a');
    fits.extend_from_slice(b"\r\n\r\n");
    assert_eq!(status(&world.send(&fits)), "200");
}

#[test]
fn a_request_may_come_in_pieces_and_more_may_follow_it() {
    let world = world();
    let mut client = world.client();
    for byte in b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(status(&answer(&mut client)), "200");
    // A second request on the same connection is not answered. Neither it nor a body
    // makes the client lose the first answer.
    let pipelined = world.send(b"GET /health/live HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(pipelined.matches("HTTP/1.1").count(), 1, "{pipelined}");
    assert_eq!(status(&pipelined), "200");
    let mut post = b"POST /metrics HTTP/1.1\r\nContent-Length: 50000\r\n\r\n".to_vec();
    post.resize(50_000, b'x');
    assert_eq!(status(&world.send(&post)), "405");
}

#[test]
fn silent_and_slow_clients_hold_up_nobody_and_are_told_so() {
    let world = world();
    // There are more clients than places.
    let mut silent: Vec<Client> = (0..MAX_CONNECTIONS + 20).map(|_| world.client()).collect();
    for (n, client) in silent.iter_mut().enumerate() {
        if n % 2 == 0 {
            client.write_all(b"GET /met").unwrap();
        }
    }
    assert_eq!(status(&world.get("/health/live")), "200");
    // The last clients still have their places, and wait until the time for a head is
    // over.
    let last = silent.last_mut().unwrap();
    let text = answer(last);
    assert_eq!(status(&text), "408", "{text}");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let world = world();
    let _deaf: Vec<Client> = (0..MAX_CONNECTIONS)
        .map(|_| {
            let mut client = world.client();
            client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            client
        })
        .collect();
    assert_eq!(status(&world.get("/metrics")), "200");
}

#[test]
fn a_hundred_at_once_are_all_answered() {
    let world = Arc::new(world());
    let threads: Vec<_> = (0..100)
        .map(|n| {
            let world = world.clone();
            thread::spawn(move || {
                world.get(if n % 2 == 0 {
                    "/metrics"
                } else {
                    "/health/ready"
                })
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(status(&thread.join().unwrap()), "200");
    }
}

#[test]
fn a_taken_port_is_an_error_that_names_the_variable_and_the_likely_owner() {
    let world = world();
    let bind = Http::bind(
        world.addr.ip(),
        world.addr.port(),
        Sockets::default(),
        Arc::new(Fake::default()),
        Metrics::new().unwrap(),
        LastHour::new(),
    );
    let error = async_std::task::block_on(bind).unwrap_err();
    assert!(matches!(error, Error::Taken { .. }), "{error}");
    assert!(error.to_string().contains("P2P_METRICS_PORT"), "{error}");
    let error = Error::Taken {
        addr: "127.0.0.1:9100".parse().unwrap(),
    };
    assert!(error.to_string().contains("node_exporter"), "{error}");
    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    let bind = Http::bind(
        elsewhere,
        0,
        Sockets::default(),
        Arc::new(Fake::default()),
        Metrics::new().unwrap(),
        LastHour::new(),
    );
    let error = async_std::task::block_on(bind).unwrap_err().to_string();
    assert!(error.contains("P2P_METRICS_HOST"), "{error}");
}
