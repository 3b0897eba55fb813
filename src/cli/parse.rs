//! Parses the values on the command line. An invalid value is wrong usage (exit code 2)
//! and is reported in the form of clap's own errors.

use std::time::Duration;

use cid::{Cid, Version};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::peers::Target;

/// Parses a CID of version 0 or 1.
pub(crate) fn cid(text: &str) -> Result<Cid, String> {
    let cid = Cid::try_from(text).map_err(|e| format!("not a CID ({e})"))?;
    // The parser stops where a CID ends and ignores what follows, such as a second CID
    // that was pasted behind the first.
    let path = text.rsplit_once("/ipfs/").map_or(text, |(_, cid)| cid);
    let bytes = match cid.version() {
        Version::V0 => return Ok(cid),
        Version::V1 => cid::multibase::decode(path),
    };
    if bytes.is_ok_and(|(_, bytes)| bytes.len() != cid.encoded_len()) {
        return Err("not a CID (there are extra bytes at its end)".into());
    }
    Ok(cid)
}

/// Parses a peer id, alone or at the end of a multiaddr.
pub(crate) fn peer(text: &str) -> Result<PeerId, String> {
    if text.starts_with('/') {
        let addr: Multiaddr = text.parse().map_err(|e| format!("not a multiaddr ({e})"))?;
        return match addr.iter().last() {
            Some(Protocol::P2p(peer)) => Ok(peer),
            _ => Err("the multiaddr does not end in /p2p/PEER_ID".into()),
        };
    }
    text.parse().map_err(|e| format!("not a peer id ({e})"))
}

/// Where to find a peer: a multiaddr, with or without `/p2p/PEER` at its end, or only a
/// peer id, for which the node finds the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) peer: Option<PeerId>,
    /// The address without the final `/p2p/PEER`; `None` when only a peer id was given.
    pub(crate) addr: Option<Multiaddr>,
}

pub(crate) fn destination(text: &str) -> Result<Destination, String> {
    if !text.starts_with('/') {
        let peer = text
            .parse()
            .map_err(|_| "neither a multiaddr nor a peer id".to_owned())?;
        return Ok(Destination {
            peer: Some(peer),
            addr: None,
        });
    }
    let mut addr: Multiaddr = text.parse().map_err(|e| format!("not a multiaddr ({e})"))?;
    match addr.pop() {
        Some(Protocol::P2p(peer)) => {
            let addr = (!addr.is_empty()).then_some(addr);
            Ok(Destination {
                peer: Some(peer),
                addr,
            })
        }
        Some(other) => {
            addr.push(other);
            Ok(Destination {
                peer: None,
                addr: Some(addr),
            })
        }
        None => Err("the multiaddr is empty".into()),
    }
}

/// Parses the target of a ban: a peer id (alone or at the end of a multiaddr), an address
/// or a range.
pub(crate) fn target(text: &str) -> Result<Target, String> {
    if text.starts_with('/') {
        return peer(text).map(Target::Peer);
    }
    text.parse::<Target>()
        .map_err(|_| "neither a peer id nor an address or range such as 192.0.2.0/24".to_owned())
}

/// Parses a time to live or a time-out. It is at least a second, the unit in which it is
/// sent to the daemon.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
    crate::config::parse_duration(text, Duration::from_secs(1), LONGEST)
        .map_err(|why| format!("{why}; accepted: a duration such as 30s, 10m, 24h or 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn cids_end_where_they_end() {
        const V1: &str = "bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe";
        const V0: &str = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPNxY";
        for good in [V1, V0, &V1.to_uppercase(), &format!("/ipfs/{V1}")] {
            assert!(cid(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "bafk",
            &format!("{V1}{V1}"),
            &format!("{V1}aa"),
            &format!("/ipfs/{V1}{V1}"),
            &format!("{V0}{V0}"),
        ] {
            assert!(cid(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn destinations_are_split_into_peer_and_address() {
        let id: PeerId = PEER.parse().unwrap();
        let parsed = |t: &str| destination(t).map(|d| (d.peer, d.addr.map(|a| a.to_string())));
        let tcp = || Some("/ip4/1.2.3.4/tcp/1".to_owned());
        assert_eq!(parsed("/ip4/1.2.3.4/tcp/1"), Ok((None, tcp())));
        assert_eq!(
            parsed(&format!("/ip4/1.2.3.4/tcp/1/p2p/{PEER}")),
            Ok((Some(id), tcp()))
        );
        assert_eq!(parsed(PEER), Ok((Some(id), None)));
        assert_eq!(parsed(&format!("/p2p/{PEER}")), Ok((Some(id), None)));
        let relay = format!("/ip4/1.2.3.4/tcp/1/p2p/{PEER}/p2p-circuit");
        assert_eq!(
            parsed(&format!("{relay}/p2p/{PEER}")),
            Ok((Some(id), Some(relay.clone())))
        );
        for bad in ["", "/", "1.2.3.4:1", "/ip4/1.2.3.4/tcp", "/nonsense/1"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn peers_may_be_given_as_addresses() {
        assert_eq!(
            peer(PEER).unwrap(),
            peer(&format!("/ip4/1.2.3.4/tcp/1/p2p/{PEER}")).unwrap()
        );
        assert!(peer("/ip4/1.2.3.4/tcp/1").is_err());
        assert!(peer("nobody").is_err());
    }
}
