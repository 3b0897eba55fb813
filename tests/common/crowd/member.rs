//! One daemon of a crowd: it can be killed, started again, and asked.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use libp2p::PeerId;
use p2p_node::api::Status;
use p2p_node::control::Client;
use p2p_node::control::client::{Error, Event, PutOptions};

use crate::common::{Daemon, Start, eventually_async as eventually, own_address};

/// A daemon with the folder and the variables that it starts from.
pub(crate) struct Member {
    dir: PathBuf,
    variables: Vec<(String, String)>,
    namespace: Option<String>,
    daemon: Option<Daemon>,
    peer: Option<PeerId>,
}

impl Member {
    /// One that does not run yet.
    pub(crate) fn new(dir: PathBuf, variables: &[(&str, &str)]) -> Member {
        let variables = variables.iter();
        Member {
            dir,
            variables: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            namespace: None,
            daemon: None,
            peer: None,
        }
    }

    /// One at an address of its own on loopback, which it keeps when it is started
    /// again: others find it where they remember it.
    pub(crate) fn on_loopback(dir: PathBuf, variables: &[(&str, &str)]) -> Member {
        let address = own_address();
        // On loopback nobody can find out that it is reachable from elsewhere, so
        // it would only be a client of the DHT.
        let mut all = vec![
            ("P2P_LISTEN_ADDRS", address.as_str()),
            ("P2P_DHT_MODE", "server"),
        ];
        all.extend(variables);
        Member::new(dir, &all)
    }

    /// The same, on a host of its own.
    pub(crate) fn on_host(mut self, namespace: &str) -> Member {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&mut self) {
        let variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.daemon = Some(
            Start::new(&self.dir)
                .with(&variables)
                .on_host(self.namespace.as_deref())
                .spawn(),
        );
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&mut self) {
        eventually("a daemon of the crowd is ready", async || {
            if let Some(status) = self.daemon.as_mut().unwrap().ended() {
                panic!("a daemon ended at its start ({status}):\n{}", self.log());
            }
            let mut client = Client::connect(self.daemon().socket()).await.ok()?;
            client.health().await.ok()?.ready.then_some(())
        })
        .await;
        self.peer = Some(self.client().await.identify().await.unwrap().id);
    }

    /// Waits until there is a peer in its routing table.
    pub(crate) async fn knows_somebody(&self) {
        eventually("a daemon of the crowd knows somebody", async || {
            (self.status().await.dht.table_size > 0).then_some(())
        })
        .await;
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
    }

    /// Waits for its end after a signal; the exit code.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        let daemon = self.daemon.as_mut().expect("it runs");
        let ended = async || daemon.ended();
        eventually("a daemon of the crowd ends", ended).await.code()
    }

    /// Whether it has been started and not killed.
    pub(crate) fn runs(&self) -> bool {
        self.daemon.is_some()
    }

    /// Its process.
    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("this daemon was killed")
    }

    /// Its peer id, which is known once it has been ready.
    pub(crate) fn peer(&self) -> PeerId {
        self.peer.expect("this daemon was never ready")
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// A new connection to its control socket.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.daemon().socket()).await.unwrap()
    }

    pub(crate) async fn status(&self) -> Status {
        self.client().await.status().await.unwrap()
    }

    /// An address of it, with its peer id.
    pub(crate) async fn address(&self) -> String {
        let info = self.client().await.identify().await.unwrap();
        let address = info.addrs.first().expect("it listens").to_string();
        let suffix = format!("/p2p/{}", info.id);
        match address.ends_with(&suffix) {
            true => address,
            false => address + &suffix,
        }
    }

    /// Whether it is connected with `peer`.
    pub(crate) async fn is_connected_with(&self, peer: PeerId) -> bool {
        let peers = self.client().await.list_peers().await.unwrap();
        peers.iter().any(|p| p.id == peer)
    }

    /// Stores `bytes` and announces them.
    pub(crate) async fn put(&self, bytes: &[u8]) -> Result<Cid, Error> {
        let mut client = Client::connect(self.daemon().socket()).await?;
        let entry = client.put(bytes, PutOptions::default(), |_| {}).await?;
        Ok(entry.cid)
    }

    /// Fetches a file.
    pub(crate) async fn get(&self, cid: &Cid) -> Result<Vec<u8>, Error> {
        let mut client = Client::connect(self.daemon().socket()).await?;
        let mut download = client.get(cid, None).await?;
        let mut bytes = Vec::new();
        while let Some(event) = download.next().await? {
            if let Event::Data(data) = event {
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes)
    }

    /// Publishes a message.
    pub(crate) async fn publish(&self, topic: &str, word: &str) -> Result<(), Error> {
        let mut client = Client::connect(self.daemon().socket()).await?;
        client
            .publish(topic, Bytes::copy_from_slice(word.as_bytes()))
            .await
            .map(drop)
    }

    /// Connects it with another.
    pub(crate) async fn connect(&self, other: &Member) {
        let address = other.address().await.parse().unwrap();
        let mut client = self.client().await;
        client
            .connect_peer(
                Some(other.peer()),
                &[address],
                Some(Duration::from_secs(60)),
            )
            .await
            .unwrap();
    }
}
