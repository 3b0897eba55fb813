//! Two connections with nothing between them but bytes in pieces of any size.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::connection::{Connection, Limits, Role};
use crate::transport::memory::Memory;

/// One side waits until it may open another stream. The other side refuses none: it may
/// still hold streams that the first one has dropped, and a refused stream ends without
/// anybody having ended it.
const LIMITS: Limits = Limits {
    inbound: 256,
    outbound: 6,
};

/// What happens next. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Open(bool),
    Write(bool, usize, usize),
    Read(bool, usize, usize),
    Finish(bool, usize),
    Drop(bool, usize),
    /// Up to so many bytes move from one side to the other.
    Move(bool, usize),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1..20_usize, 1..2000_usize, 60_000..300_000_usize];
    let side = any::<bool>();
    let which = 0..12_usize;
    prop_oneof![
        1 => side.prop_map(Step::Open),
        6 => (side, which.clone(), size.clone()).prop_map(|(a, b, c)| Step::Write(a, b, c)),
        6 => (side, which.clone(), size.clone()).prop_map(|(a, b, c)| Step::Read(a, b, c)),
        1 => (side, which.clone()).prop_map(|(a, b)| Step::Finish(a, b)),
        1 => (side, which).prop_map(|(a, b)| Step::Drop(a, b)),
        8 => (side, size).prop_map(|(a, b)| Step::Move(a, b)),
        1 => any::<u16>().prop_map(Step::Pass),
    ]
}

