//! Fetches over pipes in memory, with providers of every kind.

mod crowd;
mod refusals;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_std::os::unix::net::UnixStream;
use async_std::task::block_on;
use bytes::Bytes;
use cid::Cid;
use futures::channel::mpsc;
use futures::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use futures::{FutureExt, StreamExt};
use libp2p::PeerId;

use super::*;
use crate::block::exchange::frame::{self, FrameReader};
use crate::block::exchange::pb::exchange::{Response, Status, Want};
use crate::block::exchange::pb::message::Block;
use crate::block::network::{Fault, OpenError};
use crate::block::testing::{Count, Node, publish, read};
use crate::content::address::{self, Codec};
use crate::content::dag::{Child, encode_file};
use crate::content::fetch::{Obstacle, Unreachable};
use crate::content::testing::{content, foreign, unhex};
use crate::store::Store;

const MIB: usize = 1 << 20;

/// The wants on a stream, one after the other, with the methods to answer them.
struct Asked {
    reader: FrameReader<ReadHalf<UnixStream>>,
    writer: WriteHalf<UnixStream>,
    queue: Vec<Want>,
}

impl Asked {
    fn on(stream: UnixStream) -> Self {
        let (reader, writer) = stream.split();
        Asked {
            reader: FrameReader::new(reader, 1 << 16),
            writer,
            queue: Vec::new(),
        }
    }

    /// Returns the next want of a block. Questions whether a block is here are answered
    /// with yes.
    async fn next(&mut self) -> Option<(u64, Cid)> {
        loop {
            let want = self.next_want().await?;
            if !want.have_only {
                return Some((want.id, Cid::try_from(&want.cid[..]).unwrap()));
            }
            self.say(want.id, Status::Have).await;
        }
    }

    /// Returns the next want of any kind.
    async fn next_want(&mut self) -> Option<Want> {
        while self.queue.is_empty() {
            let request = self.reader.request().await.ok()??;
            self.queue.extend(request.wants);
        }
        Some(self.queue.remove(0))
    }

    async fn say(&mut self, id: u64, status: Status) {
        let response = Response {
            id,
            status: status as i32,
            block: None,
        };
        let _ = frame::write_message(&mut self.writer, &response).await;
        let _ = self.writer.flush().await;
    }

    async fn answer(&mut self, id: u64, cid: &Cid, data: &Bytes) {
        self.send(id, &publish(cid, data)).await;
    }

    async fn send(&mut self, id: u64, block: &Block) {
        let _ = frame::write_block(&mut self.writer, id, block).await;
        let _ = self.writer.flush().await;
    }
}

fn refused(node: &Node, reason: &str) -> u64 {
    let refused = &node.metrics.blocks_refused;
    refused.with_label_values(&[reason]).get()
}

/// Serves blocks from a store, one by one, until `stop` returns true.
async fn serve_until(stream: UnixStream, store: Store, mut stop: impl FnMut(usize) -> bool) {
    let mut asked = Asked::on(stream);
    let mut count = 0;
    while let Some((id, cid)) = asked.next().await {
        if stop(count) {
            return;
        }
        let data = store.get(&cid).unwrap().unwrap();
        asked.answer(id, &cid, &data).await;
        count += 1;
    }
}

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
fn what_one_puts_another_gets_at_every_edge_of_size() {
    block_on(async {
        for size in [
            0,
            1,
            MIB - 1,
            MIB,
            MIB + 1,
            2 * MIB,
            9 * MIB + 12_345,
            17 * MIB,
        ] {
            let (source, cid) = Node::with(size).await;
            let sink = Node::new();
            sink.net.serve(&source);
            let (data, summary) = sink.get(&cid).await.unwrap();
            assert!(data == content(0, size), "{size}");
            assert_eq!(summary.size, size as u64);
            assert_eq!(summary.wasted, 0);
            let root = sink.store.root(&cid).unwrap().unwrap();
            let put = source.store.root(&cid).unwrap().unwrap();
            assert_eq!((root.size, root.blocks), (put.size, put.blocks));
            assert!(!root.pinned && put.pinned);
            assert!(root.expires_at.is_some());
            // The content is fetched again while there is no one to ask.
            sink.net.shared.lock().unwrap().searches.clear();
            let (again, summary) = sink.get(&cid).await.unwrap();
            assert!(again == data);
            assert_eq!(summary.received, 0);
        }
    });
}

