//! The state of a connection: bytes of the remote in, bytes for the remote out, and
//! streams. It does no I/O and reads no clock.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::error::{Error, Violation};
use super::frame::{ACK, FIN, HEADER, Header, Kind, RST, Reason, SYN};
use super::output::{FRAME, Output};
use super::stream::{STREAM, State, register};
use super::window::{DEFAULT_WINDOW, Growth, RoundTrip, WINDOW_GROWTH};
use super::{SURPLUS, SURPLUS_AT_ONCE};
use crate::rate::Pace;
use crate::transport::memory::Account;

/// Inbound streams that wait for the swarm to take them; more are reset. Peers
/// that respect the protocol's acknowledgement backlog never have more under way.
const MAX_WAITING: usize = 256;

/// Outbound streams that the remote has not acknowledged; the next one waits. It is the
/// backlog of the specification.
const BACKLOG: usize = 256;

/// The longest frame: a whole window that has grown as far as windows can. The window of
/// its stream is what bounds a frame; this is for frames whose stream is not there.
const LONGEST: u32 = DEFAULT_WINDOW + WINDOW_GROWTH;

/// Which side of the connection this is. It decides on the numbers of streams: those that
/// the client opens are odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The side that dialed.
    Client,
    /// The side that was dialed.
    Server,
}

/// How many streams may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Those that the remote opened.
    pub(crate) inbound: usize,
    /// Those that this side opened.
    pub(crate) outbound: usize,
}

/// What became of bytes that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// How many were taken. Not all of them when a stream arrived, which the caller can
    /// take before it goes on.
    pub(crate) bytes: usize,
    /// Whether a stream arrived.
    pub(crate) arrived: bool,
    /// Nothing more is to be read for this long, since the remote sends too many frames.
    pub(crate) wait: Option<Duration>,
}

/// Where in the sequence of frames the remote is.
#[derive(Debug)]
enum Input {
    /// So many bytes of a header are there.
    Header([u8; HEADER], usize),
    /// So many bytes of a frame for this stream are still to come. The last one ends the
    /// stream if that is set.
    Body { stream: u32, left: u32, fin: bool },
}

impl Input {
    const NEXT: Self = Input::Header([0; HEADER], 0);
}

