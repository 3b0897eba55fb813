//! Everything that is known of peers, and what is decided about them.
//!
//! [`Peers`] is a state machine: events and the time go in, decisions come out. It
//! reads no clock, touches no network and no disk, counts no metrics and writes no
//! log. Its decisions are answers, [`Order`]s for the event loop and [`Note`]s for
//! whoever counts and logs. The rest of the program shares one through
//! [`super::Policy`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::bans::{Author, Ban, BanError, BanList, Change, SUBNET_AFTER, Target};
use super::bucket::{Accounts, Granted, Rates, scale};
use super::conduct::Conduct;
use super::record::{Connection, Record};
use super::refusal::Refusal;
use super::reputation::{Action, Reputation, Reputations};
use super::rules::{self, Rules};
use super::subnet::{Prefixes, direct_ip};
use super::table::{Closed, Table};
use super::trust::Trust;
use crate::system::moment::Moment;

/// Sanctions that wait for the event loop, which takes them at each turn. In a flood
/// notes are dropped, and what must not be lost is found by looking at the bans
/// themselves (see [`Order::Recheck`]).
pub(super) const MAX_WAITING: usize = 256;

/// Rows of reputations written at once: one transaction of some 100 KiB.
pub const SAVE_AT_ONCE: usize = 1_024;

/// What the operator can set about peers.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Budgets of a peer with a score of zero.
    pub rates: Rates,
    /// Peers that are never disconnected or banned by the node itself, and pass its
    /// limits (`P2P_TRUSTED_PEERS`).
    pub trusted: Vec<PeerId>,
    /// Peers that pass the limits of connections (`P2P_PEERING`).
    pub peering: Vec<PeerId>,
    /// What makes two addresses one subnet (`P2P_SUBNET_PREFIXES`).
    pub prefixes: Prefixes,
    /// Who may connect from where.
    pub rules: Rules,
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

/// What is to be counted, or told to the operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A peer offended.
    Offence(Conduct),
    /// What a peer sent was dropped, since it was over its budget.
    OverBudget(PeerId, OverBudget),
    /// A peer or a network was put on the blacklist.
    Banned,
    /// A subnet was, because too many of its peers were.
    SubnetBanned(IpNet, String),
    /// So many bans are in force now.
    InForce(usize),
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

/// What has come up in a call, for whoever made it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) notes: Vec<Note>,
    /// There are new orders.
    pub(super) orders: bool,
    /// There are bans to be written down.
    pub(super) unsaved: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Peers {
    trust: Trust,
    table: Table,
    rules: Arc<Rules>,
    reputations: Reputations,
    accounts: Accounts,
    bans: BanList,
    waiting: VecDeque<Sanction>,
    recheck: bool,
    outcome: Outcome,
}

impl Peers {
    /// Nobody is connected or remembered yet.
    pub fn new(settings: Settings) -> Self {
        let mut peers = Peers::default();
        peers.set(settings);
        peers
    }

    fn set(&mut self, settings: Settings) {
        let Settings {
            rates,
            trusted,
            peering,
            prefixes,
            rules,
        } = settings;
        self.trust.set(trusted, peering);
        self.table.set_prefixes(prefixes);
        self.rules = Arc::new(rules);
        self.accounts.set_rates(rates);
    }

    /// Other settings from now on. `configured` are the addresses that the
    /// configuration names, with their peers where they are known. What is held
    /// against peers, and what their buckets hold, stays. Connections stay too, also
    /// those over a new limit; it is for the caller to close those that are no longer
    /// allowed. Trust is a part of a peer's scale, which is asked anew within a second.
    pub fn adjust(&mut self, settings: Settings, configured: &[(Option<PeerId>, Multiaddr)]) {
        self.set(settings);
        self.configured(configured);
        // Of the peers that were met, only who is here now is known to be trusted still.
        for (peer, record) in self.table.iter() {
            for (_, connection) in record.connections() {
                let Connection {
                    counted, direct, ..
                } = connection;
                self.trust.met(peer, *counted, *direct);
            }
        }
    }