#[test]
fn a_file_of_equal_chunks_is_fetched_once_and_delivered_whole() {
    block_on(async {
        let source = Node::new();
        let zeros = vec![0; 40 * MIB + 7];
        let imported = source
            .content
            .import(&zeros[..], crate::block::content::ImportOptions::default());
        let imported = imported.await.unwrap();
        assert_eq!(imported.blocks, 3);
        let sink = Node::new();
        sink.net.serve(&source);
        let (data, summary) = sink.get(&imported.cid).await.unwrap();
        assert!(data == zeros);
        assert!(summary.received < 2 * MIB as u64, "{summary:?}");
    });
}

#[test]
fn trees_of_other_importers_are_fetched_and_directories_are_refused_in_words() {
    block_on(async {
        for tree in foreign() {
            let blocks = tree.data.iter();
            let blocks: Vec<(Cid, Bytes)> = blocks
                .map(|(cid, hex)| (address::parse(cid).unwrap(), Bytes::from(unhex(hex))))
                .collect();
            let source = Node::new();
            source.put_blocks(&blocks);
            let sink = Node::new();
            sink.net.serve(&source);
            let root = Cid::try_from(tree.cid.as_str()).unwrap();
            match sink.get(&root).await {
                Ok((data, _)) => {
                    assert!(!tree.directory);
                    assert!(data == content(0, tree.size as usize), "{}", tree.name);
                }
                Err(error) => {
                    assert!(tree.directory, "{}: {error}", tree.name);
                    assert!(error.to_string().contains("directory"), "{error}");
                }
            }
        }
    });
}

#[test]
fn a_large_tree_with_content_in_its_nodes_is_fetched() {
    block_on(async {
        // The CID is a CIDv0 as ipfs-add makes it, with dag-pb leaves, of which there are
        // 100 with 256 KiB here.
        let source = Node::new();
        let mut blocks = Vec::new();
        let mut children = Vec::new();
        let mut whole = Vec::<u8>::new();
        for i in 0..100 {
            let data = content(i * 262_144, 262_144);
            whole.extend(&data);
            let mut unixfs = vec![0x08, 0x02, 0x12, 0x80, 0x80, 0x10];
            unixfs.extend(&data);
            unixfs.extend([0x18, 0x80, 0x80, 0x10]);
            let mut block = vec![0x0a];
            let mut buffer = unsigned_varint::encode::u64_buffer();
            block.extend(unsigned_varint::encode::u64(
                unixfs.len() as u64,
                &mut buffer,
            ));
            block.extend(unixfs);
            let cid = address::address(&block, Codec::DagPb);
            children.push(Child {
                cid,
                size: 262_144,
                total: block.len() as u64,
            });
            blocks.push((cid, Bytes::from(block)));
        }
        let root = Bytes::from(encode_file(&children));
        let cid = address::address(&root, Codec::DagPb);
        blocks.push((cid, root));
        source.put_blocks(&blocks);
        let sink = Node::new();
        sink.net.serve(&source);
        let (data, _) = sink.get(&cid).await.unwrap();
        assert!(data == whole);
    });
}

