//! DHT: queries and records, with a single answer or a stream of answers.

use std::sync::Arc;

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::identity::PublicKey;

use super::pb;
use super::pb::dht_request::Type;
use super::pb::dht_response::Type as Part;
use super::server::Shared;
use super::session::{End, Failure, Session, ok, within};
use super::wire;
use crate::api::PeerInfo;

/// The number of providers returned when the request does not say how many, as in
/// go-libp2p's daemon.
const DEFAULT_COUNT: usize = 20;

/// The multihash code of "identity", with which a peer id contains the key itself.
const IDENTITY: u64 = 0;

impl Session {
    pub(super) async fn dht(&mut self, ask: pb::DhtRequest) -> Result<(), End> {
        match Type::try_from(ask.r#type) {
            Ok(Type::FindProviders) => self.find_providers(ask).await,
            Ok(Type::GetClosestPeers) => self.closest_peers(ask).await,
            Ok(Type::SearchValue) => self.search_value(ask).await,
            kind => {
                let shared = Arc::clone(&self.shared);
                let result = self.attend(single(shared, kind, ask)).await?;
                self.reply(result).await
            }
        }
    }

    /// Answers BEGIN, then what `next` returns, then END. It stops when `next` has no
    /// more, or when the time of the request is over. When the client has gone, it stops
    /// without END.
    async fn stream<F>(
        &mut self,
        timeout: Option<i64>,
        mut next: impl FnMut() -> F,
    ) -> Result<(), End>
    where
        F: Future<Output = Option<pb::DhtResponse>>,
    {
        let begin = pb::DhtResponse {
            r#type: Part::Begin as i32,
            ..Default::default()
        };
        self.answer(&pb::Response {
            dht: Some(begin),
            ..ok()
        })
        .await?;
        let deadline = std::time::Instant::now() + super::session::limit(timeout);
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let part = async_std::future::timeout(left, next());
            // When the time is over, the results so far are the answer.
            match self.attend(part).await? {
                Ok(Some(part)) => self.answer(&part).await?,
                Ok(None) | Err(_) => break,
            }
        }
        self.answer(&pb::DhtResponse {
            r#type: Part::End as i32,
            ..Default::default()
        })
        .await
    }

    async fn find_providers(&mut self, ask: pb::DhtRequest) -> Result<(), End> {
        let handle = self.shared.node.handle.clone();
        let cid = match wire::cid("cid", ask.cid.as_deref().unwrap_or_default()) {
            Ok(cid) => cid,
            Err(e) => return self.reply(Err(e.into())).await,
        };
        // Provider records are stored under the multihash, whatever the codec is.
        let found = match handle.find_providers(cid.hash().to_bytes()).await {
            Ok(found) => found,
            Err(e) => return self.reply(Err(e.into())).await,
        };
        let mut left = match ask.count.map(usize::try_from) {
            Some(Ok(n)) if n > 0 => n,
            _ => DEFAULT_COUNT,
        };
        let (handle, found) = (&handle, &found);
        self.stream(ask.timeout, move || {
            let more = left > 0;
            left = left.saturating_sub(1);
            async move {
                if !more {
                    return None;
                }
                let id = found.recv().await.ok()?;
                let addrs = handle.known_addrs(id).await.unwrap_or_default();
                let peer = Some(PeerInfo { id, addrs }.to_pb());
                Some(pb::DhtResponse {
                    r#type: Part::Value as i32,
                    peer,
                    value: None,
                })
            }
        })
        .await
    }

    async fn closest_peers(&mut self, ask: pb::DhtRequest) -> Result<(), End> {
        let handle = self.shared.node.handle.clone();
        let Some(key) = ask.key else {
            return self
                .reply(Err("malformed request: key is missing".into()))
                .await;
        };
        let query = within("looking for the closest peers", ask.timeout, async {
            Ok(handle.closest_peers(key.to_vec()).await?)
        });
        let mut peers = match self.attend(query).await? {
            Ok(peers) => peers.into_iter(),
            Err(e) => return self.reply(Err(e)).await,
        };
        self.stream(None, || {
            let next = peers.next().map(|p| value(wire::id_bytes(&p.peer)));
            std::future::ready(next)
        })
        .await
    }

    async fn search_value(&mut self, ask: pb::DhtRequest) -> Result<(), End> {
        let handle = self.shared.node.handle.clone();
        let Some(key) = ask.key else {
            return self
                .reply(Err("malformed request: key is missing".into()))
                .await;
        };
        let (values, _ended) = match handle.search_value(key.to_vec()).await {
            Ok(search) => search,
            Err(e) => return self.reply(Err(e.into())).await,
        };
        let values = &values;
        self.stream(ask.timeout, || async move {
            values.recv().await.ok().map(|v| value(v.into()))
        })
        .await
    }
}

