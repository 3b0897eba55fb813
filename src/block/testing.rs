//! Code that the tests of this module share.

mod count;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::SystemTime;

use async_std::os::unix::net::UnixStream;
use bytes::Bytes;
use cid::Cid;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use libp2p::PeerId;
use libp2p::identity::Keypair;

use super::content::{Announce, Content, ContentOptions, ImportOptions};
use super::exchange::pb::message::Block;
use super::fetch::{Event, Fetch, FetchError, Summary};
use super::network::{Confirmation, Fault, Lead, Network, OpenError, ProvideError, Provided};
use crate::block::Metrics;
use crate::content::fetch::{Obstacle, Unreachable};
use crate::content::testing::content;
use crate::message::provenance::Provenance;
use crate::message::signer::Signer;
use crate::store::{self, Options, Store};
use crate::telemetry::Register as _;
use crate::text::unix_time::unix_millis;
pub(crate) use count::Count;
use count::Dropped;

type Handler = Arc<dyn Fn(UnixStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// A network of pipes, with the peers that a search finds and what happens with a stream
/// to them.
#[derive(Clone, Default)]
pub(crate) struct Net {
    pub(crate) shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
pub(crate) struct Shared {
    handlers: HashMap<PeerId, Handler>,
    /// The results of each search; the last one is repeated.
    pub(crate) searches: Vec<Vec<PeerId>>,
    /// The peers that are connected, whether or not they have anything.
    pub(crate) connected: Vec<PeerId>,
    pub(crate) searched: usize,
    /// The peers whose dials never end.
    hanging: HashSet<PeerId>,
    /// The errors of peers that are not reached for another reason than that there is no
    /// way to them.
    pub(crate) refusing: HashMap<PeerId, OpenError>,
    pub(crate) opened: HashMap<PeerId, usize>,
    /// How often the addresses of each peer were looked for.
    pub(crate) looked_up: HashMap<PeerId, usize>,
    /// Counts reports of what peers did wrong.
    pub(crate) reported: Count,
    /// Counts openings that have ended.
    pub(crate) dropped: Count,
    /// The number of good blocks of each peer.
    pub(crate) delivered: HashMap<PeerId, u64>,
    pub(crate) faults: Vec<(PeerId, Fault)>,
    pub(crate) provided: Vec<Cid>,
    pub(crate) provide_fails: bool,
    /// Whether no DHT peer is known.
    pub(crate) alone: bool,
    /// The channels on which to report that a DHT peer has entered the routing table.
    pub(crate) entered: Vec<mpsc::UnboundedSender<()>>,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Net")
    }
}

impl Net {
    /// Adds a peer that the first search finds, and that calls `handler` with its
    /// streams.
    pub(crate) fn peer<F, T>(&self, handler: F) -> PeerId
    where
        F: Fn(UnixStream) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let peer = self.hidden_peer(handler);
        let mut shared = self.shared.lock().unwrap();
        match shared.searches.first_mut() {
            Some(first) => first.push(peer),
            None => shared.searches.push(vec![peer]),
        }
        peer
    }

    /// Adds a peer that no search finds until a test says so.
    pub(crate) fn hidden_peer<F, T>(&self, handler: F) -> PeerId
    where
        F: Fn(UnixStream) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let peer = PeerId::random();
        let handler: Handler = Arc::new(move |stream| handler(stream).boxed());
        self.shared.lock().unwrap().handlers.insert(peer, handler);
        peer
    }

    /// Adds a peer that cannot be reached: a dial to it never ends.
    pub(crate) fn unreachable_peer(&self) -> PeerId {
        let peer = PeerId::random();
        self.shared.lock().unwrap().hanging.insert(peer);
        peer
    }

    /// Adds a peer that serves the content of `node`, and that no search finds until a
    /// test says so.
    pub(crate) fn hidden_server(&self, node: &Node) -> PeerId {
        let content = node.content.clone();
        self.hidden_peer(move |stream| {
            let content = content.clone();
            async move { drop(content.serve(PeerId::random(), stream).await) }
        })
    }

    /// Adds a peer that serves the content of `node`.
    pub(crate) fn serve(&self, node: &Node) -> PeerId {
        let content = node.content.clone();
        self.peer(move |stream| {
            let content = content.clone();
            async move { drop(content.serve(PeerId::random(), stream).await) }
        })
    }

    pub(crate) fn faults(&self) -> Vec<(PeerId, Fault)> {
        self.shared.lock().unwrap().faults.clone()
    }

    pub(crate) fn opened(&self, peer: &PeerId) -> usize {
        self.shared
            .lock()
            .unwrap()
            .opened
            .get(peer)
            .copied()
            .unwrap_or(0)
    }
}

