//! Tests of blocks that are not right, and of what is stated about those that are: time,
//! publisher, compression.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::block::content::{Announce, ImportOptions};
use crate::block::testing::publish_at;
use crate::content::refusal::RefusalKind;
use crate::message::provenance::MAX_SKEW;
use crate::store::Lifetime;

const HOUR: Duration = Duration::from_secs(3600);

/// Creates a peer that answers every want with what `forge` makes of the right block. It
/// reports the CID each time.
fn forger(
    sink: &Node,
    source: &Node,
    forge: fn(&Cid, &Bytes) -> Block,
) -> (PeerId, mpsc::UnboundedReceiver<Cid>) {
    let (told, sent) = mpsc::unbounded();
    let store = source.store.clone();
    let peer = sink.net.hidden_peer(move |stream| {
        let (store, told) = (store.clone(), told.clone());
        async move {
            let mut asked = Asked::on(stream);
            while let Some((id, cid)) = asked.next().await {
                let data = store.get(&cid).unwrap().unwrap();
                asked.send(id, &forge(&cid, &data)).await;
                let _ = told.unbounded_send(cid);
            }
        }
    });
    (peer, sent)
}

/// Creates a peer that serves the blocks of `source` once `after` is ready.
fn honest(sink: &Node, source: &Node, after: impl Future<Output = ()> + Send + 'static) -> PeerId {
    let content = source.content.clone();
    let after = after.boxed().shared();
    sink.net.hidden_peer(move |stream| {
        let (content, after) = (content.clone(), after.clone());
        async move {
            after.await;
            drop(content.serve(PeerId::random(), stream).await);
        }
    })
}

fn found(sink: &Node, peers: &[PeerId]) {
    let mut shared = sink.net.shared.lock().unwrap();
    shared.searches = vec![peers.to_vec()];
}

fn counts(node: &Node) -> Vec<(&'static str, u64)> {
    let all = RefusalKind::ALL
        .into_iter()
        .map(RefusalKind::as_str)
        .map(|r| (r, refused(node, r)));
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn each_kind_of_wrong_block_has_its_reason_and_the_honest_provider_completes() {
    type Forge = fn(&Cid, &Bytes) -> Block;
    fn with(cid: &Cid, data: &Bytes, change: impl FnOnce(&mut Block)) -> Block {
        let mut block = publish(cid, data);
        change(&mut block);
        block
    }
    let later = |cid: &Cid, data: &Bytes| publish_at(cid, data, SystemTime::now() + HOUR, 7200);
    let earlier = |cid: &Cid, data: &Bytes| publish_at(cid, data, SystemTime::now() - HOUR, 3599);
    let all: [(&str, bool, Forge); 12] = [
        ("wrong_hash", true, |c, d| {
            with(c, d, |b| b.data = Bytes::from(vec![1; 1000]))
        }),
        ("wrong_hash", true, |_, d| {
            // This is a valid block, but not the one that was asked for.
            publish(&address::address(b"other", Codec::Raw), d)
        }),
        ("unsigned", true, |c, d| with(c, d, |b| b.signature.clear())),
        ("unsigned", true, |c, d| with(c, d, |b| b.key.clear())),
        ("wrong_signature", true, |c, d| with(c, d, |b| b.ttl += 1)),
        ("malformed", true, |c, d| with(c, d, |b| b.compression = 7)),
        ("malformed", true, |_, _| Block::default()),
        // One is a little over the limit, and one is longer than any frame may be.
        ("oversized", true, |c, _| {
            publish(c, &Bytes::from(vec![1; (2 << 20) + 1]))
        }),
        ("oversized", true, |c, _| {
            publish(c, &Bytes::from(vec![1; 3 << 20]))
        }),
        ("bomb", true, |c, d| {
            with(c, d, |b| {
                // This is Snappy's header for 4 GiB, with some of its elements.
                b.data = Bytes::from_static(b"\xff\xff\xff\xff\x0f\0x\xfe\x01\0\xfe\x01\0");
                b.compression = 1;
            })
        }),
        ("expired", false, earlier),
        ("future", false, later),
    ];
    block_on(async {
        let (source, cid) = Node::with(3 * MIB).await;
        for (reason, is_fault, forge) in all {
            let sink = Node::new();
            let (bad, mut sent) = forger(&sink, &source, forge);
            let good = honest(&sink, &source, async move {
                let _ = sent.next().await;
            });
            found(&sink, &[bad, good]);
            let (data, summary) = sink.get(&cid).await.unwrap();
            assert!(data == content(0, 3 * MIB), "{reason}");
            assert_eq!(summary.providers.get(&bad).map_or(0, |s| s.blocks), 0);
            let counts = counts(&sink);
            assert!(
                counts.len() == 1 && counts[0].0 == reason,
                "{reason}: {counts:?}"
            );
            let faults = sink.net.faults();
            assert!(
                !faults.is_empty() && faults.iter().all(|(peer, _)| *peer == bad),
                "{reason}: {faults:?}"
            );
            match &faults[0].1 {
                Fault::Block { why, .. } => {
                    assert_eq!((why.reason(), why.is_fault()), (reason, is_fault));
                }
                Fault::Oversized { .. } => assert_eq!(reason, "oversized"),
                other => panic!("{reason}: {other}"),
            }
            if is_fault {
                assert_eq!((faults.len(), sink.net.opened(&bad)), (1, 1), "{reason}");
            }
            let delivered = sink.net.shared.lock().unwrap().delivered.clone();
            assert_eq!(delivered, HashMap::from([(good, 4)]), "{reason}");
        }
    });
}

#[test]
fn a_version_of_the_future_is_no_fault() {
    block_on(async {
        let (source, cid) = Node::with(MIB).await;
        let sink = Node::new();
        let (bad, mut sent) = forger(&sink, &source, |cid, data| {
            let mut block = publish(cid, data);
            block.version = 2;
            block
        });
        let good = honest(&sink, &source, async move {
            let _ = sent.next().await;
        });
        found(&sink, &[bad, good]);
        sink.get(&cid).await.unwrap();
        assert_eq!(refused(&sink, "version"), 1);
        let faults = sink.net.faults();
        assert!(
            faults
                .iter()
                .all(|(_, fault)| matches!(fault, Fault::Block { why, .. } if !why.is_fault())),
            "{faults:?}"
        );
    });
}

#[test]
fn what_only_expired_copies_are_left_of_ends_soon_and_names_the_clocks() {
    block_on(async {
        let (source, cid) = Node::with(3 * MIB).await;
        let sink = Node::new();
        let (stale, sent) = forger(&sink, &source, |cid, data| {
            publish_at(cid, data, SystemTime::now() - 2 * HOUR, 3600)
        });
        found(&sink, &[stale]);
        let options = FetchOptions {
            // This is far longer than a test waits.
            patience: 10 * HOUR,
            ..sink.content.fetch_options()
        };
        let fetch = sink.content.fetch(&cid, options).unwrap();
        let error = read(fetch).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Stale { block, peer, .. } if block == cid && peer == stale),
            "{error}"
        );
        let line = error.to_string();
        assert!(
            line.contains("expired 1h ago") && line.contains("clocks"),
            "{line}"
        );
        // It was asked once, however often the search named it.
        drop(sink);
        assert_eq!(sent.collect::<Vec<_>>().await, [cid]);
    });
}

