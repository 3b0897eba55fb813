//! The sessions with peers: how they begin and end, and which of them makes room.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use async_std::task::spawn;
use futures::channel::{mpsc, oneshot};
use libp2p::PeerId;

use super::Run;
use super::active::MAX_ACTIVE;
use super::provider::Provider;
use super::search::SEARCH_WAIT;
use super::session::Session;
use crate::block::network::{Fault, Network};
use crate::content::fetch::Useless;
use crate::content::fetch::outcome::Outcome;
use crate::content::fetch::speed::Speed;
use crate::telemetry::throttle;

/// The maximum number of recent attempts with known providers. Each may be a dial.
const MAX_ATTEMPTS: usize = 32;

/// The maximum number of recent attempts with guesses. The rest follow as answers arrive.
const MAX_GUESSES: usize = 64;

/// How long an attempt counts as recent. A peer that is named next is then tried within a
/// second, whatever the others do.
const FRESH: Duration = Duration::from_secs(1);

/// The maximum number of sessions. Beyond it, the oldest attempt without an answer makes
/// room, and that of a guess comes first. A guess never takes the place of a known
/// provider.
const MAX_SESSIONS: usize = 160;

/// The maximum number of guesses that may be under way, including those that are not
/// recent any more. The remaining sessions are for known providers.
const MAX_ALL_GUESSES: usize = 96;

impl<N: Network> Run<N> {
    /// Takes in a peer that a search or the caller has named, or that is connected.
    pub(super) fn lead(&mut self, peer: PeerId, named: bool, now: Instant) {
        if self.candidates.found(peer, named, now) {
            self.last_lead = now;
        }
        if named && let Some(session) = self.providers.values_mut().find(|p| p.peer == peer) {
            session.named = true;
        }
    }

    /// Begins sessions with peers that may have the content and were not tried yet.
    pub(super) fn attempt(&mut self, now: Instant) {
        if self.proven() >= MAX_ACTIVE {
            return;
        }
        for named in [true, false] {
            let most = if named { MAX_ATTEMPTS } else { MAX_GUESSES };
            let fresh = |p: &&Provider| {
                let fresh = now.saturating_duration_since(p.began) < FRESH;
                p.named == named && !p.holds && fresh
            };
            let mut under_way = self.providers.values().filter(fresh).count();
            while under_way < most
                && self.candidates.has_next(named, now)
                && self.has_room(named, now)
            {
                let Some(peer) = self.candidates.next(named, now) else {
                    break;
                };
                self.connect(peer, named, now);
                under_way += 1;
            }
        }
    }

    /// Makes room for one more session with a known provider or with a guess, if
    /// necessary. Returns whether there is room.
    fn has_room(&mut self, named: bool, now: Instant) -> bool {
        let guesses = self.providers.values().filter(|p| !p.named && !p.holds);
        if !named && guesses.count() >= MAX_ALL_GUESSES {
            return false;
        }
        if self.providers.len() < MAX_SESSIONS {
            return true;
        }
        let all = self.providers.iter();
        let old = all.filter(|(_, p)| {
            let fresh = now.saturating_duration_since(p.began) < FRESH;
            p.blocks == 0 && !fresh && !(p.holds && p.active) && (named || !p.named)
        });
        let oldest = old.min_by_key(|(_, p)| (p.holds, p.named, p.began));
        let Some((id, holds)) = oldest.map(|(id, p)| (*id, p.holds)) else {
            return false;
        };
        match holds {
            true => self.set_aside(id, now),
            false => self.let_go(id, Outcome::Silent, now),
        }
        true
    }

    fn connect(&mut self, peer: PeerId, named: bool, now: Instant) {
        let id = self.next_provider;
        self.next_provider += 1;
        let (commands, orders) = mpsc::unbounded();
        let (alive, ended) = oneshot::channel();
        self.providers.insert(
            id,
            Provider {
                peer,
                commands,
                _alive: alive,
                next_id: 0,
                open: HashMap::new(),
                cancelled: HashSet::new(),
                question: None,
                speed: Speed::new(),
                lacks: HashSet::new(),
                outdated: HashSet::new(),
                refusals: 0,
                connected: false,
                named,
                holds: false,
                active: false,
                tried: false,
                blocks: 0,
                began: now,
                received: None,
                seen: 0,
                alive: now,
                flowed: None,
            },
        );
        let network = &self.setting.network;
        let opening = match named {
            true if self.candidates.look_up_once(&peer) => network.open(peer),
            // Another search for its addresses would find what the first one found.
            true => network.open_again(peer),
            false => network.open_near(peer),
        };
        let session = Session {
            id,
            max_block: self.options.max_block,
            tell: self.tell.clone(),
        };
        spawn(session.run(opening, orders, ended));
    }

    /// Ends a session, and takes back the blocks that it was asked for.
    fn close(&mut self, from: u64, now: Instant) -> Option<PeerId> {
        let provider = self.providers.remove(&from)?;
        for (cid, _) in provider.open.values() {
            self.unasked(from, cid);
        }
        if provider.holds && !self.providers.values().any(|other| other.holds) {
            // No holder is left. Those that were set aside are needed again, and the
            // search goes on soon, however long the last wait was.
            self.candidates.recall(now);
            self.search_wait = SEARCH_WAIT;
            self.next_search = self.next_search.min(now + SEARCH_WAIT);
        }
        Some(provider.peer)
    }

    pub(super) fn let_go(&mut self, from: u64, outcome: Outcome, now: Instant) {
        if let Some(peer) = self.close(from, now) {
            log::debug!(peer:% = peer, cid:% = self.root, error:? = outcome; "provider let go");
            if self.candidates.is_named(&peer)
                && let Some(why) = outcome.words()
            {
                self.last_problem = format!("; last: {peer}: {why}");
            }
            self.candidates.failed(&peer, outcome, now);
        }
    }

    /// Ends a session that is not needed. The peer may be asked again later.
    pub(super) fn set_aside(&mut self, from: u64, now: Instant) {
        if let Some(peer) = self.close(from, now) {
            self.candidates.put_back(&peer, now);
        }
    }

    /// Ends the session and asks the peer nothing more. The session may have ended
    /// already, before its block was verified.
    pub(super) fn expel(
        &mut self,
        from: u64,
        peer: PeerId,
        fault: Fault,
        why: Useless,
        now: Instant,
    ) {
        self.close(from, now);
        let words = why.to_string();
        if !self.candidates.ban(&peer, why) {
            // The peer sent more of the same before it was expelled.
            return;
        }
        // Any peer can announce that it has the content.
        if let Some(suppressed) = throttle::allow("provider expelled") {
            log::warn!(peer:% = peer, cid:% = self.root, error = words, suppressed; "provider expelled");
        }
        self.last_problem = format!("; last: {peer}: {words}");
        self.setting.network.report(peer, fault);
    }

    /// Returns the number of providers that have delivered blocks that were needed.
    pub(super) fn proven(&self) -> usize {
        self.providers.values().filter(|p| p.blocks > 0).count()
    }

    pub(super) fn holders(&self) -> usize {
        self.providers.values().filter(|p| p.holds).count()
    }
}
