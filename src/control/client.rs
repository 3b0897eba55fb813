//! The client's end of the control socket: one typed method a request.
//!
//! ```no_run
//! # async fn f() -> Result<(), p2p_node::control::client::Error> {
//! use p2p_node::control::Client;
//! let mut client = Client::connect("/run/p2p-node/control.sock").await?;
//! println!("{:?}", client.status().await?);
//! # Ok(()) }
//! ```

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Async;
use bytes::Bytes;
use cid::Cid;
use futures::{AsyncRead, AsyncReadExt};
use libp2p::{Multiaddr, PeerId};

use super::codec::{self, Channel, MAX_FRAME, MAX_RESPONSE};
use super::pb;
use super::pb::request::Type as Kind;
use super::wire::{self, Ban, InvalidField};
use crate::api::Snapshot;
use crate::api::{
    Entry, Health, Message, Peer, PeerInfo, Progress, Published, Reload, ReloadError, Status,
    StreamInfo,
};
use crate::peers::Target;

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens at the socket.
    #[error(
        "no daemon answers at {path}: {cause}; start one with `p2p-node run`, or name its socket \
         with P2P_CONTROL_SOCKET"
    )]
    NoDaemon {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The socket is there and this user may not use it.
    #[error(
        "may not use the control socket {path}: {cause}; run as root or as a member of the \
         socket's group"
    )]
    Denied {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The connection failed in the middle.
    #[error("lost the connection to the daemon at {path}: {cause}")]
    Lost {
        /// The socket's path.
        path: PathBuf,
        /// What happened.
        cause: codec::Error,
    },
    /// The daemon ended the connection before it had said all.
    #[error("the daemon at {path} hung up; see its log for the cause")]
    HungUp {
        /// The socket's path.
        path: PathBuf,
    },
    /// The daemon says why it did not do it.
    #[error("{0}")]
    Refused(String),
    /// The daemon's answer is not one to what was asked.
    #[error("the daemon's answer lacks {0}; client and daemon may be of different versions")]
    Unexpected(&'static str),
    /// The daemon's answer holds nonsense.
    #[error("the daemon's answer cannot be used: {0}")]
    Invalid(#[from] InvalidField),
    /// What was to be sent could not be read.
    #[error("could not read what was to be sent: {0}")]
    Input(io::Error),
}

/// A connection to a daemon. Requests on it are answered one after the other;
/// open several for work at the same time.
#[derive(Debug)]
pub struct Client {
    channel: Channel<Async<UnixStream>>,
    path: PathBuf,
}

/// Options of [`Client::put`].
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Time to live in the store; the daemon's default (`P2P_BLOCK_TTL`) when `None`.
    pub ttl: Option<Duration>,
    /// A name for people, such as the file's; at most 255 bytes are kept.
    pub name: Option<String>,
    /// Be done when it is stored; it is announced in the background.
    pub background: bool,
}

/// Options of [`Client::ban`].
#[derive(Clone, Debug, Default)]
pub struct BanOptions {
    /// How long, in whole seconds; for good when `None`.
    pub length: Option<Duration>,
    /// Why, for people; at most 256 bytes are kept.
    pub reason: Option<String>,
    /// Also a range that is wider than any one holder's.
    pub force: bool,
}

fn ban_request(target: &Target) -> pb::BanRequest {
    let mut request = pb::BanRequest::default();
    match target {
        Target::Peer(peer) => request.peer = Some(wire::id_bytes(peer)),
        Target::Net(net) => request.network = Some(net.to_string()),
    }
    request
}

impl Client {
    /// Connects to the daemon whose socket is at `path`.
    ///
    /// # Errors
    /// [`Error::NoDaemon`] when nobody listens there, [`Error::Denied`] when
    /// this user may not.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        match Async::<UnixStream>::connect(&path).await {
            Ok(io) => Ok(Client {
                channel: Channel::new(io),
                path,
            }),
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                Err(Error::Denied { path, cause })
            }
            Err(cause) => Err(Error::NoDaemon { path, cause }),
        }
    }

    /// This node's peer id and addresses.
    ///
    /// # Errors
    /// See [`Error`], here and in every method below.
    pub async fn identify(&mut self) -> Result<PeerInfo, Error> {
        let answer = self.ask(request(Kind::Identify)).await?;
        let id = answer.identify.ok_or(Error::Unexpected("identify"))?;
        Ok(PeerInfo {
            id: wire::peer_id("id", &id.id)?,
            addrs: wire::multiaddrs("addrs", &id.addrs)?,
        })
    }

    /// Connects to `peer` at `addrs` (with no addresses: where the node knows
    /// it to be). Without a peer, to whoever answers there; says who it was.
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

    /// Connected peers and their addresses.
    pub async fn list_peers(&mut self) -> Result<Vec<PeerInfo>, Error> {
        let answer = self.ask(request(Kind::ListPeers)).await?;
        Ok(answer
            .peers
            .iter()
            .map(PeerInfo::from_pb)
            .collect::<Result<_, _>>()?)
    }

    /// Connected peers in detail.
    pub async fn peers(&mut self) -> Result<Vec<Peer>, Error> {
        let answer = self.ask(request(Kind::Peers)).await?;
        Ok(answer
            .peer_status
            .into_iter()
            .map(Peer::from_pb)
            .collect::<Result<_, _>>()?)
    }

    /// Everything about the node.
    pub async fn status(&mut self) -> Result<Status, Error> {
        let answer = self.ask(request(Kind::Status)).await?;
        Ok(Status::from_pb(
            answer.status.ok_or(Error::Unexpected("status"))?,
        )?)
    }

    /// Is it live and ready?
    pub async fn health(&mut self) -> Result<Health, Error> {
        let answer = self.ask(request(Kind::Health)).await?;
        Ok(Health::from_pb(
            answer.health.ok_or(Error::Unexpected("health"))?,
        ))
    }

    /// What a diagnosis looks at.
    pub async fn diag(&mut self) -> Result<Snapshot, Error> {
        let answer = self.ask(request(Kind::Diag)).await?;
        Ok(super::diag::from_pb(
            answer.diag.ok_or(Error::Unexpected("diag"))?,
        )?)
    }

    /// Bans a peer or a network; for good when `length` is `None`. The ban is in
    /// force and saved when this returns.
    pub async fn ban(&mut self, target: &Target, options: &BanOptions) -> Result<Ban, Error> {
        let ask = pb::BanRequest {
            seconds: options.length.map(|l| l.as_secs()),
            reason: options.reason.clone(),
            force: Some(options.force),
            ..ban_request(target)
        };
        self.ask_ban(Kind::Ban, ask).await
    }

    /// Lifts a ban; says which it was.
    pub async fn unban(&mut self, target: &Target) -> Result<Ban, Error> {
        self.ask_ban(Kind::Unban, ban_request(target)).await
    }

    async fn ask_ban(&mut self, kind: Kind, ask: pb::BanRequest) -> Result<Ban, Error> {
        let request = pb::Request {
            ban: Some(ask),
            ..request(kind)
        };
        let answer = self.ask(request).await?;
        let ban = answer.bans.into_iter().next();
        Ok(Ban::from_pb(ban.ok_or(Error::Unexpected("bans"))?)?)
    }

    /// Has the daemon read its configuration again; what came of it.
    pub async fn reload(&mut self) -> Result<Result<Reload, ReloadError>, Error> {
        let answer = self.ask(request(Kind::Reload)).await?;
        let reload = answer.reload.ok_or(Error::Unexpected("reload"))?;
        Ok(Reload::from_pb(reload))
    }

    /// The bans in force, the latest first.
    pub async fn bans(&mut self) -> Result<Vec<Ban>, Error> {
        let answer = self.ask(request(Kind::Bans)).await?;
        Ok(answer
            .bans
            .into_iter()
            .map(Ban::from_pb)
            .collect::<Result<_, _>>()?)
    }

    /// Opens a stream to `peer` on the first of `protos` that it speaks. The
    /// connection is the stream from then on.
    pub async fn open_stream(
        mut self,
        peer: PeerId,
        protos: &[&str],
        timeout: Option<Duration>,
    ) -> Result<RawStream, Error> {
        let answer = self
            .ask(pb::Request {
                stream_open: Some(pb::StreamOpenRequest {
                    peer: wire::id_bytes(&peer),
                    proto: protos.iter().map(|p| (*p).to_owned()).collect(),
                    timeout: timeout.map(seconds),
                }),
                ..request(Kind::StreamOpen)
            })
            .await?;
        let info = answer.stream_info.ok_or(Error::Unexpected("streamInfo"))?;
        let (io, ahead) = self.channel.into_parts();
        Ok(RawStream {
            info: StreamInfo::from_pb(&info)?,
            io,
            ahead,
        })
    }

    /// Routes inbound streams on `protos` to whoever listens at `addr`
    /// (`/unix/…`, `/ip4/…/tcp/…`). The node connects there for each stream
    /// and sends a `StreamInfo` first.
    pub async fn handle_streams(&mut self, addr: &Multiaddr, protos: &[&str]) -> Result<(), Error> {
        self.ask(pb::Request {
            stream_handler: Some(pb::StreamHandlerRequest {
                addr: Bytes::from(addr.to_vec()),
                proto: protos.iter().map(|p| (*p).to_owned()).collect(),
            }),
            ..request(Kind::StreamHandler)
        })
        .await
        .map(drop)
    }

    /// Where `peer` can be reached, by asking the DHT.
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

    /// Who provides `cid`, one after the other as the DHT finds them, at most `count`.
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

    /// The peers closest to `key` in the DHT.
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

    /// The public key of `peer` in libp2p's protobuf form.
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

    /// The value stored in the DHT under `key` (raw bytes).
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

    /// Gives `peer` a tag; peers with the least sum of weights are trimmed first.
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

    /// Takes a tag from `peer`.
    pub async fn untag_peer(&mut self, peer: PeerId, tag: &str) -> Result<(), Error> {
        self.connmgr(pb::ConnManagerRequest {
            r#type: pb::conn_manager_request::Type::UntagPeer as i32,
            peer: Some(wire::id_bytes(&peer)),
            tag: Some(tag.to_owned()),
            ..Default::default()
        })
        .await
    }

    /// Closes connections, least tagged first, until `keep` peers are left
    /// (the node's low-water mark when `None`).
    pub async fn trim(&mut self, keep: Option<u32>) -> Result<(), Error> {
        self.connmgr(pb::ConnManagerRequest {
            r#type: pb::conn_manager_request::Type::Trim as i32,
            keep,
            ..Default::default()
        })
        .await
    }

    /// Topics joined by this node.
    pub async fn topics(&mut self) -> Result<Vec<String>, Error> {
        let answer = self
            .pubsub(pubsub(pb::ps_request::Type::GetTopics, None))
            .await?;
        Ok(answer.pubsub.unwrap_or_default().topics)
    }

    /// Peers known to be subscribed to `topic`.
    pub async fn topic_peers(&mut self, topic: &str) -> Result<Vec<PeerId>, Error> {
        let answer = self
            .pubsub(pubsub(pb::ps_request::Type::ListPeers, Some(topic)))
            .await?;
        let list = answer.pubsub.unwrap_or_default().peer_i_ds;
        Ok(list
            .iter()
            .map(|b| wire::peer_id("peerIDs", b))
            .collect::<Result<_, _>>()?)
    }

    /// Publishes `data` on `topic`; says whom it went to, unless the daemon is of a
    /// version that does not. This takes its time when more is published than peers
    /// take.
    pub async fn publish(&mut self, topic: &str, data: Bytes) -> Result<Option<Published>, Error> {
        let mut ask = pubsub(pb::ps_request::Type::Publish, Some(topic));
        ask.data = Some(data);
        let answer = self.pubsub(ask).await?;
        Ok(answer.published.map(|published| Published {
            peers: published.peers.unwrap_or_default(),
            listeners: published.listeners.unwrap_or_default(),
        }))
    }

    /// Subscribes to `topics`. The connection carries nothing else from then
    /// on; dropping the subscription ends it.
    pub async fn subscribe(mut self, topics: &[&str]) -> Result<Subscription, Error> {
        let Some((first, more)) = topics.split_first() else {
            return Err(Error::Refused(
                "name at least one topic to subscribe to".into(),
            ));
        };
        let mut ask = pubsub(pb::ps_request::Type::Subscribe, Some(first));
        ask.more_topics = more.iter().map(|t| (*t).to_owned()).collect();
        self.pubsub(ask).await?;
        Ok(Subscription { client: self })
    }

    /// Stores what `input` gives until its end, and announces it. `sent` is
    /// told the number of bytes that the daemon has taken so far.
    ///
    /// The daemon stores nothing of it unless all of it came: an error of
    /// `input`, or this future dropped, leaves nothing behind.
    pub async fn put<R: AsyncRead + Unpin>(
        &mut self,
        mut input: R,
        options: PutOptions,
        mut sent: impl FnMut(u64),
    ) -> Result<Entry, Error> {
        self.block(pb::BlockRequest {
            ttl: options.ttl.map(|d| d.as_secs()),
            name: options.name,
            background: options.background.then_some(true),
            ..block(pb::block_request::Type::Put)
        })
        .await?;
        let mut buffer = vec![0; MAX_FRAME];
        let mut total = 0u64;
        let written = loop {
            // Full frames: a pipe gives 64 KiB at a time, and each frame costs a wake-up.
            let n = match read_full(&mut input, &mut buffer).await {
                Ok(n) => n,
                Err(e) => return Err(Error::Input(e)),
            };
            // The empty frame is the end mark.
            if let Err(e) = self.channel.write_frame(&buffer[..n]).await {
                break Err(e);
            }
            if n == 0 {
                break Ok(());
            }
            total += n as u64;
            sent(total);
        };
        // A daemon that cannot go on says why and hangs up, which shows here as
        // a failed write: its reason is worth more than ours.
        let end = match (self.block_answer().await, written) {
            (Ok(end), _) => end,
            (Err(Error::Refused(why)), _) => return Err(Error::Refused(why)),
            (Err(_), Err(e)) => return Err(self.lost(e.into())),
            (Err(e), Ok(())) => return Err(e),
        };
        let entry = end
            .entries
            .into_iter()
            .next()
            .ok_or(Error::Unexpected("block.entries"))?;
        Ok(Entry::from_pb(entry)?)
    }

    /// Fetches a file. Returns when the daemon has begun; the bytes come from
    /// [`Download::next`]. `patience` is how long the daemon goes on without
    /// any progress; 60 s when `None`.
    pub async fn get(
        &mut self,
        cid: &Cid,
        patience: Option<Duration>,
    ) -> Result<Download<'_>, Error> {
        self.send(pb::Request {
            block: Some(pb::BlockRequest {
                cid: Some(Bytes::from(cid.to_bytes())),
                timeout: patience.map(|d| d.as_secs().max(1)),
                ..block(pb::block_request::Type::Get)
            }),
            ..request(Kind::Block)
        })
        .await?;
        Ok(Download {
            client: self,
            done: false,
        })
    }

    /// The files in the local store.
    pub async fn list_blocks(&mut self) -> Result<Vec<Entry>, Error> {
        self.block(block(pb::block_request::Type::Ls)).await?;
        let mut entries = Vec::new();
        loop {
            let answer = self.block_answer().await?;
            for entry in answer.entries {
                entries.push(Entry::from_pb(entry)?);
            }
            if answer.r#type == pb::block_response::Type::End as i32 {
                return Ok(entries);
            }
        }
    }

    /// Removes a file from the local store; gives the bytes that this freed.
    pub async fn remove_block(&mut self, cid: &Cid) -> Result<u64, Error> {
        let answer = self
            .block(pb::BlockRequest {
                cid: Some(Bytes::from(cid.to_bytes())),
                ..block(pb::block_request::Type::Rm)
            })
            .await?;
        Ok(answer.size.unwrap_or(0))
    }

    /// Describes a file in the local store.
    pub async fn stat_block(&mut self, cid: &Cid) -> Result<Entry, Error> {
        let answer = self
            .block(pb::BlockRequest {
                cid: Some(Bytes::from(cid.to_bytes())),
                ..block(pb::block_request::Type::Stat)
            })
            .await?;
        let entry = answer
            .entries
            .into_iter()
            .next()
            .ok_or(Error::Unexpected("block.entries"))?;
        Ok(Entry::from_pb(entry)?)
    }

    fn lost(&self, cause: codec::Error) -> Error {
        Error::Lost {
            path: self.path.clone(),
            cause,
        }
    }

    async fn send(&mut self, request: pb::Request) -> Result<(), Error> {
        self.channel
            .write(&request)
            .await
            .map_err(|e| self.lost(e.into()))
    }

    async fn read<M: prost::Message + Default>(&mut self) -> Result<M, Error> {
        match self.channel.read(MAX_RESPONSE).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Error::HungUp {
                path: self.path.clone(),
            }),
            Err(e) => Err(self.lost(e)),
        }
    }

    async fn answer(&mut self) -> Result<pb::Response, Error> {
        let answer: pb::Response = self.read().await?;
        if answer.r#type == pb::response::Type::Ok as i32 {
            return Ok(answer);
        }
        Err(Error::Refused(match answer.error {
            Some(e) if !e.msg.is_empty() => e.msg,
            _ => "the daemon refused without a reason".into(),
        }))
    }

    async fn ask(&mut self, request: pb::Request) -> Result<pb::Response, Error> {
        // When the daemon has too many clients it says so and hangs up at once:
        // the answer may be there although the write failed.
        let sent = self.send(request).await;
        match (self.answer().await, sent) {
            (Err(Error::Refused(why)), _) => Err(Error::Refused(why)),
            (_, Err(e)) => Err(e),
            (answer, Ok(())) => answer,
        }
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

    async fn connmgr(&mut self, ask: pb::ConnManagerRequest) -> Result<(), Error> {
        let ask = pb::Request {
            conn_manager: Some(ask),
            ..request(Kind::Connmanager)
        };
        self.ask(ask).await.map(drop)
    }

    async fn pubsub(&mut self, ask: pb::PsRequest) -> Result<pb::Response, Error> {
        self.ask(pb::Request {
            pubsub: Some(ask),
            ..request(Kind::Pubsub)
        })
        .await
    }

    async fn block(&mut self, ask: pb::BlockRequest) -> Result<pb::BlockResponse, Error> {
        let answer = self
            .ask(pb::Request {
                block: Some(ask),
                ..request(Kind::Block)
            })
            .await?;
        answer.block.ok_or(Error::Unexpected("block"))
    }

    /// The next answer of an exchange about content that is under way.
    async fn block_answer(&mut self) -> Result<pb::BlockResponse, Error> {
        self.answer().await?.block.ok_or(Error::Unexpected("block"))
    }
}

