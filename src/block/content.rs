//! Content: the one door to files for the daemon and the control socket.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_std::task::spawn_blocking;
use cid::Cid;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::identity::Keypair;

use super::announcing::Announcer;
use super::exchange::serve::{Guest, Limits, ServeError, Served, Server, Source, Stored};
use super::fetch::{Fetch, FetchOptions, Setting, Sharing};
use super::import::{self, ImportError};
use super::network::{Fault, Network, ProvideError};
use super::stat::{self, Walk};
use crate::block::Metrics;
use crate::content::address::{self, AddressError};
use crate::content::fetch::memory::Budget;
use crate::content::schedule::Backlog;
use crate::message::provenance::{Provenance, SignError, Signer, is_clock_set, ttl_seconds};
use crate::store::{self, Lifetime, Removed, Root, Store};
use crate::text::duration::millis;
use crate::text::unix_time::unix_millis;

/// How long an import waits until peers are told of it. A healthy DHT takes a second or
/// two; past dead peers it takes tens of seconds, goes on in the background, and the content is
/// safe already.
const ANNOUNCE_WAIT: Duration = Duration::from_secs(3);

/// How content is treated, unless a call says otherwise.
#[derive(Debug, Clone)]
pub struct ContentOptions {
    /// Largest block that is taken from a peer, in bytes (`P2P_MAX_BLOCK_BYTES`).
    pub max_block: usize,
    /// Time to live of what is put (`P2P_BLOCK_TTL`). What is fetched has its
    /// publisher's.
    pub ttl: Duration,
    /// Every root is announced again after at most this long. Less than half of
    /// the time after which the DHT forgets a provider (48 h by the
    /// specification of libp2p, 24 h in older nodes).
    pub reprovide: Duration,
    /// What the serving side allows.
    pub serve: Limits,
}

impl Default for ContentOptions {
    fn default() -> Self {
        ContentOptions {
            max_block: 2 << 20,
            ttl: Duration::from_secs(24 * 3600),
            reprovide: Duration::from_secs(10 * 3600),
            serve: Limits::default(),
        }
    }
}

/// Whether an import waits for the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announce {
    /// Announce soon, in the background (by [`Content::run`]), until it succeeds.
    #[default]
    Background,
    /// Return when peers are told of it, when that failed once, or after three
    /// seconds; it goes on in the background then.
    Wait,
    /// Not now; the next round of [`Content::run`] finds it.
    No,
}

/// How to keep what is imported.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Time to live; `None` is the default of [`ContentOptions`].
    pub ttl: Option<Duration>,
    /// Never evict it for space. The default for what this host puts.
    pub pin: bool,
    /// Name for people.
    pub name: Option<String>,
    /// Whether to wait for the DHT.
    pub announce: Announce,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            ttl: None,
            pin: true,
            name: None,
            announce: Announce::Background,
        }
    }
}

/// What was imported. It is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its address.
    pub cid: Cid,
    /// Bytes of content.
    pub size: u64,
    /// Leaves and inner nodes, each counted once.
    pub blocks: u64,
    /// Why the announcement that was waited for failed.
    pub announce_error: Option<ProvideError>,
    /// Roots of this host of which no peer was told yet; 0 when this one is told.
    pub announcing: usize,
}

/// What is here of some content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The content.
    pub cid: Cid,
    /// Bytes of the whole content; `None` while its root block is not here.
    pub size: Option<u64>,
    /// Blocks of the tree that are known, each counted once. All of them when
    /// `complete`.
    pub blocks: u64,
    /// Those of them that are here.
    pub local_blocks: u64,
    /// Every block is here.
    pub complete: bool,
    /// The store's entry, when it is kept as content and not only as cache.
    pub root: Option<Root>,
    /// What its publisher says of its root block; absent when the store has it
    /// from a time before blocks had a publisher.
    pub provenance: Option<Provenance>,
}

/// Why content could not be looked at or removed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The CID is not one of a file.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is nothing to remove.
    #[error("{0} is not in the store; `p2p-node ls` lists what is")]
    NotHere(Cid),
    /// The content is here and not a file.
    #[error("cannot read {cid}: {reason}")]
    Unreadable {
        /// The content.
        cid: Cid,
        /// Why, one line.
        reason: String,
    },
    /// What was to be imported is no file.
    #[error(
        "cannot import {path}: it is a directory; put its files one by one, or an archive of it"
    )]
    Directory {
        /// What was given.
        path: String,
    },
}