#[test]
fn a_wrong_block_is_dropped_and_its_sender_reported_and_not_asked_again() {
    block_on(async {
        let (source, cid) = Node::with(20 * MIB).await;
        let sink = Node::new();
        let (lied, mut lies) = mpsc::unbounded();
        let liar = sink.net.peer(move |stream| {
            let lied = lied.clone();
            async move {
                let mut asked = Asked::on(stream);
                while let Some((id, cid)) = asked.next().await {
                    asked.answer(id, &cid, &Bytes::from(vec![1; 1000])).await;
                    let _ = lied.unbounded_send(());
                }
            }
        });
        // The honest provider answers after the other one has lied.
        let store = source.store.clone();
        let lies = Arc::new(async_std::sync::Mutex::new(
            async move {
                lies.next().await;
            }
            .boxed()
            .shared(),
        ));
        sink.net.peer(move |stream| {
            let (store, lies) = (store.clone(), lies.clone());
            async move {
                let lied = lies.lock().await.clone();
                lied.await;
                serve_until(stream, store, |_| false).await;
            }
        });
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, 20 * MIB));
        let faults = sink.net.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].0 == liar
                && matches!(&faults[0].1, Fault::Block { why, .. } if *why == Refusal::WrongHash),
            "{faults:?}"
        );
        assert_eq!(sink.net.opened(&liar), 1);
        // What it sent for a want that had already been answered only counts as wasted.
        let refused = refused(&sink, "wrong_hash");
        assert!(summary.wasted / 1000 >= refused && refused >= 1);
        assert_eq!(summary.providers[&liar].bytes, 0);
    });
}

/// Providers that violate the protocol, each of them beside an honest one.
#[test]
fn broken_protocols_end_the_session_and_are_reported() {
    async fn garbage(mut asked: Asked, _: Store) {
        asked.next().await;
        let _ = asked.writer.write_all(&[20, 0xff, 0xff, 0xff, 0xff]).await;
        let _ = asked.writer.write_all(&[0xff; 16]).await;
        let _ = asked.next().await;
    }
    async fn oversize(mut asked: Asked, _: Store) {
        asked.next().await;
        let _ = asked
            .writer
            .write_all(&[0xff, 0xff, 0xff, 0xff, 0x0f])
            .await;
        let _ = asked.next().await;
    }
    async fn endless_length(mut asked: Asked, _: Store) {
        asked.next().await;
        let _ = asked.writer.write_all(&[0xff; 32]).await;
        let _ = asked.next().await;
    }
    async fn not_asked(mut asked: Asked, _: Store) {
        let (id, cid) = asked.next().await.unwrap();
        asked
            .answer(id + 1000, &cid, &Bytes::from_static(b"x"))
            .await;
        let _ = asked.next().await;
    }
    async fn answers_twice(mut asked: Asked, store: Store) {
        let (id, cid) = asked.next().await.unwrap();
        let data = store.get(&cid).unwrap().unwrap();
        for _ in 0..2 {
            // A "no" is not sent here, because no one would listen after that.
            asked.answer(id, &cid, &data).await;
        }
        let _ = asked.next().await;
    }
    async fn unknown_status(mut asked: Asked, _: Store) {
        let (id, _) = asked.next().await.unwrap();
        let response = Response {
            id,
            status: 77,
            block: None,
        };
        let _ = frame::write_message(&mut asked.writer, &response).await;
        let _ = asked.next().await;
    }
    type Hostile = fn(Asked, Store) -> futures::future::BoxFuture<'static, ()>;
    let all: [(&str, Hostile); 6] = [
        ("garbage", |a, s| garbage(a, s).boxed()),
        ("oversize", |a, s| oversize(a, s).boxed()),
        ("endless length", |a, s| endless_length(a, s).boxed()),
        ("not asked", |a, s| not_asked(a, s).boxed()),
        ("answers twice", |a, s| answers_twice(a, s).boxed()),
        ("unknown status", |a, s| unknown_status(a, s).boxed()),
    ];
    block_on(async {
        let (source, cid) = Node::with(3 * MIB).await;
        for (name, hostile) in all {
            let sink = Node::new();
            let store = source.store.clone();
            let bad = (sink.net).peer(move |stream| hostile(Asked::on(stream), store.clone()));
            // The honest provider is found after the other one has been caught.
            let content_of = source.content.clone();
            let good = sink.net.hidden_peer(move |stream| {
                let content = content_of.clone();
                async move { drop(content.serve(PeerId::random(), stream).await) }
            });
            sink.net
                .shared
                .lock()
                .unwrap()
                .searches
                .push(vec![bad, good]);
            let (data, _) = sink.get(&cid).await.unwrap();
            assert!(data == content(0, 3 * MIB), "{name}");
            let faults = sink.net.faults();
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
            assert!(
                faults[0].0 == bad
                    && matches!(faults[0].1, Fault::Protocol(_) | Fault::Oversized { .. }),
                "{name}"
            );
            assert_eq!(sink.net.opened(&bad), 1, "{name}");
        }
    });
}

