//! How a fetch finds providers, and shares the work between fast, slow and missing ones.

use super::*;

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
