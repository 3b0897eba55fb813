//! Memory and sizes stay within their bounds, whatever the content and its reader do.

use super::*;

#[test]
fn readers_that_stop_share_memory_and_one_that_reads_goes_on() {
    const SIZE: usize = 40 * MIB;
    const STOPPED: usize = 12;
    block_on(async {
        let (node, cid) = Node::with(SIZE).await;
        let mut stopped = Vec::new();
        for _ in 0..STOPPED {
            let options = node.content.fetch_options();
            stopped.push(node.content.fetch(&cid, options).unwrap());
        }
        let full = async {
            while stopped.iter().any(|fetch| fetch.memory.room() > 0) {
                async_io::Timer::after(Duration::from_millis(5)).await;
            }
            let reading = node.get(&cid).await.unwrap();
            assert!(reading.0 == content(0, SIZE));
        };
        let full = async_std::future::timeout(Duration::from_secs(60), full);
        full.await.expect("one that reads goes on");
        // Each of them alone would hold about ten.
        let held: usize = stopped.iter().map(|fetch| fetch.memory.peak()).sum();
        assert!(held <= 64 * MIB + 2 * STOPPED * MIB, "{held}");
        assert!(held > 48 * MIB, "{held}");
    });
}

#[test]
fn a_limit_on_size_stops_before_the_content_comes() {
    block_on(async {
        let (source, cid) = Node::with(5 * MIB).await;
        let sink = Node::new();
        sink.net.serve(&source);
        let options = FetchOptions {
            max_size: Some(1000),
            ..sink.content.fetch_options()
        };
        let error = read(sink.content.fetch(&cid, options).unwrap())
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                FetchError::Plan(PlanError::TooLarge { max: 1000, .. })
            ),
            "{error}"
        );
    });
}

#[test]
fn sizes_that_contradict_the_parent_are_refused() {
    block_on(async {
        let leaf = Bytes::from_static(b"twelve bytes");
        let child = Child {
            cid: address::address(&leaf, Codec::Raw),
            size: 13,
            total: 13,
        };
        let root = Bytes::from(encode_file(&[child, child]));
        let cid = address::address(&root, Codec::DagPb);
        let source = Node::new();
        source.put_blocks(&[(child.cid, leaf), (cid, root)]);
        let sink = Node::new();
        sink.net.serve(&source);
        let error = sink.get(&cid).await.unwrap_err();
        assert!(
            matches!(
                error,
                FetchError::Plan(PlanError::Sizes {
                    stated: 13,
                    actual: 12,
                    ..
                })
            ),
            "{error}"
        );
    });
}

/// The reader pauses after the first event until every block is in the store. What it has
/// not read must wait there, and not in memory.
#[test]
fn memory_stays_flat_with_a_reader_that_does_not_read() {
    block_on(async {
        const SIZE: usize = 128 * MIB;
        let (source, cid) = Node::with(SIZE).await;
        let sink = Node::new();
        let served = Count::default();
        let (store, count) = (source.store.clone(), served.clone());
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
        let mut fetch = sink
            .content
            .fetch(&cid, sink.content.fetch_options())
            .unwrap();
        assert_eq!(
            fetch.next().await.unwrap().unwrap(),
            Event::Size(SIZE as u64)
        );
        let all = async_std::future::timeout(Duration::from_secs(60), served.reaches(129));
        all.await.expect("the fetch waits for its reader");
        let mut at = 0;
        loop {
            match fetch.next().await.unwrap().unwrap() {
                Event::Data(bytes) => {
                    assert!(bytes == content(at, bytes.len()));
                    at += bytes.len() as u64;
                }
                Event::Done(summary) => {
                    assert_eq!(at, SIZE as u64);
                    assert!(summary.peak_memory > MIB);
                    assert!(summary.peak_memory < 48 * MIB, "{}", summary.peak_memory);
                    return;
                }
                _ => {}
            }
        }
    });
}

#[test]
fn a_damaged_tree_of_links_is_an_error_of_the_content_and_not_of_its_provider() {
    block_on(async {
        let block = Bytes::from_static(b"\x0a\x03no");
        let cid = address::address(&block, Codec::DagPb);
        let source = Node::new();
        source.put_blocks(&[(cid, block)]);
        let sink = Node::new();
        sink.net.serve(&source);
        let error = sink.get(&cid).await.unwrap_err();
        assert!(matches!(error, FetchError::Node { .. }), "{error}");
        assert!(sink.net.faults().is_empty());
    });
}

/// A tree that is as hostile as possible: each level repeats one child, so that a few
/// blocks stand for more content than there is.
#[test]
fn a_bomb_of_repeated_nodes_neither_grows_nor_hangs() {
    block_on(async {
        let leaf = Bytes::from_static(b"x");
        let mut child = Child {
            cid: address::address(&leaf, Codec::Raw),
            size: 1,
            total: 1,
        };
        let mut blocks = HashMap::from([(child.cid, leaf)]);
        for _ in 0..40 {
            let block = Bytes::from(encode_file(&[child, child]));
            let cid = address::address(&block, Codec::DagPb);
            blocks.insert(cid, block);
            child = Child {
                cid,
                size: child.size * 2,
                total: child.total * 2,
            };
        }
        let source = Node::new();
        source.put_blocks(&blocks.into_iter().collect::<Vec<_>>());
        let sink = Node::new();
        sink.net.serve(&source);
        let error = sink.get(&child.cid).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Plan(PlanError::TooDeep { .. })),
            "{error}"
        );
        let stat = source.content.stat(&child.cid).await;
        assert!(stat.is_err());
    });
}