#[test]
fn a_cancel_that_nobody_asked_for_is_a_refusal() {
    block_on(async {
        let (source, cid) = Node::with(MIB).await;
        let sink = Node::new();
        let cancelled = Count::default();
        let count = cancelled.clone();
        let bad = sink.net.peer(move |stream| {
            let count = count.clone();
            async move {
                let mut asked = Asked::on(stream);
                while let Some(want) = asked.next_want().await {
                    count.add();
                    asked.say(want.id, Status::Cancelled).await;
                }
            }
        });
        let options = FetchOptions {
            patience: Duration::from_millis(500),
            ..sink.content.fetch_options()
        };
        let fetch = sink.content.fetch(&cid, options).unwrap();
        let error = read(fetch).await.unwrap_err();
        let words = "was reached and does not have it";
        assert!(error.to_string().contains(words), "{error}");
        // There is one in each session. The first retry is after a second.
        assert_eq!(cancelled.get(), sink.net.opened(&bad));
        drop(source);
    });
}

#[test]
fn an_opening_ends_with_its_fetch() {
    block_on(async {
        let (_, cid) = Node::with(MIB).await;
        let sink = Node::new();
        let hanging = sink.net.unreachable_peer();
        let dropped = {
            let mut shared = sink.net.shared.lock().unwrap();
            shared.searches.push(vec![hanging]);
            shared.dropped.clone()
        };
        let options = FetchOptions {
            patience: Duration::from_millis(500),
            ..sink.content.fetch_options()
        };
        read(sink.content.fetch(&cid, options).unwrap())
            .await
            .unwrap_err();
        // This is far below the time that an opening may take by itself.
        let ends = async_std::future::timeout(Duration::from_secs(10), dropped.reaches(1));
        ends.await.expect("the opening goes on");
    });
}

#[test]
fn the_network_is_asked_for_the_addresses_of_a_peer_once() {
    block_on(async {
        let (_, cid) = Node::with(MIB).await;
        for busy in [false, true] {
            let sink = Node::new();
            let gone = sink.net.hidden_peer(|_| async {});
            {
                let mut shared = sink.net.shared.lock().unwrap();
                shared.searches.push(vec![gone]);
                let why = Unreachable::new(Obstacle::Other, "no way to it");
                let error = match busy {
                    true => OpenError::Busy(why),
                    false => OpenError::Unreachable(why),
                };
                shared.refusing.insert(gone, error);
            }
            let options = FetchOptions {
                // The first retry is after a second.
                patience: Duration::from_secs(5),
                ..sink.content.fetch_options()
            };
            let error = read(sink.content.fetch(&cid, options).unwrap()).await;
            let words = error.unwrap_err().to_string();
            assert!(words.contains("no way to it"), "{words}");
            let opened = sink.net.opened(&gone);
            assert!(opened > 1, "it was tried once");
            let counted = sink.net.shared.lock().unwrap().looked_up[&gone];
            assert_eq!(counted, if busy { opened } else { 1 }, "{busy}");
        }
    });
}

