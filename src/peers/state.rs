//! Everything that is known of peers, and what is decided about them.
//!
//! [`Peers`] is a state machine: events and the time go in, and decisions come out. It
//! reads no clock, uses neither the network nor the disk, counts no metrics and writes no
//! log. It returns decisions, [`Order`]s for the event loop and [`Note`]s for the code
//! that counts and logs. The rest of the program shares one `Peers` through
//! [`super::Policy`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::bans::{Author, Ban, BanError, BanList, Change, Excess, Target};
use super::bucket::{Accounts, Granted, Rates, scale};
use super::conduct::Conduct;
use super::record::{Connection, Record};
use super::refusal::Refusal;
use super::reputation::{Action, Reputation, Reputations, is_clean};
use super::rules::{self, Rules};
use super::standing::{MAX_GOOD, MERIT, PROVEN, SETTLED, Standing, Standings};
use super::subnet::{Prefixes, direct_ip};
use super::table::{Closed, Table};
use super::trust::Trust;
use crate::system::moment::Moment;

/// The number of sanctions that may wait for the event loop, which takes them at each
/// turn. In a flood, notes are dropped, and sanctions that must not be lost are found by
/// looking at the bans themselves (see [`Order::Recheck`]).
pub(super) const MAX_WAITING: usize = 256;

/// The number of rows of reputations that are written at once: one transaction of some
/// 100 KiB.
pub const SAVE_AT_ONCE: usize = 1_024;

/// The settings of the operator that concern peers.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The budgets of a peer with a score of zero.
    pub rates: Rates,
    /// The peers that the node itself never disconnects or bans, and that pass its limits
    /// (`P2P_TRUSTED_PEERS`).
    pub trusted: Vec<PeerId>,
    /// The peers that pass the limits of connections (`P2P_PEERING`).
    pub peering: Vec<PeerId>,
    /// The prefixes that make two addresses one subnet (`P2P_SUBNET_PREFIXES`).
    pub prefixes: Prefixes,
    /// The rules for connections of strangers.
    pub rules: Rules,
}

/// The error for a peer that sent more than its budget allows. What it sent is to be
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// More messages than `P2P_RATE_BURST` and `P2P_RATE_FILL` allow.
    #[error(
        "more messages than this node's own limit allows; raise P2P_RATE_BURST or P2P_RATE_FILL if that is not wanted"
    )]
    Messages,
}

/// The consequence of an offence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sanction {
    /// The peer that committed it.
    pub peer: PeerId,
    /// The offence.
    pub conduct: Conduct,
    /// The action that follows.
    pub action: Action,
    /// The score of the peer after the offence.
    pub score: f32,
    /// The address from which the peer is connected; `None` when it is not connected, or
    /// through a relay.
    pub ip: Option<IpAddr>,
}

/// Something that the event loop has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Log the sanction, and take the action that it names.
    Sanction(Sanction),
    /// Close every connection that a ban forbids: the bans have changed, or sanctions
    /// were lost in a flood.
    Recheck,
}

/// Something that is worth counting, or telling the operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A peer committed an offence.
    Offence(Conduct),
    /// What a peer sent was dropped, since the peer exceeded its budget.
    OverBudget(PeerId, OverBudget),
    /// A peer or a network was put on the blacklist.
    Banned,
    /// A subnet was put on the blacklist, because too many of its peers were.
    SubnetBanned(IpNet, String),
    /// The number of bans that are in force now.
    InForce(usize),
}

/// The changes since the last save.
#[derive(Clone, Debug, Default)]
pub struct Unsaved {
    /// Changes of bans, in order.
    pub bans: Vec<Change>,
    /// Changes of reputations; `None` for a row that is to be removed.
    pub reputations: Vec<(PeerId, Option<Reputation>)>,
}

impl Unsaved {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bans.is_empty() && self.reputations.is_empty()
    }
}

/// The results of a call that are for the caller to handle.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) notes: Vec<Note>,
    /// Whether there are new orders.
    pub(super) orders: bool,
    /// Whether there are bans to be written to the disk.
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
    standings: Standings,
    waiting: VecDeque<Sanction>,
    recheck: bool,
    outcome: Outcome,
}

impl Peers {
    /// Returns a state in which no peer is connected or remembered yet.
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