    /// Trusts these peers beside those of the settings.
    pub fn trust_too(&mut self, peers: &[PeerId]) {
        self.trust.trust_too(peers);
    }

    /// The limits of connections do not hold for these peers of `P2P_PEERING`.
    pub fn peering(&mut self, peering: impl Iterator<Item = PeerId>) {
        self.trust.peering(peering);
    }

    /// The configuration names these addresses, with their peers where they are known:
    /// the node bans no subnet that one of them is in, and a trusted peer there passes
    /// as [`Trust::is_trusted_at`] says.
    pub fn configured(&mut self, configured: &[(Option<PeerId>, Multiaddr)]) {
        for (peer, address) in configured {
            self.trust.configured(peer.as_ref(), address);
        }
    }

    /// An earlier run knew a peer at this address.
    pub fn remembered_at(&mut self, peer: &PeerId, address: &Multiaddr) {
        self.trust.remembered(peer, address);
    }

    /// Whom the operator trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Who is connected.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The record of a connected peer, to be written to.
    pub fn record_mut(&mut self, peer: &PeerId) -> Option<&mut Record> {
        self.table.get_mut(peer)
    }

    /// The rules of the gate.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    pub(super) fn take_outcome(&mut self) -> Outcome {
        std::mem::take(&mut self.outcome)
    }

    // ---- Connections.

    /// A connection is established.
    pub fn opened(&mut self, peer: PeerId, id: ConnectionId, connection: Connection) {
        self.trust.met(&peer, connection.counted, connection.direct);
        self.table.opened(peer, id, connection);
    }

    /// A connection has ended. Answers what was known of it.
    pub fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> Option<Closed> {
        self.table.closed(peer, id)
    }

    // ---- Addresses.

    /// Whether an address may be connected or dialed, when it is known whether its
    /// peer is trusted.
    ///
    /// # Errors
    /// The rule or ban that refuses it.
    pub fn address(&self, ip: IpAddr, trusted: bool, now: Instant) -> Result<(), Refusal> {
        self.rules.address(ip, trusted)?;
        let ip = ip.to_canonical();
        match self.ban_of_address(ip, trusted, now) {
            Some(ban) => Err(Refusal::BannedAddress {
                ip,
                ban: in_words(ban),
            }),
            None => Ok(()),
        }
    }

    /// As [`Self::address`], while nobody has proven yet who is there.
    ///
    /// # Errors
    /// The rule or ban that refuses it.
    pub fn unproven(&self, ip: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.address(ip, false, now).or_else(|refusal| {
            if self.trust.is_trusted_at(ip) {
                return self.address(ip, true, now);
            }
            Err(refusal)
        })
    }

    /// Whether an address may be dialed, which `name` stands for if it is given.
    ///
    /// # Errors
    /// The rule or ban that refuses it.
    pub fn dial(&self, ip: IpAddr, name: Option<&str>, now: Instant) -> Result<(), Refusal> {
        if let Some(name) = name {
            rules::name(ip, name)?;
        }
        self.address(ip, self.trust.is_trusted_at(ip), now)
    }

    /// Whether a peer may be connected, wherever it is.
    ///
    /// # Errors
    /// The ban that refuses it.
    pub fn peer(&self, peer: &PeerId, now: Instant) -> Result<(), Refusal> {
        match self.ban_of_peer(peer, now) {
            Some(ban) => Err(Refusal::BannedPeer {
                peer: *peer,
                ban: in_words(ban),
            }),
            None => Ok(()),
        }
    }

    /// Whether a ban or the rules for networks keep a peer out at this address.
    pub fn is_unwelcome_at(&self, peer: &PeerId, address: &Multiaddr, now: Instant) -> bool {
        let trusted = self.trust.is_trusted(peer);
        direct_ip(address).is_some_and(|ip| self.address(ip, trusted, now).is_err())
    }

    /// The ban of a peer, if there is one in force. For a trusted peer, only that
    /// of an operator is: the node's own may be of a time when it was a stranger.
    pub fn ban_of_peer(&self, peer: &PeerId, now: Instant) -> Option<&Ban> {
        let ban = self.bans.peer(peer, now)?;
        (ban.author == Author::Operator || !self.trust.is_trusted(peer)).then_some(ban)
    }

    /// A ban that an address falls under; for one of a trusted peer, of the bans of
    /// operators alone.
    pub fn ban_of_address(&self, ip: IpAddr, trusted: bool, now: Instant) -> Option<&Ban> {
        match trusted {
            _ if self.bans.no_nets() => None,
            true => self.bans.ip_by_operator(ip, now),
            false => self.bans.ip(ip, now),
        }
    }

    // ---- Conduct.

    /// Remembers what a peer did. What follows from it comes out as an order; a ban
    /// is in force when this returns.
    pub fn report(&mut self, peer: &PeerId, conduct: Conduct, now: Moment) {
        let ip = self.table.get(peer).and_then(Record::ip);
        let table = &self.table;
        let connected = |peer: &PeerId| table.contains(peer);
        let (reputation, action) = self.reputations.apply(peer, conduct, now.mono, connected);
        if !conduct.is_offence() {
            return;
        }
        self.outcome.notes.push(Note::Offence(conduct));
        let trusted = self.trust.is_trusted(peer);
        let by = scale(reputation.score, trusted);
        self.accounts.rescale(peer, by, now.mono);
        let action = match action {
            // An operator's word stands; what a trusted peer does is only told.
            _ if trusted => Action::Note,
            Action::Ban if self.bans.peer(peer, now.mono).is_some() => Action::Note,
            Action::Ban => {
                self.ban_automatically(peer, conduct, reputation.score, ip, now);
                Action::Ban
            }
            other => other,
        };
        self.sanction(Sanction {
            peer: *peer,
            conduct,
            action,
            score: reputation.score,
            ip,
        });
    }

    /// What is remembered of a peer.
    pub fn reputation(&self, peer: &PeerId, now: Instant) -> Reputation {
        self.reputations.of(peer, now)
    }

    // ---- Budgets.

    /// The budgets of a peer with a score of zero.
    pub fn rates(&self) -> Rates {
        self.accounts.rates()
    }

    /// Takes `messages` of the peer's budget: all of them, or none.
    ///
    /// # Errors
    /// [`OverBudget`]: drop what came. It costs reputation when it is persistent.
    pub fn allow(&mut self, peer: &PeerId, messages: u32, now: Moment) -> Result<(), OverBudget> {
        let (reputations, trust) = (&self.reputations, &self.trust);
        let scale = || scale_of(reputations, trust, peer, now.mono);
        let granted = self
            .accounts
            .messages(peer, messages.into(), now.mono, scale);
        let Granted::No { persistent } = granted else {
            return Ok(());
        };
        let refusal = OverBudget::Messages;
        self.outcome.notes.push(Note::OverBudget(*peer, refusal));
        if persistent {
            self.report(peer, Conduct::OverBudget, now);
        }
        Err(refusal)
    }

    /// Takes `bytes` of the peer's budget of bytes in any case; when it now owes,
    /// says how long to wait before reading more from it. For what cannot be
    /// dropped, and slows its sender instead.
    pub fn charge_bytes(&mut self, peer: &PeerId, bytes: usize, now: Instant) -> Option<Duration> {
        let (reputations, trust) = (&self.reputations, &self.trust);
        let scale = || scale_of(reputations, trust, peer, now);
        self.accounts.charge_bytes(peer, bytes as u64, now, scale)
    }

    /// As [`Self::charge_bytes`], for messages: requests that are answered late
    /// rather than never.
    pub fn charge(&mut self, peer: &PeerId, messages: u32, now: Instant) -> Option<Duration> {
        let (reputations, trust) = (&self.reputations, &self.trust);
        let scale = || scale_of(reputations, trust, peer, now);
        let messages = messages.into();
        self.accounts.charge_messages(peer, messages, now, scale)
    }

    // ---- Bans.

    /// Bans for an operator, in force at once. `length` of `None` is for good.
    ///
    /// # Errors
    /// [`BanError`].
    pub fn ban(
        &mut self,
        target: Target,
        length: Option<Duration>,
        reason: &str,
        now: Moment,
    ) -> Result<Ban, BanError> {
        let ban = self.bans.by_operator(target, length, reason, now)?;
        self.banned(now.mono);
        self.recheck();
        Ok(ban)
    }

    /// Lifts a ban, whoever set it, and forgets what a peer did; the ban that was
    /// lifted, or `None` when there was none.
    pub fn unban(&mut self, target: &Target, now: Instant) -> Option<Ban> {
        if let Target::Peer(peer) = target {
            self.reputations.forgive(peer);
            let by = scale_of(&self.reputations, &self.trust, peer, now);
            self.accounts.rescale(peer, by, now);
        }
        let lifted = self.bans.lift(target, now);
        self.bans_changed(now);
        lifted
    }

    /// The bans in force, in no order.
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        self.bans.list(now)
    }

    fn ban_automatically(
        &mut self,
        peer: &PeerId,
        conduct: Conduct,
        score: f32,
        ip: Option<IpAddr>,
        now: Moment,
    ) {
        let length = self.reputations.sentence(peer, now.mono);
        let strikes = self.reputations.of(peer, now.mono).strikes;
        let times = strikes.round() as u32;
        let reason = format!("{conduct}, reputation {score:.0}");
        let made = self
            .bans
            .automatic(Target::Peer(*peer), length, &reason, times, now);
        if made.is_none() {
            return;
        }
        self.banned(now.mono);
        let prefixes = self.table.prefixes().for_bans();
        let Some(subnet) = ip.and_then(|ip| prefixes.subnet(ip)) else {
            return;
        };
        if self.spares(&subnet) {
            return;
        }
        let Some((length, times)) = self.bans.crowd(subnet, peer, now.mono) else {
            return;
        };
        let reason = format!("{SUBNET_AFTER} peers of it were banned");
        let made = self
            .bans
            .automatic(Target::net(subnet), length, &reason, times, now);
        if let Some(ban) = made {
            let note = Note::SubnetBanned(subnet, ban.reason);
            self.outcome.notes.push(note);
            self.banned(now.mono);
            self.recheck();
        }
    }

    /// Whether a trusted peer or an address of the configuration is in there.
    fn spares(&self, subnet: &IpNet) -> bool {
        // A peer may be trusted only since it came.
        let mut here = self.trust.trusted().filter_map(|peer| self.table.get(peer));
        let is_in = |c: &Connection| c.direct.is_some_and(|ip| subnet.contains(&ip));
        self.trust.spares(subnet) || here.any(|r| r.connections().any(|(_, c)| is_in(c)))
    }

    /// Counts a ban, and has it saved.
    fn banned(&mut self, now: Instant) {
        self.outcome.notes.push(Note::Banned);
        self.bans_changed(now);
    }

    fn bans_changed(&mut self, now: Instant) {
        self.outcome.unsaved = true;
        self.count_bans(now);
    }

    fn count_bans(&mut self, now: Instant) {
        let note = Note::InForce(self.bans.in_force(now));
        self.outcome.notes.push(note);
    }

    // ---- Orders.

    fn sanction(&mut self, sanction: Sanction) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(sanction);
        } else if sanction.action > Action::Note {
            // In place of the oldest note; when all wait to be acted upon, bans are
            // found by looking, and a disconnect comes again with the next offence.
            let note = |s: &Sanction| s.action == Action::Note;
            match self.waiting.iter().position(note) {
                Some(at) => {
                    self.waiting.remove(at);
                    self.waiting.push_back(sanction);
                }
                None => self.recheck = true,
            }
        }
        self.outcome.orders = true;
    }

    fn recheck(&mut self) {
        self.recheck = true;
        self.outcome.orders = true;
    }

    /// The next order for the event loop.
    pub fn next_order(&mut self) -> Option<Order> {
        if std::mem::take(&mut self.recheck) {
            return Some(Order::Recheck);
        }
        self.waiting.pop_front().map(Order::Sanction)
    }

    // ---- Housekeeping, and what is saved.

    /// Removes bans that have expired, and follows a step of the time of day.
    pub fn tend_bans(&mut self, now: Moment) {
        self.bans.tend(now);
        self.count_bans(now.mono);
    }

    /// Forgets the budgets that are full again.
    pub fn tend_budgets(&mut self, now: Instant) {
        self.accounts.sweep(now);
    }

    /// Forgets the peers whose score is back at nothing.
    pub fn tend_reputations(&mut self, now: Instant) {
        self.reputations.sweep(now);
    }

    /// Takes in what an earlier run saved: bans, and reputations with the time of
    /// day at which each was written.
    pub fn restore(
        &mut self,
        bans: Vec<Ban>,
        reputations: Vec<(PeerId, Reputation, SystemTime)>,
        now: Moment,
    ) {
        for ban in bans {
            self.bans.restore(ban, now);
        }
        for (peer, reputation, at) in reputations {
            // A clock that stands before the save forgives nothing.
            let elapsed = now.wall.duration_since(at).unwrap_or_default();
            self.reputations
                .restore(peer, reputation, elapsed, now.mono);
        }
        self.count_bans(now.mono);
        self.recheck();
    }

    /// What is to be written down: as [`Self::take_unsaved_bans`], and up to
    /// [`SAVE_AT_ONCE`] other reputations. It counts as written; give it to
    /// [`Self::put_back`] when it could not be.
    pub fn take_unsaved(&mut self, now: Instant) -> Unsaved {
        let mut unsaved = self.take_unsaved_bans(now);
        let others = self.reputations.take_unsaved(SAVE_AT_ONCE, now);
        unsaved.reputations.extend(others);
        unsaved
    }

    /// All changes of bans, and the reputations of their peers: in one
    /// transaction, or a killed process would come back with a ban and none of
    /// the strikes that led to it, or with strikes that were forgiven.
    pub fn take_unsaved_bans(&mut self, now: Instant) -> Unsaved {
        let bans = self.bans.take_unsaved();
        let peers = bans.iter().filter_map(|change| match change {
            Change::Keep(Ban {
                target: Target::Peer(peer),
                ..
            })
            | Change::Remove(Target::Peer(peer)) => Some(*peer),
            _ => None,
        });
        let reputations = self.reputations.take_unsaved_of(&peers.collect(), now);
        Unsaved { bans, reputations }
    }

    /// What could not be written.
    pub fn put_back(&mut self, unsaved: Unsaved) {
        self.bans.put_back(unsaved.bans);
        let peers = unsaved.reputations.into_iter().map(|(peer, _)| peer);
        self.reputations.put_back(peers);
    }

    /// Whether something waits to be written.
    pub fn is_dirty(&self) -> bool {
        self.bans.is_dirty() || self.reputations.is_dirty()
    }

    /// Bans in force, peers whose reputation is remembered, and accounts of budgets.
    pub fn sizes(&self, now: Instant) -> (usize, usize, usize) {
        let bans = self.bans.in_force(now);
        (bans, self.reputations.len(), self.accounts.len())
    }
}

fn scale_of(reputations: &Reputations, trust: &Trust, peer: &PeerId, now: Instant) -> f32 {
    scale(reputations.of(peer, now).score, trust.is_trusted(peer))
}

fn in_words(ban: &Ban) -> String {
    match ban.reason.as_str() {
        "" => format!("by {}", ban.author.name()),
        reason => format!("by {}: {reason}", ban.author.name()),
    }
}
