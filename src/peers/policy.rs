//! The handle through which the program shares what is known of peers.
//!
//! [`Policy`] is cheap to clone and usable from any thread. All clones share one
//! [`Peers`] behind one lock, which is held for a look-up or a small change, and never
//! across an await or anything that blocks. No other part of the program keeps a copy of
//! which peers are connected, trusted or banned, which could disagree with it.
//!
//! It does not act on the network or the disk itself: the event loop drains [`Sanctions`]
//! and disconnects peers, the store's keeper drains [`Policy::take_unsaved`] and writes,
//! and an [`Observer`] counts and logs.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures::Stream;
use futures::task::AtomicWaker;
use ipnet::IpNet;
use libp2p::PeerId;

use super::bans::{Ban, BanError, Target};
use super::bucket::Rates;
use super::conduct::Conduct;
use super::record::Record;
use super::refusal::Refusal;
use super::reputation::Reputation;
use super::standing::Standing;
use super::state::{Note, Order, OverBudget, Peers, Settings, Unsaved};
use crate::system::moment::Moment;

/// Counts and logs the decisions of this room, which does neither itself.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// Called after each decision, on the thread that asked for it. It must not block.
    fn note(&self, note: &Note);
}

#[derive(Debug)]
struct Shared {
    peers: Mutex<Peers>,
    waker: AtomicWaker,
    /// Whether a ban was made or lifted that is not on the disk yet.
    unsaved: AtomicBool,
    saver: AtomicWaker,
    observer: OnceLock<Arc<dyn Observer>>,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Policy {
    shared: Arc<Shared>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy::new(Settings::default())
    }
}

impl Policy {
    /// Returns a handle that knows no peers yet.
    pub fn new(settings: Settings) -> Self {
        Policy {
            shared: Arc::new(Shared {
                peers: Mutex::new(Peers::new(settings)),
                waker: AtomicWaker::new(),
                unsaved: AtomicBool::new(false),
                saver: AtomicWaker::new(),
                observer: OnceLock::new(),
            }),
        }
    }

