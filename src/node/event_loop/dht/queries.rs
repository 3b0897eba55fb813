//! DHT queries under way, and the programs that wait for them.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use async_std::channel::Sender;
use libp2p::PeerId;
use libp2p::kad::{
    GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, PeerInfo, QueryId, QueryResult,
    QueryStats,
};

use crate::dht::records::Rank;
use crate::node::Metrics;
use crate::node::command::QUERY_RESULTS;
use crate::node::dht_intake::Provision;
use crate::node::error::Error;
use crate::node::metrics::REFRESH;
use crate::node::peer_addrs::PeerAddrs;
use crate::node::reply::Reply;
use crate::text::duration::millis;

/// The number of queries that programs on this host may have under way. Each holds some
/// tens of peers with their addresses. A program that wants more than this is in a loop,
/// and gets an error.
pub(super) const MAX_QUERIES: usize = 256;

/// The peers that answer with a value that the owner of its key has signed before the
/// newest of them is taken: of the twenty that hold it, so many are not all out of date.
const SIGNED_ANSWERS: usize = 4;

/// The number of providers that a query tells a program: what twenty peers may name, of
/// which all but one may be lying (`crate::dht::answer`).
const MAX_PROVIDERS: usize = 1024;

/// What is waited for, and where the result goes.
pub(super) enum Waiter {
    /// Nothing is waited for any more, since the query was answered.
    Answered,
    ClosestPeers(Reply<Vec<PeerAddrs>>),
    Providers {
        results: Sender<PeerId>,
        told: HashSet<PeerId>,
    },
    /// The search for the peers that are to hold a provider record.
    Provide(Provision),
    Value {
        results: Sender<Vec<u8>>,
        first_only: bool,
        found: Vec<Vec<u8>>,
        /// The newest of the values that the owner of the key has signed, and how many
        /// peers have answered with one.
        newest: Option<(Rank, Vec<u8>)>,
        signed: usize,
        end: Reply<()>,
    },
    PutValue(Reply<()>),
}

/// What the event loop has to do after a step of a query.
pub(super) enum Next {
    /// Nothing.
    Continue,
    /// End the query, because nobody waits for it any more.
    Finish,
    /// Send the provider record to these peers.
    Place(Provision, Vec<PeerId>),
}

struct Query {
    key: String,
    started: Instant,
    waiter: Waiter,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Queries {
    map: HashMap<QueryId, Query>,
}

impl Queries {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.map.len() >= MAX_QUERIES
    }

    pub(super) fn insert(&mut self, id: QueryId, key: String, waiter: Waiter, now: Instant) {
        self.map.insert(
            id,
            Query {
                key,
                started: now,
                waiter,
            },
        );
    }

    /// Handles a value that a query has found. `rank` tells how new it is, if the owner of
    /// its key has signed it.
    ///
    /// A value that nobody can check goes to the program as soon as it is found. One that
    /// is signed may be older than another, so the newest of several is waited for.
    pub(super) fn found(&mut self, id: QueryId, value: Vec<u8>, rank: Option<Rank>) -> Next {
        let Some(Waiter::Value {
            results,
            first_only,
            found,
            newest,
            signed,
            ..
        }) = self.map.get_mut(&id).map(|query| &mut query.waiter)
        else {
            return Next::Continue;
        };
        if *first_only && let Some(rank) = rank {
            *signed += 1;
            if newest.as_ref().is_none_or(|(held, _)| *held < rank) {
                *newest = Some((rank, value));
            }
            return match *signed >= SIGNED_ANSWERS || results.is_closed() {
                true => Next::Finish,
                false => Next::Continue,
            };
        }
        if found.len() < QUERY_RESULTS && !found.contains(&value) {
            found.push(value.clone());
            let _ = results.try_send(value);
        }
        match *first_only || results.is_closed() {
            true => Next::Finish,
            false => Next::Continue,
        }
    }