/// The door to content. Cheap to clone.
#[derive(Debug)]
pub struct Content<N> {
    inner: Arc<Inner<N>>,
}

impl<N> Clone for Content<N> {
    fn clone(&self) -> Self {
        Content {
            inner: Arc::clone(&self.inner),
        }
    }
}

#[derive(Debug)]
struct Inner<N> {
    setting: Setting<N>,
    signer: Signer,
    options: ContentOptions,
    /// Time to live in force, in milliseconds; `options` had it at the start.
    ttl: AtomicU64,
    server: Server<StoredBlocks>,
    announcer: Announcer<N>,
}

impl<N: Network> Content<N> {
    /// Content in `store`, shared over `network`; what is put is signed with
    /// `identity`. Nothing is announced until [`Content::run`] runs.
    pub fn new(
        store: Store,
        network: N,
        identity: Keypair,
        metrics: Arc<Metrics>,
        options: ContentOptions,
    ) -> Self {
        Self::with_clock(store, network, identity, metrics, options, SystemTime::now)
    }

    /// As [`Content::new`], by another wall clock.
    pub(crate) fn with_clock(
        store: Store,
        network: N,
        identity: Keypair,
        metrics: Arc<Metrics>,
        options: ContentOptions,
        now: fn() -> SystemTime,
    ) -> Self {
        let signer = Signer::new(identity);
        let source = StoredBlocks {
            store: store.clone(),
            signer: signer.clone(),
            now,
        };
        let pacing = network.clone();
        let server = Server::new(source, options.serve, Arc::clone(&metrics))
            .paced(move |peer, requests| pacing.pace(peer, requests));
        let announcer = Announcer::new(
            network.clone(),
            store.clone(),
            Arc::clone(&metrics),
            options.reprovide,
            now,
            Instant::now(),
        );
        let inner = Inner {
            announcer,
            setting: Setting {
                network,
                store,
                metrics,
                budget: Budget::default(),
                sharing: Sharing::default(),
                now,
            },
            signer,
            ttl: AtomicU64::new(millis(options.ttl)),
            options,
            server,
        };
        Content {
            inner: Arc::new(inner),
        }
    }