/// The byte of a stream at an offset, as one side sends it.
fn byte(client: bool, stream: u32, offset: usize) -> u8 {
    let seed = u64::from(stream) * 2 + u64::from(client);
    let mixed = (offset as u64).wrapping_add(seed << 32);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

#[derive(Debug, Default)]
struct Handle {
    sent: usize,
    read: usize,
    finished: bool,
}

struct Side {
    client: bool,
    core: Connection,
    handles: BTreeMap<u32, Handle>,
    /// Bytes on the way to the other side.
    wire: VecDeque<u8>,
}

impl Side {
    fn new(role: Role, memory: &Memory, now: Instant) -> Self {
        Side {
            client: role == Role::Client,
            core: Connection::new(role, LIMITS, memory.account(None), now),
            handles: BTreeMap::new(),
            wire: VecDeque::new(),
        }
    }

    fn pick(&self, which: usize) -> Option<u32> {
        let n = which % self.handles.len().max(1);
        self.handles.keys().nth(n).copied()
    }
}

struct Pair {
    sides: [Side; 2],
    /// Streams that either side has dropped.
    dropped: Vec<u32>,
    /// How much was sent, and whether that is all, by who sent it and stream.
    sent: BTreeMap<(bool, u32), (usize, bool)>,
    now: Instant,
    memory: Memory,
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Pair {
    fn new() -> Self {
        let memory = Memory::new(usize::MAX);
        let now = Instant::now();
        Pair {
            sides: [Role::Client, Role::Server].map(|role| Side::new(role, &memory, now)),
            dropped: Vec::new(),
            sent: BTreeMap::new(),
            now,
            memory,
        }
    }

    fn side(&mut self, first: bool) -> &mut Side {
        &mut self.sides[usize::from(!first)]
    }

    fn apply(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Open(at) => {
                let side = self.side(at);
                if let Poll::Ready(id) = side.core.open(now, &cx()) {
                    side.handles.insert(id.unwrap(), Handle::default());
                }
            }
            Step::Write(at, which, size) => self.write(at, which, size),
            Step::Read(at, which, size) => {
                let side = self.side(at);
                if let Some(id) = side.pick(which) {
                    self.read(at, id, size);
                }
            }
            Step::Finish(at, which) => {
                let side = self.side(at);
                let Some(id) = side.pick(which) else { return };
                side.core.finish(id).unwrap();
                side.handles.get_mut(&id).unwrap().finished = true;
                let client = side.client;
                self.sent.entry((client, id)).or_default().1 = true;
            }
            Step::Drop(at, which) => {
                let side = self.side(at);
                let Some(id) = side.pick(which) else { return };
                side.core.drop_stream(id);
                side.handles.remove(&id);
                self.dropped.push(id);
            }
            Step::Move(at, size) => {
                self.carry(at, size);
            }
            Step::Pass(millis) => self.now += Duration::from_millis(millis.into()),
        }
        for side in &mut self.sides {
            side.core.settle().wake();
        }
        let held: usize = self.sides.iter().map(|side| side.core.held()).sum();
        assert_eq!(self.memory.used(), held);
    }

    fn write(&mut self, at: bool, which: usize, size: usize) {
        let side = self.side(at);
        let Some(id) = side.pick(which) else { return };
        let (client, offset) = (side.client, side.handles[&id].sent);
        let data: Vec<u8> = (0..size).map(|n| byte(client, id, offset + n)).collect();
        if let Poll::Ready(Ok(n)) = side.core.write(id, &data, &cx()) {
            assert!(!side.handles[&id].finished, "written after the end");
            side.handles.get_mut(&id).unwrap().sent += n;
            self.sent.entry((client, id)).or_default().0 += n;
        }
    }

    /// Reads once. Says whether anything came.
    fn read(&mut self, at: bool, id: u32, size: usize) -> bool {
        let now = self.now;
        let dropped = self.dropped.contains(&id);
        let side = self.side(at);
        let (client, offset) = (side.client, side.handles[&id].read);
        let mut out = vec![0; size];
        let Poll::Ready(n) = side.core.read(id, &mut out, now, &cx()) else {
            return false;
        };
        for (i, got) in out[..n].iter().enumerate() {
            assert_eq!(*got, byte(!client, id, offset + i), "stream {id}");
        }
        side.handles.get_mut(&id).unwrap().read += n;
        if n == 0 && !dropped {
            let (sent, finished) = self.sent[&(!client, id)];
            assert!(finished, "an end that nobody made");
            assert_eq!(offset, sent, "an end before the end");
        }
        n > 0
    }

    /// Moves bytes to the other side. Says whether there were any.
    fn carry(&mut self, from: bool, size: usize) -> bool {
        let now = self.now;
        let side = self.side(from);
        if side.wire.is_empty() {
            let bytes = side.core.transmit(Vec::new(), now, &cx());
            side.wire.extend(bytes);
        }
        let n = size.min(side.wire.len());
        let bytes: Vec<u8> = side.wire.drain(..n).collect();
        let to = self.side(!from);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let received = to.core.receive(rest, now).expect("an honest remote");
            rest = &rest[received.bytes..];
        }
        while let Some(id) = to.core.accept() {
            to.handles.insert(id, Handle::default());
        }
        !bytes.is_empty()
    }

    /// Everything arrives that was written, on streams that both sides have kept.
    fn finish(mut self) {
        loop {
            let mut moved = false;
            for at in [true, false] {
                moved |= self.carry(at, usize::MAX);
                for id in self.side(at).handles.keys().copied().collect::<Vec<_>>() {
                    moved |= self.read(at, id, 1 << 20);
                }
            }
            if !moved {
                break;
            }
        }
        for side in [0, 1] {
            let other = &self.sides[1 - side];
            for (id, handle) in &self.sides[side].handles {
                if self.dropped.contains(id) {
                    continue;
                }
                let read = other.handles.get(id).map_or(0, |h| h.read);
                assert_eq!(read, handle.sent, "stream {id}");
            }
        }
        for side in &mut self.sides {
            for id in side.handles.keys().copied().collect::<Vec<_>>() {
                side.core.drop_stream(id);
            }
            side.core.abandon();
            side.core.settle().wake();
        }
        assert_eq!(self.memory.used(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn everything_arrives_in_order(steps in prop::collection::vec(step(), 1..200)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.apply(step);
        }
        pair.finish();
    }
}
