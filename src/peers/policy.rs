//! The room's handle: what the rest of the program asks and tells of peers.
//!
//! [`Policy`] is a cheap clone, usable from any thread. Each of its parts has
//! a lock of its own, held for a look-up and never across an await or anything
//! that blocks; where one is taken within another, the order is always accounts,
//! reputations, presence. It does
//! nothing to the network and to the disk by itself: the event loop drains
//! [`Sanctions`] and disconnects, the daemon drains [`Policy::take_unsaved`]
//! and writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures::Stream;
use futures::task::AtomicWaker;
use ipnet::IpNet;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::bans::{Author, Ban, BanError, BanList, Change, Moment, Target};
use super::bucket::{Accounts, Granted, Rates, scale};
use super::conduct::Conduct;
use super::reputation::{Action, Reputation, Reputations};
use super::subnet::{LivePrefixes, Prefixes};
use super::whereabouts::Whereabouts;
use crate::peers::Metrics;
use crate::telemetry::throttle;

/// Sanctions that wait for the event loop. It drains them each turn; in a flood
/// notes are dropped, and what must not be lost is looked for in the state
/// itself (see [`Order::Recheck`]).
const MAX_WAITING: usize = 256;

/// Addresses kept of one peer's connections; as many connections as one peer
/// can have at all with the largest limit would be a thousand, and the first few
/// say where it is.
const MAX_ADDRESSES: usize = 16;

/// Rows of reputations written at once: one transaction of some 100 KiB.
pub const SAVE_AT_ONCE: usize = 1_024;

/// What the handle is told when it is made.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Budgets of a peer with a score of zero.
    pub rates: Rates,
    /// Never disconnected or banned by the node itself.
    pub trusted: Vec<PeerId>,
    /// What makes two addresses one subnet.
    pub prefixes: Prefixes,
}

/// A peer sent more than its budget allows; drop what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// More messages than `P2P_RATE_BURST` and `P2P_RATE_FILL` allow.
    #[error(
        "more messages than this node's own limit allows; raise P2P_RATE_BURST or P2P_RATE_FILL if that is not wanted"
    )]
    Messages,
}

/// What was concluded from an offence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sanction {
    /// Who.
    pub peer: PeerId,
    /// What it did.
    pub conduct: Conduct,
    /// What follows.
    pub action: Action,
    /// Its score after it.
    pub score: f32,
    /// Where it is connected from; `None` when it is not, or through a relay.
    pub ip: Option<IpAddr>,
}

/// What the event loop is asked to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Log it, and do as it says.
    Sanction(Sanction),
    /// The bans have changed, or sanctions were lost in a flood: close every
    /// connection that a ban forbids.
    Recheck,
}

#[derive(Debug, Default)]
struct Outbox {
    waiting: VecDeque<Sanction>,
    recheck: bool,
}

#[derive(Debug, Default)]
struct Present {
    peers: HashMap<PeerId, Vec<(ConnectionId, Option<IpAddr>)>>,
}

#[derive(Debug)]
struct Inner {
    trusted: RwLock<HashSet<PeerId>>,
    prefixes: LivePrefixes,
    reputations: Mutex<Reputations>,
    accounts: Mutex<Accounts>,
    bans: RwLock<BanList>,
    present: Mutex<Present>,
    whereabouts: RwLock<Whereabouts>,
    outbox: Mutex<Outbox>,
    waker: AtomicWaker,
    /// Rings when a ban was made that is not on the disk yet.
    bell: (
        async_std::channel::Sender<()>,
        async_std::channel::Receiver<()>,
    ),
    metrics: OnceLock<Arc<Metrics>>,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Policy {
    inner: Arc<Inner>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy::new(Settings::default())
    }
}

/// What has changed since it was last saved.
#[derive(Clone, Debug, Default)]
pub struct Unsaved {
    /// Bans, in order.
    pub bans: Vec<Change>,
    /// Reputations; `None` for a row that is to go.
    pub reputations: Vec<(PeerId, Option<Reputation>)>,
}

