//! The handle: everything that the rest of the program can ask of the node.
//!
//! A handle is cheap to clone. Each call sends one command through a bounded
//! channel to the event loop and waits for its one reply; a caller that is
//! faster than the loop waits, and a caller that goes away cancels what it
//! asked for. When the node has stopped, every call answers [`Error::Stopped`].

mod command;
mod error;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_std::channel::{Receiver, Sender};
use futures::channel::{mpsc, oneshot};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::dht_intake::Replies;
use super::obstacle::of_opening;
use super::streams::{AcceptError, Control, IncomingStreams, OpenError, PeerStream};
use crate::api::{self, Published, Status};
use crate::content::fetch::{Obstacle, Unreachable};
pub use crate::dht::MAX_ADDRS_PER_PEER;
use crate::dht::Outcome;
use crate::gossip::NetworkTopics;
use crate::gossip::line::Client;
use crate::node::gossip::Publish;
use crate::node::gossip::signed::Sealer;

pub(super) use command::{
    COMMAND_QUEUE, Command, Content, DhtCommand, QUERY_RESULTS, Reply, SUBSCRIPTION_QUEUE,
};
pub use error::Error;
pub(super) use error::{at_found_addresses, here_and_there};

/// A gossip message as a subscriber gets it.
#[derive(Clone, Debug)]
pub struct GossipMessage {
    /// The publisher, when the message says (always, under strict signing).
    pub from: Option<PeerId>,
    /// Payload; on a topic of this network what was in the envelope, unpacked.
    pub data: bytes::Bytes,
    /// The publisher's sequence number, when the message says; on a topic of
    /// this network the envelope's.
    pub seqno: Option<u64>,
    /// Topic it was published on.
    pub topic: String,
}

/// Messages of one topic for one subscriber. Dropping it leaves the topic when
/// it was the last one.
#[derive(Debug)]
pub struct Subscription {
    pub(super) topic: String,
    pub(super) messages: Receiver<Arc<GossipMessage>>,
    pub(super) dropped: Arc<AtomicU64>,
}

impl Subscription {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The next message; `None` when the node has stopped.
    pub async fn next(&mut self) -> Option<Arc<GossipMessage>> {
        self.messages.recv().await.ok()
    }

    /// Messages lost since the start because this subscriber was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A peer and where it can be dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddrs {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses, at most [`MAX_ADDRS_PER_PEER`].
    pub addrs: Vec<Multiaddr>,
}

/// A provider record that its receivers were told of.
#[derive(Debug)]
pub struct Placed {
    /// Peers that were told.
    pub told: usize,
    outcome: oneshot::Receiver<Outcome>,
}

impl Placed {
    /// What they answered when they were asked whether they hold it.
    pub async fn outcome(self) -> Outcome {
        self.outcome.await.unwrap_or_default()
    }
}

/// Everyone's way to the node. See the module's documentation.
#[derive(Clone)]
pub struct Handle {
    pub(super) local: PeerId,
    pub(super) public_key: libp2p::identity::PublicKey,
    pub(super) commands: Sender<Command>,
    pub(super) streams: Control,
    pub(super) network_topics: NetworkTopics,
    pub(super) sealer: Sealer,
    pub(super) client: Client,
    /// Numbers that clients have.
    pub(super) clients: Arc<AtomicU64>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// A handle for another program, whose messages have turns of their own when
    /// more is published than the pace allows. Clones of one handle share its turns.
    pub fn for_client(&self) -> Handle {
        Handle {
            // From one on; zero is the handle that the node was started with.
            client: self.clients.fetch_add(1, Ordering::Relaxed) + 1,
            ..self.clone()
        }
    }

    /// This node's peer id.
    pub fn local_peer_id(&self) -> PeerId {
        self.local
    }

