//! Queries of the DHT.

use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use libp2p::PeerId;

use super::{Client, Error, Kind, request, seconds};
use crate::api::PeerInfo;
use crate::control::{pb, wire};

impl Client {
    /// Returns the addresses of `peer`, for which the DHT is asked.
    pub async fn find_peer(
        &mut self,
        peer: PeerId,
        timeout: Option<Duration>,
    ) -> Result<PeerInfo, Error> {
        let answer = self
            .dht(pb::DhtRequest {
                peer: Some(wire::id_bytes(&peer)),
                ..dht(pb::dht_request::Type::FindPeer, timeout)
            })
            .await?;
        let found = answer
            .and_then(|d| d.peer)
            .ok_or(Error::Unexpected("dht.peer"))?;
        Ok(PeerInfo::from_pb(&found)?)
    }

    /// Returns the providers of `cid` one by one, as the DHT finds them, and at most
    /// `count`.
    pub async fn find_providers(
        &mut self,
        cid: &Cid,
        count: Option<u32>,
        timeout: Option<Duration>,
    ) -> Result<DhtResults<'_>, Error> {
        self.dht(pb::DhtRequest {
            cid: Some(Bytes::from(cid.to_bytes())),
            count: count.map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
            ..dht(pb::dht_request::Type::FindProviders, timeout)
        })
        .await?;
        Ok(DhtResults {
            client: self,
            done: false,
        })
    }

    /// Returns the peers that are closest to `key` in the DHT.
    pub async fn closest_peers(
        &mut self,
        key: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Vec<PeerId>, Error> {
        self.dht(pb::DhtRequest {
            key: Some(Bytes::copy_from_slice(key)),
            ..dht(pb::dht_request::Type::GetClosestPeers, timeout)
        })
        .await?;
        let mut results = DhtResults {
            client: self,
            done: false,
        };
        let mut peers = Vec::new();
        while let Some(value) = results.next_response().await? {
            peers.push(wire::peer_id("value", &value.value.unwrap_or_default())?);
        }
        Ok(peers)
    }

    /// Returns the public key of `peer` in libp2p's protobuf form.
    pub async fn public_key(
        &mut self,
        peer: PeerId,
        timeout: Option<Duration>,
    ) -> Result<Bytes, Error> {
        let answer = self
            .dht(pb::DhtRequest {
                peer: Some(wire::id_bytes(&peer)),
                ..dht(pb::dht_request::Type::GetPublicKey, timeout)
            })
            .await?;
        answer
            .and_then(|d| d.value)
            .ok_or(Error::Unexpected("dht.value"))
    }

    /// Returns the value stored in the DHT under `key` (raw bytes).
    pub async fn get_value(
        &mut self,
        key: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Bytes, Error> {
        let answer = self
            .dht(pb::DhtRequest {
                key: Some(Bytes::copy_from_slice(key)),
                ..dht(pb::dht_request::Type::GetValue, timeout)
            })
            .await?;
        answer
            .and_then(|d| d.value)
            .ok_or(Error::Unexpected("dht.value"))
    }

    /// Stores `value` in the DHT under `key` (raw bytes).
    pub async fn put_value(
        &mut self,
        key: &[u8],
        value: &[u8],
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        self.dht(pb::DhtRequest {
            key: Some(Bytes::copy_from_slice(key)),
            value: Some(Bytes::copy_from_slice(value)),
            ..dht(pb::dht_request::Type::PutValue, timeout)
        })
        .await
        .map(drop)
    }

    /// Announces in the DHT that this node provides `cid`.
    pub async fn provide(&mut self, cid: &Cid, timeout: Option<Duration>) -> Result<(), Error> {
        self.dht(pb::DhtRequest {
            cid: Some(Bytes::from(cid.to_bytes())),
            ..dht(pb::dht_request::Type::Provide, timeout)
        })
        .await
        .map(drop)
    }

    async fn dht(&mut self, ask: pb::DhtRequest) -> Result<Option<pb::DhtResponse>, Error> {
        Ok(self
            .ask(pb::Request {
                dht: Some(ask),
                ..request(Kind::Dht)
            })
            .await?
            .dht)
    }
}

fn dht(kind: pb::dht_request::Type, timeout: Option<Duration>) -> pb::DhtRequest {
    pb::DhtRequest {
        r#type: kind as i32,
        timeout: timeout.map(seconds),
        ..Default::default()
    }
}

/// The results of a DHT query, which arrive one by one.
#[derive(Debug)]
pub struct DhtResults<'a> {
    client: &'a mut Client,
    done: bool,
}

impl DhtResults<'_> {
    /// Returns the next peer, or `None` at the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn next(&mut self) -> Result<Option<PeerInfo>, Error> {
        match self.next_response().await? {
            Some(r) => {
                let peer = r.peer.ok_or(Error::Unexpected("dht.peer"))?;
                Ok(Some(PeerInfo::from_pb(&peer)?))
            }
            None => Ok(None),
        }
    }

    async fn next_response(&mut self) -> Result<Option<pb::DhtResponse>, Error> {
        if self.done {
            return Ok(None);
        }
        let response: pb::DhtResponse = self.client.read().await?;
        if response.r#type == pb::dht_response::Type::End as i32 {
            self.done = true;
            return Ok(None);
        }
        Ok(Some(response))
    }
}