fn request(kind: Kind) -> pb::Request {
    pb::Request {
        r#type: kind as i32,
        ..Default::default()
    }
}

fn dht(kind: pb::dht_request::Type, timeout: Option<Duration>) -> pb::DhtRequest {
    pb::DhtRequest {
        r#type: kind as i32,
        timeout: timeout.map(seconds),
        ..Default::default()
    }
}

fn pubsub(kind: pb::ps_request::Type, topic: Option<&str>) -> pb::PsRequest {
    pb::PsRequest {
        r#type: kind as i32,
        topic: topic.map(str::to_owned),
        ..Default::default()
    }
}

fn block(kind: pb::block_request::Type) -> pb::BlockRequest {
    pb::BlockRequest {
        r#type: kind as i32,
        ..Default::default()
    }
}

/// Whole seconds, at least one: zero means "the default" on the wire.
fn seconds(d: Duration) -> i64 {
    i64::try_from(d.as_secs()).unwrap_or(i64::MAX).max(1)
}

async fn read_full<R: AsyncRead + Unpin>(input: &mut R, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match input.read(&mut buffer[n..]).await {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// A stream to a peer, opened by [`Client::open_stream`].
#[derive(Debug)]
pub struct RawStream {
    /// Who is at the other end, and what was agreed.
    pub info: StreamInfo,
    /// The stream itself.
    pub io: Async<UnixStream>,
    /// Bytes of the stream that came together with the daemon's answer; they
    /// come before those of `io`.
    pub ahead: Bytes,
}

/// Results of a DHT query that come one by one.
#[derive(Debug)]
pub struct DhtResults<'a> {
    client: &'a mut Client,
    done: bool,
}

impl DhtResults<'_> {
    /// The next peer, `None` at the end.
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

/// Gossip messages as they come, from [`Client::subscribe`].
#[derive(Debug)]
pub struct Subscription {
    client: Client,
}

impl Subscription {
    /// The next message.
    ///
    /// # Errors
    /// [`Error::HungUp`] when the daemon ended, or when this reader was so slow
    /// that the daemon gave it up.
    pub async fn next(&mut self) -> Result<Message, Error> {
        let message: pb::PsMessage = self.client.read().await?;
        Ok(Message::from_pb(message)?)
    }
}

/// What comes next in a [`Download`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The fetch has begun to give bytes; the file's length. Comes once, before any data.
    Begin {
        /// Bytes.
        size: u64,
    },
    /// The next bytes of the file.
    Data(Bytes),
    /// How it goes; may come before `Begin`, while providers are looked for.
    Progress(Progress),
}

/// A file that is being fetched, from [`Client::get`].
#[derive(Debug)]
pub struct Download<'a> {
    client: &'a mut Client,
    done: bool,
}

impl Download<'_> {
    /// What comes next, `None` when the whole file has come.
    ///
    /// # Errors
    /// See [`Error`]; what came so far is not the whole file.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        use pb::block_response::Type;
        if self.done {
            return Ok(None);
        }
        let answer = self.client.block_answer().await?;
        match Type::try_from(answer.r#type) {
            Ok(Type::Begin) => Ok(Some(Event::Begin {
                size: answer.size.unwrap_or(0),
            })),
            Ok(Type::Data) => Ok(Some(Event::Data(answer.data.unwrap_or_default()))),
            Ok(Type::Progress) => {
                let p = answer.progress.unwrap_or_default();
                Ok(Some(Event::Progress(Progress {
                    done: p.done.unwrap_or(0),
                    total: p.total,
                    providers: p.providers.unwrap_or(0),
                    received: p.received.unwrap_or(0),
                })))
            }
            Ok(Type::End) => {
                self.done = true;
                Ok(None)
            }
            Ok(Type::Entries) | Err(_) => Err(Error::Unexpected("block.type of a download")),
        }
    }
}
