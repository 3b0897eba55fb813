//! The control socket of a real daemon: hostile and careless clients, and
//! content that goes through it. (`tests/foreign/run` tests clients of other projects.)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use async_std::task::block_on;
use common::{DEADLINE, Start, eventually};
use p2p_node::control::Client;
use p2p_node::control::client::{Error, Event, PutOptions};

struct Daemon {
    running: common::Daemon,
    dir: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let running = common::Daemon::start(dir.path(), &[]);
        Daemon { running, dir }
    }

    fn socket(&self) -> PathBuf {
        self.running.socket()
    }

    fn raw(&self) -> UnixStream {
        let socket = UnixStream::connect(self.socket()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    async fn client(&self) -> Client {
        Client::connect(self.socket()).await.unwrap()
    }
}

#[test]
fn hostile_bytes_end_their_own_connection_and_nothing_else() {
    let daemon = Daemon::start();
    for wire in [
        // 4 MiB and a byte announced; a varint without end; no protobuf.
        &[0x81, 0x80, 0x80, 0x02][..],
        &[0xff; 16],
        &[2, 0xff, 0xff],
    ] {
        let mut socket = daemon.raw();
        socket.write_all(wire).unwrap();
        let mut answer = Vec::new();
        // The daemon says why and closes the connection. Bytes that it has not read turn
        // this into a reset.
        let _ = socket.read_to_end(&mut answer);
        assert!(
            answer.len() > 4 && answer[1..3] == [8, 1],
            "{wire:?}: {answer:?}"
        );
    }
    // The client sends half a request and closes the connection.
    daemon.raw().write_all(&[100, 8, 0]).unwrap();
    let peer = block_on(async { daemon.client().await.identify().await.unwrap().id });
    assert!(!peer.to_string().is_empty());
}

#[test]
fn a_request_of_an_unknown_kind_is_refused_and_the_connection_goes_on() {
    let daemon = Daemon::start();
    let mut socket = daemon.raw();
    // type = 9 (PEERSTORE elsewhere), then IDENTIFY; then our direction ends.
    socket.write_all(&[2, 8, 9, 2, 8, 0]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert_eq!(answer[1..3], [8, 1], "the first is an error");
    let next = usize::from(answer[0]) + 1;
    assert_eq!(answer[next + 1..next + 3], [8, 0], "the second is none");
}

#[test]
fn what_is_put_is_listed_fetched_and_removed() {
    let daemon = Daemon::start();
    block_on(async {
        let mut client = daemon.client().await;
        let content: Vec<u8> = (0..3_500_000u32).map(|i| (i % 251) as u8).collect();
        let mut sent = 0;
        let name = Some("a file".to_owned());
        let options = PutOptions {
            name,
            ..PutOptions::default()
        };
        let entry = client
            .put(&content[..], options, |n| sent = n)
            .await
            .unwrap();
        assert_eq!((entry.size, sent), (3_500_000, 3_500_000));
        assert_eq!(entry.name.as_deref(), Some("a file"));
        assert!(entry.pinned && entry.expires.is_some());

        let list = client.list_blocks().await.unwrap();
        assert_eq!(list.iter().map(|e| e.cid).collect::<Vec<_>>(), [entry.cid]);
        assert_eq!(client.status().await.unwrap().store.roots, 1);
        let stat = client.stat_block(&entry.cid).await.unwrap();
        assert_eq!((stat.blocks, stat.blocks_here), (5, 5));

        let mut download = client.get(&entry.cid, None).await.unwrap();
        let (mut got, mut size) = (Vec::new(), None);
        while let Some(event) = download.next().await.unwrap() {
            match event {
                Event::Begin { size: n } => size = Some(n),
                Event::Data(data) => got.extend_from_slice(&data),
                Event::Progress(_) => {}
            }
        }
        assert!(got == content);
        assert_eq!(size, Some(3_500_000));

        assert!(client.remove_block(&entry.cid).await.unwrap() >= 3_500_000);
        assert!(client.list_blocks().await.unwrap().is_empty());
        let again = client.stat_block(&entry.cid).await.unwrap_err();
        assert!(matches!(again, Error::Refused(_)), "{again}");
        // No peer has it: the answer is one line, and the connection stays open.
        let patience = Some(Duration::from_secs(1));
        let mut download = client.get(&entry.cid, patience).await.unwrap();
        let why = loop {
            match download.next().await {
                Ok(event) => assert!(matches!(event, Some(Event::Progress(_))), "{event:?}"),
                Err(e) => break e,
            }
        };
        assert!(matches!(why, Error::Refused(_)), "{why}");
        client.health().await.unwrap();
    });
}

#[test]
fn an_upload_without_its_end_leaves_nothing() {
    let daemon = Daemon::start();
    let mut socket = daemon.raw();
    // Request { type: BLOCK (102), block (field 102): { type: PUT } }
    socket.write_all(&[7, 8, 102, 0xb2, 6, 2, 8, 0]).unwrap();
    let mut begin = [0; 1];
    socket.read_exact(&mut begin).unwrap();
    socket.write_all(&[3, 1, 2, 3]).unwrap();
    drop(socket);
    block_on(async {
        let mut client = daemon.client().await;
        let whole = client
            .put(&b"whole"[..], PutOptions::default(), |_| {})
            .await
            .unwrap();
        let list = client.list_blocks().await.unwrap();
        assert_eq!(list.iter().map(|e| e.cid).collect::<Vec<_>>(), [whole.cid]);
    });
}

#[test]
fn a_second_daemon_on_the_socket_is_refused_and_a_dead_ones_is_taken_over() {
    let mut daemon = Daemon::start();
    let other = tempfile::tempdir().unwrap();
    let socket = daemon.socket();
    let mut second = Start::new(other.path())
        .with(&[("P2P_CONTROL_SOCKET", socket.to_str().unwrap())])
        .spawn();
    assert_eq!(second.wait(), Some(1));
    let said = second.log();
    assert!(said.contains("already running"), "{said}");
    // As after `kill -9`, the file exists and no process listens.
    daemon.running.kill();
    assert!(socket.exists());
    let none = block_on(Client::connect(&socket)).unwrap_err();
    assert!(matches!(none, Error::NoDaemon { .. }), "{none}");
    daemon.running = common::Daemon::start(daemon.dir.path(), &[]);
    block_on(async { daemon.client().await.identify().await }).unwrap();
}

#[test]
fn more_clients_than_allowed_are_told_so() {
    let daemon = Daemon::start();
    let limit = p2p_node::control::server::MAX_CLIENTS;
    let mut held: Vec<_> = (0..limit).map(|_| daemon.raw()).collect();
    // All of them are answered before the next one comes.
    for socket in &mut held {
        socket.write_all(&[2, 8, 0]).unwrap();
        socket.read_exact(&mut [0; 3]).unwrap();
    }
    let refused = block_on(async { daemon.client().await.identify().await.unwrap_err() });
    assert!(
        matches!(&refused, Error::Refused(why) if why.contains("limit")),
        "{refused}"
    );
    drop(held);
    eventually("places are free again", || {
        block_on(async { daemon.client().await.identify().await }).ok()
    });
}
