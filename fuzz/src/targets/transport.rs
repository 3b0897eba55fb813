//! Addresses and names.
//!
//! - An address can be parsed from its text and from its bytes.
//! - A transport accepts only addresses that begin as it would write them.
//! - Resolving names ends within its limits whatever the answers are, and the result
//!   contains no names and no duplicates.

use std::collections::HashSet;
use std::net::IpAddr;

use libp2p::Multiaddr;
use p2p_node::fuzzing::transport::{self, Answer};
use p2p_node::transport::dns::{MAX_ADDRESSES, MAX_LOOKUPS, MAX_RECORD_BYTES, has_name};

use crate::stream;

fn is_consistent(address: &Multiaddr) {
    let bytes = address.to_vec();
    assert_eq!(
        Multiaddr::try_from(bytes.clone()).as_ref().ok(),
        Some(address)
    );
    if let Some(socket) = transport::tcp(address) {
        assert!(bytes.starts_with(&transport::to_tcp(socket).to_vec()));
        assert_eq!(transport::tcp(&transport::to_tcp(socket)), Some(socket));
        assert!(transport::quic(address).is_none());
    }
    if let Some((socket, _)) = transport::quic(address) {
        let ours = transport::to_quic(socket);
        assert!(bytes.starts_with(&ours.to_vec()));
        assert_eq!(transport::quic(&ours), Some((socket, None)));
    }
    let hosts = |_: &str| Answer::Hosts(vec![IpAddr::from([192, 0, 2, 1])]);
    match transport::follow(address, hosts) {
        None => assert!(!has_name(address)),
        Some((lookups, found)) => {
            assert!(has_name(address));
            assert!(lookups <= MAX_LOOKUPS);
            if let Err(error) = found {
                super::one_line(&error);
            }
        }
    }
}

/// An address as text, and as bytes.
pub fn multiaddr(data: &[u8]) {
    if let Some(address) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse::<Multiaddr>().ok())
    {
        is_consistent(&address);
        let text = address.to_string();
        assert_eq!(text.parse::<Multiaddr>().ok(), Some(address), "{text}");
    }
    if let Ok(address) = Multiaddr::try_from(data.to_vec()) {
        is_consistent(&address);
        let _ = address.to_string();
    }
}

/// The address to begin with on the first line; TXT records and IP addresses
/// after it, from which the answers are taken.
pub fn dns(data: &[u8]) {
    let mut lines = data.split(|b| *b == b'\n');
    let Some(start) = lines
        .next()
        .and_then(|line| std::str::from_utf8(line).ok())
        .and_then(|line| line.parse::<Multiaddr>().ok())
    else {
        return;
    };
    let mut records = Vec::new();
    let mut hosts = Vec::new();
    for line in lines.take(300) {
        // A record comes in parts of at most 255 bytes; how it is cut is nothing.
        let parts: Vec<&[u8]> = line.chunks(255).collect();
        let record = transport::txt(&parts);
        assert_eq!(record, transport::txt(&[line]));
        if let Some(record) = record {
            assert!(line.len() <= MAX_RECORD_BYTES);
            assert!(!record.is_empty());
            records.push(record);
        } else if let Some(ip) = std::str::from_utf8(line).ok().and_then(|l| l.parse().ok()) {
            hosts.push(ip);
        }
    }
    let look_up = |name: &str| {
        let hash = stream::hash(name.as_bytes());
        if hash & 3 == 0 {
            return Answer::Hosts(hosts.clone());
        }
        // Each name has some of them.
        let mut random = hash | 1;
        let some = records.iter().filter(|_| {
            random = stream::next(random);
            random & 8 == 0
        });
        Answer::Records(some.cloned().collect())
    };
    let Some((lookups, found)) = transport::follow(&start, look_up) else {
        return;
    };
    assert!(lookups <= MAX_LOOKUPS);
    match found {
        Ok(found) => {
            assert!(!found.is_empty() && found.len() <= MAX_ADDRESSES);
            assert!(!found.iter().any(has_name));
            let different: HashSet<&Multiaddr> = found.iter().collect();
            assert_eq!(different.len(), found.len());
        }
        Err(error) => super::one_line(&error),
    }
}
