//! Providers that send wrong blocks or break the protocol are reported, and not asked again.

use super::*;

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
            // The honest provider answers when the other one has been reported.
            let content_of = source.content.clone();
            let reported = sink.net.shared.lock().unwrap().reported.clone();
            let good = sink.net.hidden_peer(move |stream| {
                let (content, reported) = (content_of.clone(), reported.clone());
                async move {
                    reported.reaches(1).await;
                    drop(content.serve(PeerId::random(), stream).await);
                }
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