    /// Time to live of what is put from now on, unless a call says otherwise.
    pub fn set_ttl(&self, ttl: Duration) {
        self.inner.ttl.store(millis(ttl), Ordering::Relaxed);
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.inner.ttl.load(Ordering::Relaxed))
    }

    /// Reads `content` to its end and keeps it. Durable when this returns.
    ///
    /// # Errors
    /// When it cannot be read or stored; nothing of it is kept then.
    pub async fn import<R>(
        &self,
        content: R,
        options: ImportOptions,
    ) -> Result<Imported, ImportError>
    where
        R: AsyncRead + Unpin,
    {
        let put_at = (self.inner.setting.now)();
        let ttl = options.ttl.unwrap_or_else(|| self.ttl());
        let (pinned, name) = (options.pin, options.name);
        let sign = sign_all(self.inner.signer.clone(), put_at, ttl);
        let tree = import::import(&self.inner.setting.store, content, sign, move |tree| Root {
            cid: tree.root.cid,
            size: tree.root.size,
            blocks: tree.blocks,
            pinned,
            put_at,
            expires_at: put_at.checked_add(ttl),
            name,
        })
        .await?;
        let cid = tree.root.cid;
        let announcer = &self.inner.announcer;
        let mut announce_error = None;
        let announcing = match options.announce {
            Announce::No => 0,
            Announce::Background => {
                announcer.announce(&cid, Instant::now());
                announcer.untold()
            }
            Announce::Wait => {
                let told = announcer.announce_now(&cid, Instant::now());
                match async_std::future::timeout(ANNOUNCE_WAIT, told).await {
                    Ok(Ok(())) => 0,
                    Ok(Err(e)) => {
                        announce_error = Some(e);
                        announcer.untold()
                    }
                    // It waits among others, or for the first DHT peer.
                    Err(_) => {
                        announce_error = announcer.alone(&cid);
                        announcer.untold()
                    }
                }
            }
        };
        Ok(Imported {
            cid,
            size: tree.root.size,
            blocks: tree.blocks,
            announce_error,
            announcing,
        })
    }

    /// Fetches the content of `cid`, from the store and from whoever has the
    /// rest. When it is complete it is kept (unless the options say otherwise)
    /// and announced. Fetches of the same content at the same time ask the network
    /// once.
    ///
    /// # Errors
    /// When the CID is not one of a file that this node can verify. Everything
    /// else is an item of the stream.
    pub fn fetch(&self, cid: &Cid, options: FetchOptions) -> Result<Fetch, AddressError> {
        let cid = address::canonical(cid)?;
        let content = self.clone();
        Ok(Fetch::start(
            self.inner.setting.clone(),
            cid,
            options,
            move |cid| {
                content.announce(*cid);
            },
        ))
    }

    /// Options for a fetch with this node's limits and times.
    pub fn fetch_options(&self) -> FetchOptions {
        FetchOptions {
            max_block: self.inner.options.max_block,
            ..FetchOptions::default()
        }
    }

    /// What is kept here, in the order in which it came.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn roots(&self) -> Result<Vec<Root>, ContentError> {
        let store = self.inner.setting.store.clone();
        Ok(spawn_blocking(move || store.roots()).await?)
    }

    /// What is here of `cid`, also when it is only cache.
    ///
    /// # Errors
    /// When the CID is not one of a file, or the store cannot be read.
    pub async fn stat(&self, cid: &Cid) -> Result<Stat, ContentError> {
        let cid = address::canonical(cid)?;
        let store = self.inner.setting.store.clone();
        spawn_blocking(move || {
            let Walk {
                size,
                blocks,
                local,
            } = stat::walk(&store, &cid)?;
            let root = store.root(&cid)?;
            let provenance = store.provenance(&cid)?;
            let complete = blocks == local;
            Ok(Stat {
                cid,
                size,
                blocks,
                local_blocks: local,
                complete,
                root,
                provenance,
            })
        })
        .await
    }

    /// Removes content and the blocks that nothing else here holds. The DHT
    /// forgets by itself that it was here.
    ///
    /// # Errors
    /// [`ContentError::NotHere`], or when the store cannot be written.
    pub async fn remove(&self, cid: &Cid) -> Result<Removed, ContentError> {
        let cid = address::canonical(cid)?;
        let store = self.inner.setting.store.clone();
        let removed = spawn_blocking(move || match store.root(&cid)? {
            Some(_) => Ok(store.remove_root(&cid)?),
            None => Err(ContentError::NotHere(cid)),
        })
        .await?;
        self.inner.announcer.forget(&cid).await;
        Ok(removed)
    }

    /// Serves one inbound stream of the exchange until the peer closes it. A
    /// peer that breaks the protocol is reported.
    ///
    /// # Errors
    /// See [`ServeError`]; a lost connection is one of them and no alarm.
    pub async fn serve<T>(&self, peer: PeerId, stream: T) -> Result<Served, ServeError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let result = {
            let network = &self.inner.setting.network;
            let guest = Guest {
                peer,
                score: network.score(&peer),
                subnet: network.subnet(&peer),
            };
            self.inner.server.serve_as(guest, stream).await
        };
        if let Err(error) = &result
            && error.is_violation()
        {
            self.inner
                .setting
                .network
                .report(peer, Fault::Protocol(error.to_string()));
        }
        result
    }

    /// Blocks that peers want and that are on their way to them.
    pub fn wanted(&self) -> usize {
        self.inner.server.unanswered()
    }

    /// Announces content soon, in the background.
    pub fn announce(&self, cid: Cid) {
        self.inner.announcer.announce(&cid, Instant::now());
    }

    /// What waits to be announced.
    pub fn announcements(&self) -> Backlog {
        self.inner.announcer.backlog(Instant::now())
    }

    /// Announces what is here, at the start what is due, and again before the DHT
    /// forgets, until it is dropped. Runs once; a second call returns at once.
    pub async fn run(&self) {
        self.inner.announcer.run().await;
    }

    /// Stores what was announced, for the next run. [`Content::run`] does it every
    /// few seconds.
    pub async fn save_announcements(&self) {
        self.inner.announcer.save().await;
    }
}

/// Says early, and in words, that a path to import is a folder.
///
/// # Errors
/// [`ContentError::Directory`].
pub fn refuse_directory(path: &Path) -> Result<(), ContentError> {
    if path.is_dir() {
        return Err(ContentError::Directory {
            path: path.display().to_string(),
        });
    }
    Ok(())
}