impl Unsaved {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bans.is_empty() && self.reputations.is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every part is valid between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Policy {
    /// A handle to an empty memory.
    pub fn new(settings: Settings) -> Self {
        Policy {
            inner: Arc::new(Inner {
                trusted: RwLock::new(settings.trusted.into_iter().collect()),
                prefixes: LivePrefixes::new(settings.prefixes),
                reputations: Mutex::default(),
                accounts: Mutex::new(Accounts::new(settings.rates)),
                bans: RwLock::default(),
                present: Mutex::default(),
                whereabouts: RwLock::default(),
                outbox: Mutex::default(),
                waker: AtomicWaker::new(),
                bell: async_std::channel::bounded(1),
                metrics: OnceLock::new(),
            }),
        }
    }

    /// Counts into these metrics from now on; the first call wins.
    pub fn observe(&self, metrics: Arc<Metrics>) {
        let _ = self.inner.metrics.set(metrics);
    }

    /// Trusts these peers beside those of the settings.
    pub fn trust(&self, peers: &[PeerId]) {
        if !peers.is_empty() {
            let mut trusted = self
                .inner
                .trusted
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            trusted.extend(peers);
        }
    }

    /// Other settings from now on. `configured` are the addresses that the
    /// configuration names, as for [`Self::configured`]. What is held against
    /// peers, and what their buckets hold, stays.
    pub fn adjust(&self, settings: &Settings, configured: &[(Option<PeerId>, IpAddr)]) {
        {
            let mut trusted = self
                .inner
                .trusted
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *trusted = settings.trusted.iter().copied().collect();
        }
        self.inner.prefixes.set(settings.prefixes);
        // Trust is a part of a peer's scale, which is asked anew within a second.
        lock(&self.inner.accounts).set_rates(settings.rates);
        // Where trusted peers are: of those who were met, only who is here now
        // is known to be trusted still.
        let here: Vec<IpAddr> = {
            let present = lock(&self.inner.present);
            settings
                .trusted
                .iter()
                .filter_map(|peer| present.peers.get(peer))
                .flatten()
                .filter_map(|(_, ip)| *ip)
                .collect()
        };
        {
            let known = self.inner.whereabouts.write();
            *known.unwrap_or_else(PoisonError::into_inner) = Whereabouts::default();
        }
        for (peer, ip) in configured {
            self.configured(peer.as_ref(), *ip);
        }
        let known = self.inner.whereabouts.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        for ip in here {
            known.met(ip);
        }
    }

    /// What makes two addresses one subnet, now and after every change.
    pub fn prefixes(&self) -> LivePrefixes {
        self.inner.prefixes.clone()
    }

    /// Whether the operator trusts this peer.
    pub fn is_trusted(&self, peer: &PeerId) -> bool {
        let trusted = self.inner.trusted.read();
        trusted
            .unwrap_or_else(PoisonError::into_inner)
            .contains(peer)
    }

    /// The configuration names `peer` at `ip`: the node bans no subnet that it is
    /// in, and a trusted peer there passes as [`Self::is_trusted_at`] says.
    pub fn configured(&self, peer: Option<&PeerId>, ip: IpAddr) {
        let trusted = peer.is_some_and(|peer| self.is_trusted(peer));
        let known = self.inner.whereabouts.write();
        known
            .unwrap_or_else(PoisonError::into_inner)
            .configured(ip.to_canonical(), trusted);
    }

    /// Whether a trusted peer is configured at `ip` or was met there in this run.
    pub fn is_trusted_at(&self, ip: IpAddr) -> bool {
        let known = self.inner.whereabouts.read();
        known
            .unwrap_or_else(PoisonError::into_inner)
            .is_trusted(ip.to_canonical())
    }

    // ---- Conduct.

    /// Remembers what a peer did. What follows from it comes out of
    /// [`Self::sanctions`]; a ban is in force when this returns.
    pub fn report(&self, peer: &PeerId, conduct: Conduct) {
        self.report_at(peer, conduct, Moment::now());
    }