    /// This node's public key.
    pub fn public_key(&self) -> &libp2p::identity::PublicKey {
        &self.public_key
    }

    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(make(reply))
            .await
            .map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Listens on an address; the reply is the first concrete address (with the
    /// port that the kernel chose, when it was 0).
    ///
    /// # Errors
    /// [`Error::Listen`] when the address is in use, not ours or not supported.
    pub async fn listen(&self, address: Multiaddr) -> Result<Multiaddr, Error> {
        self.ask(|reply| Command::Listen { address, reply }).await
    }

    /// Connects to an address. A `/p2p/…` at its end must be who answers.
    ///
    /// # Errors
    /// [`Error::Dial`] with the reason for each address.
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, Error> {
        self.ask(|reply| Command::Connect {
            peer: None,
            addrs: vec![address],
            reply,
        })
        .await
    }

    /// Connects to a peer: through `addrs`, and through what is known of it
    /// (routing table, identify, DHT) when they do not suffice. Done at once when
    /// a connection stands.
    ///
    /// # Errors
    /// [`Error::Dial`] with the reason for each address.
    pub async fn connect(&self, peer: PeerId, addrs: Vec<Multiaddr>) -> Result<(), Error> {
        self.ask(|reply| Command::Connect {
            peer: Some(peer),
            addrs,
            reply,
        })
        .await
        .map(|_| ())
    }

    /// Waits until a peer that was connected to has said who it is, for some
    /// seconds at most: a peer that refuses this node closes the connection only
    /// after it was established.
    ///
    /// # Errors
    /// [`Error::Dial`] when the connection has ended.
    pub async fn identified(&self, peer: PeerId) -> Result<(), Error> {
        self.ask(|reply| Command::AwaitIdentified { peer, reply })
            .await
    }

    /// Connects to a peer wherever it is: through what is known of it, else
    /// through what the DHT says.
    ///
    /// # Errors
    /// [`Error::Dial`], which says what was tried.
    pub async fn connect_anyhow(&self, peer: PeerId) -> Result<(), Error> {
        let here = match self.connect(peer, Vec::new()).await {
            Err(Error::Dial { reason, .. }) => reason,
            other => return other,
        };
        let there = match self.look_up(peer).await {
            Err(reason) => reason,
            Ok(addrs) => match self.connect(peer, addrs).await {
                Err(Error::Dial { reason, .. }) => at_found_addresses(&reason),
                other => return other,
            },
        };
        Err(Error::Dial {
            target: peer.to_string(),
            reason: here_and_there(&here, &there),
        })
    }

    /// What the peers closest to a peer in the DHT know of its addresses; why there
    /// are none, as the second half of a sentence on a dial that failed.
    pub(super) async fn look_up(&self, peer: PeerId) -> Result<Vec<Multiaddr>, Unreachable> {
        let found = self.closest_peers(peer.to_bytes()).await;
        let found = found.map_err(|e| {
            let why = match e {
                Error::Dht { reason, .. } => reason,
                Error::NoDhtPeer { .. } => "no DHT peer is known yet".into(),
                other => other.to_string(),
            };
            Unreachable::new(
                Obstacle::Other,
                format!("then the DHT was asked in vain: {why}"),
            )
        })?;
        let asked = found.len();
        let named = found.into_iter().find(|p| p.peer == peer);
        let named = named.filter(|p| !p.addrs.is_empty());
        named.map(|found| found.addrs).ok_or_else(|| {
            Unreachable::new(
                Obstacle::NoAddress,
                format!(
                    "then the DHT was asked, and none of the {asked} peers closest to it \
                     knows an address of it; it may be offline, or in another network"
                ),
            )
        })
    }

    /// Ends the dial of [`Handle::connect`] when nobody waits for its end any more:
    /// the result of every call for this peer was dropped.
    pub(super) async fn abandon(&self, peer: PeerId) {
        // A node that has stopped dials nobody.
        let _ = self.commands.send(Command::Abandon { peer }).await;
    }

    /// Closes all connections with a peer; done when they are closed, or after some
    /// seconds when the peer does not let them.
    ///
    /// # Errors
    /// [`Error::NotConnected`].
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), Error> {
        self.ask(|reply| Command::Disconnect { peer, reply }).await
    }