impl Network for Net {
    type Stream = UnixStream;

    fn find_providers(&self, _: &Cid) -> BoxStream<'static, Lead> {
        let mut shared = self.shared.lock().unwrap();
        let at = shared.searched.min(shared.searches.len().saturating_sub(1));
        shared.searched += 1;
        let found = shared.searches.get(at).cloned().unwrap_or_default();
        let connected = shared.connected.clone().into_iter().map(Lead::Connected);
        let found = found.into_iter().map(Lead::Named);
        futures::stream::iter(connected.chain(found)).boxed()
    }

    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<UnixStream, OpenError>> {
        *self
            .shared
            .lock()
            .unwrap()
            .looked_up
            .entry(peer)
            .or_default() += 1;
        self.open_again(peer)
    }

    fn open_again(&self, peer: PeerId) -> BoxFuture<'static, Result<UnixStream, OpenError>> {
        let mut shared = self.shared.lock().unwrap();
        *shared.opened.entry(peer).or_default() += 1;
        let handler = shared.handlers.get(&peer).cloned();
        let hangs = shared.hanging.contains(&peer);
        let dropped = Dropped(shared.dropped.clone());
        let refuses = shared.refusing.get(&peer).cloned();
        async move {
            if hangs {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            }
            if let Some(error) = refuses {
                return Err(error);
            }
            let handler = handler.ok_or(OpenError::Unreachable(Unreachable::new(
                Obstacle::Other,
                "no route",
            )))?;
            let (ours, theirs) = UnixStream::pair().unwrap();
            async_std::task::spawn(handler(theirs));
            Ok(ours)
        }
        .boxed()
    }

    fn report(&self, peer: PeerId, fault: Fault) {
        let mut shared = self.shared.lock().unwrap();
        shared.faults.push((peer, fault));
        shared.reported.add();
    }

    fn delivered(&self, peer: &PeerId) {
        let mut shared = self.shared.lock().unwrap();
        *shared.delivered.entry(*peer).or_default() += 1;
    }

    fn provide(&self, cid: &Cid, _: bool) -> BoxFuture<'static, Result<Provided, ProvideError>> {
        let mut shared = self.shared.lock().unwrap();
        shared.provided.push(*cid);
        let error = ProvideError {
            cid: *cid,
            alone: shared.alone,
            reason: "nobody there".into(),
        };
        let fails = shared.provide_fails || shared.alone;
        let confirmation = Confirmation {
            holders: 1,
            enough: true,
        };
        async move {
            match fails {
                true => Err(error),
                false => Ok(Provided {
                    confirmation: futures::future::ready(confirmation).boxed(),
                }),
            }
        }
        .boxed()
    }

    fn entered(&self) -> BoxStream<'static, ()> {
        let (sender, receiver) = mpsc::unbounded();
        self.shared.lock().unwrap().entered.push(sender);
        receiver.boxed()
    }

    fn stop_providing(&self, cid: &Cid) -> BoxFuture<'static, ()> {
        self.shared.lock().unwrap().provided.retain(|c| c != cid);
        async {}.boxed()
    }
}

