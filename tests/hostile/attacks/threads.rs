//! Threads of the executor: traffic without a pause, on which a loop could stay for ever
//! and keep every other task waiting. Most of it comes before the handshake, from
//! strangers.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Async;
use async_std::task::{sleep, spawn};
use futures::future::{join_all, select};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::upgrade::OutboundConnectionUpgrade;
use libp2p::identity::Keypair;
use libp2p::noise;

use crate::bout::Bout;
use crate::peer::{drain, line, propose, socket_addr, tcp, within};
use crate::process::{Order, Tally};

/// Bytes written at once: as much as a socket takes.
const LUMP: usize = 64 << 10;

/// Connections of one attack at most: a bound beside its time.
const MOST: u64 = 20_000;

/// `unit` again and again, about a [`LUMP`] of it.
fn lump(unit: &[u8]) -> Vec<u8> {
    unit.repeat(LUMP / unit.len() + 1)
}

/// Writes `bytes` until the victim hangs up; reads and drops what it answers.
async fn pour<S: AsyncRead + AsyncWrite + Unpin>(stream: S, bytes: &[u8], tally: &Tally) {
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        while writer.write_all(bytes).await.is_ok() && writer.flush().await.is_ok() {
            tally.add("KiB", bytes.len() as u64 >> 10);
        }
    };
    // Whichever half notices first.
    select(Box::pin(writing), Box::pin(drain(&mut reader))).await;
}

