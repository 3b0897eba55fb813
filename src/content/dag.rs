//! The nodes of a file's tree: dag-pb with a UnixFS message inside.
//!
//! The specifications are <https://ipld.io/specs/codecs/dag-pb/spec/> and
//! <https://specs.ipfs.tech/unixfs/>. Encoding follows the canonical order of dag-pb, so
//! that equal trees have equal CIDs. Decoding accepts what other importers write, and
//! nothing that is malformed. It is bounded by the length of its input and by
//! [`MAX_LINKS`].

mod error;
mod protobuf;
mod unixfs;

use bytes::Bytes;
use cid::Cid;

use super::address;
pub use error::DagError;
use protobuf::{Fields, Value, put_varint};
use unixfs::decode_unixfs;

/// The maximum number of children of one node that this node reads. Importers write 174
/// or 1,024. Eight times the larger number leaves room for others, and limits how much
/// memory one block of a stranger can make this node use (about 1 MiB).
pub const MAX_LINKS: usize = 8192;

/// The maximum depth of a tree that this node walks. Four levels of 1,024 links hold an
/// exbibyte. Trickle trees with narrow nodes are deeper, but not this deep.
pub const MAX_DEPTH: usize = 32;

/// A child, as its parent describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The address of the child.
    pub cid: Cid,
    /// The number of bytes of file content below it.
    pub size: u64,
    /// The number of bytes of its block and of all blocks below it (dag-pb's Tsize).
    pub total: u64,
}

/// A decoded inner node or leaf of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNode {
    /// The content in the node itself, which comes before that of its children.
    pub data: Bytes,
    /// The children in the order of their content. Each of them has content: no file
    /// needs a child without content, and walking a tree of such children might never
    /// end.
    pub children: Vec<Child>,
    /// The number of bytes of content: that of `data` and of all children.
    pub size: u64,
}

/// Encodes an inner node with `children`, in canonical form.
pub fn encode_file(children: &[Child]) -> Vec<u8> {
    let size: u64 = children.iter().map(|child| child.size).sum();
    // The UnixFS message consists of Type = File, filesize, and blocksizes (not packed,
    // as this is proto2).
    let mut unixfs = Vec::with_capacity(16 + children.len() * 5);
    unixfs.extend([0x08, 0x02, 0x18]);
    put_varint(&mut unixfs, size);
    for child in children {
        unixfs.push(0x20);
        put_varint(&mut unixfs, child.size);
    }
    let mut node = Vec::with_capacity(unixfs.len() + 8 + children.len() * 56);
    let mut link = Vec::with_capacity(64);
    for child in children {
        link.clear();
        let cid = child.cid.to_bytes();
        link.push(0x0a);
        put_varint(&mut link, cid.len() as u64);
        link.extend(&cid);
        // The name is empty but written all the same, as every importer does.
        link.extend([0x12, 0x00, 0x18]);
        put_varint(&mut link, child.total);
        node.push(0x12);
        put_varint(&mut node, link.len() as u64);
        node.extend(&link);
    }
    node.push(0x0a);
    put_varint(&mut node, unixfs.len() as u64);
    node.extend(&unixfs);
    node
}

/// Decodes a dag-pb block that is a file or part of one.
///
/// # Errors
/// Returns an error when the bytes are malformed, do not belong to a file, or exceed a
/// bound.
pub fn decode_file(block: &Bytes) -> Result<FileNode, DagError> {
    let mut links = Vec::new();
    let mut data = None;
    let mut input = Fields(block);
    // Old encoders wrote Data first, and the specification puts it last. It must not come
    // between links.
    let mut links_ended = false;
    while let Some(field) = input.next()? {
        match field {
            (2, Value::Bytes(link)) => {
                if links_ended {
                    return Err(DagError::Malformed("links on both sides of the data"));
                }
                if links.len() == MAX_LINKS {
                    return Err(DagError::TooManyLinks);
                }
                links.push(decode_link(link)?);
            }
            (1, Value::Bytes(bytes)) => {
                if data.replace(bytes).is_some() {
                    return Err(DagError::Malformed("data twice"));
                }
                links_ended = !links.is_empty();
            }
            _ => return Err(DagError::Malformed("a field that dag-pb does not have")),
        }
    }
    let data = data.ok_or(DagError::Malformed("no UnixFS data in the node"))?;
    let unixfs = decode_unixfs(data)?;
    if unixfs.block_sizes.len() != links.len() {
        return Err(DagError::Sizes(
            "the number of block sizes is not that of the links",
        ));
    }
    let mut size = unixfs.data.len() as u64;
    let mut children = Vec::with_capacity(links.len());
    for ((cid, total), child_size) in links.into_iter().zip(unixfs.block_sizes) {
        if child_size == 0 {
            return Err(DagError::Sizes("a child has no content"));
        }
        size = size
            .checked_add(child_size)
            .ok_or(DagError::Sizes("over 2^64 bytes"))?;
        children.push(Child {
            cid: address::canonical(&cid)?,
            size: child_size,
            total,
        });
    }
    if unixfs.file_size.is_some_and(|stated| stated != size) {
        return Err(DagError::Sizes("the file size is not the sum of its parts"));
    }
    Ok(FileNode {
        data: block.slice_ref(unixfs.data),
        children,
        size,
    })
}

