//! Simultaneous fetches of the same content on one node.

use super::*;

/// Creates a peer that serves the blocks of `source` and counts each block that it sends.
fn counted(sink: &Node, source: &Node) -> Count {
    let sent = Count::default();
    let (store, count) = (source.store.clone(), sent.clone());
    sink.net.peer(move |stream| {
        let (store, count) = (store.clone(), count.clone());
        async move {
            let counting = |_| {
                count.add();
                false
            };
            serve_until(stream, store, counting).await;
        }
    });
    sent
}

#[test]
fn many_fetches_of_one_content_bring_each_block_once() {
    block_on(async {
        for size in [300_000, 24 * MIB] {
            let (source, cid) = Node::with(size).await;
            let blocks = source.store.usage().blocks;
            let sink = Node::new();
            let sent = counted(&sink, &source);
            let gets = (0..20).map(|_| sink.get(&cid));
            let mut received = 0;
            for got in futures::future::join_all(gets).await {
                let (data, summary) = got.unwrap();
                assert!(data == content(0, size));
                received += summary.received;
            }
            assert_eq!(sent.get() as u64, blocks, "{size}");
            assert!(received >= size as u64 && received < size as u64 + MIB as u64);
            assert_eq!(sink.store.usage().blocks, blocks);
        }
    });
}

#[test]
fn whoever_follows_takes_over_when_the_first_is_dropped() {
    block_on(async {
        const SIZE: usize = 24 * MIB;
        let (source, cid) = Node::with(SIZE).await;
        let sink = Node::new();
        let sent = counted(&sink, &source);
        let options = sink.content.fetch_options();
        let mut first = sink.content.fetch(&cid, options.clone()).unwrap();
        let others: Vec<Fetch> = (0..3)
            .map(|_| sink.content.fetch(&cid, options.clone()).unwrap())
            .collect();
        let mut came = 0;
        while came < 6 * MIB {
            if let Event::Data(bytes) = first.next().await.unwrap().unwrap() {
                came += bytes.len();
            }
        }
        drop(first);
        for got in futures::future::join_all(others.into_iter().map(read)).await {
            assert!(got.unwrap().0 == content(0, SIZE));
        }
        // Blocks that were on their way when the first fetch was dropped may arrive
        // twice.
        let blocks = source.store.usage().blocks as usize;
        assert!(
            (blocks..blocks + 64).contains(&sent.get()),
            "{}",
            sent.get()
        );
    });
}

#[test]
fn a_reader_that_stops_does_not_hold_up_those_who_follow() {
    block_on(async {
        const SIZE: usize = 40 * MIB;
        let (source, cid) = Node::with(SIZE).await;
        let sink = Node::new();
        let sent = counted(&sink, &source);
        let options = sink.content.fetch_options();
        let mut first = sink.content.fetch(&cid, options).unwrap();
        // The fetch has begun, but its reader reads no more.
        assert_eq!(
            first.next().await.unwrap().unwrap(),
            Event::Size(SIZE as u64)
        );
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, SIZE));
        assert_eq!(summary.received, 0, "the first brought all of it");
        assert_eq!(sent.get() as u64, source.store.usage().blocks);
        let mut came = 0;
        while let Some(event) = first.next().await {
            if let Event::Data(bytes) = event.unwrap() {
                came += bytes.len();
            }
        }
        assert_eq!(came, SIZE);
    });
}

#[test]
fn when_nobody_has_it_all_are_told_the_same_and_the_network_is_asked_once() {
    block_on(async {
        let (_, cid) = Node::with(300_000).await;
        let sink = Node::new();
        let near: Vec<PeerId> = (0..5)
            .map(|_| {
                sink.net.hidden_peer(|stream| async {
                    let mut asked = Asked::on(stream);
                    while let Some(want) = asked.next_want().await {
                        asked.say(want.id, Status::DontHave).await;
                    }
                })
            })
            .collect();
        sink.net.shared.lock().unwrap().connected = near.clone();
        let options = FetchOptions {
            patience: Duration::from_secs(12),
            ..sink.content.fetch_options()
        };
        let gets = (0..20).map(|_| read(sink.content.fetch(&cid, options.clone()).unwrap()));
        for got in futures::future::join_all(gets).await {
            let error = got.unwrap_err();
            let words = "5 connected peers do not have it";
            assert!(error.to_string().contains(words), "{error}");
        }
        let most = near.iter().map(|peer| sink.net.opened(peer)).max();
        assert!(most < Some(10), "{most:?}");
    });
}

#[test]
fn a_leader_that_loses_patience_ends_those_who_have_waited_about_as_long() {
    block_on(async {
        let (_, cid) = Node::with(300_000).await;
        let sink = Node::new();
        let second = Duration::from_secs(1);
        let get = |patience| {
            let options = FetchOptions {
                patience,
                ..sink.content.fetch_options()
            };
            read(sink.content.fetch(&cid, options).unwrap())
        };
        // The first fetch leads. The others would wait for longer, and then one after the
        // other, each of them for as long again.
        let first = get(second * 6);
        let others = (0..5).map(|_| get(second * 10));
        let others = futures::future::join_all(others);
        let (first, others) = futures::join!(first, others);
        assert!(first.is_err());
        for got in others {
            let error = got.unwrap_err();
            let FetchError::NoProviders { waited, .. } = error else {
                panic!("{error}");
            };
            assert!(waited < second * 10, "{waited:?}");
        }
    });
}

#[test]
fn whoever_follows_waits_as_long_as_bytes_come_to_the_leader() {
    block_on(async {
        const SIZE: usize = 300_000;
        let (source, cid) = Node::with(SIZE).await;
        let sink = Node::new();
        let store = source.store.clone();
        // One block takes more than twice as long as the follower's patience.
        sink.net.peer(move |stream| {
            let store = store.clone();
            async move {
                let mut asked = Asked::on(stream);
                let (id, cid) = asked.next().await.unwrap();
                let data = store.get(&cid).unwrap().unwrap();
                let mut whole = Vec::new();
                let block = publish(&cid, &data);
                frame::write_block(&mut whole, id, &block).await.unwrap();
                for some in whole.chunks(20_000) {
                    async_io::Timer::after(Duration::from_millis(500)).await;
                    if asked.writer.write_all(some).await.is_err() {
                        return;
                    }
                    let _ = asked.writer.flush().await;
                }
                while asked.next().await.is_some() {}
            }
        });
        let options = FetchOptions {
            patience: Duration::from_secs(3),
            ..sink.content.fetch_options()
        };
        let gets = (0..3).map(|_| read(sink.content.fetch(&cid, options.clone()).unwrap()));
        for got in futures::future::join_all(gets).await {
            assert!(got.unwrap().0 == content(0, SIZE));
        }
    });
}