    /// Changes the settings from now on. `configured` are the addresses that the
    /// configuration names, with their peers where these are known. The reputations of
    /// peers and the levels of their buckets do not change. Connections stay too, even
    /// those that exceed a new limit. The caller has to close the connections of peers
    /// that are no longer allowed. Trust is a part of a peer's scale, which is looked up
    /// anew within a second.
    pub fn adjust(&mut self, settings: Settings, configured: &[(Option<PeerId>, Multiaddr)]) {
        self.set(settings);
        self.configured(configured);
        // Of the peers that were met, only those that are connected now are known to be
        // trusted still.
        for (peer, record) in self.table.iter() {
            for (_, connection) in record.connections() {
                let Connection {
                    counted, direct, ..
                } = connection;
                self.trust.met(peer, *counted, *direct);
            }
        }
    }

    /// Records the addresses that the configuration names, with their peers where these
    /// are known. The node bans no subnet that contains one of them, and a trusted peer
    /// there passes as described at [`Trust::is_trusted_at`].
    pub fn configured(&mut self, configured: &[(Option<PeerId>, Multiaddr)]) {
        for (peer, address) in configured {
            self.trust.configured(peer.as_ref(), address);
        }
    }

    /// Records that an earlier run knew a peer at this address.
    pub fn remembered_at(&mut self, peer: &PeerId, address: &Multiaddr) {
        self.trust.remembered(peer, address);
    }

    /// Returns which peers the operator trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Returns which peers are connected.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the record of a connected peer, to be changed.
    pub fn record_mut(&mut self, peer: &PeerId) -> Option<&mut Record> {
        self.table.get_mut(peer)
    }