/// Tasks to wake once the state is unlocked: what they do may need it.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakes {
    fn add(&mut self, waker: Option<Waker>) {
        match (&self.first, waker) {
            (None, waker) => self.first = waker,
            (Some(_), Some(waker)) => self.more.push(waker),
            (Some(_), None) => {}
        }
    }

    pub(crate) fn wake(self) {
        self.first.into_iter().for_each(Waker::wake);
        self.more.into_iter().for_each(Waker::wake);
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Connection {
    role: Role,
    limits: Limits,
    /// Bounded by `limits`.
    streams: HashMap<u32, State>,
    /// How many of them the remote opened.
    inbound: usize,
    /// How many of the others the remote has not acknowledged.
    unacknowledged: usize,
    /// Inbound streams that nobody has taken, at most [`MAX_WAITING`].
    arrived: VecDeque<u32>,
    next_id: Option<u32>,
    input: Input,
    output: Output,
    growth: Growth,
    round_trip: RoundTrip,
    budget: Budget,
    /// Inbound streams that were refused because there are too many, since somebody last
    /// asked.
    refused: u32,
    /// The pace of inbound streams that are refused, once there was one.
    surplus: Option<Box<Pace>>,
    /// A buffer between two streams, while data flows.
    spare: VecDeque<u8>,
    /// Memory of all inboxes.
    unread: usize,
    account: Account,
    /// What the account was told last.
    charged: usize,
    /// Whether nothing is sent and received any more.
    ended: bool,
    /// Who writes the output, if it waits for some.
    driver: Option<Waker>,
    /// Who waits to open a stream.
    opener: Option<Waker>,
    wakes: Wakes,
}

impl Connection {
    pub(crate) fn new(role: Role, limits: Limits, account: Account, now: Instant) -> Self {
        Connection {
            role,
            limits,
            streams: HashMap::new(),
            inbound: 0,
            unacknowledged: 0,
            arrived: VecDeque::new(),
            next_id: Some(match role {
                Role::Client => 1,
                Role::Server => 2,
            }),
            input: Input::NEXT,
            output: Output::new(),
            growth: Growth::new(),
            round_trip: RoundTrip::new(now),
            budget: Budget::new(now),
            refused: 0,
            surplus: None,
            spare: VecDeque::new(),
            unread: 0,
            account,
            charged: 0,
            ended: false,
            driver: None,
            opener: None,
            wakes: Wakes::default(),
        }
    }

    // ------------------------------------------------------------------ the remote's bytes

    /// Takes bytes of the remote.
    ///
    /// # Errors
    /// When the remote does what ends the connection. The caller calls
    /// [`Connection::fail`] then.
    pub(crate) fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<Received, Error> {
        self.budget.refill(now);
        let mut received = Received {
            bytes: 0,
            arrived: false,
            wait: None,
        };
        let waiting = self.arrived.len();
        let mut rest = bytes;
        while !rest.is_empty() && self.arrived.len() == waiting {
            rest = match self.input {
                Input::Header(..) => self.take_header(rest, now)?,
                Input::Body { .. } => self.take_body(rest),
            };
        }
        received.bytes = bytes.len() - rest.len();
        received.arrived = self.arrived.len() > waiting;
        if rest.is_empty() {
            received.wait = self.budget.wait();
        }
        Ok(received)
    }

    /// Returns how many streams were refused since the last call. They count also when
    /// [`Connection::receive`] failed because of them.
    pub(crate) fn take_refused(&mut self) -> u32 {
        std::mem::take(&mut self.refused)
    }

    /// Whether the remote has stopped between two frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        matches!(self.input, Input::Header(_, 0))
    }

    fn take_header<'a>(&mut self, bytes: &'a [u8], now: Instant) -> Result<&'a [u8], Error> {
        let Input::Header(header, have) = &mut self.input else {
            return Ok(bytes);
        };
        let n = bytes.len().min(HEADER - *have);
        let (part, rest) = bytes.split_at(n);
        header[*have..*have + n].copy_from_slice(part);
        *have += n;
        if *have == HEADER {
            let header = Header::decode(header)?;
            self.input = Input::NEXT;
            self.on_frame(header, now)?;
            // After each frame, so that it does not matter in what pieces frames come.
            if self.output.is_clogged() {
                return Err(Error::Unread);
            }
            if self.budget.is_spent() {
                return Err(Error::FrameFlood);
            }
        }
        Ok(rest)
    }

    fn take_body<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Input::Body { stream, left, fin } = &mut self.input else {
            return bytes;
        };
        let n = bytes
            .len()
            .min(usize::try_from(*left).unwrap_or(usize::MAX));
        let (part, rest) = bytes.split_at(n);
        *left -= u32::try_from(n).unwrap_or(*left);
        let (id, ends, done) = (*stream, *fin && *left == 0, *left == 0);
        if done {
            self.input = Input::NEXT;
        }
        // The stream may have been dropped since the header came.
        if let Some(state) = self.streams.get_mut(&id) {
            let before = state.inbox.held();
            if !self.ended && state.receives {
                state.inbox.push(part, &mut self.spare);
            }
            self.unread = self.unread + state.inbox.held() - before;
            if ends {
                state.receives = false;
            }
            self.wakes.add(state.reader.take());
        }
        rest
    }

    fn on_frame(&mut self, header: Header, now: Instant) -> Result<(), Error> {
        match header.kind {
            Kind::Data | Kind::WindowUpdate => {
                let opened = match header.has(SYN) && !header.has(RST) {
                    true => self.on_open(header, now)?,
                    false => false,
                };
                self.on_stream_frame(header, opened)
            }
            Kind::Ping if header.has(ACK) => {
                self.budget.in_vain();
                match self.round_trip.pong(header.length, now) {
                    true => Ok(()),
                    false => Err(Violation::Pong.into()),
                }
            }
            Kind::Ping => {
                self.budget.in_vain();
                self.send(Header::ping(header.length, ACK));
                Ok(())
            }
            Kind::GoAway => Err(Error::Closed),
        }
    }

    /// The remote opens a stream. Says whether it was let in.
    fn on_open(&mut self, header: Header, now: Instant) -> Result<bool, Error> {
        let id = header.stream;
        if self.is_ours(id) {
            return Err(Violation::StreamId(id).into());
        }
        if self.streams.contains_key(&id) {
            return Err(Violation::Reuse(id).into());
        }
        // The window of a data frame that opens a stream is the default one.
        if header.kind == Kind::Data && header.length > DEFAULT_WINDOW {
            return Err(Violation::Window(id).into());
        }
        self.budget.changes();
        if self.inbound < self.limits.inbound && self.arrived.len() < MAX_WAITING {
            self.streams.insert(id, State::inbound(now));
            self.inbound += 1;
            self.arrived.push_back(id);
            return Ok(true);
        }
        self.refused += 1;
        self.budget.dropped(DEFAULT_WINDOW);
        self.send(Header::data(id, 0, RST));
        let surplus = self
            .surplus
            .get_or_insert_with(|| Box::new(Pace::new(SURPLUS, SURPLUS_AT_ONCE, now)));
        surplus.take(now).map_err(|_| Error::Flood)?;
        Ok(false)
    }

    /// A frame for a stream that may be there or not; `opened` when it has been opened by
    /// this very frame.
    fn on_stream_frame(&mut self, header: Header, opened: bool) -> Result<(), Error> {
        let id = header.stream;
        let bytes = match header.kind {
            Kind::Data => header.length,
            _ => 0,
        };
        if bytes > 0 {
            self.input = Input::Body {
                stream: id,
                left: bytes,
                fin: header.has(FIN),
            };
        }
        let Some(state) = self.streams.get_mut(&id) else {
            if bytes > LONGEST {
                return Err(Violation::Window(id).into());
            }
            // A stream that gets this number before the rest is here has nothing to do
            // with it.
            self.ignore_body(id);
            self.budget.unknown(bytes);
            return Ok(());
        };
        let mut changed = opened;
        if header.has(ACK) && !state.acknowledged {
            state.acknowledged = true;
            changed = true;
            self.unacknowledged -= 1;
            self.wakes.add(self.opener.take());
        }
        if header.has(RST) {
            if state.reset {
                self.budget.in_vain();
            } else {
                self.budget.changes();
            }
            state.reset = true;
            state.receives = false;
            state.sends = false;
            self.wakes.add(state.reader.take());
            self.wakes.add(state.writer.take());
            // What the frame carries is not for the stream any more.
            self.ignore_body(id);
            return match bytes > LONGEST {
                true => Err(Violation::Window(id).into()),
                false => Ok(()),
            };
        }
        if bytes > 0 {
            if !state.receives {
                // This side has reset it, and the remote does not know yet.
                if state.one_way && !state.reset {
                    self.budget.unknown(bytes);
                    return Ok(());
                }
                return Err(Violation::AfterEnd(id).into());
            }
            if !state.window.take(bytes) {
                return Err(Violation::Window(id).into());
            }
            if state.one_way {
                self.reset(id);
                self.budget.in_vain();
            } else {
                self.budget.carries(bytes);
            }
            return Ok(());
        }
        if header.kind == Kind::WindowUpdate && header.length > 0 {
            let credit = state.credit.checked_add(header.length);
            state.credit = credit.ok_or(Violation::Credit(id))?;
            self.wakes.add(state.writer.take());
        }
        if header.has(FIN) && state.receives {
            state.receives = false;
            changed = true;
            self.wakes.add(state.reader.take());
        }
        match (changed, opened) {
            // Paid for when the stream was let in.
            (true, true) => {}
            (true, false) => self.budget.changes(),
            (false, _) => self.budget.in_vain(),
        }
        Ok(())
    }

    /// Resets a stream on which the remote sent what nobody reads. Whoever writes to it
    /// fails the next time.
    fn reset(&mut self, id: u32) {
        let Some(state) = self.streams.get_mut(&id) else {
            return;
        };
        let before = state.inbox.held();
        state.inbox = Default::default();
        self.unread -= before;
        self.budget.dropped(state.window.left());
        state.receives = false;
        state.sends = false;
        self.wakes.add(state.reader.take());
        self.wakes.add(state.writer.take());
        self.ignore_body(id);
        self.send(Header::data(id, 0, RST));
    }

    /// Drops the rest of the frame that is arriving, if it is for this stream.
    fn ignore_body(&mut self, id: u32) {
        if let Input::Body { stream, fin, .. } = &mut self.input
            && *stream == id
        {
            (*stream, *fin) = (0, false);
        }
    }

    /// Bytes of the frame that is arriving for this stream which are not here yet.
    fn to_come(&self, id: u32) -> usize {
        match self.input {
            Input::Body { stream, left, .. } if stream == id => {
                usize::try_from(left).unwrap_or(usize::MAX)
            }
            _ => 0,
        }
    }

    /// Whether this side gives out the number `id`.
    fn is_ours(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.role == Role::Client)
    }

    // ------------------------------------------------------------------ bytes for the remote

    /// Adds a frame, and wakes whoever writes.
    fn send(&mut self, header: Header) {
        self.output.push(header);
        self.wakes.add(self.driver.take());
    }

    /// Hands out what is to be written, in exchange for the last buffer. When it is empty,
    /// the task of `cx` is woken as soon as there is more.
    pub(crate) fn transmit(&mut self, written: Vec<u8>, now: Instant, cx: &Context<'_>) -> Vec<u8> {
        if !self.ended
            && let Some(id) = self.round_trip.ping(now)
        {
            self.output.push(Header::ping(id, SYN));
        }
        if self.output.is_empty() {
            drop(written);
            self.output.rest();
            register(&mut self.driver, cx);
            return Vec::new();
        }
        let (bytes, waiting) = self.output.take(written);
        for id in waiting {
            if let Some(state) = self.streams.get_mut(&id) {
                self.wakes.add(state.writer.take());
            }
        }
        bytes
    }

    /// Frees what is kept only while data flows.
    pub(crate) fn rest(&mut self) {
        self.spare = VecDeque::new();
    }

    // ------------------------------------------------------------------ streams

    /// The next stream that the remote opened.
    pub(crate) fn accept(&mut self) -> Option<u32> {
        self.arrived.pop_front()
    }

    /// Opens a stream, as soon as there may be one more.
    ///
    /// # Errors
    /// When the connection has ended, or there are no numbers left.
    pub(crate) fn open(&mut self, now: Instant, cx: &Context<'_>) -> Poll<Result<u32, Error>> {
        if self.ended {
            return Poll::Ready(Err(Error::Closed));
        }
        let outbound = self.streams.len() - self.inbound;
        if outbound >= self.limits.outbound || self.unacknowledged >= BACKLOG {
            register(&mut self.opener, cx);
            return Poll::Pending;
        }
        let Some(id) = self.next_id else {
            return Poll::Ready(Err(Error::NoMoreStreams));
        };
        self.next_id = id.checked_add(2);
        self.unacknowledged += 1;
        self.streams.insert(id, State::outbound(now));
        Poll::Ready(Ok(id))
    }

    /// Reads from a stream. Zero bytes are its end: the remote ended or reset it, or the
    /// connection ended.
    pub(crate) fn read(
        &mut self,
        id: u32,
        out: &mut [u8],
        now: Instant,
        cx: &Context<'_>,
    ) -> Poll<usize> {
        let to_come = self.to_come(id);
        let Some(state) = self.streams.get_mut(&id) else {
            return Poll::Ready(0);
        };
        if state.inbox.is_empty() && !out.is_empty() {
            if !state.receives || self.ended {
                return Poll::Ready(0);
            }
            register(&mut state.reader, cx);
            return Poll::Pending;
        }
        let before = state.inbox.held();
        let n = state.inbox.pop(out, &mut self.spare);
        self.unread = self.unread + state.inbox.held() - before;
        if state.receives && !self.ended {
            let trip = self.round_trip.get();
            // What a header has announced has been taken from the window, and is not read.
            let unread = state.inbox.len() + to_come;
            let credit = state.window.raise(unread, &mut self.growth, trip, now);
            if let Some(credit) = credit {
                let header = Header::window_update(id, credit, state.flag());
                state.announced();
                self.send(header);
            }
        }
        Poll::Ready(n)
    }

    /// Writes to a stream, as much as the remote and the output take now.
    ///
    /// # Errors
    /// When nothing can be sent on the stream any more.
    pub(crate) fn write(
        &mut self,
        id: u32,
        bytes: &[u8],
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let state = self.streams.get_mut(&id);
        let Some(state) = state.filter(|state| state.sends && !self.ended) else {
            return Poll::Ready(Err(closed()));
        };
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let most = bytes.len().min(FRAME);
        let most = most.min(usize::try_from(state.credit).unwrap_or(usize::MAX));
        let flag = state.flag();
        let sent = match most {
            0 => None,
            _ => self
                .output
                .write(id, flag, &bytes[..most], &mut state.round),
        };
        let Some(n) = sent else {
            register(&mut state.writer, cx);
            return Poll::Pending;
        };
        state.announced();
        state.credit -= u32::try_from(n).unwrap_or(state.credit);
        self.budget.sent(n);
        self.wakes.add(self.driver.take());
        Poll::Ready(Ok(n))
    }

    /// Says that this side never reads from a stream: it is reset when bytes arrive.
    pub(crate) fn refuse_bytes(&mut self, id: u32) {
        let to_come = self.to_come(id);
        if let Some(state) = self.streams.get_mut(&id)
            && !self.ended
        {
            state.one_way = true;
            if !state.inbox.is_empty() || to_come > 0 {
                self.reset(id);
            }
        }
    }

    /// Says that this side sends nothing more on a stream.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn finish(&mut self, id: u32) -> io::Result<()> {
        let Some(state) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if !state.sends {
            return Ok(());
        }
        if self.ended {
            return Err(closed());
        }
        let header = Header::data(id, 0, FIN | state.flag());
        state.announced();
        state.sends = false;
        self.send(header);
        Ok(())
    }

    /// Forgets a stream that nobody uses any more. What has not been ended in order is
    /// reset. When the remote has ended its direction, the end of the other one is enough.
    pub(crate) fn drop_stream(&mut self, id: u32) {
        let Some(state) = self.streams.remove(&id) else {
            return;
        };
        self.unread -= state.inbox.held();
        state.window.release(&mut self.growth);
        if self.is_ours(id) {
            if !state.acknowledged {
                self.unacknowledged -= 1;
            }
            self.wakes.add(self.opener.take());
        } else {
            self.inbound -= 1;
        }
        if self.ended || state.is_secret() {
            return;
        }
        let window = match state.receives {
            true => state.window.left(),
            false => 0,
        };
        self.budget.dropped(window);
        if state.sends {
            let flag = match state.receives {
                true => RST,
                false => FIN | state.flag(),
            };
            self.send(Header::data(id, 0, flag));
        }
    }

    // ------------------------------------------------------------------ the end

    /// Begins the orderly end: the remote is told after everything that has been written,
    /// and streams take and give nothing more, except what has arrived.
    pub(crate) fn close(&mut self) {
        if !self.ended {
            self.send(Header::go_away(Reason::Normal));
            self.end();
        }
    }

    /// Ends the connection because of `error`. What the output holds then is all that the
    /// remote can be told.
    pub(crate) fn fail(&mut self, error: &Error) {
        if self.ended {
            return;
        }
        self.output.clear();
        match error {
            Error::Violation(_) => self.send(Header::go_away(Reason::Protocol)),
            Error::Flood | Error::FrameFlood | Error::Unread | Error::Memory => {
                self.send(Header::go_away(Reason::Internal));
            }
            Error::Closed | Error::Io(_) | Error::NoMoreStreams => {}
        }
        if let Error::Memory = error {
            self.streams
                .values_mut()
                .for_each(|state| state.inbox = Default::default());
            self.unread = 0;
        }
        self.end();
    }

    fn end(&mut self) {
        self.ended = true;
        self.spare = VecDeque::new();
        for state in self.streams.values_mut() {
            self.wakes.add(state.reader.take());
            self.wakes.add(state.writer.take());
        }
        self.wakes.add(self.opener.take());
    }

    /// Drops what nobody will write any more.
    pub(crate) fn abandon(&mut self) {
        // Streams may still be read, but not if the connection is to give its memory back.
        self.fail(match self.account.is_doomed() {
            true => &Error::Memory,
            false => &Error::Closed,
        });
        self.output = Output::new();
    }

    /// The memory that the connection holds for what was sent, read and written.
    pub(crate) fn held(&self) -> usize {
        let streams = self.streams.len().saturating_mul(STREAM);
        self.unread + self.spare.capacity() + self.output.held() + streams
    }

    /// What the remote may make this side hold of its bytes, by what it was granted.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn granted(&self) -> usize {
        let windows = self.streams.values().map(|state| state.window.size());
        windows.map(|size| size as usize).sum()
    }

    /// The bytes that nobody has read.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn unread(&self) -> usize {
        self.streams.values().map(|state| state.inbox.len()).sum()
    }

    /// Tells the account what the connection holds, and returns who is to be woken. To be
    /// called after everything else that is done with the connection.
    pub(crate) fn settle(&mut self) -> Wakes {
        let held = self.held();
        if held != self.charged {
            self.charged = held;
            self.account.set(held);
        }
        std::mem::take(&mut self.wakes)
    }

    /// Whether the connection has to end for the memory that it holds.
    pub(crate) fn is_doomed(&self, cx: &Context<'_>) -> bool {
        self.account.watch(cx.waker())
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the stream is closed")
}