    /// Returns the queries that no program waits for any more.
    pub(super) fn abandoned(&self) -> Vec<QueryId> {
        self.map
            .iter()
            .filter(|(_, q)| match &q.waiter {
                Waiter::ClosestPeers(reply) => reply.is_canceled(),
                Waiter::Providers { results, .. } => results.is_closed(),
                // When a program has asked for a provider record, the record is sent even
                // if the program does not wait for that.
                Waiter::Provide(_) | Waiter::PutValue(_) | Waiter::Answered => false,
                Waiter::Value { results, end, .. } => results.is_closed() || end.is_canceled(),
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// Handles one step of a query. `last` tells whether it is the last one.
    pub(super) fn step(
        &mut self,
        id: QueryId,
        result: QueryResult,
        stats: &QueryStats,
        last: bool,
        metrics: &Metrics,
        now: Instant,
    ) -> Next {
        let kind = match self.map.get(&id).map(|q| &q.waiter) {
            Some(Waiter::Provide(_)) => "provide",
            None if matches!(result, QueryResult::GetClosestPeers(_)) => REFRESH,
            _ => kind_of(&result),
        };
        let outcome = outcome_of(&result);
        let next = match self.map.get_mut(&id) {
            Some(query) if last => match query.found_receivers(result) {
                Ok((provision, peers)) => Next::Place(provision, peers),
                Err(result) => query.progress(result, last),
            },
            Some(query) => query.progress(result, last),
            // Searches and republishing are the node's own queries.
            None => Next::Continue,
        };
        if last {
            let started = self.map.get(&id).map(|q| q.started);
            let took = stats
                .duration()
                .or_else(|| started.map(|s| now.saturating_duration_since(s)))
                .unwrap_or_default();
            log::debug!(
                protocol = "dht", kind, result = outcome, duration_ms = millis(took),
                requests = stats.num_requests(), failures = stats.num_failures();
                "DHT query ended"
            );
            metrics
                .dht_query_duration
                .with_label_values(&[kind])
                .observe(took.as_secs_f64());
            metrics
                .dht_queries
                .with_label_values(&[kind, outcome])
                .inc();
            if let Some(query) = self.map.remove(&id) {
                query.end();
            }
        }
        next
    }
}

fn kind_of(result: &QueryResult) -> &'static str {
    match result {
        QueryResult::Bootstrap(_) => "bootstrap",
        QueryResult::GetClosestPeers(_) => "closest_peers",
        QueryResult::GetProviders(_) => "get_providers",
        QueryResult::StartProviding(_) => "provide",
        QueryResult::RepublishProvider(_) | QueryResult::RepublishRecord(_) => "republish",
        QueryResult::GetRecord(_) => "get_value",
        QueryResult::PutRecord(_) => "put_value",
    }
}

fn outcome_of(result: &QueryResult) -> &'static str {
    use libp2p::kad::{GetRecordError, PutRecordError};
    match result {
        QueryResult::Bootstrap(Err(_))
        | QueryResult::GetClosestPeers(Err(_))
        | QueryResult::GetProviders(Err(_))
        | QueryResult::StartProviding(Err(_))
        | QueryResult::RepublishProvider(Err(_))
        | QueryResult::GetRecord(Err(GetRecordError::Timeout { .. }))
        | QueryResult::PutRecord(Err(PutRecordError::Timeout { .. }))
        | QueryResult::RepublishRecord(Err(PutRecordError::Timeout { .. })) => "timeout",
        QueryResult::GetRecord(Err(_))
        | QueryResult::PutRecord(Err(_))
        | QueryResult::RepublishRecord(Err(_)) => "not_found",
        _ => "ok",
    }
}

fn addrs(peers: Vec<PeerInfo>) -> Vec<PeerAddrs> {
    peers
        .into_iter()
        .map(|p| PeerAddrs {
            peer: p.peer_id,
            addrs: p.addrs,
        })
        .collect()
}

fn error(kind: &'static str, key: &str, reason: impl Into<String>) -> Error {
    Error::Dht {
        kind,
        key: key.into(),
        reason: reason.into(),
    }
}

impl Query {
    /// Returns the provider record that waits for this search, and the peers that are to
    /// hold it: those that answered, even if not all answered in time.
    fn found_receivers(
        &mut self,
        result: QueryResult,
    ) -> Result<(Provision, Vec<PeerId>), QueryResult> {
        let QueryResult::GetClosestPeers(found) = result else {
            return Err(result);
        };
        match std::mem::replace(&mut self.waiter, Waiter::Answered) {
            Waiter::Provide(provision) => {
                let peers = match found {
                    Ok(GetClosestPeersOk { peers, .. }) => peers,
                    Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                Ok((provision, peers.into_iter().map(|p| p.peer_id).collect()))
            }
            other => {
                self.waiter = other;
                Err(QueryResult::GetClosestPeers(found))
            }
        }
    }

    fn progress(&mut self, result: QueryResult, last: bool) -> Next {
        match (&mut self.waiter, result) {
            (Waiter::Providers { results, told }, QueryResult::GetProviders(Ok(found))) => {
                if let GetProvidersOk::FoundProviders { providers, .. } = found {
                    for peer in providers {
                        // If the queue is full, its reader has plenty of results already, and
                        // hears of this one when another peer names it.
                        let news = told.len() < MAX_PROVIDERS && !told.contains(&peer);
                        if news && results.try_send(peer).is_ok() {
                            told.insert(peer);
                        }
                    }
                }
                if results.is_closed() {
                    Next::Finish
                } else {
                    Next::Continue
                }
            }
            (waiter, result) if last => {
                let old = std::mem::replace(waiter, Waiter::Answered);
                *waiter = answer(old, result, &self.key);
                Next::Continue
            }
            _ => Next::Continue,
        }
    }

    /// Ends the query, and tells the program that still waits for its end.
    fn end(self) {
        if let Waiter::Value {
            mut found,
            newest,
            results,
            end,
            ..
        } = self.waiter
        {
            if let Some((_, value)) = newest {
                let _ = results.try_send(value.clone());
                found.push(value);
            }
            let _ = end.send(if found.is_empty() {
                Err(error("get", &self.key, "no peer asked has a value for it"))
            } else {
                Ok(())
            });
        }
    }
}

/// Sends the result of the last step to the program that waits for it. Returns what still
/// has to be ended.
fn answer(waiter: Waiter, result: QueryResult, key: &str) -> Waiter {
    match (waiter, result) {
        (Waiter::ClosestPeers(reply), QueryResult::GetClosestPeers(found)) => {
            let peers = match found {
                Ok(GetClosestPeersOk { peers, .. }) => peers,
                Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
            };
            let _ = reply.send(if peers.is_empty() {
                Err(error(
                    "closest-peers",
                    key,
                    "no DHT peer answered; check P2P_BOOTSTRAP_PEERS and `p2p-node peers`",
                ))
            } else {
                Ok(addrs(peers))
            });
            Waiter::Answered
        }
        (Waiter::PutValue(reply), QueryResult::PutRecord(result)) => {
            let _ = reply.send(result.map(|_| ()).map_err(|e| {
                error(
                    "put",
                    key,
                    format!("{e}; check `p2p-node peers` for DHT servers"),
                )
            }));
            Waiter::Answered
        }
        (waiter, _) => waiter,
    }
}