    /// As [`Self::report`], at `now`.
    pub fn report_at(&self, peer: &PeerId, conduct: Conduct, now: Moment) {
        let ip = self.address_of(peer);
        let (reputation, action) = {
            let mut reputations = lock(&self.inner.reputations);
            reputations.apply(peer, conduct, now.mono, |p| {
                lock(&self.inner.present).peers.contains_key(p)
            })
        };
        if !conduct.is_offence() {
            return;
        }
        if let Some(metrics) = self.inner.metrics.get() {
            metrics
                .misbehaviour
                .with_label_values(&[conduct.name()])
                .inc();
        }
        let trusted = self.is_trusted(peer);
        let by = scale(reputation.score, trusted);
        lock(&self.inner.accounts).rescale(peer, by, now.mono);
        let action = match action {
            // An operator's word stands; what a trusted peer does is only told.
            _ if trusted => Action::Note,
            Action::Ban if self.is_banned(peer, now.mono) => Action::Note,
            Action::Ban => {
                self.ban_automatically(peer, conduct, reputation.score, ip, now);
                Action::Ban
            }
            other => other,
        };
        self.send(Sanction {
            peer: *peer,
            conduct,
            action,
            score: reputation.score,
            ip,
        });
    }

    /// The score of a peer, -100 to 100; 0 for a stranger.
    pub fn score_of(&self, peer: &PeerId) -> f64 {
        f64::from(self.reputation(peer, Instant::now()).score)
    }

    /// What is remembered of a peer at `now`.
    pub fn reputation(&self, peer: &PeerId, now: Instant) -> Reputation {
        lock(&self.inner.reputations).of(peer, now)
    }

    // ---- Budgets.

    /// The budgets of a peer with a score of zero.
    pub fn rates(&self) -> Rates {
        lock(&self.inner.accounts).rates()
    }

    /// Takes `messages` of the peer's budget: all of them, or none.
    ///
    /// # Errors
    /// [`OverBudget`]: drop what came. It is counted here, and costs reputation
    /// when it is persistent.
    pub fn allow(&self, peer: &PeerId, messages: u32) -> Result<(), OverBudget> {
        let now = Instant::now();
        let granted = lock(&self.inner.accounts)
            .messages(peer, messages.into(), now, || self.scale_of(peer, now));
        self.granted(peer, granted, OverBudget::Messages)
    }

    /// Takes `bytes` of the peer's budget of bytes in any case; when it now owes,
    /// says how long to wait before reading more from it. For what cannot be
    /// dropped, and slows its sender instead.
    pub fn charge_bytes(&self, peer: &PeerId, bytes: usize) -> Option<Duration> {
        let now = Instant::now();
        lock(&self.inner.accounts)
            .charge_bytes(peer, bytes as u64, now, || self.scale_of(peer, now))
    }

    /// As [`Self::charge_bytes`], for messages: requests that are answered late
    /// rather than never.
    pub fn charge(&self, peer: &PeerId, messages: u32) -> Option<Duration> {
        let now = Instant::now();
        lock(&self.inner.accounts)
            .charge_messages(peer, messages.into(), now, || self.scale_of(peer, now))
    }

    fn scale_of(&self, peer: &PeerId, now: Instant) -> f32 {
        scale(self.reputation(peer, now).score, self.is_trusted(peer))
    }

    fn granted(
        &self,
        peer: &PeerId,
        granted: Granted,
        refusal: OverBudget,
    ) -> Result<(), OverBudget> {
        let Granted::No { persistent } = granted else {
            return Ok(());
        };
        if let Some(metrics) = self.inner.metrics.get() {
            metrics.over_budget.inc();
        }
        if let Some(suppressed) = throttle::allow("over budget") {
            log::warn!(peer:% = peer, suppressed; "dropped what a peer sent: {refusal}");
        }
        if persistent {
            self.report(peer, Conduct::OverBudget);
        }
        Err(refusal)
    }

    // ---- Bans.

    /// The ban of a peer, if there is one in force. For a trusted peer, only that
    /// of an operator is: the node's own may be of a time when it was a stranger.
    pub fn banned_peer(&self, peer: &PeerId) -> Option<Ban> {
        let ban = self.bans_read().peer(peer, Instant::now()).cloned()?;
        (ban.author == Author::Operator || !self.is_trusted(peer)).then_some(ban)
    }

