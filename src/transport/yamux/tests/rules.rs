//! What the remote may do, and what ends the connection: frames by hand, time by hand.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::super::connection::{Connection, Limits, Role};
use super::super::error::{Error, Violation};
use super::super::frame::{ACK, FIN, HEADER, Header, RST, Reason, SYN};
use super::super::window::DEFAULT_WINDOW;
use crate::transport::memory::Memory;

/// A server, and what a client sends to it.
struct Bench {
    core: Connection,
    memory: Memory,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Bench::with(Memory::new(usize::MAX))
    }

    fn with(memory: Memory) -> Self {
        let limits = Limits {
            inbound: 4,
            outbound: 4,
        };
        let now = Instant::now();
        let mut core = Connection::new(Role::Server, limits, memory.account(None), now);
        // The first ping is due at once.
        core.transmit(Vec::new(), now, &noop());
        Bench { core, memory, now }
    }

    /// Receives everything, whatever arrives.
    fn bytes(&mut self, mut bytes: &[u8]) -> Result<Option<Duration>, Error> {
        let mut wait = None;
        while !bytes.is_empty() {
            let received = self.core.receive(bytes, self.now)?;
            bytes = &bytes[received.bytes..];
            wait = received.wait;
        }
        drop(self.core.settle());
        Ok(wait)
    }

    fn frame(&mut self, header: Header) -> Result<Option<Duration>, Error> {
        self.bytes(&header.encode())
    }

    fn data(&mut self, stream: u32, flags: u16, bytes: &[u8]) -> Result<Option<Duration>, Error> {
        let mut all = Header::data(stream, bytes.len() as u32, flags)
            .encode()
            .to_vec();
        all.extend(bytes);
        self.bytes(&all)
    }

    fn read(&mut self, stream: u32) -> Option<Vec<u8>> {
        let mut out = vec![0; 1 << 20];
        match self.core.read(stream, &mut out, self.now, &noop()) {
            Poll::Ready(n) => {
                out.truncate(n);
                Some(out)
            }
            Poll::Pending => None,
        }
    }

    /// The frames that wait to be sent, without what is behind them.
    fn sent(&mut self) -> Vec<Header> {
        let bytes = self.core.transmit(Vec::new(), self.now, &noop());
        let mut rest = &bytes[..];
        let mut headers = Vec::new();
        while let Some((header, more)) = rest.split_first_chunk::<HEADER>() {
            let header = Header::decode(header).unwrap();
            let body = match header.kind {
                super::super::frame::Kind::Data => header.length as usize,
                _ => 0,
            };
            headers.push(header);
            rest = &more[body..];
        }
        headers
    }
}

fn noop() -> Context<'static> {
    Context::from_waker(std::task::Waker::noop())
}