/// A node: a store in its own folder, and content over a network of pipes.
pub(crate) struct Node {
    pub(crate) content: Content<Net>,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) net: Net,
    pub(crate) dir: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        Node::at(SystemTime::now)
    }

    /// Creates a node with another wall clock.
    pub(crate) fn at(now: fn() -> SystemTime) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new().unwrap();
        let limits = Options {
            max_bytes: 1 << 50,
            max_block_bytes: 2 << 20,
        };
        let store = Store::open(dir.path(), limits, store::Metrics::new().unwrap()).unwrap();
        let net = Net::default();
        let options = ContentOptions::default();
        let identity = Keypair::generate_ed25519();
        let content = Content::with_clock(
            store.clone(),
            net.clone(),
            identity,
            metrics.clone(),
            options,
            now,
        );
        Node {
            content,
            store,
            metrics,
            net,
            dir,
        }
    }

    /// Creates a node that has put `size` bytes of the vectors' content.
    pub(crate) async fn with(size: usize) -> (Self, Cid) {
        let node = Node::new();
        let options = ImportOptions {
            announce: Announce::No,
            ..ImportOptions::default()
        };
        let data = content(0, size);
        let imported = node.content.import(&data[..], options).await.unwrap();
        assert_eq!(imported.size, size as u64);
        (node, imported.cid)
    }

    pub(crate) async fn get(&self, cid: &Cid) -> Result<(Vec<u8>, Summary), FetchError> {
        read(
            self.content
                .fetch(cid, self.content.fetch_options())
                .unwrap(),
        )
        .await
    }

    pub(crate) fn put_blocks(&self, blocks: &[(Cid, Bytes)]) {
        let mut batch = self.store.batch().unwrap();
        for (cid, data) in blocks {
            let block = publish(cid, data);
            let said = provenance(&block);
            batch.put_published(cid, data, said).unwrap();
        }
        batch.commit(None).unwrap();
    }
}

/// Returns the block as an honest publisher sends it, put now for an hour.
pub(crate) fn publish(cid: &Cid, data: &Bytes) -> Block {
    publish_at(cid, data, SystemTime::now(), 3600)
}

/// Returns the block as sent by a publisher that says that it was put at `at`.
pub(crate) fn publish_at(cid: &Cid, data: &Bytes, at: SystemTime, ttl: u32) -> Block {
    static PUBLISHER: LazyLock<Signer> = LazyLock::new(|| Signer::new(Keypair::generate_ed25519()));
    let hash = cid.hash().to_bytes();
    let said = PUBLISHER.sign(&hash, unix_millis(at), ttl).unwrap();
    Block {
        hash: hash.into(),
        data: data.clone(),
        timestamp: said.timestamp,
        ttl,
        version: said.version,
        signature: said.signature,
        key: said.key,
        compression: 0,
    }
}

pub(crate) fn provenance(block: &Block) -> Provenance {
    Provenance {
        timestamp: block.timestamp,
        ttl: block.ttl,
        version: block.version,
        key: block.key.clone(),
        signature: block.signature.clone(),
    }
}

/// Reads a fetch to its end. If it hangs, the test fails by its deadline.
pub(crate) async fn read(mut fetch: Fetch) -> Result<(Vec<u8>, Summary), FetchError> {
    let mut data = Vec::new();
    let mut size = None;
    let deadline = std::time::Duration::from_secs(120);
    loop {
        let event = async_std::future::timeout(deadline, fetch.next())
            .await
            .unwrap()
            .unwrap()?;
        match event {
            Event::Size(total) => size = Some(total),
            Event::Data(bytes) => {
                assert!(size.is_some(), "data before the size");
                data.extend(bytes);
            }
            Event::Progress(_) => {}
            Event::Done(summary) => {
                assert_eq!(size, Some(summary.size));
                assert!(fetch.next().await.is_none());
                return Ok((data, summary));
            }
        }
    }
}