    /// A ban that an address falls under.
    pub fn banned_ip(&self, ip: IpAddr) -> Option<Ban> {
        let bans = self.bans_read();
        if bans.no_nets() {
            return None;
        }
        bans.ip(ip, Instant::now()).cloned()
    }

    /// As [`Self::banned_ip`], of the bans of operators alone.
    pub fn banned_ip_by_operator(&self, ip: IpAddr) -> Option<Ban> {
        let bans = self.bans_read();
        if bans.no_nets() {
            return None;
        }
        bans.ip_by_operator(ip, Instant::now()).cloned()
    }

    /// A ban that `peer` falls under for its address.
    pub fn banned_at(&self, peer: &PeerId, ip: IpAddr) -> Option<Ban> {
        if self.is_trusted(peer) {
            self.banned_ip_by_operator(ip)
        } else {
            self.banned_ip(ip)
        }
    }

    /// Bans for an operator, in force and told to the event loop at once.
    /// `length` of `None` is for good. It is on the disk when the daemon has
    /// drained [`Self::take_unsaved`].
    ///
    /// # Errors
    /// [`BanError`].
    pub fn ban(
        &self,
        target: Target,
        length: Option<Duration>,
        reason: &str,
    ) -> Result<Ban, BanError> {
        let ban = self
            .bans_write()
            .by_operator(target, length, reason, Moment::now())?;
        self.banned();
        self.recheck();
        Ok(ban)
    }

    /// Lifts a ban, whoever set it, and forgets what a peer did; the ban that was
    /// lifted, or `None` when there was none.
    pub fn unban(&self, target: &Target) -> Option<Ban> {
        // Before the ban, so that whoever saves the one finds the other.
        if let Target::Peer(peer) = target {
            lock(&self.inner.reputations).forgive(peer);
            let by = self.scale_of(peer, Instant::now());
            lock(&self.inner.accounts).rescale(peer, by, Instant::now());
        }
        let lifted = self.bans_write().lift(target, Instant::now());
        self.gauge(Instant::now());
        self.ring();
        lifted
    }

    /// The bans in force, the latest first.
    pub fn bans(&self) -> Vec<Ban> {
        self.bans_read().list(Instant::now())
    }

    fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.bans_read().peer(peer, now).is_some()
    }

    fn ban_automatically(
        &self,
        peer: &PeerId,
        conduct: Conduct,
        score: f32,
        ip: Option<IpAddr>,
        now: Moment,
    ) {
        let (length, times) = {
            let mut reputations = lock(&self.inner.reputations);
            let length = reputations.sentence(peer, now.mono);
            let strikes = reputations.of(peer, now.mono).strikes;
            (length, strikes.round() as u32)
        };
        let reason = format!("{conduct}, reputation {score:.0}");
        let made = self
            .bans_write()
            .automatic(Target::Peer(*peer), length, &reason, times, now);
        if made.is_none() {
            return;
        }
        self.banned();
        let prefixes = self.inner.prefixes.get().for_bans();
        let Some(subnet) = ip.and_then(|ip| prefixes.subnet(ip)) else {
            return;
        };
        if self.spared(&subnet) {
            return;
        }
        let made = {
            let mut bans = self.bans_write();
            bans.crowd(subnet, peer, now.mono)
                .and_then(|(length, times)| {
                    let reason = format!("{} peers of it were banned", super::bans::SUBNET_AFTER);
                    bans.automatic(Target::net(subnet), length, &reason, times, now)
                })
        };
        if let Some(ban) = made {
            // Who has a /48 of IPv6 has 256 subnets to lose.
            if let Some(suppressed) = throttle::allow("subnet banned") {
                log::warn!(
                    subnet:% = subnet, reason:% = ban.reason, suppressed;
                    "subnet banned: peer ids are free, and too many of this address misbehaved"
                );
            }
            self.banned();
            self.recheck();
        }
    }