#[test]
fn a_host_without_the_time_is_told_so_at_once() {
    block_on(async {
        let (source, cid) = Node::with(3 * MIB).await;
        let sink = Node::at(|| UNIX_EPOCH + HOUR);
        sink.net.serve(&source);
        let error = sink.get(&cid).await.unwrap_err();
        assert!(matches!(error, FetchError::Clock { .. }), "{error}");
        assert!(error.to_string().contains("set the clock"), "{error}");
        assert_eq!(refused(&sink, "future"), 1);
        assert!(sink.net.faults().is_empty(), "nobody else is to blame");
    });
}

/// Returns the options of an import that lives for an hour.
fn an_hour() -> ImportOptions {
    ImportOptions {
        ttl: Some(HOUR),
        announce: Announce::No,
        ..ImportOptions::default()
    }
}

#[test]
fn what_is_put_without_the_time_is_shared_when_it_is_known() {
    static CLOCK: AtomicU64 = AtomicU64::new(1000);
    fn clock() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(CLOCK.load(Ordering::SeqCst))
    }
    block_on(async {
        let source = Node::at(clock);
        let data = content(0, 2 * MIB);
        let put = source.content.import(&data[..], an_hour()).await.unwrap();
        assert_eq!(source.store.provenance(&put.cid).unwrap(), None);
        let sink = Node::new();
        let peer = sink.net.serve(&source);
        let options = FetchOptions {
            patience: Duration::from_millis(300),
            ..sink.content.fetch_options()
        };
        let fetch = sink.content.fetch(&put.cid, options).unwrap();
        let error = read(fetch).await.unwrap_err();
        assert!(matches!(error, FetchError::NoProviders { .. }), "{error}");

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        CLOCK.store(now.as_secs(), Ordering::SeqCst);
        source.store.sweep(clock(), Instant::now()).unwrap();
        let root = source.store.root(&put.cid).unwrap().unwrap();
        assert_eq!(root.put_at, clock());
        assert_eq!(root.expires_at, Some(clock() + HOUR));
        assert_eq!(sink.get(&put.cid).await.unwrap().0, data);
        assert!(sink.net.faults().is_empty() && sink.net.opened(&peer) > 1);
        let Lifetime::Published(said) = sink.store.lifetime(&put.cid, clock()).unwrap() else {
            panic!("nobody vouches for it");
        };
        assert_eq!(said.expires_at(), clock() + HOUR);
    });
}