/// Signs the blocks of what is put at `put_at`. By a clock that is not set nothing
/// is signed: nobody would take it. The store dates it when the clock is right,
/// and it is signed when it is served.
fn sign_all(
    signer: Signer,
    put_at: SystemTime,
    ttl: Duration,
) -> impl Fn(&Cid) -> Result<Option<Provenance>, SignError> + Send + 'static {
    let is_dated = is_clock_set(put_at);
    if !is_dated {
        log::warn!(
            "content is put by a clock before 2025; it is served to others when the clock is set, \
             and its time to live begins then"
        );
    }
    let (timestamp, ttl) = (unix_millis(put_at), ttl_seconds(ttl));
    move |cid| {
        is_dated
            .then(|| signer.sign(&cid.hash().to_bytes(), timestamp, ttl))
            .transpose()
    }
}

/// Why a block without a publisher is not served by a clock that is not set.
const UNDATED: &str = "this host's clock is not set, and a block must be dated";

/// The store as the serving side sees it.
#[derive(Debug, Clone)]
struct StoredBlocks {
    store: Store,
    signer: Signer,
    now: fn() -> SystemTime,
}

impl StoredBlocks {
    /// What is said of a block to who fetches it; `None` when its time is over.
    fn provenance(&self, cid: &Cid) -> Result<Option<Provenance>, String> {
        let now = (self.now)();
        let life = self.store.lifetime(cid, now).map_err(|e| e.to_string())?;
        let (put_at, expires_at) = match life {
            Lifetime::Published(provenance) => return Ok(Some(provenance)),
            Lifetime::OfRoot { put_at, expires_at } => (put_at, expires_at),
            Lifetime::Expired(_) | Lifetime::Absent => return Ok(None),
        };
        if !is_clock_set(now) {
            return Err(UNDATED.into());
        }
        let ttl = expires_at.map(|at| at.duration_since(put_at).unwrap_or_default());
        // Put before the clock was set, and not dated by a sweep yet.
        let put_at = if is_clock_set(put_at) { put_at } else { now };
        let ttl = ttl.map_or(u32::MAX, ttl_seconds);
        let signed = self
            .signer
            .sign(&cid.hash().to_bytes(), unix_millis(put_at), ttl);
        signed.map(Some).map_err(|e| e.to_string())
    }
}

