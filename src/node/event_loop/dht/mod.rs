//! The DHT: the queries of this host, the records that others want this node to hold, and
//! the routing table.
//!
//! | file | noun |
//! |---|---|
//! | [`commands`] | what programs on this host ask of it |
//! | [`queries`] | queries under way, and the programs that wait for them |

mod commands;
mod queries;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures::channel::mpsc;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId, kad};

use self::queries::{Next, Queries};
use crate::api::{DhtRole, DhtStatus};
use crate::dht::addresses::MAX_ADDRS_PER_PEER;
use crate::dht::owned::{self, Invalid, Owned};
use crate::dht::records::{MAX_TTL, Origin};
use crate::dht::table::Seats;
use crate::node::configured::peer_of;
use crate::node::dht_intake::DhtIntake;
use crate::node::effect::{Effect, View};
use crate::node::options::Options;
use crate::node::peer_addrs::PeerAddrs;
use crate::node::peers::connected::Connected;
use crate::node::{Metrics, address_book, compat};
use crate::peers::record::Record;
use crate::peers::refusal::Refusal;
use crate::peers::subnet::ip_of;
use crate::peers::{Conduct, Peers, Policy};
use crate::system::moment::Moment;
use crate::telemetry::Direction;
use crate::telemetry::throttle::Throttle;

/// See the module's documentation.
pub(in crate::node) struct Dht {
    metrics: Arc<Metrics>,
    policy: Policy,
    /// The key that signs what programs on this host put under this node's names.
    identity: Keypair,
    /// The name of its protocol.
    protocol: String,
    seats: Seats,
    queries: Queries,
    /// The channels that are told of each peer that enters the routing table: the
    /// announcer's.
    entered: Vec<mpsc::Sender<()>>,
    lines: Throttle,
}

/// Returns the number of peers in the routing table.
pub(super) fn routing_table_size(kad: &mut DhtIntake) -> usize {
    kad.kbuckets().map(|b| b.num_entries()).sum()
}

/// Returns the routing table.
pub(super) fn routing_table(kad: &mut DhtIntake) -> Vec<PeerAddrs> {
    let mut table = Vec::new();
    for bucket in kad.kbuckets() {
        for entry in bucket.iter() {
            table.push(PeerAddrs {
                peer: *entry.node.key.preimage(),
                addrs: entry.node.value.iter().cloned().collect(),
            });
        }
    }
    table
}

/// Returns where a peer can be dialed, as far as this node knows without asking others:
/// at the addresses in `dialed`, at which it was reached, and at those in the address
/// book and the routing table.
pub(super) fn known_addrs(
    peer: &PeerId,
    dialed: Vec<Multiaddr>,
    book: &mut address_book::Behaviour,
    kad: &mut DhtIntake,
) -> Vec<Multiaddr> {
    let mut known = dialed;
    known.extend(book.get(peer));
    if let Some(bucket) = kad.kbucket(*peer) {
        for entry in bucket.iter().filter(|e| e.node.key.preimage() == peer) {
            known.extend(entry.node.value.iter().cloned());
        }
    }
    let mut seen = HashSet::new();
    known.iter_mut().for_each(|a| {
        if peer_of(a).is_some() && !a.iter().any(|p| p == Protocol::P2pCircuit) {
            a.pop();
        }
    });
    known.retain(|a| seen.insert(a.clone()));
    known.truncate(MAX_ADDRS_PER_PEER);
    known
}

impl Dht {
    pub(super) fn new(options: &Options, identity: Keypair, metrics: Arc<Metrics>) -> Self {
        Dht {
            metrics,
            identity,
            seats: Seats::default(),
            policy: options.policy.clone(),
            protocol: options.kad_protocol.clone(),
            queries: Queries::default(),
            entered: Vec::new(),
            lines: Throttle::default(),
        }
    }

