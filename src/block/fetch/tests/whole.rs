//! What one node puts, another gets whole, whatever its size and its tree.

use super::*;

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