fn violation(result: Result<Option<Duration>, Error>) -> Violation {
    match result {
        Err(Error::Violation(violation)) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_violation_ends_the_connection_and_says_so() {
    let mut bench = Bench::new();
    bench.data(1, SYN, &[0; 1000]).unwrap();
    let rest = DEFAULT_WINDOW - 1000;
    bench.data(1, 0, &vec![0; rest as usize]).unwrap();
    let error = bench.data(1, 0, b"x");
    assert_eq!(violation(error), Violation::Window(1));
    bench.core.fail(&Violation::Window(1).into());
    assert_eq!(bench.sent(), [Header::go_away(Reason::Protocol)]);
    // What arrived can still be read, and then it is over.
    assert_eq!(bench.read(1).unwrap().len(), DEFAULT_WINDOW as usize);
    assert_eq!(bench.read(1).unwrap(), b"");
    assert!(matches!(
        bench.core.write(1, b"x", &noop()),
        Poll::Ready(Err(_))
    ));
}

#[test]
fn each_rule_of_the_protocol_is_kept() {
    type Step = fn(&mut Bench) -> Result<Option<Duration>, Error>;
    let cases: [(Step, Violation); 11] = [
        (|b| b.bytes(&[1; HEADER]), Violation::Version(1)),
        (
            |b| b.bytes(&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Violation::Kind(9),
        ),
        (|b| b.data(2, SYN, b"x"), Violation::StreamId(2)),
        (|b| b.data(0, SYN, b"x"), Violation::StreamId(0)),
        (|b| b.data(1, SYN, b"x"), Violation::Reuse(1)),
        (
            |b| b.frame(Header::data(3, DEFAULT_WINDOW + 1, SYN)),
            Violation::Window(3),
        ),
        (
            |b| b.frame(Header::data(99, u32::MAX, 0)),
            Violation::Window(99),
        ),
        (
            |b| {
                b.data(1, FIN, b"")?;
                b.data(1, 0, b"x")
            },
            Violation::AfterEnd(1),
        ),
        (
            |b| {
                b.frame(Header::window_update(1, 0, RST))?;
                b.data(1, 0, b"x")
            },
            Violation::AfterEnd(1),
        ),
        (
            |b| b.frame(Header::window_update(1, u32::MAX, 0)),
            Violation::Credit(1),
        ),
        (|b| b.frame(Header::ping(7, ACK)), Violation::Pong),
    ];
    for (step, expected) in cases {
        let mut bench = Bench::new();
        bench.data(1, SYN, b"x").unwrap();
        assert_eq!(violation(step(&mut bench)), expected);
    }
}

#[test]
fn what_crosses_the_end_of_a_stream_is_borne() {
    let mut bench = Bench::new();
    bench.data(1, SYN, b"hello").unwrap();
    assert_eq!(bench.read(1).unwrap(), b"hello");
    // The beginning of a frame, and the stream is dropped before the rest comes.
    bench.frame(Header::data(1, 5, 0)).unwrap();
    bench.bytes(b"wo").unwrap();
    bench.core.drop_stream(1);
    assert_eq!(bench.sent(), [Header::data(1, 0, RST)]);
    bench.bytes(b"rld").unwrap();
    bench.data(1, 0, &[0; 100_000]).unwrap();
    bench.frame(Header::window_update(1, 99, 0)).unwrap();
    bench.data(1, FIN, b"").unwrap();
    bench.frame(Header::data(1, 0, RST)).unwrap();
    // Nothing is answered, and the next stream is served.
    assert_eq!(bench.sent(), []);
    bench.data(3, SYN | FIN, b"next").unwrap();
    assert_eq!(bench.read(3).unwrap(), b"next");
    assert_eq!(bench.read(3).unwrap(), b"");
    // A second end of a stream comes from peers that close twice.
    bench.data(3, FIN, b"").unwrap();
    bench.core.drop_stream(3);
    assert_eq!(bench.sent(), [Header::data(3, 0, FIN | ACK)]);
}

#[test]
fn streams_end_as_peers_expect_it() {
    let mut bench = Bench::new();
    // Announced with the first bytes, ended, and then dropped without a reset.
    let Poll::Ready(Ok(id)) = bench.core.open(bench.now, &noop()) else {
        panic!("no stream")
    };
    assert_eq!((id, bench.sent()), (2, vec![]));
    assert!(bench.core.write(id, b"hi", &noop()).is_ready());
    bench.core.finish(id).unwrap();
    bench.core.finish(id).unwrap();
    bench.core.drop_stream(id);
    assert_eq!(
        bench.sent(),
        [Header::data(2, 2, SYN), Header::data(2, 0, FIN)]
    );
    // One that the remote never heard of.
    let Poll::Ready(Ok(id)) = bench.core.open(bench.now, &noop()) else {
        panic!("no stream")
    };
    bench.core.drop_stream(id);
    assert_eq!(bench.sent(), []);
    // A reset ends both directions; what had arrived can be read.
    bench.data(1, SYN, b"left").unwrap();
    bench.frame(Header::data(1, 0, RST)).unwrap();
    assert!(matches!(
        bench.core.write(1, b"x", &noop()),
        Poll::Ready(Err(_))
    ));
    assert_eq!(bench.read(1).unwrap(), b"left");
    assert_eq!(bench.read(1).unwrap(), b"");
    bench.core.drop_stream(1);
    assert_eq!(bench.sent(), []);
    // The memory of everything is given back.
    drop(bench.core.settle());
    bench.core.rest();
    drop(bench.core.settle());
    assert_eq!(bench.memory.used(), 0);
}

#[test]
fn pings_are_answered_until_the_answers_pile_up() {
    let mut bench = Bench::new();
    bench.frame(Header::ping(77, SYN)).unwrap();
    assert_eq!(bench.sent(), [Header::ping(77, ACK)]);
    let mut piled = 0;
    let error = loop {
        match bench.frame(Header::ping(1, SYN)) {
            Ok(_) => piled += 1,
            Err(error) => break error,
        }
        // The budget of frames is not what ends it here.
        bench.now += Duration::from_millis(10);
        assert!(piled < 10_000, "without end");
    };
    assert!(matches!(error, Error::Unread), "{error}");
}

#[test]
fn single_bytes_cost_single_bytes() {
    let mut bench = Bench::new();
    bench.data(1, SYN, b"x").unwrap();
    for _ in 1..DEFAULT_WINDOW {
        bench.now += Duration::from_micros(100);
        bench.data(1, 0, b"x").unwrap();
    }
    assert!(violates(&mut bench));
    let held = bench.core.held();
    assert!(held <= 2 * DEFAULT_WINDOW as usize + 4096, "{held} bytes");
    assert_eq!(bench.memory.used(), held);
    drop(bench.core);
    assert_eq!(bench.memory.used(), 0);

    fn violates(bench: &mut Bench) -> bool {
        matches!(bench.data(1, 0, b"x"), Err(Error::Violation(_)))
    }
}

#[test]
fn whoever_holds_the_most_is_told_to_end_and_frees_it() {
    let memory = Memory::new(300_000);
    let mut large = Bench::with(memory.clone());
    let mut small = Bench::with(memory.clone());
    large.data(1, SYN, &[0; 200_000]).unwrap();
    small.data(1, SYN, &[0; 90_000]).unwrap();
    small.data(3, SYN, &[0; 90_000]).unwrap();
    assert!(large.core.is_doomed(&noop()));
    assert!(!small.core.is_doomed(&noop()));
    large.core.fail(&Error::Memory);
    drop(large.core.settle());
    assert!(memory.used() <= 300_000, "{} bytes", memory.used());
    assert_eq!(large.read(1).unwrap(), b"");
    assert_eq!(small.read(1).unwrap().len(), 90_000);
}

#[test]
fn empty_frames_are_read_slowly_and_then_end_the_connection() {
    let floods: [fn(u32) -> Header; 4] = [
        |_| Header::data(1, 0, 0),
        |_| Header::window_update(1, 1, 0),
        |n| Header::data(101 + 2 * (n % 1000), 0, 0),
        |n| Header::window_update(101 + 2 * (n % 1000), 1, FIN),
    ];
    for flood in floods {
        let mut bench = Bench::new();
        bench.data(1, SYN, b"x").unwrap();
        let start = bench.now;
        let mut frames = 0;
        let error = loop {
            match bench.frame(flood(frames)) {
                Ok(wait) => bench.now += wait.unwrap_or_default(),
                Err(error) => break error,
            }
            frames += 1;
            assert!(frames < 1_000_000, "without end");
        };
        assert!(matches!(error, Error::FrameFlood), "{error}");
        let took = bench.now - start;
        assert!(took > Duration::from_secs(1), "slowed for {took:?}");
        assert!(took < Duration::from_secs(10), "borne for {took:?}");
    }
}

#[test]
fn a_stream_that_is_only_written_to_is_reset_by_the_first_byte() {
    let mut bench = Bench::new();
    let Poll::Ready(Ok(id)) = bench.core.open(bench.now, &noop()) else {
        panic!("no stream")
    };
    bench.core.refuse_bytes(id);
    assert!(bench.core.write(id, b"hi", &noop()).is_ready());
    // An acknowledgement, credit and the end of the other direction are no bytes.
    bench.frame(Header::window_update(id, 10, ACK)).unwrap();
    bench.sent();
    assert!(bench.core.write(id, b"hi", &noop()).is_ready());
    bench.sent();
    bench.data(id, 0, b"x").unwrap();
    assert_eq!(bench.sent(), [Header::data(id, 0, RST)]);
    assert!(matches!(
        bench.core.write(id, b"x", &noop()),
        Poll::Ready(Err(_))
    ));
    // What was under way is dropped.
    bench.data(id, 0, &[0; 100_000]).unwrap();
    drop(bench.core.settle());
    assert!(bench.core.held() < 10_000, "{} bytes", bench.core.held());
    // Bytes that came before the word count too.
    bench.data(1, SYN, b"x").unwrap();
    bench.core.refuse_bytes(1);
    assert_eq!(bench.sent(), [Header::data(1, 0, RST)]);
}

#[test]
fn bulk_data_is_never_slowed() {
    let mut bench = Bench::new();
    bench.data(1, SYN, b"x").unwrap();
    let body = vec![0; 16 * 1024];
    // Two gigabytes in no time, acknowledged by window updates as they are read.
    for _ in 0..131_072 {
        assert_eq!(bench.data(1, 0, &body).unwrap(), None);
        bench.read(1).unwrap();
        bench.sent();
    }
    // And the other way: an update for each half of a window.
    for _ in 0..4096 {
        let mut sent = 0;
        while sent < DEFAULT_WINDOW as usize / 2 {
            match bench.core.write(1, &body, &noop()) {
                Poll::Ready(n) => sent += n.unwrap(),
                Poll::Pending => drop(bench.sent()),
            }
        }
        let wait = bench.frame(Header::window_update(1, sent as u32, 0));
        assert_eq!(wait.unwrap(), None);
    }
}

#[test]
fn what_a_header_announces_is_not_read_before_it_is_here() {
    let mut bench = Bench::new();
    let header = Header::data(1, DEFAULT_WINDOW, SYN);
    bench.bytes(&[&header.encode()[..], &[7]].concat()).unwrap();
    bench.sent();
    assert_eq!(bench.read(1), Some(vec![7]));
    assert_eq!(bench.sent(), [], "no credit for what is still to come");
    bench.bytes(&vec![7; DEFAULT_WINDOW as usize - 1]).unwrap();
    assert_eq!(
        bench.read(1).map(|b| b.len() + 1),
        Some(DEFAULT_WINDOW as usize)
    );
    let credit = Header::window_update(1, DEFAULT_WINDOW, ACK);
    assert_eq!(bench.sent(), [credit]);
}

#[test]
fn bytes_for_a_number_that_is_free_do_not_enter_the_stream_that_gets_it() {
    let mut bench = Bench::new();
    // The server gives out even numbers, and 2 is the first.
    bench.bytes(&Header::data(2, 3, FIN).encode()).unwrap();
    let Poll::Ready(Ok(2)) = bench.core.open(bench.now, &noop()) else {
        panic!("no stream");
    };
    bench.bytes(b"abc").unwrap();
    assert_eq!(bench.read(2), None, "nothing came, and it has not ended");
}

#[test]
fn a_stream_that_is_only_written_to_takes_nothing_in_the_middle_of_a_frame() {
    let mut bench = Bench::new();
    bench.bytes(&Header::data(1, 3, SYN).encode()).unwrap();
    bench.sent();
    bench.core.refuse_bytes(1);
    assert_eq!(bench.sent(), [Header::data(1, 0, RST)]);
    bench.bytes(b"abc").unwrap();
    assert_eq!(bench.read(1), Some(Vec::new()));
}

#[test]
fn streams_that_are_refused_are_counted_also_when_they_end_the_connection() {
    let mut bench = Bench::new();
    let opens: Vec<u8> = (0..2000)
        .flat_map(|n| Header::window_update(2 * n + 1, 0, SYN).encode())
        .collect();
    assert!(matches!(bench.bytes(&opens), Err(Error::Flood)));
    assert!(bench.core.take_refused() > 1000);
    assert_eq!(bench.core.take_refused(), 0);
}