    /// Whether a trusted peer or an address of the configuration is in there.
    fn spared(&self, subnet: &IpNet) -> bool {
        {
            let known = self.inner.whereabouts.read();
            let known = known.unwrap_or_else(PoisonError::into_inner);
            if known.within(subnet) {
                return true;
            }
        }
        // One may be trusted only since it came.
        let trusted = self.inner.trusted.read();
        let trusted = trusted.unwrap_or_else(PoisonError::into_inner);
        let present = lock(&self.inner.present);
        trusted.iter().any(|peer| {
            let connections = present.peers.get(peer);
            connections.is_some_and(|list| {
                list.iter()
                    .filter_map(|(_, ip)| *ip)
                    .any(|ip| subnet.contains(&ip))
            })
        })
    }

    /// Counts a ban, and has it saved.
    fn banned(&self) {
        if let Some(metrics) = self.inner.metrics.get() {
            metrics.blacklist.inc();
        }
        self.gauge(Instant::now());
        self.ring();
    }

    fn gauge(&self, now: Instant) {
        if let Some(metrics) = self.inner.metrics.get() {
            let held = i64::try_from(self.bans_read().in_force(now)).unwrap_or(i64::MAX);
            metrics.bans_active.set(held);
        }
    }

    fn ring(&self) {
        // Full means that it is ringing already.
        let _ = self.inner.bell.0.try_send(());
    }

    fn bans_read(&self) -> std::sync::RwLockReadGuard<'_, BanList> {
        self.inner
            .bans
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn bans_write(&self) -> std::sync::RwLockWriteGuard<'_, BanList> {
        self.inner
            .bans
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    // ---- Connections, told by `presence`.

    /// A connection with a peer stands; `ip` is `None` through a relay.
    pub fn connected(&self, peer: PeerId, id: ConnectionId, ip: Option<IpAddr>) {
        if let Some(ip) = ip
            && self.is_trusted(&peer)
        {
            let known = self.inner.whereabouts.write();
            let mut known = known.unwrap_or_else(PoisonError::into_inner);
            known.met(ip.to_canonical());
        }
        let mut present = lock(&self.inner.present);
        let list = present.peers.entry(peer).or_default();
        if list.len() < MAX_ADDRESSES {
            list.push((id, ip.map(|ip| ip.to_canonical())));
        }
    }

    /// A connection ended; `remaining` are left with that peer.
    pub fn disconnected(&self, peer: &PeerId, id: ConnectionId, remaining: usize) {
        let mut present = lock(&self.inner.present);
        if remaining == 0 {
            present.peers.remove(peer);
        } else if let Some(list) = present.peers.get_mut(peer) {
            list.retain(|(other, _)| *other != id);
        }
    }

    /// The subnet that a connected peer counts for; `None` for this host itself,
    /// through a relay, and when it is not connected.
    pub fn subnet_of(&self, peer: &PeerId) -> Option<IpNet> {
        self.address_of(peer)
            .and_then(|ip| self.inner.prefixes.get().subnet(ip))
    }