    /// Returns whether these protocols, which a peer says it speaks, make it a server of
    /// this DHT.
    pub(super) fn is_server<'a>(&self, mut protocols: impl Iterator<Item = &'a str>) -> bool {
        protocols.any(|name| name == self.protocol)
    }

    /// Returns the number of queries under way for programs on this host.
    pub(super) fn queries(&self) -> usize {
        self.queries.len()
    }

    /// Returns the status that programs on this host see.
    pub(super) fn status(&self, kad: &mut DhtIntake) -> DhtStatus {
        DhtStatus {
            protocol: self.protocol.clone(),
            mode: match kad.mode() {
                kad::Mode::Server => DhtRole::Server,
                kad::Mode::Client => DhtRole::Client,
            },
            table_size: routing_table_size(kad) as u64,
            values: kad.store_mut().values_len() as u64,
            provider_records: kad.store_mut().provider_records_len() as u64,
            queries: self.queries.len() as u64,
        }
    }

    /// Ends queries that no program waits for any more.
    pub(super) fn tend(&self, kad: &mut DhtIntake) {
        for id in self.queries.abandoned() {
            if let Some(mut query) = kad.query_mut(&id) {
                query.finish();
            }
        }
    }

    /// Removes records that have expired.
    pub(super) fn sweep(&self, kad: &mut DhtIntake, now: Instant) {
        kad.store_mut().remove_expired(now);
    }

    /// Stores the addresses that the answer to a query named.
    pub(super) fn learn(
        &self,
        result: &kad::QueryResult,
        kad: &mut DhtIntake,
        book: &mut address_book::Behaviour,
        peers: &Connected,
    ) {
        match result {
            // Kademlia knows the addresses of the providers that an answer named only
            // while the query runs. The address book keeps them until the fetch dials.
            kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders {
                providers,
                ..
            })) => {
                let near = peers.any_near();
                for peer in providers.iter().filter(|peer| !peers.contains(peer)) {
                    let known = compat::query_addresses::addresses_in_queries(kad, *peer);
                    book.add(*peer, &known, near);
                }
            }
            kad::QueryResult::GetClosestPeers(Ok(found)) => {
                let near = peers.any_near();
                for peer in &found.peers {
                    book.add(peer.peer_id, &peer.addrs, near);
                }
            }
            _ => {}
        }
    }

    /// Handles one step of a query. `last` tells whether it is the last one.
    pub(super) fn step(
        &mut self,
        id: kad::QueryId,
        result: kad::QueryResult,
        stats: &kad::QueryStats,
        last: bool,
        kad: &mut DhtIntake,
        now: Moment,
    ) {
        if last {
            let sent = u64::from(stats.num_requests());
            let messages = &self.metrics.traffic.messages;
            messages.with_label_values(&["out", "dht"]).inc_by(sent);
        }
        if let kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) = result {
            let kad::Record { key, value, .. } = found.record;
            let next = match self.check(&key, &value, now.wall) {
                Ok(owned) => {
                    let value = owned::open(key.as_ref(), value);
                    self.queries.found(id, value, owned.map(|owned| owned.rank))
                }
                Err(why) => {
                    log::debug!(peer:? = found.peer, error:% = why; "a value from the DHT is not valid");
                    Next::Continue
                }
            };
            self.go_on(id, next, kad);
            return;
        }
        let next = self
            .queries
            .step(id, result, stats, last, &self.metrics, now.mono);
        self.go_on(id, next, kad);
    }

    fn go_on(&self, id: kad::QueryId, next: Next, kad: &mut DhtIntake) {
        match next {
            Next::Continue => {}
            Next::Finish => {
                if let Some(mut query) = kad.query_mut(&id) {
                    query.finish();
                }
            }
            Next::Place(provision, peers) => kad.place(id, provision, &peers),
        }
    }

    /// Records that a peer has entered the routing table. Kademlia lets some in long after
    /// they were added, when another one has left a full bucket. Their places may be taken
    /// by then, and they have to leave.
    pub(super) fn entered(&mut self, peer: PeerId, kad: &mut DhtIntake) {
        if !self.has_place(peer, kad) {
            kad.remove_peer(&peer);
            return;
        }
        // If a channel is full, its receiver has a message already.
        self.entered.retain_mut(|to| {
            let told = to.try_send(());
            told.is_ok() || told.is_err_and(|e| e.is_full())
        });
    }

    /// Records that a dial of a peer has failed. `alone` tells whether no peer is
    /// connected.
    pub(super) fn dial_failed(
        &self,
        peer: &PeerId,
        error: &DialError,
        alone: bool,
        kad: &mut DhtIntake,
        view: View<'_>,
    ) {
        // Kademlia keeps the last address of a peer in any case, and every query that
        // comes across the peer waits for it: a dial of a host that is off takes the
        // whole handshake time-out of QUIC. A peer that comes back identifies itself and
        // enters the table again. When no peer is connected, the fault may be on this
        // side.
        let gone = matches!(
            error,
            DialError::Transport(_) | DialError::WrongPeerId { .. } | DialError::NoAddresses
        );
        let gone = gone && !alone;
        // A peer that this node's own rules keep out cannot be used either.
        let forbidden = self.is_forbidden(peer, error, view.now);
        if (gone || forbidden) && !view.peers.contains(peer) {
            kad.remove_peer(peer);
        }
    }

    /// Puts the addresses that a peer says it has into the routing table, in place of
    /// those that it gave before. Kademlia itself only ever adds addresses, so that a
    /// peer which names new ones again and again would make its entry grow without end.
    pub(super) fn route(
        &mut self,
        peer: PeerId,
        mut addrs: Vec<Multiaddr>,
        kad: &mut DhtIntake,
        peers: &Connected,
        now: Instant,
    ) {
        // The peer may be banned while its message is on its way.
        addrs.retain(|address| !self.is_unwelcome_at(&peer, address, now));
        if addrs.is_empty() || self.policy.is_banned(&peer, now) {
            return;
        }
        if !self.has_place(peer, kad) {
            return;
        }
        // The address at which we reached it is good too, even when the peer does not
        // know it (a port mapping, a name).
        let dialed = peers.dialed_addrs(&peer);
        for address in &addrs {
            kad.add_address(&peer, address.clone());
        }
        let stale: Vec<Multiaddr> = match kad.kbucket(peer) {
            Some(bucket) => bucket
                .iter()
                .filter(|e| *e.node.key.preimage() == peer)
                .flat_map(|e| e.node.value.iter().cloned().collect::<Vec<_>>())
                .filter(|known| !addrs.iter().chain(&dialed).any(|a| same_place(a, known)))
                .collect(),
            None => Vec::new(),
        };
        for address in stale {
            kad.remove_address(&peer, &address);
        }
    }

    /// Puts a peer that this node has dialed into the routing table.
    pub(super) fn route_dialed(
        &mut self,
        peer: PeerId,
        address: Multiaddr,
        kad: &mut DhtIntake,
        now: Instant,
    ) {
        let unwelcome = self.is_unwelcome_at(&peer, &address, now);
        if !unwelcome && !self.policy.is_banned(&peer, now) && self.has_place(peer, kad) {
            kad.add_address(&peer, address);
        }
    }

    /// Returns whether a peer has a place in the routing table, or gets one; see
    /// [`crate::dht::table`].
    fn has_place(&mut self, peer: PeerId, kad: &mut DhtIntake) -> bool {
        let bucket = match kad.kbucket(peer) {
            Some(bucket)
                if self.seats.has(&peer)
                    && bucket.iter().any(|e| *e.node.key.preimage() == peer) =>
            {
                return true;
            }
            Some(bucket) => bucket.range().0.ilog2().unwrap_or(0),
            None => return false,
        };
        let (exempt, ip, prefixes) = self.policy.read(|peers| {
            let record = peers.table().get(&peer);
            let ip = record.and_then(|record| record.connections().find_map(|(_, c)| c.counted));
            let exempt = peers.trust().is_exempt(&peer);
            (exempt, ip, peers.table().prefixes())
        });
        let Some(ip) = ip.filter(|_| !exempt) else {
            return true;
        };
        let table = kad.kbuckets().flat_map(|bucket| {
            let peers = bucket.iter().map(|entry| *entry.node.key.preimage());
            peers.collect::<Vec<_>>()
        });
        let table: HashSet<PeerId> = table.collect();
        self.seats.take(peer, bucket, ip, prefixes, &table)
    }

    /// Stores what another node asked this one to hold for the DHT.
    ///
    /// A provider that does not know yet which of its addresses others can dial sends
    /// none. A peer that asks for it later gets the addresses that the provider sent with
    /// identify.
    pub(super) fn store_record(
        &mut self,
        request: kad::InboundRequest,
        kad: &mut DhtIntake,
        book: &mut address_book::Behaviour,
        moment: Moment,
    ) -> Option<Effect> {
        let now = moment.mono;
        self.metrics.traffic.message(Direction::In, "dht");
        let sender = match &request {
            kad::InboundRequest::AddProvider {
                record: Some(record),
            } => record.provider,
            kad::InboundRequest::PutRecord { source, .. } => *source,
            _ => return None,
        };
        let (origin, seen) = self.origin(&sender);
        let store = kad.store_mut();
        let account = store.sender(&sender, origin);
        let refused = match request {
            kad::InboundRequest::AddProvider {
                record: Some(mut record),
            } => {
                if record.addresses.is_empty() {
                    record.addresses = book.get(&record.provider);
                }
                let dialed = self.policy.record(&sender, |r| r.dialed().next().is_some());
                let named = record.addresses.iter().filter_map(ip_of);
                let dialable = dialed == Some(true) || named.into_iter().any(|ip| Some(ip) == seen);
                let connected = |peer: &PeerId| self.policy.is_connected(peer);
                store.put_provider_from(account.dialable(dialable), record, connected, now)
            }
            kad::InboundRequest::PutRecord {
                record: Some(mut record),
                ..
            } => match self.check(&record.key, &record.value, moment.wall) {
                Ok(Some(owned)) => {
                    if let Some(lives) = owned.lives {
                        let ends = now + lives.min(MAX_TTL);
                        record.expires = Some(record.expires.map_or(ends, |told| told.min(ends)));
                    }
                    store.put_owned_from(account, record, owned.rank, now)
                }
                Ok(None) => store.put_value_from(account, record, now),
                Err(why) => {
                    self.metrics.dht_records_refused.inc();
                    log::debug!(peer:% = sender, error:% = why; "a value for the DHT was refused");
                    return None;
                }
            },
            _ => return None,
        };
        let e = refused.err()?;
        self.metrics.dht_records_refused.inc();
        if !e.is_of_limit() {
            log::debug!(peer:% = sender, error:% = e; "a value for the DHT was refused");
        } else if let Some(more) = self.lines.allow("P2P_DHT_MAX_RECORDS", now) {
            log::warn!(
                peer:% = sender, limit = "P2P_DHT_MAX_RECORDS", suppressed = more;
                "a DHT record was refused by this node's own limit: {e}"
            );
        }
        let due = |record: &mut Record| record.record_refused(now);
        let due = e.is_of_sender() && self.policy.record_mut(&sender, due) == Some(true);
        due.then_some(Effect::Report {
            peer: sender,
            conduct: Conduct::RecordStuffing,
        })
    }

    /// Returns where a peer is, and its IP address if that is known.
    fn origin(&self, peer: &PeerId) -> (Origin, Option<IpAddr>) {
        self.policy.read(|peers| {
            let prefixes = peers.table().prefixes();
            let record = peers.table().get(peer);
            let seen = record.and_then(Record::ip);
            if peers.trust().is_trusted(peer) {
                return (Origin::Trusted, seen);
            }
            let origin = match seen {
                Some(ip) => prefixes.subnet(ip).map_or(Origin::ThisHost, Origin::Subnet),
                None => {
                    let mut all = record.into_iter().flat_map(Record::connections);
                    let relay = all.find_map(|(_, connection)| connection.counted);
                    Origin::Relayed(relay.and_then(|ip| prefixes.subnet(ip)))
                }
            };
            (origin, seen)
        })
    }

    /// Checks a value under its key: see [`owned::check`]. On the IPFS DHT every key names
    /// its owner.
    fn check(
        &self,
        key: &kad::RecordKey,
        value: &[u8],
        wall: SystemTime,
    ) -> Result<Option<Owned>, Invalid> {
        let checked = owned::check(key.as_ref(), value, wall)?;
        match checked {
            None if self.protocol == owned::IPFS => Err(Invalid::NoOwner),
            checked => Ok(checked),
        }
    }

    /// Returns whether a ban or the rules for networks keep out a peer at this address.
    fn is_unwelcome_at(&self, peer: &PeerId, address: &Multiaddr, now: Instant) -> bool {
        let unwelcome = |peers: &Peers| peers.is_unwelcome_at(peer, address, now);
        self.policy.read(unwelcome)
    }

    /// Returns whether bans or rules for networks of this node have made a dial fail. The
    /// transport checks the rules too, but its errors do not name them.
    fn is_forbidden(&self, peer: &PeerId, error: &DialError, now: Instant) -> bool {
        match error {
            DialError::Denied { cause } => cause
                .downcast_ref::<Refusal>()
                .is_some_and(Refusal::is_of_rules),
            DialError::Transport(errors) => {
                let mut tried = errors.iter().map(|(address, _)| address);
                !errors.is_empty() && tried.all(|address| self.is_unwelcome_at(peer, address, now))
            }
            _ => false,
        }
    }
}

/// Returns whether two addresses are the same except for a `/p2p/…` at their end.
fn same_place(a: &Multiaddr, b: &Multiaddr) -> bool {
    let bare = |m: &Multiaddr| {
        m.iter()
            .filter(|p| !matches!(p, Protocol::P2p(_)))
            .collect::<Multiaddr>()
    };
    a == b || bare(a) == bare(b)
}