/// Carries out a request that has a single answer.
async fn single(
    shared: Arc<Shared>,
    kind: Result<Type, prost::UnknownEnumValue>,
    ask: pb::DhtRequest,
) -> Result<pb::Response, Failure> {
    let handle = &shared.node.handle;
    let peer = || wire::peer_id("peer", ask.peer.as_deref().unwrap_or_default());
    let key = || match &ask.key {
        Some(key) => Ok(key.to_vec()),
        None => Err(Failure::from("malformed request: key is missing")),
    };
    let answer = |part: pb::DhtResponse| {
        Ok(pb::Response {
            dht: Some(part),
            ..ok()
        })
    };
    match kind {
        Ok(Type::FindPeer) => {
            let id = peer()?;
            let addrs = if id == handle.local_peer_id() {
                handle.status().await?.listen_addrs
            } else {
                within("finding the peer", ask.timeout, async {
                    Ok(handle.find_peer(id).await?)
                })
                .await?
                .addrs
            };
            let peer = Some(PeerInfo { id, addrs }.to_pb());
            answer(pb::DhtResponse {
                r#type: Part::Value as i32,
                peer,
                value: None,
            })
        }
        Ok(Type::GetPublicKey) => {
            let id = peer()?;
            let found = public_key(&shared, id, ask.timeout).await?;
            answer(value(found.encode_protobuf().into()))
        }
        Ok(Type::GetValue) => {
            let key = key()?;
            let get = async { Ok(handle.get_value(key).await?) };
            answer(value(
                within("getting the value", ask.timeout, get).await?.into(),
            ))
        }
        Ok(Type::PutValue) => {
            let key = key()?;
            let Some(value) = &ask.value else {
                return Err("malformed request: value is missing".into());
            };
            let put = async { Ok(handle.put_value(key, value.to_vec()).await?) };
            within("putting the value", ask.timeout, put).await?;
            Ok(ok())
        }
        Ok(Type::Provide) => {
            let cid = wire::cid("cid", ask.cid.as_deref().unwrap_or_default())?;
            let provide = async { Ok(handle.provide(cid.hash().to_bytes()).await?) };
            within("announcing the content", ask.timeout, provide).await?;
            Ok(ok())
        }
        Ok(Type::FindPeersConnectedToPeer) => Err(
            "FIND_PEERS_CONNECTED_TO_PEER was removed from the protocol and is not supported"
                .into(),
        ),
        _ => Err("unknown kind of DHT request".into()),
    }
}

/// Returns the public key of a peer. A short key is contained in the peer id; others are
/// fetched from the DHT under `/pk/` and checked against the id.
async fn public_key(
    shared: &Shared,
    id: PeerId,
    timeout: Option<i64>,
) -> Result<PublicKey, Failure> {
    let handle = &shared.node.handle;
    if id == handle.local_peer_id() {
        return Ok(handle.public_key().clone());
    }
    let hash: &multihash::Multihash<64> = id.as_ref();
    if hash.code() == IDENTITY {
        return PublicKey::try_decode_protobuf(hash.digest())
            .map_err(|e| Failure(format!("the key inside of {id} cannot be read: {e}")));
    }
    let key = [b"/pk/", &id.to_bytes()[..]].concat();
    let get = async { Ok(handle.get_value(key).await?) };
    let found = within("getting the public key", timeout, get).await?;
    match PublicKey::try_decode_protobuf(&found) {
        Ok(key) if key.to_peer_id() == id => Ok(key),
        _ => Err(Failure(format!(
            "the DHT holds something else than the key of {id}"
        ))),
    }
}

fn value(bytes: Bytes) -> pb::DhtResponse {
    pb::DhtResponse {
        r#type: Part::Value as i32,
        peer: None,
        value: Some(bytes),
    }
}
