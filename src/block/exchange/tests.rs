//! Tests of the serving side with peers of every kind, over pipes in memory.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_std::os::unix::net::UnixStream;
use async_std::task::{JoinHandle, block_on, spawn};
use bytes::Bytes;
use cid::Cid;
use futures::channel::mpsc;
use futures::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use futures::{FutureExt, StreamExt};
use libp2p::PeerId;
use prost::Message;

use super::frame::{self, FrameReader};
use super::pb::exchange::{Request, Response, Status, Want};
use super::serve::{Limits, ServeError, Served, Server, Source, Stored};
use super::session::{self, Answer, Command, Reply};
use super::session_error::SessionError;
use super::{MAX_REQUEST_FRAME, MAX_WANTS};
use crate::block::Metrics;
use crate::block::testing::{Count, provenance, publish};
use crate::content::address::{Codec, address};
use crate::content::testing::content;
use crate::telemetry::Register as _;

/// A source that has one block of 1 MiB, which cannot be compressed, under every raw CID.
/// It counts the reads.
#[derive(Clone, Default)]
struct Blocks {
    reads: Count,
}

static BLOCK: LazyLock<Stored> = LazyLock::new(|| {
    let data = Bytes::from(content(0, 1 << 20));
    let provenance = provenance(&publish(&address(&data, Codec::Raw), &data));
    Stored { data, provenance }
});

