//! The handle: everything that the rest of the program can ask of the node.
//!
//! A handle is cheap to clone. Each call sends one command through a bounded
//! channel to the event loop and waits for its one reply; a caller that is
//! faster than the loop waits, and a caller that goes away cancels what it
//! asked for. When the node has stopped, every call answers [`Error::Stopped`].
//!
//! | file | what is asked |
//! |---|---|
//! | `dht` | records, providers and routes |
//! | `gossip` | to subscribe and to publish |
//! | `streams` | streams to peers and from them |
//! | this one | connections, status, reload and drain |

mod dht;
mod gossip;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_std::channel::Sender;
use futures::channel::oneshot;
use libp2p::{Multiaddr, PeerId};

pub use dht::Placed;

use super::command::Command;
use super::error::{Error, at_found_addresses, here_and_there};
use super::gossip::signed::Sealer;
use super::options::Changes;
use super::reply::Reply;
use super::streams::Control;
use crate::api::{self, Status};
pub use crate::dht::MAX_ADDRS_PER_PEER;
use crate::gossip::NetworkTopics;
use crate::gossip::line::Client;

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

    /// Changes what can change while the node runs, all of it in one turn of the
    /// loop. Connections that the new rules forbid are closed; those over a new
    /// limit stay.
    ///
    /// # Errors
    /// [`Error::Draining`], [`Error::Stopped`].
    pub async fn adjust(&self, changes: Changes) -> Result<(), Error> {
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