fn decode_link(bytes: &[u8]) -> Result<(Cid, u64), DagError> {
    let mut input = Fields(bytes);
    let (mut hash, mut total) = (None, 0);
    let mut last = 0;
    while let Some((number, value)) = input.next()? {
        if number <= last {
            return Err(DagError::Malformed("a link's fields out of order"));
        }
        last = number;
        match (number, value) {
            (1, Value::Bytes(bytes)) => hash = Some(bytes),
            (2, Value::Bytes(name)) => {
                std::str::from_utf8(name)
                    .map_err(|_| DagError::Malformed("a link's name is not UTF-8"))?;
            }
            (3, Value::Varint(value)) => total = value,
            _ => {
                return Err(DagError::Malformed(
                    "a field that a dag-pb link does not have",
                ));
            }
        }
    }
    let hash = hash.ok_or(DagError::Malformed("a link without a hash"))?;
    let mut rest = hash;
    let cid = Cid::read_bytes(&mut rest).map_err(|_| DagError::Malformed("a link's CID"))?;
    if !rest.is_empty() {
        return Err(DagError::Malformed("bytes after a link's CID"));
    }
    Ok((cid, total))
}

#[cfg(test)]
mod tests {
    use super::super::address::{Codec, address};
    use super::*;

    fn child(content: &[u8]) -> Child {
        let size = content.len() as u64;
        Child {
            cid: address(content, Codec::Raw),
            size,
            total: size,
        }
    }

    #[test]
    fn a_node_reads_back_as_it_was_written() {
        let children = vec![child(b"one"), child(b"two"), child(b"three!")];
        let block = Bytes::from(encode_file(&children));
        let node = decode_file(&block).unwrap();
        assert_eq!(node.children, children);
        assert_eq!(node.size, 12);
        assert!(node.data.is_empty());
    }

    /// A valid node with any part cut off or any bit changed is an error, or it is
    /// another node whose sizes still agree. It never causes a panic.
    #[test]
    fn damaged_nodes_never_panic() {
        let block = encode_file(&[child(b"one"), child(b"two")]);
        for end in 0..block.len() {
            assert!(
                decode_file(&Bytes::copy_from_slice(&block[..end])).is_err(),
                "cut at {end}"
            );
        }
        for at in 0..block.len() {
            for bit in 0..8 {
                let mut damaged = block.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(node) = decode_file(&Bytes::from(damaged)) {
                    let sum: u64 = node.children.iter().map(|child| child.size).sum();
                    assert_eq!(node.size, sum + node.data.len() as u64);
                }
            }
        }
    }

    #[test]
    fn noise_never_panics() {
        let mut x = 0x9E37_79B9_u32;
        for len in 0..2000_usize {
            let noise: Vec<u8> = (0..len % 97)
                .map(|_| {
                    x ^= x << 13;
                    x ^= x >> 17;
                    x ^= x << 5;
                    x as u8
                })
                .collect();
            let _ = decode_file(&Bytes::from(noise));
        }
    }

    #[test]
    fn a_child_without_content_and_too_many_links_are_refused() {
        let empty = Child {
            size: 0,
            ..child(b"x")
        };
        let block = Bytes::from(encode_file(&[child(b"one"), empty]));
        assert!(matches!(decode_file(&block), Err(DagError::Sizes(_))));
        let many = vec![child(b"x"); MAX_LINKS + 1];
        assert_eq!(
            decode_file(&Bytes::from(encode_file(&many))),
            Err(DagError::TooManyLinks)
        );
        let huge = [Child {
            size: u64::MAX,
            ..child(b"x")
        }];
        let block = Bytes::from(encode_file(&huge));
        assert_eq!(decode_file(&block).unwrap().size, u64::MAX);
    }

    /// These trees of other profiles were made by another implementation.
    #[test]
    fn foreign_trees_read_back_to_the_content_and_directories_are_named() {
        use super::super::testing::{content, foreign, unhex};
        use std::collections::HashMap;

        fn read(cid: &Cid, blocks: &HashMap<Cid, Bytes>, out: &mut Vec<u8>) {
            let block = &blocks[cid];
            address::verify(cid, block).unwrap();
            if cid.codec() == address::RAW {
                return out.extend(block);
            }
            let node = decode_file(block).unwrap();
            let start = out.len();
            out.extend(&node.data);
            for child in &node.children {
                read(&child.cid, blocks, out);
            }
            assert_eq!((out.len() - start) as u64, node.size);
        }

        for tree in foreign() {
            let blocks = tree
                .data
                .iter()
                .map(|(cid, hex)| (address::parse(cid).unwrap(), Bytes::from(unhex(hex))));
            let blocks: HashMap<_, _> = blocks.collect();
            let root = address::parse(&tree.cid).unwrap();
            if tree.directory {
                let error = decode_file(&blocks[&root]).unwrap_err();
                assert_eq!(error, DagError::NotAFile("directory"));
                continue;
            }
            let mut out = Vec::new();
            read(&root, &blocks, &mut out);
            assert!(out == content(0, tree.size as usize), "{}", tree.name);
        }
    }
}