    /// Returns the rules of the gate.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    pub(super) fn take_outcome(&mut self) -> Outcome {
        std::mem::take(&mut self.outcome)
    }

    // ---- Connections.

    /// Records that a connection was established.
    pub fn opened(&mut self, peer: PeerId, id: ConnectionId, connection: Connection) {
        self.trust.met(&peer, connection.counted, connection.direct);
        self.table.opened(peer, id, connection);
    }

    /// Records that a connection has ended. Returns what was known of it.
    pub fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> Option<Closed> {
        self.table.closed(peer, id)
    }

    // ---- Addresses.

    /// Checks whether an address may be connected or dialed, when it is known how its peer
    /// stands with this node.
    ///
    /// # Errors
    /// Returns the rule or ban that refuses it.
    pub fn address(&self, ip: IpAddr, who: Standing, now: Instant) -> Result<(), Refusal> {
        self.rules.address(ip, who == Standing::Trusted)?;
        let ip = ip.to_canonical();
        match self.ban_of_address(ip, who, now) {
            Some(ban) => Err(Refusal::BannedAddress {
                ip,
                ban: in_words(ban),
            }),
            None => Ok(()),
        }
    }

    /// Does the same as [`Self::address`], for an address whose peer has not proven yet
    /// who it is. Where peers behaved well lately, one of them may be coming back.
    ///
    /// # Errors
    /// Returns the rule or ban that refuses it.
    pub fn unproven(&self, ip: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.address(ip, Standing::Stranger, now)
            .or_else(|refusal| {
                let subnet = self.subnet_for_bans(ip);
                let good = |net: &IpNet| self.standings.good(net, now).next().is_some();
                let who = match subnet {
                    _ if self.trust.is_trusted_at(ip) => Standing::Trusted,
                    Some(subnet) if good(&subnet) => Standing::Good,
                    _ => return Err(refusal),
                };
                self.address(ip, who, now)
            })
    }

    /// Checks whether an address may be dialed. `name` is the name that resolves to it,
    /// if there is one, and `peer` the peer that is expected there. The node's own bans of
    /// subnets do not hold for a peer that this node knows and holds nothing against.
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
        if let Some(name) = name {
            rules::name(ip, name)?;
        }
        let who = match peer {
            _ if self.trust.is_trusted_at(ip) => Standing::Trusted,
            // Anybody can say that a trusted peer is at some address.
            Some(peer) => self.standing(peer, now).min(Standing::Good),
            None => Standing::Stranger,
        };
        self.address(ip, who, now)
    }

    /// Records that a program on this host asked for a connection with `peer`.
    pub fn want(&mut self, peer: &PeerId, now: Instant) {
        self.standings.want(peer, now);
    }

    /// Returns how a peer stands with this node.
    pub fn standing(&self, peer: &PeerId, now: Instant) -> Standing {
        let settled = || {
            let record = self.table.get(peer);
            record.is_some_and(|record| record.age(now) >= SETTLED)
        };
        let reputation = self.reputations.of(peer, now);
        match () {
            () if self.trust.is_trusted(peer) => Standing::Trusted,
            () if self.standings.is_wanted(peer, now) => Standing::Good,
            () if !is_clean(reputation) => Standing::Stranger,
            () if reputation.score >= MERIT || settled() => Standing::Good,
            () => Standing::Stranger,
        }
    }

    /// Returns the peers and connections that a ban or the rules for networks forbid by
    /// now. `None` stands for all connections of the peer.
    pub fn unwelcome(&self, now: Instant) -> Vec<(PeerId, Option<ConnectionId>)> {
        let mut unwelcome = Vec::new();
        for (peer, record) in self.table.iter() {
            if self.ban_of_peer(peer, now).is_some() {
                unwelcome.push((*peer, None));
                continue;
            }
            let who = self.standing(peer, now);
            let clean = is_clean(self.reputations.of(peer, now));
            for (id, connection) in record.connections() {
                // This node chose whom it dialed, so only what the peer did counts.
                let chosen = connection.outbound && clean;
                let who = if chosen { who.max(Standing::Good) } else { who };
                let forbidden = |ip| self.address(ip, who, now).is_err();
                if connection.direct.is_some_and(forbidden) {
                    unwelcome.push((*peer, Some(id)));
                }
            }
        }
        unwelcome
    }

    /// Returns the subnet of an address as bans see it.
    fn subnet_for_bans(&self, ip: IpAddr) -> Option<IpNet> {
        self.table.prefixes().for_bans().subnet(ip)
    }

    /// Checks whether a peer may be connected, wherever it is.
    ///
    /// # Errors
    /// Returns the ban that refuses it.
    pub fn peer(&self, peer: &PeerId, now: Instant) -> Result<(), Refusal> {
        match self.ban_of_peer(peer, now) {
            Some(ban) => Err(Refusal::BannedPeer {
                peer: *peer,
                ban: in_words(ban),
            }),
            None => Ok(()),
        }
    }

    /// Returns whether a ban or the rules for networks keep a peer out at this address.
    pub fn is_unwelcome_at(&self, peer: &PeerId, address: &Multiaddr, now: Instant) -> bool {
        let who = self.standing(peer, now);
        direct_ip(address).is_some_and(|ip| self.address(ip, who, now).is_err())
    }

    /// Returns the ban of a peer, if one is in force. For a trusted peer, only an
    /// operator's ban counts: the node's own may date from a time when the peer was a
    /// stranger.
    pub fn ban_of_peer(&self, peer: &PeerId, now: Instant) -> Option<&Ban> {
        let ban = self.bans.peer(peer, now)?;
        (ban.author == Author::Operator || !self.trust.is_trusted(peer)).then_some(ban)
    }

    /// Returns a ban that covers an address. Unless its peer is a stranger, only the bans
    /// of operators count.
    pub fn ban_of_address(&self, ip: IpAddr, who: Standing, now: Instant) -> Option<&Ban> {
        match who {
            _ if self.bans.no_nets() => None,
            Standing::Stranger => self.bans.ip(ip, now),
            Standing::Good | Standing::Trusted => self.bans.ip_by_operator(ip, now),
        }
    }

    // ---- Conduct.

    /// Remembers what a peer did. The consequence comes out as an order. If it is a ban,
    /// the ban is in force when this returns.
    pub fn report(&mut self, peer: &PeerId, conduct: Conduct, now: Moment) {
        let ip = self.table.get(peer).and_then(Record::ip);
        let table = &self.table;
        let connected = |peer: &PeerId| table.contains(peer);
        let (reputation, action) = self.reputations.apply(peer, conduct, now.mono, connected);
        if !conduct.is_offence() {
            if reputation.score >= MERIT
                && is_clean(reputation)
                && let Some(subnet) = ip.and_then(|ip| self.subnet_for_bans(ip))
            {
                self.standings.behaved(subnet, peer, now.mono);
            }
            return;
        }
        self.outcome.notes.push(Note::Offence(conduct));
        let trusted = self.trust.is_trusted(peer);
        let by = scale(reputation.score, trusted);
        self.accounts.rescale(peer, by, now.mono);
        let action = match action {
            // An operator's decision to trust a peer takes precedence: what the peer does
            // is only reported.
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

    /// Returns what is remembered of a peer.
    pub fn reputation(&self, peer: &PeerId, now: Instant) -> Reputation {
        self.reputations.of(peer, now)
    }

    // ---- Budgets.

    /// Returns the budgets of a peer with a score of zero.
    pub fn rates(&self) -> Rates {
        self.accounts.rates()
    }

    /// Takes `messages` from the peer's budget: all of them, or none.
    ///
    /// # Errors
    /// Returns [`OverBudget`]. What the peer sent is then to be dropped. The excess costs
    /// reputation when it is persistent.
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

    /// Takes `bytes` from the peer's budget of bytes in any case. If the peer is in debt
    /// now, returns how long to wait before reading more from it. This is for data that
    /// cannot be dropped, so that its sender is slowed instead.
    pub fn charge_bytes(&mut self, peer: &PeerId, bytes: usize, now: Instant) -> Option<Duration> {
        let (reputations, trust) = (&self.reputations, &self.trust);
        let scale = || scale_of(reputations, trust, peer, now);
        self.accounts.charge_bytes(peer, bytes as u64, now, scale)
    }

    /// Does the same as [`Self::charge_bytes`] for messages: for requests that are
    /// answered late rather than never.
    pub fn charge(&mut self, peer: &PeerId, messages: u32, now: Instant) -> Option<Duration> {
        let (reputations, trust) = (&self.reputations, &self.trust);
        let scale = || scale_of(reputations, trust, peer, now);
        let messages = messages.into();
        self.accounts.charge_messages(peer, messages, now, scale)
    }

    // ---- Bans.

    /// Bans a target for an operator, at once. If `length` is `None`, the ban has no end.
    ///
    /// # Errors
    /// Returns [`BanError`].
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

    /// Lifts a ban, no matter who set it, and forgets what the peer did. Returns the ban
    /// that was lifted, or `None` when there was none.
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

    /// Returns the bans in force, in no order.
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
        let Some(subnet) = ip.and_then(|ip| self.subnet_for_bans(ip)) else {
            return;
        };
        if self.spares(&subnet) {
            return;
        }
        let good = self.well_behaved(&subnet, now.mono);
        let Some(excess) = self.bans.crowd(subnet, peer, good, now.mono) else {
            return;
        };
        let Excess { ids, length, times } = excess;
        let reason = format!("{ids} peers of it were banned");
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

    /// Returns how many peers of a subnet behaved well lately, and still stand without an
    /// offence; no more than count.
    fn well_behaved(&self, subnet: &IpNet, now: Instant) -> usize {
        let clean = |peer: &&PeerId| is_clean(self.reputations.of(peer, now));
        let mut good: Vec<&PeerId> = self.standings.good(subnet, now).filter(clean).collect();
        for (peer, record) in self.table.iter() {
            let here = record.ip().is_some_and(|ip| subnet.contains(&ip));
            if here && record.age(now) >= PROVEN && clean(&peer) && !good.contains(&peer) {
                good.push(peer);
            }
            if good.len() >= MAX_GOOD {
                break;
            }
        }
        good.len()
    }

    /// Returns whether a trusted peer or an address of the configuration is in this
    /// subnet.
    fn spares(&self, subnet: &IpNet) -> bool {
        // A peer may have become trusted only after it connected.
        let mut here = self.trust.trusted().filter_map(|peer| self.table.get(peer));
        let is_in = |c: &Connection| c.direct.is_some_and(|ip| subnet.contains(&ip));
        self.trust.spares(subnet) || here.any(|r| r.connections().any(|(_, c)| is_in(c)))
    }

    /// Counts a ban, and asks for it to be saved.
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
            // It replaces the oldest note. When all that wait have to be acted upon, bans
            // are found by looking at the bans themselves, and the peer is disconnected
            // after its next offence.
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

    /// Returns the next order for the event loop.
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
        self.standings.tend(now.mono);
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
            // If the clock is earlier than the time of the save, no part of a score has
            // faded.
            let elapsed = now.wall.duration_since(at).unwrap_or_default();
            self.reputations
                .restore(peer, reputation, elapsed, now.mono);
        }
        self.count_bans(now.mono);
        self.recheck();
    }

    /// Takes what has to be written to the disk: the same as [`Self::take_unsaved_bans`],
    /// and up to [`SAVE_AT_ONCE`] other reputations. It counts as written from now on. If
    /// it could not be written, give it to [`Self::put_back`].
    pub fn take_unsaved(&mut self, now: Instant) -> Unsaved {
        let mut unsaved = self.take_unsaved_bans(now);
        let others = self.reputations.take_unsaved(SAVE_AT_ONCE, now);
        unsaved.reputations.extend(others);
        unsaved
    }

    /// Takes all changes of bans, and the reputations of their peers. They have to be
    /// written in one transaction. Otherwise, a process that was killed could come back
    /// with a ban but without the strikes that led to it, or with strikes that were
    /// forgiven.
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

    /// Puts back what could not be written.
    pub fn put_back(&mut self, unsaved: Unsaved) {
        self.bans.put_back(unsaved.bans);
        let peers = unsaved.reputations.into_iter().map(|(peer, _)| peer);
        self.reputations.put_back(peers);
    }

    /// Returns whether there is something to write.
    pub fn is_dirty(&self) -> bool {
        self.bans.is_dirty() || self.reputations.is_dirty()
    }

    /// Returns the numbers of bans in force, of peers whose reputation is remembered, and
    /// of accounts of budgets.
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