#[test]
fn a_silent_provider_does_not_hold_the_front() {
    block_on(async {
        let (source, cid) = Node::with(30 * MIB).await;
        let sink = Node::new();
        let store = source.store.clone();
        // The provider sends the root, so that it is asked for the first leaves. After
        // that it never sends anything.
        let silent = sink.net.peer(move |stream| {
            let store = store.clone();
            async move {
                let mut asked = Asked::on(stream);
                let (id, cid) = asked.next().await.unwrap();
                let data = store.get(&cid).unwrap().unwrap();
                asked.answer(id, &cid, &data).await;
                while asked.next().await.is_some() {}
            }
        });
        let content_of = source.content.clone();
        let good = sink.net.hidden_peer(move |stream| {
            let content = content_of.clone();
            async move { drop(content.serve(PeerId::random(), stream).await) }
        });
        sink.net
            .shared
            .lock()
            .unwrap()
            .searches
            .push(vec![silent, good]);
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, 30 * MIB));
        assert_eq!(summary.providers[&silent].blocks, 1);
        assert!(sink.net.faults().is_empty());
    });
}

#[test]
fn work_moves_from_a_slow_provider_to_a_fast_one() {
    block_on(async {
        // The slow provider sends a block for every ten of the fast one. What the slow
        // one was asked for and holds back must come from the other one, or the fetch
        // would stop.
        const SHARE: usize = 10;
        let (source, cid) = Node::with(40 * MIB).await;
        let sink = Node::new();
        let served = Count::default();
        let (store, count) = (source.store.clone(), served.clone());
        let slow = sink.net.peer(move |stream| {
            let (store, count) = (store.clone(), count.clone());
            async move {
                let mut asked = Asked::on(stream);
                let mut given = 0;
                while let Some((id, cid)) = asked.next().await {
                    count.reaches(given * SHARE).await;
                    let data = store.get(&cid).unwrap().unwrap();
                    asked.answer(id, &cid, &data).await;
                    given += 1;
                }
            }
        });
        let (store, count) = (source.store.clone(), served.clone());
        let fast = sink.net.peer(move |stream| {
            let (store, count) = (store.clone(), count.clone());
            async move {
                let counting = |_| {
                    count.add();
                    false
                };
                serve_until(stream, store, counting).await;
            }
        });
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, 40 * MIB));
        let blocks = |peer| summary.providers.get(&peer).map_or(0, |stats| stats.blocks);
        // There are 41 blocks, so the slow provider sent at most the first one and four
        // more.
        assert!(blocks(slow) <= 5, "{summary:?}");
        assert!(blocks(fast) >= 36, "{summary:?}");
    });
}

#[test]
fn a_provider_that_vanishes_half_way_is_replaced_by_one_found_later() {
    block_on(async {
        let (source, cid) = Node::with(24 * MIB).await;
        let sink = Node::new();
        let store = source.store.clone();
        let opened = Arc::new(AtomicUsize::new(0));
        let vanishing = sink.net.peer(move |stream| {
            let store = store.clone();
            let first = opened.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if first {
                    serve_until(stream, store, |count| count == 10).await;
                }
            }
        });
        let content_of = source.content.clone();
        let second = sink.net.hidden_peer(move |stream| {
            let content = content_of.clone();
            async move { drop(content.serve(PeerId::random(), stream).await) }
        });
        sink.net.shared.lock().unwrap().searches.push(vec![second]);
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, 24 * MIB));
        assert!(
            (1..=10).contains(&summary.providers[&vanishing].blocks),
            "{summary:?}"
        );
        assert!(summary.providers[&second].blocks >= 15, "{summary:?}");
        assert!(sink.net.faults().is_empty());
    });
}

#[test]
fn two_providers_with_half_of_the_blocks_each_make_a_whole() {
    block_on(async {
        let (source, cid) = Node::with(16 * MIB).await;
        let sink = Node::new();
        let mut halves = Vec::new();
        for half in 0..2 {
            let store = source.store.clone();
            halves.push(sink.net.peer(move |stream| {
                let store = store.clone();
                async move {
                    let mut asked = Asked::on(stream);
                    while let Some((id, cid)) = asked.next().await {
                        let leaf = cid.codec() == address::RAW;
                        if leaf && cid.hash().digest()[31] % 2 == half {
                            let status = Status::DontHave as i32;
                            let response = Response {
                                id,
                                status,
                                block: None,
                            };
                            let _ = frame::write_message(&mut asked.writer, &response).await;
                        } else {
                            let data = store.get(&cid).unwrap().unwrap();
                            asked.answer(id, &cid, &data).await;
                        }
                    }
                }
            }));
        }
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, 16 * MIB));
        assert!(
            halves.iter().all(|peer| summary.providers[peer].blocks > 0),
            "{summary:?}"
        );
    });
}