    /// Tells the node addresses of a peer, for later dials.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn add_addrs(&self, peer: PeerId, addrs: Vec<Multiaddr>) -> Result<(), Error> {
        self.commands
            .send(Command::AddAddrs { peer, addrs })
            .await
            .map_err(|_| Error::Stopped)
    }

    /// Addresses known of a peer (connections, routing table), without asking the network.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn known_addrs(&self, peer: PeerId) -> Result<Vec<Multiaddr>, Error> {
        self.ask(|reply| Command::KnownAddrs { peer, reply }).await
    }

    /// The connected peers.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn peers(&self) -> Result<Vec<api::Peer>, Error> {
        self.ask(|reply| Command::Peers { reply }).await
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn status(&self) -> Result<Box<Status>, Error> {
        self.ask(|reply| Command::Status { reply }).await
    }

    /// Opens a stream to a peer, dialing it when needed, with the first of
    /// `protocols` that it speaks: a direct connection rather than a relayed one.
    /// Dropping the future cancels.
    ///
    /// # Errors
    /// [`Error::UnsupportedProtocol`] when it speaks none, [`Error::Dial`] when it
    /// cannot be reached, [`Error::OpenStream`] when a limit or the connection is
    /// in the way.
    pub async fn open_stream(
        &self,
        peer: PeerId,
        protocols: &[StreamProtocol],
    ) -> Result<(PeerStream, StreamProtocol), Error> {
        self.streams
            .open(peer, protocols)
            .await
            .map_err(|e| match e {
                OpenError::Stopped => Error::Stopped,
                OpenError::Dial(reason) => Error::Dial {
                    target: peer.to_string(),
                    reason,
                },
                OpenError::Unsupported => {
                    let names: Vec<&str> = protocols.iter().map(AsRef::as_ref).collect();
                    Error::UnsupportedProtocol {
                        peer,
                        protocols: names.join(", "),
                    }
                }
                other => Error::OpenStream {
                    peer,
                    reason: Unreachable::new(of_opening(&other), other.to_string()),
                },
            })
    }

    /// Takes inbound streams of a protocol until the result is dropped.
    ///
    /// # Errors
    /// [`Error::ProtocolTaken`] when somebody else on this node takes them,
    /// [`Error::TooManyProtocols`].
    pub fn accept(&self, protocol: StreamProtocol) -> Result<IncomingStreams, Error> {
        self.streams.accept(protocol.clone()).map_err(|e| match e {
            AcceptError::Taken => Error::ProtocolTaken(protocol),
            AcceptError::TooMany(limit) => Error::TooManyProtocols(limit),
            AcceptError::Stopped => Error::Stopped,
        })
    }

    /// Where a peer can be dialed: what is known here, else what the DHT says.
    ///
    /// # Errors
    /// [`Error::Dht`] when nobody knows.
    pub async fn find_peer(&self, peer: PeerId) -> Result<PeerAddrs, Error> {
        let known = self.known_addrs(peer).await?;
        if !known.is_empty() {
            return Ok(PeerAddrs { peer, addrs: known });
        }
        let found = self.closest_peers(peer.to_bytes()).await?;
        found
            .into_iter()
            .find(|p| p.peer == peer && !p.addrs.is_empty())
            .ok_or_else(|| Error::Dht {
                kind: "find-peer",
                key: peer.to_string(),
                reason:
                    "no peer asked knows an address of it; it may be offline, or in another network"
                        .into(),
            })
    }

    /// The peers closest to a key in the DHT, nearest first.
    ///
    /// # Errors
    /// [`Error::Dht`] when nobody answered in time.
    pub async fn closest_peers(&self, key: Vec<u8>) -> Result<Vec<PeerAddrs>, Error> {
        self.ask(|reply| Command::Dht(DhtCommand::ClosestPeers { key, reply }))
            .await
    }

    /// Providers of a key as they are found; ends when the query does. Dropping
    /// the receiver ends the query. Each peer comes once.
    ///
    /// # Errors
    /// [`Error::Dht`] when the node drains or runs too many queries already.
    pub async fn find_providers(&self, key: Vec<u8>) -> Result<Receiver<PeerId>, Error> {
        let (results, receiver) = async_std::channel::bounded(QUERY_RESULTS);
        self.ask(|reply| {
            Command::Dht(DhtCommand::FindProviders {
                key,
                results,
                reply,
            })
        })
        .await?;
        Ok(receiver)
    }

    /// Announces this node as a provider of a key; done when the closest peers
    /// have been told, which are then the number of them. They forget after 48
    /// hours (24 in older nodes): whoever provides for longer calls again.
    ///
    /// # Errors
    /// [`Error::NoDhtPeer`]; [`Error::Dht`] when nobody could be told.
    pub async fn provide(&self, key: Vec<u8>) -> Result<(), Error> {
        self.place(key, false, false).await.map(drop)
    }

    /// As [`Self::provide`], of content in this host's store; with `verify` the
    /// peers that were told are asked afterwards whether they hold the record.
    ///
    /// # Errors
    /// As [`Self::provide`].
    pub async fn announce(&self, key: Vec<u8>, verify: bool) -> Result<Placed, Error> {
        self.place(key, true, verify).await
    }

    async fn place(&self, key: Vec<u8>, of_content: bool, verify: bool) -> Result<Placed, Error> {
        let text = super::event_loop::key_text(&key);
        let (outcome, outcome_answer) = oneshot::channel();
        let told = self
            .ask(|told| {
                Command::Dht(DhtCommand::Provide {
                    key,
                    of_content,
                    verify,
                    replies: Replies { told, outcome },
                })
            })
            .await?;
        if told == 0 {
            return Err(Error::Dht {
                kind: "provide",
                key: text,
                reason: "none of the closest peers could be told".into(),
            });
        }
        Ok(Placed {
            told,
            outcome: outcome_answer,
        })
    }

    /// Says that this host has the content of these keys, so that it answers so
    /// when it is asked. Nobody else is told.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn keep_content(&self, keys: Vec<Vec<u8>>) -> Result<(), Error> {
        self.commands
            .send(Command::Dht(DhtCommand::KeepContent { keys }))
            .await
            .map_err(|_| Error::Stopped)
    }

    /// Tells when there is a peer in the DHT's routing table, and each time that
    /// another one enters it; several that are not taken at once count as one.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(super) async fn watch_table(&self) -> Result<mpsc::Receiver<()>, Error> {
        let (entered, receiver) = mpsc::channel(0);
        self.commands
            .send(Command::Dht(DhtCommand::WatchTable { entered }))
            .await
            .map_err(|_| Error::Stopped)?;
        Ok(receiver)
    }

    /// Announces the key no more.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn stop_providing(&self, key: Vec<u8>) -> Result<(), Error> {
        self.commands
            .send(Command::Dht(DhtCommand::StopProviding { key }))
            .await
            .map_err(|_| Error::Stopped)
    }

    /// The first value found for a key.
    ///
    /// # Errors
    /// [`Error::Dht`] when there is none.
    pub async fn get_value(&self, key: Vec<u8>) -> Result<Vec<u8>, Error> {
        let (results, receiver) = async_std::channel::bounded(1);
        self.ask(|end| {
            Command::Dht(DhtCommand::GetValue {
                key,
                results,
                first_only: true,
                end,
            })
        })
        .await?;
        receiver.recv().await.map_err(|_| Error::Stopped)
    }

    /// Every distinct value found for a key, as found; the sender's end tells how
    /// the query ended.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn search_value(
        &self,
        key: Vec<u8>,
    ) -> Result<(Receiver<Vec<u8>>, oneshot::Receiver<Result<(), Error>>), Error> {
        let (results, receiver) = async_std::channel::bounded(QUERY_RESULTS);
        let (end, ended) = oneshot::channel();
        self.commands
            .send(Command::Dht(DhtCommand::GetValue {
                key,
                results,
                first_only: false,
                end,
            }))
            .await
            .map_err(|_| Error::Stopped)?;
        Ok((receiver, ended))
    }

    /// Stores a value in the DHT; this node republishes it until it expires.
    ///
    /// # Errors
    /// [`Error::Dht`] when too few peers took it.
    pub async fn put_value(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error> {
        self.ask(|reply| Command::Dht(DhtCommand::PutValue { key, value, reply }))
            .await
    }

    /// Joins a topic, or joins in when this node is there already.
    ///
    /// # Errors
    /// [`Error::Gossip`] when the topic's name is too long or too many are joined.
    pub async fn subscribe(&self, topic: String) -> Result<Subscription, Error> {
        self.ask(|reply| Command::Subscribe { topic, reply }).await
    }

    /// Publishes to a topic, joined or not. On a topic of this network
    /// (`/<P2P_NETWORK>/…`) the message is packed here first, in the caller's task,
    /// and gets its sequence number and a signature when its turn has come.
    ///
    /// Answers when the message has been handed on, which takes its time when more
    /// is published than peers take of this node: so whoever waits for the answer
    /// before publishing the next message loses none, and the messages go in order.
    /// Dropping the future takes a message that still waits out of the line.
    ///
    /// # Errors
    /// [`Error::Gossip`] when nobody listens, the message is too large, or too many
    /// wait already.
    pub async fn publish(&self, topic: String, data: Vec<u8>) -> Result<Published, Error> {
        let content = if self.network_topics.contains(&topic) {
            let packed = self.sealer.pack(data.into()).map_err(|e| Error::Gossip {
                what: "publish",
                topic: topic.clone(),
                reason: e.to_string(),
            })?;
            let envelope = self.sealer.envelope_size(&packed);
            Content::Packed { packed, envelope }
        } else {
            Content::Plain(data)
        };
        self.ask(|reply| {
            Command::Publish(Publish {
                topic,
                content,
                client: self.client,
                reply,
            })
        })
        .await
    }

    /// Topics that this node has joined.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        self.ask(|reply| Command::Topics { reply }).await
    }

    /// Connected peers that subscribe to a topic, or to any.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn topic_peers(&self, topic: Option<String>) -> Result<Vec<PeerId>, Error> {
        self.ask(|reply| Command::TopicPeers { topic, reply }).await
    }

    /// The routing table, to be saved.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn routing_table(&self) -> Result<Vec<PeerAddrs>, Error> {
        self.ask(|reply| Command::RoutingTable { reply }).await
    }

    /// Changes what can change while the node runs, all of it in one turn of the
    /// loop. Connections that the new rules forbid are closed; those over a new
    /// limit stay.
    ///
    /// # Errors
    /// [`Error::Draining`], [`Error::Stopped`].
    pub async fn adjust(&self, changes: super::Changes) -> Result<(), Error> {
        let changes = Box::new(changes);
        self.ask(|reply| Command::Adjust { changes, reply }).await
    }

    /// Begins to drain: no new connections, gossip leaves its meshes; answers
    /// when DHT operations in progress and relayed connections have ended. The loop then stops when the
    /// daemon says so by dropping its [`super::Node`].
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn drain(&self) -> Result<(), Error> {
        self.ask(|reply| Command::Drain { reply }).await
    }
}