/// `count` attackers, each of which does `once` again and again.
async fn again<F>(order: Order, tally: Tally, once: impl Fn(Order, Tally) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let once = |_| once(order.clone(), tally.clone());
    let (once, each) = (&once, tally.clone());
    let attackers = (0..order.count).map(|_| {
        let each = each.clone();
        async move {
            while each.get("connections") < MOST {
                each.add("connections", 1);
                match spawn(once(())).await {
                    Ok(()) => each.add("times cut off", 1),
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        }
    });
    join_all(attackers.collect::<Vec<_>>()).await;
}

/// Proposes protocols that nobody speaks, for ever.
pub(crate) async fn proposals(order: Order, tally: Tally) {
    again(order, tally, |order, tally| async move {
        let mut io = tcp(socket_addr(&order.target), None).await?;
        io.write_all(&line("/multistream/1.0.0")).await?;
        pour(io, &lump(&line("/x")), &tally).await;
        Ok(())
    })
    .await;
}

/// The request with which a WebSocket begins, and the end of its answer.
async fn upgrade(order: &Order) -> io::Result<Async<TcpStream>> {
    let mut io = tcp(socket_addr(&order.target), None).await?;
    let request = "GET / HTTP/1.1\r\nHost: victim\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n";
    within("the request", async {
        io.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            io.read_exact(&mut byte).await?;
            answer.push(byte[0]);
        }
        match answer.starts_with(b"HTTP/1.1 101") {
            true => Ok(()),
            false => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    })
    .await?;
    Ok(io)
}

/// An empty ping, masked with zeros as the client's side has to.
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];

/// WebSocket pings without an end, before anything else.
pub(crate) async fn pings(order: Order, tally: Tally) {
    again(order, tally, |order, tally| async move {
        let io = upgrade(&order).await?;
        pour(io, &lump(&PING), &tally).await;
        Ok(())
    })
    .await;
}

/// Announces a frame of 200 MiB and sends a little of it.
pub(crate) async fn frames(order: Order, tally: Tally) {
    again(order, tally, |order, tally| async move {
        let mut io = upgrade(&order).await?;
        let mut frame = vec![0x82, 0xff];
        frame.extend((200u64 << 20).to_be_bytes());
        frame.extend([0; 4 + 64]);
        io.write_all(&frame).await?;
        tally.add("frames", 1);
        drain(&mut io).await;
        Ok(())
    })
    .await;
}

/// A TLS hello that announces as much as TLS allows, in records of one byte each.
pub(crate) async fn records(order: Order, tally: Tally) {
    let record = |byte| [0x16, 3, 3, 0, 1, byte];
    let mut hello: Vec<_> = [1, 0, 0xff, 0xff].into_iter().flat_map(record).collect();
    hello.extend(record(0).repeat(0xffff));
    let hello = Arc::new(hello);
    again(order, tally, move |order, tally| {
        let hello = hello.clone();
        async move {
            let mut io = tcp(socket_addr(&order.target), None).await?;
            within("the negotiation", propose(&mut io, "/tls/1.0.0")).await?;
            pour(io, &hello, &tally).await;
            Ok(())
        }
    })
    .await;
}

/// A stream whose writes leave it in lumps, whatever the layers above flush.
struct Lumped {
    io: Async<TcpStream>,
    /// Whether flushes are kept back.
    held: Arc<Mutex<bool>>,
    waiting: Vec<u8>,
}

impl Lumped {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let n = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting))?;
            self.waiting.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Lumped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lumped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= LUMP {
            std::task::ready!(self.poll_out(cx))?;
        }
        self.waiting.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if *self.held.lock().unwrap() {
            return Poll::Ready(Ok(()));
        }
        self.poll_out(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Proves an identity, and then sends Noise messages of one byte each. Together they are
/// answers to pings that nobody sent.
pub(crate) async fn messages(order: Order, tally: Tally) {
    again(order, tally, |order, tally| async move {
        let held = Arc::new(Mutex::new(false));
        let mut io = Lumped {
            io: tcp(socket_addr(&order.target), None).await?,
            held: held.clone(),
            waiting: Vec::new(),
        };
        let channel = within("the handshake", async {
            propose(&mut io, "/noise").await?;
            let key = Keypair::generate_ed25519();
            let config = noise::Config::new(&key).map_err(io::Error::other)?;
            let (_, mut channel) = config
                .upgrade_outbound(io, "/noise")
                .await
                .map_err(io::Error::other)?;
            propose(&mut channel, "/yamux/1.0.0").await?;
            Ok(channel)
        })
        .await?;
        *held.lock().unwrap() = true;
        tally.add("handshakes", 1);
        let (mut reader, mut writer) = channel.split();
        let pong = [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        let writing = async {
            loop {
                for _ in 0..100 {
                    for byte in pong {
                        if writer.write_all(&[byte]).await.is_err() || writer.flush().await.is_err()
                        {
                            return;
                        }
                    }
                }
                tally.add("messages", 1200);
            }
        };
        select(Box::pin(writing), Box::pin(drain(&mut reader))).await;
        Ok(())
    })
    .await;
}

/// Fights with two connections and says what came of it.
fn against_threads(name: &'static str, attack: &str, websocket: bool) {
    let mut bout = Bout::loopback(name);
    let mut order = bout.order(attack, 8, 2);
    if websocket {
        order.target = bout.victim.websocket();
    }
    let outcome = bout.fight(&[order], |_| {});
    let cut_off = bout.victim.metric("p2p_handshakes_cut_off_total");
    let slow = bout
        .victim
        .metric("p2p_slow_polls_total{task=\"connection\"}");
    let defence = format!("{cut_off} handshakes cut off, {slow} slow polls");
    bout.report(&outcome, 24 << 20, &defence).unwrap();
    assert!(cut_off > 0.0, "nobody was cut off: {}", outcome.tally);
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

#[test]
fn endless_proposals() {
    against_threads("endless proposals, 2 connections", "proposals", false);
}

#[test]
fn endless_websocket_pings() {
    against_threads("endless WebSocket pings, 2 connections", "pings", true);
}

#[test]
fn tls_records_of_one_byte() {
    let name = "endless TLS hello in records of 1 byte, 2 connections";
    against_threads(name, "tls records", false);
}

#[test]
fn noise_messages_of_one_byte() {
    let mut bout = Bout::loopback("Noise messages of 1 byte, 2 connections");
    let order = bout.order("noise messages", 8, 2);
    let outcome = bout.fight(&[order], |_| {});
    let slow = bout
        .victim
        .metric("p2p_slow_polls_total{task=\"connection\"}");
    bout.report(&outcome, 24 << 20, &format!("{slow} slow polls"))
        .unwrap();
    assert!(outcome.tally.get("messages") > 0, "{}", outcome.tally);
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

#[test]
fn websocket_frames_of_200_mebibytes() {
    let mut bout = Bout::loopback("WebSocket frames of 200 MiB, 12 connections");
    let mut order = bout.order("websocket frames", 8, 12);
    order.target = bout.victim.websocket();
    let outcome = bout.fight(&[order], |_| {});
    let frames = outcome.tally.get("frames");
    bout.report(&outcome, 24 << 20, "each refused at its head")
        .unwrap();
    assert!(frames > 0, "{}", outcome.tally);
    assert!(outcome.tally.get("times cut off") > 0, "{}", outcome.tally);
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}
