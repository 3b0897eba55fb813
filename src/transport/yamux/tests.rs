use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::task::noop_waker_ref;
use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Future};
use libp2p::core::muxing::StreamMuxer;

use super::handle::Stream;
use super::window::DEFAULT_WINDOW;
use super::*;
use crate::transport::tests::{pipe, run};

type Side = Muxer<crate::transport::tests::Pipe>;

fn sides(config: &Config, capacity: usize) -> (Side, Side) {
    let (a, b) = pipe(capacity);
    (config.muxer(a, Role::Client), config.muxer(b, Role::Server))
}

/// Polls a side as the swarm does when nobody wants a stream.
fn drive(side: &mut Side, cx: &mut Context<'_>) {
    match Pin::new(side).poll(cx) {
        Poll::Ready(Err(e)) => panic!("{e}"),
        Poll::Ready(Ok(_)) | Poll::Pending => {}
    }
}

async fn open(side: &mut Side) -> Stream {
    poll_fn(|cx| Pin::new(&mut *side).poll_outbound(cx))
        .await
        .unwrap()
}

async fn accept(side: &mut Side, other: &mut Side) -> Stream {
    poll_fn(|cx| {
        drive(other, cx);
        Pin::new(&mut *side).poll_inbound(cx)
    })
    .await
    .unwrap()
}

/// Runs `work` while both connections make progress.
async fn with_both<T>(a: &mut Side, b: &mut Side, work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    poll_fn(|cx| {
        let done = work.as_mut().poll(cx);
        drive(a, cx);
        drive(b, cx);
        done
    })
    .await
}

#[test]
fn nothing_is_stranded_whatever_the_pipe_holds() {
    // From a pipe that always pushes back to one that never does; sizes around
    // those of headers, frames and buffers.
    for capacity in [1, 13, 4096, 1 << 20] {
        for size in [1, 11, 70_000, 300_000] {
            let size = if capacity < 100 { size / 50 + 1 } else { size };
            run(async {
                let (mut a, mut b) = sides(&Config::new(10, 10), capacity);
                let mut out = open(&mut a).await;
                out.write_all(b"?").await.unwrap();
                let inn = accept(&mut b, &mut a).await;
                let (mut inn, mut back) = inn.split();
                let (mut read, mut out) = out.split();
                let data = vec![5; size];
                let mut there = Vec::new();
                let mut here = Vec::new();
                let work = async {
                    futures::try_join!(
                        async {
                            out.write_all(&data).await?;
                            out.close().await
                        },
                        async {
                            back.write_all(&data).await?;
                            back.close().await
                        },
                        inn.read_to_end(&mut there),
                        read.read_to_end(&mut here),
                    )
                };
                with_both(&mut a, &mut b, work).await.unwrap();
                assert_eq!((there.len(), here.len()), (size + 1, size));
            });
        }
    }
}

#[test]
fn surplus_inbound_streams_are_reset_and_the_rest_goes_on() {
    run(async {
        let (x, y) = pipe(1 << 20);
        let mut opener = Config::new(5, 20).muxer(x, Role::Client);
        let mut limited = Config::new(3, 1).muxer(y, Role::Server);
        let mut opened = Vec::new();
        for _ in 0..10 {
            let mut stream = open(&mut opener).await;
            stream.write_all(b"hello").await.unwrap();
            opened.push(stream);
        }
        let mut accepted = Vec::new();
        while accepted.len() < 3 {
            accepted.push(accept(&mut limited, &mut opener).await);
        }
        let surplus = opened.split_off(3);
        for mut stream in surplus {
            let mut buffer = [0; 1];
            let end = with_both(&mut opener, &mut limited, stream.read(&mut buffer)).await;
            assert!(matches!(end, Ok(0) | Err(_)), "reset");
        }
        for (mut out, mut inn) in opened.into_iter().zip(accepted) {
            let mut buffer = [0; 9];
            with_both(&mut opener, &mut limited, async {
                out.write_all(b" you").await.unwrap();
                inn.read_exact(&mut buffer).await.unwrap();
            })
            .await;
            assert_eq!(&buffer, b"hello you");
        }
        // All are gone: there is room again.
        let mut stream = open(&mut opener).await;
        stream.write_all(b"again").await.unwrap();
        accept(&mut limited, &mut opener).await;
    });
}

