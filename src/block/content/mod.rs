//! Content: the interface to files for the daemon and the control socket.
//!
//! | file | noun |
//! |---|---|
//! | `options` | how to treat content, unless a call says otherwise |
//! | `import_options` | how to keep imported content |
//! | `imported` | the result of an import |
//! | `error` | why content could not be read or removed |
//! | `stored_blocks` | the store as the source of the serving side |

mod error;
mod import_options;
mod imported;
mod options;
mod stored_blocks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_std::task::spawn_blocking;
use cid::Cid;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::identity::Keypair;

use super::announcing::Announcer;
use super::exchange::serve::{Guest, ServeError, Served, Server};
use super::fetch::{Fetch, FetchOptions, Setting, Sharing};
use super::import::{self, ImportError};
use super::network::{Fault, Network};
use super::stat::{self, Stat, Walk};
use crate::block::Metrics;
use crate::content::address::{self, AddressError};
use crate::content::fetch::budget::Budget;
use crate::content::schedule::Backlog;
use crate::message::provenance::{Provenance, is_clock_set, ttl_seconds};
use crate::message::signer::{SignError, Signer};
use crate::store::{Removed, Root, Store};
use crate::text::duration::millis;
use crate::text::unix_time::unix_millis;
pub use error::ContentError;
pub use import_options::{Announce, ImportOptions};
pub use imported::Imported;
pub use options::ContentOptions;
use stored_blocks::StoredBlocks;

/// How long an import waits until peers have been told of the content. A healthy DHT
/// takes a second or two. When dead peers are in the way it takes tens of seconds; then
/// the announcement goes on in the background, and the content is stored already.
const ANNOUNCE_WAIT: Duration = Duration::from_secs(3);

/// The interface to content. It is cheap to clone.
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
    /// The time to live that is in force, in milliseconds. Its first value is that of
    /// `options`.
    ttl: AtomicU64,
    server: Server<StoredBlocks>,
    announcer: Announcer<N>,
}

impl<N: Network> Content<N> {
    /// Creates the content of `store`, which is shared over `network`. Content that is
    /// put is signed with `identity`. Nothing is announced until [`Content::run`] is
    /// running.
    pub fn new(
        store: Store,
        network: N,
        identity: Keypair,
        metrics: Arc<Metrics>,
        options: ContentOptions,
    ) -> Self {
        Self::with_clock(store, network, identity, metrics, options, SystemTime::now)
    }

    /// Does the same as [`Content::new`], with another wall clock.
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

    /// Sets the time to live of content that is put from now on, unless a call says
    /// otherwise.
    pub fn set_ttl(&self, ttl: Duration) {
        self.inner.ttl.store(millis(ttl), Ordering::Relaxed);
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.inner.ttl.load(Ordering::Relaxed))
    }

    /// Reads `content` to its end and keeps it. The content is durable when this returns.
    ///
    /// # Errors
    /// Returns an error when the content cannot be read or stored. Nothing of it is kept
    /// then.
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
                    // It is waiting among others, or for the first DHT peer.
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

    /// Fetches the content of `cid`, from the store and, for the rest, from peers that
    /// have it. When it is complete, it is kept (unless the options say otherwise) and
    /// announced. When the same content is fetched several times at once, the network is
    /// asked only once.
    ///
    /// # Errors
    /// Returns an error when the CID is not that of a file that this node can verify. All
    /// other errors are items of the stream.
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

    /// Returns the options of a fetch with the limits and times of this node.
    pub fn fetch_options(&self) -> FetchOptions {
        FetchOptions {
            max_block: self.inner.options.max_block,
            ..FetchOptions::default()
        }
    }

    /// Returns the roots that are kept here, in the order in which they were added.
    ///
    /// # Errors
    /// Returns an error when the store cannot be read.
    pub async fn roots(&self) -> Result<Vec<Root>, ContentError> {
        let store = self.inner.setting.store.clone();
        Ok(spawn_blocking(move || store.roots()).await?)
    }

    /// Returns what is here of `cid`, even if it is only in the cache.
    ///
    /// # Errors
    /// Returns an error when the CID is not that of a file, or the store cannot be read.
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

    /// Removes content, and the blocks that nothing else here uses. Its records in the
    /// DHT expire by themselves.
    ///
    /// # Errors
    /// Returns [`ContentError::NotHere`], or an error when the store cannot be written.
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

    /// Serves one inbound stream of the exchange until the peer closes it. A peer that
    /// violates the protocol is reported.
    ///
    /// # Errors
    /// See [`ServeError`]. A lost connection is also an error, but no cause for concern.
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

    /// Waits until every block that peers want has been sent to them and none has been
    /// wanted for `quiet`; not at all if none is wanted now. Only one may wait at a time.
    pub async fn served(&self, quiet: Duration) {
        self.inner.server.none_unanswered_for(quiet).await;
    }

    /// Announces content soon, in the background.
    pub fn announce(&self, cid: Cid) {
        self.inner.announcer.announce(&cid, Instant::now());
    }

    /// Returns what is waiting to be announced.
    pub fn announcements(&self) -> Backlog {
        self.inner.announcer.backlog(Instant::now())
    }

    /// Announces the content that is here, until the future is dropped: at the start what
    /// is due, and everything again before the DHT forgets it. This runs only once; a
    /// second call returns at once.
    pub async fn run(&self) {
        self.inner.announcer.run().await;
    }

    /// Stores the times of announcements for the next run. [`Content::run`] does this
    /// every few seconds.
    pub async fn save_announcements(&self) {
        self.inner.announcer.save().await;
    }
}

/// Returns a function that signs the blocks of content that is put at `put_at`. If the
/// clock is not set, nothing is signed, because no peer would accept it. The store dates
/// such content when the clock is right, and it is signed when it is served.
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

#[cfg(test)]
mod tests;