    /// Reports all decisions to this observer from now on. Only the first call has an
    /// effect.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.shared.observer.set(observer);
    }

    /// Calls `look` with everything that is known of peers. `look` must not use this
    /// handle itself, nor anything that might use it: the lock is held meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&Peers) -> R) -> R {
        look(&self.shared.lock())
    }

    /// Calls `change` to change what is known of peers. `change` must not use this handle
    /// itself, nor anything that might use it: the lock is held meanwhile.
    pub fn write<R>(&self, change: impl FnOnce(&mut Peers) -> R) -> R {
        let mut peers = self.shared.lock();
        let result = change(&mut peers);
        let outcome = peers.take_outcome();
        drop(peers);
        if outcome.orders {
            self.shared.waker.wake();
        }
        if outcome.unsaved {
            self.shared.unsaved.store(true, Ordering::Release);
            self.shared.saver.wake();
        }
        if let Some(observer) = self.shared.observer.get() {
            outcome.notes.iter().for_each(|note| observer.note(note));
        }
        result
    }

    // ---- One peer.

    /// Calls `look` with the record of a peer, if the peer is connected.
    pub fn record<R>(&self, peer: &PeerId, look: impl FnOnce(&Record) -> R) -> Option<R> {
        self.read(|peers| peers.table().get(peer).map(look))
    }

    /// Calls `change` with the record of a peer, if the peer is connected.
    pub fn record_mut<R>(&self, peer: &PeerId, change: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.write(|peers| peers.record_mut(peer).map(change))
    }

    /// Returns whether a connection with the peer is established.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.read(|peers| peers.table().contains(peer))
    }

    /// Returns the connected peers, in the order of their ids.
    pub fn connected(&self) -> Vec<PeerId> {
        let mut ids: Vec<PeerId> =
            self.read(|peers| peers.table().iter().map(|(peer, _)| *peer).collect());
        ids.sort_unstable();
        ids
    }

    /// Returns whether the operator trusts this peer.
    pub fn is_trusted(&self, peer: &PeerId) -> bool {
        self.read(|peers| peers.trust().is_trusted(peer))
    }

    /// Returns the subnet that a connected peer counts for. Returns `None` if the peer is
    /// on this host, is connected through a relay, or is not connected.
    pub fn subnet_of(&self, peer: &PeerId) -> Option<IpNet> {
        self.read(|peers| peers.table().subnet(peer))
    }

    // ---- The decisions of `Peers`, under the same names.

    /// See [`Peers::report`].
    pub fn report(&self, peer: &PeerId, conduct: Conduct, now: Moment) {
        self.write(|peers| peers.report(peer, conduct, now));
    }

    /// Returns the score of a peer, from -100 to 100; 0 for a stranger.
    pub fn score_of(&self, peer: &PeerId, now: Instant) -> f64 {
        f64::from(self.reputation(peer, now).score)
    }

    /// See [`Peers::reputation`].
    pub fn reputation(&self, peer: &PeerId, now: Instant) -> Reputation {
        self.read(|peers| peers.reputation(peer, now))
    }

    /// See [`Peers::rates`].
    pub fn rates(&self) -> Rates {
        self.read(Peers::rates)
    }

    /// See [`Peers::allow`].
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn allow(&self, peer: &PeerId, messages: u32, now: Moment) -> Result<(), OverBudget> {
        self.write(|peers| peers.allow(peer, messages, now))
    }

    /// See [`Peers::charge_bytes`].
    pub fn charge_bytes(&self, peer: &PeerId, bytes: usize, now: Instant) -> Option<Duration> {
        self.write(|peers| peers.charge_bytes(peer, bytes, now))
    }

    /// See [`Peers::charge`].
    pub fn charge(&self, peer: &PeerId, messages: u32, now: Instant) -> Option<Duration> {
        self.write(|peers| peers.charge(peer, messages, now))
    }

    /// See [`Peers::dial`].
    ///
    /// # Errors
    /// Returns the rule or ban that refuses it.
    pub fn dial(
        &self,
        ip: IpAddr,
        name: Option<&str>,
        peer: Option<&PeerId>,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.read(|peers| peers.dial(ip, name, peer, now))
    }

    /// See [`Peers::ban_of_peer`].
    pub fn ban_of_peer(&self, peer: &PeerId, now: Instant) -> Option<Ban> {
        self.read(|peers| peers.ban_of_peer(peer, now).cloned())
    }

    /// See [`Peers::ban_of_peer`].
    pub fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.read(|peers| peers.ban_of_peer(peer, now).is_some())
    }

    /// Returns a ban that covers an address, for a stranger.
    pub fn ban_of_address(&self, ip: IpAddr, now: Instant) -> Option<Ban> {
        self.read(|peers| peers.ban_of_address(ip, Standing::Stranger, now).cloned())
    }

    /// Bans a target for an operator; see [`Peers::ban`]. The ban is on the disk once
    /// [`Self::take_unsaved`] has been drained.
    ///
    /// # Errors
    /// Returns [`BanError`].
    pub fn ban(
        &self,
        target: Target,
        length: Option<Duration>,
        reason: &str,
        now: Moment,
    ) -> Result<Ban, BanError> {
        self.write(|peers| peers.ban(target, length, reason, now))
    }

    /// See [`Peers::unban`].
    pub fn unban(&self, target: &Target, now: Instant) -> Option<Ban> {
        self.write(|peers| peers.unban(target, now))
    }

    /// The bans in force, the latest first. There may be tens of thousands: they are
    /// copied under the lock, and sorted after it.
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        let mut bans = self.read(|peers| peers.bans(now));
        bans.sort_by(|a, b| b.since.cmp(&a.since).then(a.target.cmp(&b.target)));
        bans
    }

    /// Removes what has expired; once in some seconds is enough.
    pub fn tend(&self, now: Moment) {
        // One lock for each part, so that nobody waits for all of them.
        self.write(|peers| peers.tend_bans(now));
        self.write(|peers| peers.tend_budgets(now.mono));
        self.write(|peers| peers.tend_reputations(now.mono));
    }

    /// See [`Peers::restore`].
    pub fn restore(
        &self,
        bans: Vec<Ban>,
        reputations: Vec<(PeerId, Reputation, SystemTime)>,
        now: Moment,
    ) {
        self.write(|peers| peers.restore(bans, reputations, now));
    }

    /// See [`Peers::take_unsaved`].
    pub fn take_unsaved(&self, now: Instant) -> Unsaved {
        self.write(|peers| peers.take_unsaved(now))
    }

    /// See [`Peers::take_unsaved_bans`].
    pub fn take_unsaved_bans(&self, now: Instant) -> Unsaved {
        self.write(|peers| peers.take_unsaved_bans(now))
    }

    /// See [`Peers::put_back`].
    pub fn put_back(&self, unsaved: Unsaved) {
        self.write(|peers| peers.put_back(unsaved));
    }

    /// See [`Peers::is_dirty`].
    pub fn is_dirty(&self) -> bool {
        self.read(Peers::is_dirty)
    }

    /// Waits until a ban has been made or lifted since the last call. It is for the one
    /// task that saves bans.
    pub async fn bans_changed(&self) {
        let shared = &self.shared;
        std::future::poll_fn(|cx| {
            shared.saver.register(cx.waker());
            match shared.unsaved.swap(false, Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Returns what the event loop has to do, as a stream for its one reader.
    pub fn sanctions(&self) -> Sanctions {
        Sanctions {
            shared: self.shared.clone(),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Peers> {
        // The state is valid between any two statements, so a panic does not spoil it.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of orders for the event loop; see [`Policy::sanctions`]. It never ends.
#[derive(Debug)]
pub struct Sanctions {
    shared: Arc<Shared>,
}

impl Stream for Sanctions {
    type Item = Order;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Order>> {
        if let Some(order) = self.shared.lock().next_order() {
            return Poll::Ready(Some(order));
        }
        self.shared.waker.register(cx.waker());
        // Look again, in case an order came before the waker was registered.
        match self.shared.lock().next_order() {
            Some(order) => Poll::Ready(Some(order)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