    /// Whether a connection to the peer stands.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        lock(&self.inner.present).peers.contains_key(peer)
    }

    fn address_of(&self, peer: &PeerId) -> Option<IpAddr> {
        let present = lock(&self.inner.present);
        present.peers.get(peer)?.iter().find_map(|(_, ip)| *ip)
    }

    // ---- Sanctions.

    /// What the event loop is to do, as a stream for its one reader.
    pub fn sanctions(&self) -> Sanctions {
        Sanctions {
            inner: self.inner.clone(),
        }
    }

    fn send(&self, sanction: Sanction) {
        {
            let mut outbox = lock(&self.inner.outbox);
            if outbox.waiting.len() < MAX_WAITING {
                outbox.waiting.push_back(sanction);
            } else if sanction.action > Action::Note {
                // In place of the oldest note; when all wait to be acted upon,
                // bans are found by looking, and a disconnect comes again with
                // the next offence.
                match outbox.waiting.iter().position(|v| v.action == Action::Note) {
                    Some(at) => {
                        outbox.waiting.remove(at);
                        outbox.waiting.push_back(sanction);
                    }
                    None => outbox.recheck = true,
                }
            }
        }
        self.inner.waker.wake();
    }

    fn recheck(&self) {
        lock(&self.inner.outbox).recheck = true;
        self.inner.waker.wake();
    }

    // ---- Housekeeping and the disk.

    /// Removes what has expired; once in some seconds is enough.
    pub fn tend(&self, now: Moment) {
        self.bans_write().tend(now);
        lock(&self.inner.accounts).sweep(now.mono);
        lock(&self.inner.reputations).sweep(now.mono);
        self.gauge(now.mono);
    }

    /// Takes in what an earlier run saved: bans, and reputations with the time of
    /// day at which each was written.
    pub fn restore(
        &self,
        bans: Vec<Ban>,
        reputations: Vec<(PeerId, Reputation, SystemTime)>,
        now: Moment,
    ) {
        {
            let mut list = self.bans_write();
            for ban in bans {
                list.restore(ban, now);
            }
        }
        let mut map = lock(&self.inner.reputations);
        for (peer, reputation, at) in reputations {
            // A clock that stands before the save forgives nothing.
            let elapsed = now.wall.duration_since(at).unwrap_or_default();
            map.restore(peer, reputation, elapsed, now.mono);
        }
        drop(map);
        self.gauge(Instant::now());
        self.recheck();
    }

    /// What is to be written down: as [`Self::take_unsaved_bans`], and up to
    /// [`SAVE_AT_ONCE`] other reputations. It counts as written; give it to
    /// [`Self::put_back`] when it could not be.
    pub fn take_unsaved(&self) -> Unsaved {
        let mut unsaved = self.take_unsaved_bans();
        let others = lock(&self.inner.reputations).take_unsaved(SAVE_AT_ONCE, Instant::now());
        unsaved.reputations.extend(others);
        unsaved
    }

    /// All changes of bans, and the reputations of their peers: in one
    /// transaction, or a killed process would come back with a ban and none of
    /// the strikes that led to it, or with strikes that were forgiven.
    pub fn take_unsaved_bans(&self) -> Unsaved {
        let bans = self.bans_write().take_unsaved();
        let peers = bans.iter().filter_map(|change| match change {
            Change::Keep(Ban {
                target: Target::Peer(peer),
                ..
            })
            | Change::Remove(Target::Peer(peer)) => Some(*peer),
            _ => None,
        });
        let reputations =
            lock(&self.inner.reputations).take_unsaved_of(&peers.collect(), Instant::now());
        Unsaved { bans, reputations }
    }

    /// What could not be written.
    pub fn put_back(&self, unsaved: Unsaved) {
        self.bans_write().put_back(unsaved.bans);
        lock(&self.inner.reputations)
            .put_back(unsaved.reputations.into_iter().map(|(peer, _)| peer));
    }

    /// Whether something waits to be written.
    pub fn is_dirty(&self) -> bool {
        self.bans_read().is_dirty() || lock(&self.inner.reputations).is_dirty()
    }

    /// Resolves when a ban was made or lifted since the last call.
    pub async fn bans_changed(&self) {
        let _ = self.inner.bell.1.recv().await;
    }

    /// Bans in force, and peers remembered.
    pub fn remembered(&self) -> (usize, usize) {
        let bans = self.bans_read().in_force(Instant::now());
        (bans, lock(&self.inner.reputations).len())
    }

    /// How much is held: peers remembered, and accounts of budgets.
    pub fn held(&self) -> (usize, usize) {
        let peers = lock(&self.inner.reputations).len();
        (peers, lock(&self.inner.accounts).len())
    }
}

/// Orders for the event loop; see [`Policy::sanctions`]. It never ends.
#[derive(Debug)]
pub struct Sanctions {
    inner: Arc<Inner>,
}

impl Sanctions {
    fn next_now(&self) -> Option<Order> {
        let mut outbox = lock(&self.inner.outbox);
        if std::mem::take(&mut outbox.recheck) {
            return Some(Order::Recheck);
        }
        outbox.waiting.pop_front().map(Order::Sanction)
    }
}

impl Stream for Sanctions {
    type Item = Order;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Order>> {
        if let Some(order) = self.next_now() {
            return Poll::Ready(Some(order));
        }
        self.inner.waker.register(cx.waker());
        // Again, lest one came before the waker was there.
        match self.next_now() {
            Some(order) => Poll::Ready(Some(order)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