#[test]
fn nobody_there_and_nobody_useful_are_clear_errors() {
    block_on(async {
        let (source, cid) = Node::with(5 * MIB).await;
        let patience = Duration::from_millis(300);
        let sink = Node::new();
        let options = FetchOptions {
            patience,
            ..sink.content.fetch_options()
        };
        let error = read(sink.content.fetch(&cid, options.clone()).unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::NoProviders { .. }), "{error}");

        // One provider is asked but has none of it.
        sink.net.serve(&Node::new());
        let error = read(sink.content.fetch(&cid, options.clone()).unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::NoProviders { .. }), "{error}");

        // One provider has only the root.
        let root = source.store.get(&cid).unwrap().unwrap();
        let poor = Node::new();
        poor.put_blocks(&[(cid, root)]);
        sink.net.serve(&poor);
        let error = read(sink.content.fetch(&cid, options).unwrap())
            .await
            .unwrap_err();
        let FetchError::Stalled { done, total, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((done, total), (0, Some(5 * MIB as u64)));
        // The blocks that arrived are kept in the cache.
        assert!(sink.store.has(&cid).unwrap());
        assert!(sink.store.root(&cid).unwrap().is_none());
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

#[test]
fn an_interrupted_fetch_goes_on_from_what_it_has() {
    block_on(async {
        let (source, cid) = Node::with(32 * MIB).await;
        let sink = Node::new();
        sink.net.serve(&source);
        let mut fetch = sink
            .content
            .fetch(&cid, sink.content.fetch_options())
            .unwrap();
        let mut first = 0;
        while let Some(event) = fetch.next().await {
            if let Event::Data(bytes) = event.unwrap() {
                first += bytes.len();
            }
            if first >= 10 * MIB {
                break;
            }
        }
        drop(fetch);
        // The task stores what arrived only after the drop, so this waits for the blocks
        // that were read.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while sink.store.usage().blocks < 11 {
            assert!(std::time::Instant::now() < deadline, "nothing was kept");
            async_std::task::yield_now().await;
        }
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, 32 * MIB));
        let root = source.store.get(&cid).unwrap().unwrap().len() as u64;
        assert!(summary.local >= 10 * MIB as u64, "{summary:?}");
        assert_eq!(
            summary.received + summary.local,
            32 * MIB as u64 + root,
            "{summary:?}"
        );
        assert_eq!(summary.wasted, 0);
    });
}

#[test]
fn blocks_that_rotted_in_the_store_are_fetched_again_in_one_go() {
    block_on(async {
        let (source, cid) = Node::with(8 * MIB).await;
        let sink = Node::new();
        sink.net.serve(&source);
        sink.get(&cid).await.unwrap();
        let mut spoilt = 0;
        for segment in std::fs::read_dir(sink.dir.path().join("blocks")).unwrap() {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(segment.unwrap().path())
                .unwrap();
            // These places are in the middle of several blocks, whatever their order is.
            for at in [1, 3, 5] {
                let at = (at * MIB + MIB / 2) as u64;
                if at < file.metadata().unwrap().len() {
                    std::os::unix::fs::FileExt::write_all_at(&file, b"damage", at).unwrap();
                    spoilt += 1;
                }
            }
        }
        assert!(spoilt >= 3, "{spoilt}");
        for expected in [3 * MIB as u64, 0] {
            let (data, summary) = sink.get(&cid).await.unwrap();
            assert!(data == content(0, 8 * MIB));
            assert_eq!(summary.received, expected, "{summary:?}");
        }
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
