use super::*;
use crate::block::testing::Node;
use crate::content::testing::content;
use async_std::task::block_on;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

const MIB: usize = 1 << 20;

async fn until(what: &str, mut true_: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !true_() {
        assert!(Instant::now() < deadline, "{what}");
        async_std::task::yield_now().await;
    }
}

#[test]
fn import_gives_the_cids_of_the_foreign_importer_through_the_store() {
    block_on(async {
        for (size, cid) in [
            (
                0,
                "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            ),
            (
                1,
                "bafkreidivixc5zo77fxdgvpgy7xdopr5njhbp527sumnqq3qtqgjxq7d2q",
            ),
            (
                MIB,
                "bafkreib6oxwgoedv4qiv7sdwytcv2wv3vq574sd2m77uziw3ha4guakpe4",
            ),
            (
                MIB + 1,
                "bafybeid2b7hle35slmargh5agol543x2h5s6kp5wsawic7dlmjivr6i33e",
            ),
            (
                3_158_073,
                "bafybeiac2yg7iap4dgvgqt3tm2kwy3ktayy2ghedwbs7jkysmwaiuhgm3u",
            ),
        ] {
            let (node, found) = Node::with(size).await;
            assert_eq!(found.to_string(), cid);
            let stat = node.content.stat(&found).await.unwrap();
            assert!(stat.complete && stat.root.as_ref().is_some_and(|root| root.pinned));
            assert_eq!(stat.size, Some(size as u64));
            assert_eq!(stat.root.unwrap().blocks, stat.blocks);
        }
    });
}

/// A reader that yields pieces of odd lengths, with interruptions, and fails when told
/// to.
struct Odd {
    at: usize,
    size: usize,
    fail_at: usize,
    turn: usize,
}

impl AsyncRead for Odd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.turn += 1;
        if self.turn.is_multiple_of(5) {
            return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        }
        if self.at >= self.fail_at {
            return Poll::Ready(Err(io::Error::other("the disk is gone")));
        }
        let n = buffer.len().min(self.size - self.at).min(70_001);
        buffer[..n].copy_from_slice(&content(self.at as u64, n));
        self.at += n;
        Poll::Ready(Ok(n))
    }
}

#[test]
fn pieces_of_any_size_make_the_same_tree_and_a_failed_read_leaves_nothing() {
    block_on(async {
        let (_, expected) = Node::with(21 * MIB + 5).await;
        let node = Node::new();
        let odd = Odd {
            at: 0,
            size: 21 * MIB + 5,
            fail_at: usize::MAX,
            turn: 0,
        };
        let options = ImportOptions {
            name: Some("odd".into()),
            ..ImportOptions::default()
        };
        let imported = node.content.import(odd, options).await.unwrap();
        assert_eq!(imported.cid, expected);
        assert_eq!(
            node.content.roots().await.unwrap()[0].name.as_deref(),
            Some("odd")
        );

        let node = Node::new();
        let odd = Odd {
            at: 0,
            size: 40 * MIB,
            fail_at: 30 * MIB,
            turn: 0,
        };
        let error = node
            .content
            .import(odd, ImportOptions::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("the disk is gone"), "{error}");
        assert!(node.content.roots().await.unwrap().is_empty());
        assert_eq!(node.store.usage().blocks, 0);
    });
}

#[test]
fn stat_tells_what_is_here_and_remove_takes_it_away() {
    block_on(async {
        let (node, cid) = Node::with(3 * MIB).await;
        let stat = node.content.stat(&cid).await.unwrap();
        assert_eq!(
            (stat.blocks, stat.local_blocks, stat.complete),
            (4, 4, true)
        );
        // Another node has only the root of it.
        let other = Node::new();
        other.put_blocks(&[(cid, node.store.get(&cid).unwrap().unwrap())]);
        let stat = other.content.stat(&cid).await.unwrap();
        assert_eq!(
            (stat.blocks, stat.local_blocks, stat.complete),
            (4, 1, false)
        );
        assert_eq!((stat.size, stat.root), (Some(3 * MIB as u64), None));

        let removed = node.content.remove(&cid).await.unwrap();
        assert_eq!(removed.blocks, 4);
        let again = node.content.remove(&cid).await;
        assert!(matches!(again, Err(ContentError::NotHere(_))));
        let stat = node.content.stat(&cid).await.unwrap();
        assert_eq!((stat.blocks, stat.local_blocks, stat.size), (1, 0, None));
    });
}

#[test]
fn what_is_here_is_announced_at_the_start_and_what_comes_at_once() {
    block_on(async {
        let (node, first) = Node::with(10).await;
        let content = node.content.clone();
        let running = async_std::task::spawn(async move { content.run().await });
        let provided = || node.net.shared.lock().unwrap().provided.clone();
        until("the root that was here is not announced", || {
            provided() == [first]
        })
        .await;
        let put = node
            .content
            .import(&b"new"[..], ImportOptions::default())
            .await
            .unwrap();
        until("what was put is not announced", || {
            provided() == [first, put.cid]
        })
        .await;

        // Fetched content is announced when all of it is here.
        let (other, third) = Node::with(5 * MIB).await;
        node.net.serve(&other);
        node.get(&third).await.unwrap();
        until("what was fetched is not announced", || {
            provided().contains(&third)
        })
        .await;
        running.cancel().await;
    });
}

#[test]
fn a_failed_announcement_is_told_to_who_waits_and_tried_again() {
    block_on(async {
        let node = Node::new();
        node.net.shared.lock().unwrap().provide_fails = true;
        let content = node.content.clone();
        let running = async_std::task::spawn(async move { content.run().await });
        let options = ImportOptions {
            announce: Announce::Wait,
            ..ImportOptions::default()
        };
        let put = node.content.import(&b"new"[..], options).await.unwrap();
        assert!(put.announce_error.is_some());
        assert_eq!(put.announcing, 1);
        running.cancel().await;
        let later = Instant::now() + Duration::from_secs(3600);
        let mut schedule = node.content.inner.announcer.schedule();
        assert_eq!(schedule.next(later), Some(put.cid));
    });
}