#[test]
fn content_lives_as_long_as_its_publisher_says_wherever_it_is() {
    block_on(async {
        let source = Node::new();
        let data = content(0, 3 * MIB);
        let put = source.content.import(&data[..], an_hour()).await.unwrap();
        let said = source.store.provenance(&put.cid).unwrap().unwrap();
        let root = source.store.root(&put.cid).unwrap().unwrap();
        assert_eq!(root.expires_at, Some(said.expires_at()));
        let middle = Node::new();
        middle.net.serve(&source);
        middle.get(&put.cid).await.unwrap();
        drop(source);
        // The content is fetched from the middle node, without the source.
        let sink = Node::new();
        sink.net.serve(&middle);
        sink.get(&put.cid).await.unwrap();
        for node in [&middle, &sink] {
            let again = node.store.provenance(&put.cid).unwrap();
            assert_eq!(again.as_ref(), Some(&said), "as its publisher signed it");
            let root = node.store.root(&put.cid).unwrap().unwrap();
            assert_eq!(root.expires_at, Some(said.expires_at()));
            let stat = node.content.stat(&put.cid).await.unwrap();
            assert_eq!(stat.provenance, again);
        }
    });
}

#[test]
fn what_is_over_is_not_served_and_fetched_anew_when_it_was_put_again() {
    static CLOCK: AtomicU64 = AtomicU64::new(2_000_000_000);
    fn clock() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(CLOCK.load(Ordering::SeqCst))
    }
    block_on(async {
        let source = Node::at(clock);
        let data = content(0, 3 * MIB);
        let put = source.content.import(&data[..], an_hour()).await.unwrap();
        let sink = Node::at(clock);
        sink.net.serve(&source);
        sink.get(&put.cid).await.unwrap();

        // The time is over at both nodes, and the content has not been swept yet.
        CLOCK.fetch_add(3600, Ordering::SeqCst);
        let options = FetchOptions {
            patience: Duration::from_millis(300),
            ..sink.content.fetch_options()
        };
        let fetch = sink.content.fetch(&put.cid, options).unwrap();
        let error = read(fetch).await.unwrap_err();
        assert!(matches!(error, FetchError::NoProviders { .. }), "{error}");
        assert!(error.to_string().contains("is over"), "{error}");
        assert_eq!(counts(&sink), [], "it was not sent");

        source.content.import(&data[..], an_hour()).await.unwrap();
        let (again, summary) = sink.get(&put.cid).await.unwrap();
        assert!(again == data);
        assert_eq!(summary.local, 0, "{summary:?}");
        let root = sink.store.root(&put.cid).unwrap().unwrap();
        assert_eq!(root.expires_at, Some(clock() + HOUR));
        // The content can also be read from the store alone.
        let (again, summary) = sink.get(&put.cid).await.unwrap();
        assert!(again == data && summary.received == 0, "{summary:?}");
    });
}

#[test]
fn blocks_of_a_store_without_publishers_are_signed_by_who_serves_them() {
    block_on(async {
        let source = Node::new();
        let data = Bytes::from(content(0, MIB));
        let cid = address::address(&data, Codec::Raw);
        let now = UNIX_EPOCH
            + Duration::from_millis(crate::text::unix_time::unix_millis(SystemTime::now()));
        let root = crate::store::Root {
            cid,
            size: MIB as u64,
            blocks: 1,
            pinned: true,
            put_at: now - HOUR,
            expires_at: Some(now + HOUR),
            name: None,
        };
        let mut batch = source.store.batch().unwrap();
        batch.put(&cid, &data).unwrap();
        batch.commit(Some(root)).unwrap();
        let sink = Node::new();
        sink.net.serve(&source);
        assert_eq!(sink.get(&cid).await.unwrap().0, data);
        let said = sink.store.provenance(&cid).unwrap().unwrap();
        assert_eq!(said.published_at(), now - HOUR);
        assert_eq!(said.expires_at(), now + HOUR);
        assert_eq!(source.store.provenance(&cid).unwrap(), None);
    });
}

#[test]
fn the_skew_that_is_allowed_is_fetched() {
    block_on(async {
        let (source, cid) = Node::with(10).await;
        let sink = Node::new();
        let (ahead, _sent) = forger(&sink, &source, |cid, data| {
            let at = SystemTime::now() + MAX_SKEW - Duration::from_secs(30);
            publish_at(cid, data, at, 60)
        });
        found(&sink, &[ahead]);
        sink.get(&cid).await.unwrap();
    });
}

#[test]
fn what_packs_travels_packed_and_arrives_whole() {
    block_on(async {
        let line = b"a line of a log that says the same thing again and again\n";
        let text: Vec<u8> = line.iter().copied().cycle().take(3 * MIB).collect();
        for (data, most) in [(text, MIB), (content(0, 3 * MIB), 4 * MIB)] {
            let source = Node::new();
            let put = source.content.import(&data[..], an_hour()).await.unwrap();
            let sink = Node::new();
            sink.net.serve(&source);
            let (got, summary) = sink.get(&put.cid).await.unwrap();
            assert!(got == data);
            assert!(summary.received >= 3 * MIB as u64 || put.blocks < 4);
            let sent = |node: &Node, way| node.metrics.block_bytes.with_label_values(&[way]).get();
            assert_eq!(sent(&source, "out"), sent(&sink, "in"));
            let sent = sent(&sink, "in");
            assert!(sent < most as u64, "{sent}");
            assert_eq!(sent < put.size, most == MIB, "{sent}");
        }
    });
}