impl Source for StoredBlocks {
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String> {
        let Some(provenance) = self.provenance(cid)? else {
            return Ok(None);
        };
        match self.store.get(cid) {
            Ok(data) => Ok(data.map(|data| Stored { data, provenance })),
            // It is dropped from the store: this node does not have it.
            Err(store::Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, String> {
        let now = (self.now)();
        match self.store.lifetime(cid, now).map_err(|e| e.to_string())? {
            Lifetime::Published(_) => {}
            Lifetime::OfRoot { .. } if is_clock_set(now) => {}
            Lifetime::OfRoot { .. } => return Err(UNDATED.into()),
            Lifetime::Expired(_) | Lifetime::Absent => return Ok(false),
        }
        self.store.has(cid).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Node;
    use super::*;
    use crate::content::testing::content;
    use async_std::task::block_on;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    const MIB: usize = 1 << 20;

    async fn until(what: &str, mut true_: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !true_() {
            assert!(Instant::now() < deadline, "{what}");
            async_std::task::yield_now().await;
        }
    }

    #[test]
    fn import_gives_the_cids_of_the_foreign_importer_through_the_store() {
        block_on(async {
            for (size, cid) in [
                (
                    0,
                    "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
                ),
                (
                    1,
                    "bafkreidivixc5zo77fxdgvpgy7xdopr5njhbp527sumnqq3qtqgjxq7d2q",
                ),
                (
                    MIB,
                    "bafkreib6oxwgoedv4qiv7sdwytcv2wv3vq574sd2m77uziw3ha4guakpe4",
                ),
                (
                    MIB + 1,
                    "bafybeid2b7hle35slmargh5agol543x2h5s6kp5wsawic7dlmjivr6i33e",
                ),
                (
                    3_158_073,
                    "bafybeiac2yg7iap4dgvgqt3tm2kwy3ktayy2ghedwbs7jkysmwaiuhgm3u",
                ),
            ] {
                let (node, found) = Node::with(size).await;
                assert_eq!(found.to_string(), cid);
                let stat = node.content.stat(&found).await.unwrap();
                assert!(stat.complete && stat.root.as_ref().is_some_and(|root| root.pinned));
                assert_eq!(stat.size, Some(size as u64));
                assert_eq!(stat.root.unwrap().blocks, stat.blocks);
            }
        });
    }

    /// Gives bytes in odd pieces, with interruptions, and fails when told to.
    struct Odd {
        at: usize,
        size: usize,
        fail_at: usize,
        turn: usize,
    }

    impl AsyncRead for Odd {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.turn += 1;
            if self.turn.is_multiple_of(5) {
                return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
            }
            if self.at >= self.fail_at {
                return Poll::Ready(Err(io::Error::other("the disk is gone")));
            }
            let n = buffer.len().min(self.size - self.at).min(70_001);
            buffer[..n].copy_from_slice(&content(self.at as u64, n));
            self.at += n;
            Poll::Ready(Ok(n))
        }
    }

    #[test]
    fn pieces_of_any_size_make_the_same_tree_and_a_failed_read_leaves_nothing() {
        block_on(async {
            let (_, expected) = Node::with(21 * MIB + 5).await;
            let node = Node::new();
            let odd = Odd {
                at: 0,
                size: 21 * MIB + 5,
                fail_at: usize::MAX,
                turn: 0,
            };
            let options = ImportOptions {
                name: Some("odd".into()),
                ..ImportOptions::default()
            };
            let imported = node.content.import(odd, options).await.unwrap();
            assert_eq!(imported.cid, expected);
            assert_eq!(
                node.content.roots().await.unwrap()[0].name.as_deref(),
                Some("odd")
            );

            let node = Node::new();
            let odd = Odd {
                at: 0,
                size: 40 * MIB,
                fail_at: 30 * MIB,
                turn: 0,
            };
            let error = node
                .content
                .import(odd, ImportOptions::default())
                .await
                .unwrap_err();
            assert!(error.to_string().contains("the disk is gone"), "{error}");
            assert!(node.content.roots().await.unwrap().is_empty());
            assert_eq!(node.store.usage().blocks, 0);
        });
    }

    #[test]
    fn stat_tells_what_is_here_and_remove_takes_it_away() {
        block_on(async {
            let (node, cid) = Node::with(3 * MIB).await;
            let stat = node.content.stat(&cid).await.unwrap();
            assert_eq!(
                (stat.blocks, stat.local_blocks, stat.complete),
                (4, 4, true)
            );
            // Only the root of it elsewhere.
            let other = Node::new();
            other.put_blocks(&[(cid, node.store.get(&cid).unwrap().unwrap())]);
            let stat = other.content.stat(&cid).await.unwrap();
            assert_eq!(
                (stat.blocks, stat.local_blocks, stat.complete),
                (4, 1, false)
            );
            assert_eq!((stat.size, stat.root), (Some(3 * MIB as u64), None));

            let removed = node.content.remove(&cid).await.unwrap();
            assert_eq!(removed.blocks, 4);
            let again = node.content.remove(&cid).await;
            assert!(matches!(again, Err(ContentError::NotHere(_))));
            let stat = node.content.stat(&cid).await.unwrap();
            assert_eq!((stat.blocks, stat.local_blocks, stat.size), (1, 0, None));
        });
    }

    #[test]
    fn what_is_here_is_announced_at_the_start_and_what_comes_at_once() {
        block_on(async {
            let (node, first) = Node::with(10).await;
            let content = node.content.clone();
            let running = async_std::task::spawn(async move { content.run().await });
            let provided = || node.net.shared.lock().unwrap().provided.clone();
            until("the root that was here is not announced", || {
                provided() == [first]
            })
            .await;
            let put = node
                .content
                .import(&b"new"[..], ImportOptions::default())
                .await
                .unwrap();
            until("what was put is not announced", || {
                provided() == [first, put.cid]
            })
            .await;

            // Fetched content is announced when it is all here.
            let (other, third) = Node::with(5 * MIB).await;
            node.net.serve(&other);
            node.get(&third).await.unwrap();
            until("what was fetched is not announced", || {
                provided().contains(&third)
            })
            .await;
            running.cancel().await;
        });
    }

    #[test]
    fn a_failed_announcement_is_told_to_who_waits_and_tried_again() {
        block_on(async {
            let node = Node::new();
            node.net.shared.lock().unwrap().provide_fails = true;
            let content = node.content.clone();
            let running = async_std::task::spawn(async move { content.run().await });
            let options = ImportOptions {
                announce: Announce::Wait,
                ..ImportOptions::default()
            };
            let put = node.content.import(&b"new"[..], options).await.unwrap();
            assert!(put.announce_error.is_some());
            assert_eq!(put.announcing, 1);
            running.cancel().await;
            let later = Instant::now() + Duration::from_secs(3600);
            let mut schedule = node.content.inner.announcer.schedule();
            assert_eq!(schedule.next(later), Some(put.cid));
        });
    }
}
