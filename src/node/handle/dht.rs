//! What the rest of the program can ask of the DHT.

use async_std::channel::Receiver;
use futures::channel::{mpsc, oneshot};
use libp2p::{Multiaddr, PeerId};

use super::Handle;
use crate::content::fetch::{Obstacle, Unreachable};
use crate::dht::Outcome;
use crate::node::command::{Command, DhtCommand, QUERY_RESULTS};
use crate::node::dht_intake::Replies;
use crate::node::error::Error;
use crate::node::key_text::key_text;
use crate::node::peer_addrs::PeerAddrs;

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

impl Handle {
    /// What the peers closest to a peer in the DHT know of its addresses; why there
    /// are none, as the second half of a sentence on a dial that failed.
    pub(in crate::node) async fn look_up(
        &self,
        peer: PeerId,
    ) -> Result<Vec<Multiaddr>, Unreachable> {
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
        let text = key_text(&key);
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
    pub(in crate::node) async fn watch_table(&self) -> Result<mpsc::Receiver<()>, Error> {
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

    /// The routing table, to be saved.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn routing_table(&self) -> Result<Vec<PeerAddrs>, Error> {
        self.ask(|reply| Command::RoutingTable { reply }).await
    }
}
