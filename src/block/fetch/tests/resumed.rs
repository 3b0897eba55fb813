//! A fetch begins with the blocks that are here, and replaces those that are damaged.

use super::*;

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
