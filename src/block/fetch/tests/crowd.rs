//! One honest provider is among many peers that are of no use, with each kind alone and
//! with all kinds together. None of them may prevent the content from arriving, or delay
//! it for long.
//!
//! No test here measures a time that a slow machine could exceed. A fetch that the crowd
//! holds up ends after its patience of a minute, or not at all, so that it can be told
//! from one that is not held up by a wide margin. What the crowds cost in time is
//! measured by `cargo bench --bench exchange`.

use super::*;

/// This is far below the patience of a minute, and far above what the crowds may cost.
const MARGIN: Duration = Duration::from_secs(45);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It is connected, but does not have the content.
    Bystander,
    /// It accepts the stream but never answers.
    Mute,
    /// Its dial never ends.
    Unreachable,
    /// It has the content, and sends a few bytes per second.
    Slow,
    /// It says yes, and then sends wrong blocks.
    Forger,
    /// It says yes, and then sends nothing.
    Tease,
    /// It is announced as a provider, but says no.
    Stale,
}

use Kind::*;

/// Creates peers of one kind, which the sink may know as `named` or as connected.
fn crowd(sink: &Node, store: &Store, kind: Kind, count: usize) -> Vec<PeerId> {
    let one = |_| match kind {
        Unreachable => sink.net.unreachable_peer(),
        _ => {
            let store = store.clone();
            sink.net.hidden_peer(move |stream| {
                let store = store.clone();
                async move { useless(kind, stream, store).await }
            })
        }
    };
    (0..count).map(one).collect()
}