#[test]
fn a_peer_that_goes_on_opening_streams_that_are_reset_is_cut_off() {
    run(async {
        let (x, y) = pipe(1 << 20);
        let mut opener = Config::new(1, 100).muxer(x, Role::Client);
        let mut limited = Config::new(2, 1).muxer(y, Role::Server);
        let cx = &mut Context::from_waker(noop_waker_ref());
        let mut opened = 0;
        let error = loop {
            // Each is given up at once, as a flood does.
            let stream = Pin::new(&mut opener).poll_outbound(cx);
            if let Poll::Ready(Ok(mut stream)) = stream {
                let _ = Pin::new(&mut stream).poll_write(cx, b"x");
                opened += 1;
            }
            drive(&mut opener, cx);
            if let Poll::Ready(Err(e)) = Pin::new(&mut limited).poll(cx) {
                break e;
            }
            assert!(opened < 1_000_000, "never cut off");
        };
        assert!(matches!(error, Error::Flood), "{error}");
        assert!(error.to_string().contains("P2P_MAX_INBOUND_STREAMS"));
        assert!(opened > SURPLUS_AT_ONCE, "cut off after {opened}");
    });
}

#[test]
fn outbound_streams_over_the_limit_wait_for_one_to_end() {
    run(async {
        let (mut a, mut b) = sides(&Config::new(10, 2), 1 << 20);
        let first = open(&mut a).await;
        let _second = open(&mut a).await;
        let cx = &mut Context::from_waker(noop_waker_ref());
        assert!(Pin::new(&mut a).poll_outbound(cx).is_pending());
        let third = async {
            let mut first = Some(first);
            poll_fn(|cx| {
                let third = Pin::new(&mut a).poll_outbound(cx);
                // Dropped only after the opening waits, which it has to wake.
                if third.is_pending() {
                    drop(first.take());
                }
                drive(&mut b, cx);
                third
            })
            .await
        };
        third.await.unwrap();
    });
}

#[test]
fn a_reader_that_does_not_read_holds_one_window() {
    run(async {
        let (mut a, mut b) = sides(&Config::new(10, 10), 1 << 20);
        let mut out = open(&mut a).await;
        out.write_all(b"!").await.unwrap();
        let _unread = accept(&mut b, &mut a).await;
        let mut sent = 1;
        // Polled until nothing moves any more.
        let mut still = 0;
        while still < 10 {
            let cx = &mut Context::from_waker(noop_waker_ref());
            match Pin::new(&mut out).poll_write(cx, &[0; 10_000]) {
                Poll::Ready(n) => {
                    sent += n.unwrap();
                    still = 0;
                }
                Poll::Pending => still += 1,
            }
            drive(&mut a, cx);
            drive(&mut b, cx);
        }
        assert_eq!(sent, DEFAULT_WINDOW as usize);
    });
}

#[test]
fn thousands_of_streams_come_and_go() {
    run(async {
        let (mut a, mut b) = sides(&Config::new(4, 4), 1 << 20);
        for _ in 0..3000 {
            let mut out = open(&mut a).await;
            out.write_all(b"ping").await.unwrap();
            let mut inn = accept(&mut b, &mut a).await;
            with_both(&mut a, &mut b, async {
                let mut buffer = [0; 4];
                inn.read_exact(&mut buffer).await.unwrap();
                inn.write_all(b"pong").await.unwrap();
                inn.close().await.unwrap();
                out.read_exact(&mut buffer).await.unwrap();
                out.close().await.unwrap();
                assert_eq!(&buffer, b"pong");
            })
            .await;
        }
    });
}

mod interop;
mod pair;
mod rules;
