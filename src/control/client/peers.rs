//! Peers: connections to them, and tags that say how valuable they are.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use super::{Client, Error, Kind, request, seconds};
use crate::api::{Peer, PeerInfo};
use crate::control::{pb, wire};

impl Client {
    /// Connects to `peer` at `addrs`, or, when there are none, at the addresses where the
    /// node finds it. Without a peer, it accepts any peer that answers at `addrs`.
    /// Returns the peer.
    pub async fn connect_peer(
        &mut self,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        timeout: Option<Duration>,
    ) -> Result<Option<PeerId>, Error> {
        let answer = self
            .ask(pb::Request {
                connect: Some(pb::ConnectRequest {
                    peer: peer.as_ref().map(wire::id_bytes).unwrap_or_default(),
                    addrs: wire::addr_bytes(addrs),
                    timeout: timeout.map(seconds),
                }),
                ..request(Kind::Connect)
            })
            .await?;
        match answer.peers.first() {
            Some(p) => Ok(Some(wire::peer_id("peer", &p.id)?)),
            None => Ok(peer),
        }
    }

    /// Closes all connections to `peer`.
    pub async fn disconnect(&mut self, peer: PeerId) -> Result<(), Error> {
        let disconnect = Some(pb::DisconnectRequest {
            peer: wire::id_bytes(&peer),
        });
        self.ask(pb::Request {
            disconnect,
            ..request(Kind::Disconnect)
        })
        .await
        .map(drop)
    }

    /// Returns the connected peers and their addresses.
    pub async fn list_peers(&mut self) -> Result<Vec<PeerInfo>, Error> {
        let answer = self.ask(request(Kind::ListPeers)).await?;
        Ok(answer
            .peers
            .iter()
            .map(PeerInfo::from_pb)
            .collect::<Result<_, _>>()?)
    }

    /// Returns the connected peers in detail.
    pub async fn peers(&mut self) -> Result<Vec<Peer>, Error> {
        let answer = self.ask(request(Kind::Peers)).await?;
        Ok(answer
            .peer_status
            .into_iter()
            .map(Peer::from_pb)
            .collect::<Result<_, _>>()?)
    }

    /// Tags `peer`. The connections of the peers with the smallest sum of weights are
    /// closed first.
    pub async fn tag_peer(&mut self, peer: PeerId, tag: &str, weight: i64) -> Result<(), Error> {
        self.connmgr(pb::ConnManagerRequest {
            r#type: pb::conn_manager_request::Type::TagPeer as i32,
            peer: Some(wire::id_bytes(&peer)),
            tag: Some(tag.to_owned()),
            weight: Some(weight),
            keep: None,
        })
        .await
    }

    /// Removes a tag from `peer`.
    pub async fn untag_peer(&mut self, peer: PeerId, tag: &str) -> Result<(), Error> {
        self.connmgr(pb::ConnManagerRequest {
            r#type: pb::conn_manager_request::Type::UntagPeer as i32,
            peer: Some(wire::id_bytes(&peer)),
            tag: Some(tag.to_owned()),
            ..Default::default()
        })
        .await
    }

    /// Closes the connections of the peers with the smallest weights until `keep`
    /// connections are left (the node's low-water mark when `None`).
    pub async fn trim(&mut self, keep: Option<u32>) -> Result<(), Error> {
        self.connmgr(pb::ConnManagerRequest {
            r#type: pb::conn_manager_request::Type::Trim as i32,
            keep,
            ..Default::default()
        })
        .await
    }

    async fn connmgr(&mut self, ask: pb::ConnManagerRequest) -> Result<(), Error> {
        let ask = pb::Request {
            conn_manager: Some(ask),
            ..request(Kind::Connmanager)
        };
        self.ask(ask).await.map(drop)
    }
}
