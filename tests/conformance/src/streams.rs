//! What happens on the streams of a connection.

use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt, join};
use libp2p::swarm::Stream;

use crate::link::{Pair, both_directions, each_way, over_every_link};
use crate::node::Node;
use crate::pattern;

over_every_link!(each_way: echo, half_close, reset);
over_every_link!(both_directions: thousands_of_streams, large_transfer);

/// A stream from one node to the other, both ends of it. The first byte is sent
/// and taken here, as negotiation may wait for it.
async fn stream(from: &Node, to: &Node) -> (Stream, Stream) {
    let (mut near, mut far) = join!(
        async {
            let mut near = from.open(to.peer).await;
            near.write_all(&[7]).await.unwrap();
            near.flush().await.unwrap();
            near
        },
        to.accept()
    );
    let mut first = [0];
    far.read_exact(&mut first).await.unwrap();
    far.write_all(&first).await.unwrap();
    far.flush().await.unwrap();
    near.read_exact(&mut first).await.unwrap();
    assert_eq!(first, [7]);
    (near, far)
}

/// Bytes go there and come back, on streams that either side opened.
async fn echo(pair: Pair) {
    pair.connect().await;
    for (from, to) in [
        (&pair.dialer, &pair.listener),
        (&pair.listener, &pair.dialer),
    ] {
        for len in [0, 1, 1000, 1 << 20] {
            let (near, far) = stream(from, to).await;
            let (near_read, near_write) = near.split();
            let (far_read, mut far_write) = far.split();
            join!(
                pattern::send(near_write, len as u64, len),
                async {
                    futures::io::copy(far_read, &mut far_write).await.unwrap();
                    far_write.close().await.unwrap();
                },
                pattern::check(near_read, len as u64, len),
            );
        }
    }
}

/// A side that has closed its half still gets everything from the other.
async fn half_close(pair: Pair) {
    const LEN: usize = 300_000;
    pair.connect().await;
    for (from, to) in [
        (&pair.dialer, &pair.listener),
        (&pair.listener, &pair.dialer),
    ] {
        let (mut near, mut far) = stream(from, to).await;
        near.close().await.unwrap();
        let mut nothing = Vec::new();
        far.read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty());
        // The other half is open, for more than a window's worth.
        join!(
            pattern::send(&mut far, 1, LEN),
            pattern::check(&mut near, 1, LEN)
        );
    }
}

/// A stream that is dropped ends at the other side and harms no other stream.
async fn reset(pair: Pair) {
    pair.connect().await;
    for (from, to) in [
        (&pair.dialer, &pair.listener),
        (&pair.listener, &pair.dialer),
    ] {
        let (near, mut far) = stream(from, to).await;
        let (mut other_near, mut other_far) = stream(from, to).await;
        drop(near);
        // Reading ends, with or without an error by the multiplexer.
        let _ = far.read_to_end(&mut Vec::new()).await;
        // Writing fails, at the latest when the news has come.
        let kilobyte = [0; 1024];
        while far.write_all(&kilobyte).await.is_ok() && far.flush().await.is_ok() {}

        join!(
            pattern::send(&mut other_near, 2, 100_000),
            pattern::check(&mut other_far, 2, 100_000)
        );
    }
}

/// Far more streams than may be open at once, from both sides, batch by batch.
async fn thousands_of_streams(pair: Pair) {
    // Below the limit of streams of either side, which is 128 here.
    const BATCH: usize = 50;
    const BATCHES: usize = 20;
    pair.connect().await;

    let (a, b) = (&pair.dialer, &pair.listener);
    join!(
        answer(a, BATCHES * BATCH),
        answer(b, BATCHES * BATCH),
        ask(a, b, BATCHES, BATCH),
        ask(b, a, BATCHES, BATCH),
    );
}

/// Opens `batch` streams at once, asks on each, and checks the answers.
async fn ask(from: &Node, to: &Node, batches: usize, batch: usize) {
    for round in 0..batches {
        join_all((0..batch).map(|i| async move {
            let mut stream = from.open(to.peer).await;
            let mut question = format!("stream {round}.{i} of {}", from.peer).into_bytes();
            stream.write_all(&question).await.unwrap();
            stream.close().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            question.reverse();
            assert_eq!(answer, question);
        }))
        .await;
    }
}

/// Answers with the question backwards.
async fn answer(node: &Node, streams: usize) {
    for _ in 0..streams {
        let mut stream = node.accept().await;
        async_std::task::spawn(async move {
            let mut content = Vec::new();
            stream.read_to_end(&mut content).await.unwrap();
            content.reverse();
            stream.write_all(&content).await.unwrap();
            stream.close().await.unwrap();
        });
    }
}

/// 64 MiB in both directions of one stream at once, every byte checked.
async fn large_transfer(pair: Pair) {
    const LEN: usize = 64 << 20;
    pair.connect().await;
    let (near, far) = stream(&pair.dialer, &pair.listener).await;
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    // A task each, so that no direction can wait for the other by accident.
    join!(
        async_std::task::spawn(pattern::send(near_write, 1, LEN)),
        async_std::task::spawn(pattern::check(far_read, 1, LEN)),
        async_std::task::spawn(pattern::send(far_write, 2, LEN)),
        async_std::task::spawn(pattern::check(near_read, 2, LEN)),
    );
}