impl Source for Blocks {
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String> {
        self.reads.add();
        match cid.codec() {
            0x55 => Ok(Some(BLOCK.clone())),
            _ => Ok(None),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, String> {
        Ok(cid.codec() == 0x55)
    }
}

type Ends = (
    FrameReader<ReadHalf<UnixStream>>,
    Writer,
    JoinHandle<Result<Served, ServeError>>,
);

/// The writing half. async-std does not half-close a socket when it is closed.
struct Writer(WriteHalf<UnixStream>, UnixStream);

impl Writer {
    fn half_close(&self) {
        self.1.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl std::ops::Deref for Writer {
    type Target = WriteHalf<UnixStream>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for Writer {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

fn server(source: &Blocks, limits: Limits) -> Server<Blocks> {
    Server::new(source.clone(), limits, Metrics::new().unwrap())
}

fn connect(server: &Server<Blocks>, peer: PeerId) -> Ends {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = server.clone();
    let serving = spawn(async move { server.serve(peer, theirs).await });
    let whole = ours.clone();
    let (reader, writer) = ours.split();
    (
        FrameReader::new(reader, 2 << 20),
        Writer(writer, whole),
        serving,
    )
}

fn cid(i: u64, codec: Codec) -> Cid {
    address(&i.to_le_bytes(), codec)
}

fn wants(ids: std::ops::Range<u64>, codec: Codec) -> Request {
    let want = |id| Want {
        id,
        cid: cid(id, codec).to_bytes().into(),
        have_only: false,
    };
    Request {
        wants: ids.map(want).collect(),
        cancel: Vec::new(),
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    async_std::future::timeout(Duration::from_secs(60), future)
        .await
        .unwrap()
}

#[test]
fn each_want_is_answered_once_and_the_rest_after_the_half_close() {
    block_on(async {
        let server = server(&Blocks::default(), Limits::default());
        let (mut reader, mut writer, serving) = connect(&server, PeerId::random());
        frame::write_message(&mut *writer, &wants(0..20, Codec::Raw))
            .await
            .unwrap();
        frame::write_message(&mut *writer, &wants(20..30, Codec::DagPb))
            .await
            .unwrap();
        writer.half_close();
        let mut answered = Vec::new();
        while let Some(response) = within(reader.response()).await.unwrap() {
            let expected = if response.id < 20 {
                Status::Block
            } else {
                Status::DontHave
            };
            assert_eq!(response.status(), expected);
            answered.push(response.id);
        }
        answered.sort_unstable();
        assert_eq!(answered, (0..30).collect::<Vec<_>>());
        let served = within(serving).await.unwrap();
        assert_eq!(
            served,
            Served {
                blocks: 20,
                bytes: 20 << 20,
                refused: 10,
                confirmed: 0,
            }
        );
    });
}

#[test]
fn who_only_wants_to_know_is_told_without_a_block_and_charged_for_it() {
    block_on(async {
        let source = Blocks::default();
        let charged = Arc::new(AtomicUsize::new(0));
        let charge = charged.clone();
        let server = server(&source, Limits::default()).paced(move |_, requests| {
            charge.fetch_add(requests as usize, Ordering::SeqCst);
            None
        });
        let (mut reader, mut writer, serving) = connect(&server, PeerId::random());
        let mut request = wants(0..10, Codec::Raw);
        request.wants.extend(wants(10..20, Codec::DagPb).wants);
        for want in &mut request.wants {
            want.have_only = true;
        }
        frame::write_message(&mut *writer, &request).await.unwrap();
        let mut yes = 0;
        for _ in 0..20 {
            let response = within(reader.response()).await.unwrap().unwrap();
            assert_eq!(response.block, None);
            let expected = match response.id {
                0..10 => Status::Have,
                _ => Status::DontHave,
            };
            assert_eq!(response.status(), expected);
            yes += usize::from(expected == Status::Have);
        }
        assert_eq!((yes, source.reads.get()), (10, 0), "nothing was read");
        // The peer is charged for its question when its next request arrives.
        frame::write_message(&mut *writer, &wants(20..21, Codec::Raw))
            .await
            .unwrap();
        within(reader.response()).await.unwrap().unwrap();
        writer.half_close();
        let served = within(serving).await.unwrap();
        assert_eq!(
            (served.blocks, served.refused, served.confirmed),
            (1, 10, 10)
        );
        assert_eq!(charged.load(Ordering::SeqCst), 20);
    });
}

/// Long enough for a server that reads too far ahead to read everything. The stream ends
/// by itself, so that the test does not measure any time.
const STALLED: Limits = Limits {
    streams_per_peer: 1,
    streams: 1,
    ahead: 32 << 20,
    spare: Duration::from_secs(3600),
    idle: Duration::from_secs(1),
};

#[test]
fn a_slow_reader_holds_back_the_reads_of_the_store() {
    block_on(async {
        let source = Blocks::default();
        let server = server(&source, STALLED);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_reader, mut writer) = ours.split();
        frame::write_message(&mut writer, &wants(0..200, Codec::Raw))
            .await
            .unwrap();
        let serving = server.serve(PeerId::random(), theirs);
        assert!(matches!(within(serving).await, Err(ServeError::Stalled(_))));
        let ahead = source.reads.get();
        assert!(
            (1..=5).contains(&ahead),
            "{ahead} blocks read ahead of a peer that reads nothing"
        );
    });
}

#[test]
fn without_room_to_read_ahead_a_stream_holds_one_group_and_goes_on() {
    block_on(async {
        let limits = Limits {
            ahead: 0,
            ..STALLED
        };
        let source = Blocks::default();
        let server = server(&source, limits);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, mut writer) = ours.split();
        frame::write_message(&mut writer, &wants(0..30, Codec::Raw))
            .await
            .unwrap();
        let stalled = server.serve(PeerId::random(), theirs);
        assert!(matches!(within(stalled).await, Err(ServeError::Stalled(_))));
        assert_eq!(source.reads.get(), 1, "read for a peer that reads nothing");
        drop((reader, writer));
        // A peer that reads gets everything.
        let (mut reader, mut writer, serving) = connect(&server, PeerId::random());
        frame::write_message(&mut *writer, &wants(0..30, Codec::Raw))
            .await
            .unwrap();
        writer.half_close();
        let mut blocks = 0;
        while let Some(response) = within(reader.response()).await.unwrap() {
            assert_eq!(response.status(), Status::Block);
            blocks += 1;
        }
        assert_eq!(blocks, 30);
        within(serving).await.unwrap();
    });
}

#[test]
fn what_is_cancelled_in_the_queue_is_not_read_and_all_is_answered() {
    block_on(async {
        let source = Blocks::default();
        let server = server(&source, Limits::default());
        let (mut reader, mut writer, serving) = connect(&server, PeerId::random());
        frame::write_message(&mut *writer, &wants(0..200, Codec::Raw))
            .await
            .unwrap();
        within(source.reads.reaches(1)).await;
        let request = Request {
            wants: Vec::new(),
            cancel: (0..200).collect(),
        };
        frame::write_message(&mut *writer, &request).await.unwrap();
        let (mut blocks, mut cancelled) = (0, 0);
        while blocks + cancelled < 200 {
            match within(reader.response()).await.unwrap().unwrap().status() {
                Status::Block => blocks += 1,
                Status::Cancelled => cancelled += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(blocks, source.reads.get());
        assert!(cancelled >= 100, "{cancelled}");
        writer.half_close();
        within(serving).await.unwrap();
    });
}

/// A source with one block that can be compressed, and one that cannot.
#[derive(Clone)]
struct Two(Stored, Stored);

impl Source for Two {
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String> {
        Ok(Some(match cid.codec() {
            0x55 => self.0.clone(),
            _ => self.1.clone(),
        }))
    }

    fn has(&self, _: &Cid) -> Result<bool, String> {
        Ok(true)
    }
}

#[test]
fn the_smaller_form_is_sent_and_marked() {
    block_on(async {
        let zeros = Stored {
            data: vec![0; 1 << 20].into(),
            ..BLOCK.clone()
        };
        let source = Two(zeros, BLOCK.clone());
        let server = Server::new(source, Limits::default(), Metrics::new().unwrap());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let _serving = spawn(async move { server.serve(PeerId::random(), theirs).await });
        let (reader, mut writer) = ours.split();
        let mut reader = FrameReader::new(reader, 2 << 20);
        for codec in [Codec::Raw, Codec::DagPb] {
            let request = wants(0..1, codec);
            frame::write_message(&mut writer, &request).await.unwrap();
            let response = within(reader.response()).await.unwrap().unwrap();
            let block = response.block.unwrap();
            let packs = codec == Codec::Raw;
            assert_eq!(block.compression, i32::from(packs));
            assert_eq!(block.data.len() < 1 << 20, packs);
            assert_eq!(provenance(&block), BLOCK.provenance);
        }
    });
}

#[test]
fn a_peer_that_takes_nothing_is_let_go_and_an_idle_one_too() {
    block_on(async {
        let limits = Limits {
            idle: Duration::from_millis(50),
            ..Limits::default()
        };
        let server = server(&Blocks::default(), limits);
        let (_reader, mut writer, serving) = connect(&server, PeerId::random());
        frame::write_message(&mut *writer, &wants(0..50, Codec::Raw))
            .await
            .unwrap();
        assert!(matches!(within(serving).await, Err(ServeError::Stalled(_))));
        let (_reader, _writer, serving) = connect(&server, PeerId::random());
        assert!(matches!(within(serving).await, Err(ServeError::Stalled(_))));
    });
}

#[test]
fn what_breaks_the_protocol_ends_the_stream() {
    block_on(async {
        let server = server(&Blocks::default(), Limits::default());
        // There are more wants than may be open.
        let (_reader, mut writer, serving) = connect(&server, PeerId::random());
        let many = MAX_WANTS as u64 + 10;
        let _ = frame::write_message(&mut *writer, &wants(0..many, Codec::Raw)).await;
        assert!(matches!(
            within(serving).await,
            Err(ServeError::TooManyWants)
        ));
        // There are more cancels than there can be wants.
        let (_reader, mut writer, serving) = connect(&server, PeerId::random());
        let request = Request {
            wants: Vec::new(),
            cancel: (0..=MAX_WANTS as u64).collect(),
        };
        let _ = frame::write_message(&mut *writer, &request).await;
        assert!(matches!(
            within(serving).await,
            Err(ServeError::TooManyCancels)
        ));
        // The address is not a CID.
        let (_reader, mut writer, serving) = connect(&server, PeerId::random());
        let want = Want {
            id: 1,
            cid: Bytes::from_static(b"nonsense"),
            have_only: false,
        };
        let request = Request {
            wants: vec![want],
            cancel: Vec::new(),
        };
        frame::write_message(&mut *writer, &request).await.unwrap();
        assert!(matches!(within(serving).await, Err(ServeError::BadWant)));
        // One frame exceeds the limit, and one is not a message.
        for bytes in [
            vec![0xff, 0xff, 0xff, 0x7f],
            vec![4, 0xff, 0xff, 0xff, 0xff],
        ] {
            let (_reader, mut writer, serving) = connect(&server, PeerId::random());
            writer.write_all(&bytes).await.unwrap();
            let error = within(serving).await.unwrap_err();
            assert!(error.is_violation(), "{error}");
        }
        assert!(wants(0..many, Codec::Raw).encoded_len() < MAX_REQUEST_FRAME);
    });
}

#[test]
fn streams_are_limited_for_each_peer_and_for_all_and_given_back() {
    block_on(async {
        let limits = Limits {
            streams_per_peer: 2,
            streams: 3,
            spare: Duration::from_secs(3600),
            ..Limits::default()
        };
        let server = server(&Blocks::default(), limits);
        let (one, two) = (PeerId::random(), PeerId::random());
        let mut open = Vec::new();
        for peer in [one, one, two] {
            let (mut reader, mut writer, serving) = connect(&server, peer);
            frame::write_message(&mut *writer, &wants(0..1, Codec::DagPb))
                .await
                .unwrap();
            within(reader.response()).await.unwrap().unwrap();
            open.push((reader, writer, serving));
        }
        let (_reader, _writer, serving) = connect(&server, one);
        assert!(matches!(within(serving).await, Err(ServeError::Busy(2, _))));
        let (_reader, _writer, serving) = connect(&server, two);
        assert!(matches!(within(serving).await, Err(ServeError::Busy(3, _))));
        for (_reader, writer, serving) in open {
            writer.half_close();
            within(serving).await.unwrap();
        }
        let (mut reader, mut writer, _serving) = connect(&server, one);
        frame::write_message(&mut *writer, &wants(0..1, Codec::DagPb))
            .await
            .unwrap();
        within(reader.response()).await.unwrap().unwrap();
    });
}

/// Starts a session that asks a server with `limits` for 100 blocks. Returns its answers,
/// the sender of its commands, and the ends of both tasks.
#[allow(clippy::type_complexity)]
fn session_of_100(
    source: &Blocks,
    limits: Limits,
) -> (
    mpsc::Receiver<Answer>,
    mpsc::UnboundedSender<Command>,
    JoinHandle<Result<(), SessionError>>,
    JoinHandle<Result<Served, ServeError>>,
) {
    let server = server(source, limits);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (commands, orders) = mpsc::unbounded();
    for id in 0..100 {
        commands
            .unbounded_send(Command::Want(id, cid(id, Codec::Raw)))
            .unwrap();
    }
    let serving = spawn(async move { server.serve(PeerId::random(), theirs).await });
    let (mut tell, told) = mpsc::channel::<Answer>(0);
    let session =
        spawn(async move { session::run(ours, 2 << 20, orders, &mut tell, |answer| answer).await });
    (told, commands, session, serving)
}

#[test]
fn a_stream_that_gets_no_blocks_makes_room_when_all_places_are_taken() {
    block_on(async {
        let limits = Limits {
            streams: 2,
            spare: Duration::ZERO,
            ..Limits::default()
        };
        let server = server(&Blocks::default(), limits);
        let ask = async |ends: &mut Ends, id, codec| {
            let request = wants(id..id + 1, codec);
            frame::write_message(&mut *ends.1, &request).await.unwrap();
            within(ends.0.response()).await.unwrap().unwrap();
        };
        let mut old = connect(&server, PeerId::random());
        ask(&mut old, 0, Codec::DagPb).await;
        let mut idle = connect(&server, PeerId::random());
        ask(&mut idle, 0, Codec::DagPb).await;
        // When the second answer arrives, the first one has been accounted for.
        ask(&mut old, 1, Codec::Raw).await;
        ask(&mut old, 2, Codec::Raw).await;
        // It does not help to have asked last when nothing that was asked for is here.
        ask(&mut idle, 1, Codec::DagPb).await;
        let mut new = connect(&server, PeerId::random());
        ask(&mut new, 0, Codec::Raw).await;
        let end = within(idle.2).await;
        assert!(matches!(end, Err(ServeError::Displaced)), "{end:?}");
        // The stream that was sent blocks goes on.
        ask(&mut old, 3, Codec::Raw).await;
        old.1.half_close();
        assert_eq!(within(old.2).await.unwrap().blocks, 3);
    });
}

#[test]
fn requests_that_ask_for_nothing_do_not_keep_a_stream_alive() {
    block_on(async {
        let limits = Limits {
            idle: Duration::from_millis(100),
            ..Limits::default()
        };
        let server = server(&Blocks::default(), limits);
        let (_reader, mut writer, serving) = connect(&server, PeerId::random());
        let nagging = spawn(async move {
            let request = Request {
                wants: Vec::new(),
                cancel: vec![7],
            };
            // This goes on until the other side has gone.
            while frame::write_message(&mut *writer, &request).await.is_ok() {
                async_std::task::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(matches!(within(serving).await, Err(ServeError::Stalled(_))));
        within(nagging).await;
    });
}

#[test]
fn a_session_that_nobody_hears_holds_back_its_provider() {
    block_on(async {
        let source = Blocks::default();
        let (_told, _commands, _session, serving) = session_of_100(&source, STALLED);
        assert!(matches!(within(serving).await, Err(ServeError::Stalled(_))));
        let ahead = source.reads.get();
        assert!(ahead <= 9, "{ahead} blocks on their way to nobody");
    });
}

#[test]
fn a_session_ends_with_its_commands() {
    block_on(async {
        let source = Blocks::default();
        let (mut told, commands, session, serving) = session_of_100(&source, Limits::default());
        assert!(matches!(within(told.next()).await, Some(Answer::Open(_))));
        for _ in 0..100 {
            let answer = within(told.next()).await;
            assert!(
                matches!(answer, Some(Answer::Reply(_, _, Reply::Block(_)))),
                "{answer:?}"
            );
        }
        drop(commands);
        within(session).await.unwrap();
        assert!(told.next().now_or_never().flatten().is_none());
        let _ = within(serving).await;
    });
}

#[test]
fn a_response_reads_the_same_with_fields_of_the_future() {
    // A later version may add fields, and an old reader must ignore them.
    let mut wire = Vec::new();
    let response = Response {
        id: 7,
        status: Status::DontHave as i32,
        block: None,
    };
    let mut message = response.encode_to_vec();
    message.extend([0xfa, 0x01, 0x02, 0x68, 0x69]);
    wire.push(message.len() as u8);
    wire.extend(message);
    let read = block_on(FrameReader::new(&wire[..], 100).response()).unwrap();
    assert_eq!(read, Some(response));
}

#[test]
fn what_is_asked_in_vain_is_charged_and_a_fetch_that_is_served_is_not() {
    block_on(async {
        let charged = Arc::new(AtomicUsize::new(0));
        let peer = PeerId::random();
        let server = {
            let charged = Arc::clone(&charged);
            server(&Blocks::default(), Limits::default()).paced(move |who, vain| {
                assert_eq!(*who, peer);
                charged.fetch_add(vain as usize, Ordering::SeqCst);
                Some(Duration::from_millis(1))
            })
        };
        let (mut reader, mut writer, serving) = connect(&server, peer);
        for n in 0..20 {
            let request = wants(n..n + 1, Codec::Raw);
            frame::write_message(&mut *writer, &request).await.unwrap();
            let answer = within(reader.response()).await.unwrap().unwrap();
            assert_eq!(answer.status(), Status::Block);
        }
        assert_eq!(charged.load(Ordering::SeqCst), 0);
        for n in 0..10 {
            // One request is for a block that is not here, and one has no wants.
            let request = wants(n..n + 1, Codec::DagPb);
            frame::write_message(&mut *writer, &request).await.unwrap();
            let answer = within(reader.response()).await.unwrap().unwrap();
            assert_eq!(answer.status(), Status::DontHave);
            frame::write_message(&mut *writer, &Request::default())
                .await
                .unwrap();
        }
        writer.half_close();
        within(serving).await.unwrap();
        assert_eq!(charged.load(Ordering::SeqCst), 20);
    });
}