async fn useless(kind: Kind, stream: UnixStream, store: Store) {
    let mut asked = Asked::on(stream);
    while let Some(want) = asked.next_want().await {
        let cid = Cid::try_from(&want.cid[..]).unwrap();
        match kind {
            Bystander | Stale => asked.say(want.id, Status::DontHave).await,
            Mute | Unreachable => {}
            _ if want.have_only => asked.say(want.id, Status::Have).await,
            Tease => {}
            Forger => {
                let wrong = Bytes::from(vec![1; 1000]);
                asked.answer(want.id, &cid, &wrong).await;
            }
            Slow => {
                let mut whole = Vec::new();
                let data = store.get(&cid).unwrap().unwrap();
                let block = publish(&cid, &data);
                frame::write_block(&mut whole, want.id, &block)
                    .await
                    .unwrap();
                // This goes on for ever, as far as the fetch is concerned.
                for byte in whole.chunks(1000) {
                    async_io::Timer::after(Duration::from_millis(100)).await;
                    if asked.writer.write_all(byte).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Fetches `size` bytes from the last of the peers that are named, or connected, while
/// the others are of no use.
async fn among(size: usize, connected: &[(Kind, usize)], named: &[(Kind, usize)]) -> Node {
    let (source, cid) = Node::with(size).await;
    let sink = Node::new();
    let all = |kinds: &[(Kind, usize)]| {
        let crowds = kinds.iter();
        let crowds = crowds.map(|(kind, count)| crowd(&sink, &source.store, *kind, *count));
        crowds.flatten().collect::<Vec<_>>()
    };
    let (near, mut far) = (all(connected), all(named));
    far.push(sink.net.hidden_server(&source));
    {
        let mut shared = sink.net.shared.lock().unwrap();
        shared.connected = near;
        shared.searches = vec![far];
    }
    let begun = Instant::now();
    let (data, _) = sink.get(&cid).await.unwrap();
    assert!(data == content(0, size));
    let took = begun.elapsed();
    assert!(took < MARGIN, "{connected:?} {named:?}: {took:?}");
    sink
}

const SMALL: usize = 300_000;
const LARGE: usize = 24 * MIB;

#[test]
fn bystanders_do_not_keep_the_provider_out() {
    block_on(async {
        for size in [SMALL, LARGE] {
            let sink = among(size, &[(Bystander, 30)], &[]).await;
            assert!(sink.net.faults().is_empty());
        }
        among(SMALL, &[(Bystander, 400)], &[]).await;
    });
}

#[test]
fn a_provider_among_connected_bystanders_needs_no_search() {
    block_on(async {
        let (source, cid) = Node::with(SMALL).await;
        let sink = Node::new();
        let mut near = crowd(&sink, &source.store, Bystander, 40);
        let bystanders = near.clone();
        near.push(sink.net.hidden_server(&source));
        sink.net.shared.lock().unwrap().connected = near;
        let (data, summary) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, SMALL));
        assert_eq!(summary.wasted, 0);
        // Each of them was asked once, and was left alone after it had said no.
        assert!(bystanders.iter().all(|peer| sink.net.opened(peer) <= 1));
    });
}

#[test]
fn peers_that_accept_and_never_answer_hold_nobody_up() {
    block_on(async {
        for (connected, named) in [(8, 0), (0, 8), (70, 40)] {
            among(SMALL, &[(Mute, connected)], &[(Mute, named)]).await;
            among(LARGE, &[(Mute, connected)], &[(Mute, named)]).await;
        }
    });
}

#[test]
fn providers_that_cannot_be_reached_hold_nobody_up() {
    block_on(async {
        for count in [8, 40] {
            among(SMALL, &[], &[(Unreachable, count)]).await;
        }
        among(LARGE, &[], &[(Unreachable, 8)]).await;
    });
}

#[test]
fn providers_that_are_very_slow_hold_nobody_up() {
    block_on(async {
        among(SMALL, &[], &[(Slow, 8)]).await;
        among(LARGE, &[], &[(Slow, 8)]).await;
        among(LARGE, &[(Slow, 8)], &[]).await;
    });
}

#[test]
fn providers_that_lie_hold_nobody_up() {
    block_on(async {
        for kind in [Forger, Tease, Stale] {
            among(SMALL, &[], &[(kind, 8)]).await;
            among(LARGE, &[], &[(kind, 8)]).await;
            among(LARGE, &[(kind, 8)], &[]).await;
        }
    });
}

#[test]
fn all_of_them_together_hold_nobody_up() {
    block_on(async {
        let far = [
            (Mute, 8),
            (Unreachable, 8),
            (Slow, 8),
            (Forger, 8),
            (Tease, 8),
            (Stale, 8),
        ];
        let near = [(Bystander, 30), (Mute, 8), (Slow, 8), (Tease, 8)];
        for size in [SMALL, LARGE] {
            let sink = among(size, &near, &far).await;
            let forged = sink.net.faults();
            assert!(
                forged
                    .iter()
                    .all(|(_, fault)| matches!(fault, Fault::Block { .. })),
                "{forged:?}"
            );
        }
    });
}

#[test]
fn who_is_named_by_a_later_search_is_tried_whatever_the_others_do() {
    block_on(async {
        let (source, cid) = Node::with(SMALL).await;
        let sink = Node::new();
        let mut crowds = crowd(&sink, &source.store, Mute, 20);
        crowds.extend(crowd(&sink, &source.store, Tease, 20));
        crowds.extend(crowd(&sink, &source.store, Unreachable, 20));
        let honest = sink.net.hidden_server(&source);
        let near = crowd(&sink, &source.store, Mute, 30);
        {
            let mut shared = sink.net.shared.lock().unwrap();
            shared.connected = near;
            let none = Vec::new();
            let mut last = crowds.clone();
            last.push(honest);
            shared.searches = vec![none.clone(), crowds.clone(), crowds, last];
        }
        let begun = Instant::now();
        let (data, _) = sink.get(&cid).await.unwrap();
        assert!(data == content(0, SMALL));
        assert!(begun.elapsed() < MARGIN);
    });
}

/// Errors say what happened with which peers, and come early when waiting cannot help.
#[test]
fn what_is_the_matter_is_said_and_early_where_waiting_cannot_help() {
    block_on(async {
        let (source, cid) = Node::with(SMALL).await;
        let second = Duration::from_secs(1);
        let refused = OpenError::Unreachable(crate::content::fetch::Unreachable::new(
            Obstacle::Refused,
            "connection refused",
        ));
        let speaks = vec!["/ipfs/bitswap/1.2.0".into()];
        let other = OpenError::Unsupported { speaks };
        type Row = (
            &'static str,
            Duration,
            usize,
            Vec<Kind>,
            Option<OpenError>,
            bool,
        );
        let rows: [Row; 6] = [
            ("nobody announces it", second * 30, 0, vec![], None, false),
            (
                "and 3 connected peers do not have it",
                second * 30,
                3,
                vec![],
                None,
                true,
            ),
            (
                "1 peer announces it: 1 was reached and does not have it",
                second * 30,
                3,
                vec![Stale],
                None,
                true,
            ),
            (
                "do not speak this network's block exchange; they speak /ipfs/bitswap/1.2.0",
                second * 30,
                1,
                vec![Mute, Mute],
                Some(other),
                true,
            ),
            (
                "connection refused",
                second,
                3,
                vec![Mute],
                Some(refused),
                false,
            ),
            (
                "1 peer announces it: 1 has not answered yet",
                second,
                0,
                vec![Mute],
                None,
                false,
            ),
        ];
        for (words, patience, connected, named, refusing, early) in rows {
            let sink = Node::new();
            let near = crowd(&sink, &source.store, Bystander, connected);
            let far = named.iter();
            let far = far.flat_map(|kind| crowd(&sink, &source.store, *kind, 1));
            let far: Vec<PeerId> = far.collect();
            {
                let mut shared = sink.net.shared.lock().unwrap();
                for peer in refusing.iter().flat_map(|_| &far) {
                    let error = refusing.clone().unwrap();
                    shared.refusing.insert(*peer, error);
                }
                shared.connected = near;
                shared.searches = vec![far];
            }
            let options = FetchOptions {
                patience,
                ..sink.content.fetch_options()
            };
            let error = read(sink.content.fetch(&cid, options).unwrap())
                .await
                .unwrap_err();
            let FetchError::NoProviders { waited, .. } = error else {
                panic!("{error}");
            };
            assert!(error.to_string().contains(words), "{words}: {error}");
            assert!(early == (waited < patience), "{words}: {waited:?}");
        }
    });
}
