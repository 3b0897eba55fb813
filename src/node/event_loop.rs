//! The event loop: the one task that owns the swarm.
//!
//! A turn takes what this host asks for first (bounded, so that a busy program
//! cannot keep the network waiting), then one event of the swarm, and once a
//! second the housekeeping. It waits for nothing else: no disk, no client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::channel::Receiver;
use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::ListenerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, ListenError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, gossipsub, identify, kad, ping, relay};

use super::address_book::{is_loopback, usable};
use super::behaviour::{Behaviour, BehaviourEvent};
use super::handle::{Command, Error, GossipMessage, PeerAddrs, Reply};
use super::meter::Meters;
use super::options::{AGENT, Options};
use super::peers::Peers;
use super::pulse::Pulse;
use super::queries::{Next, Queries, Waiter};
use super::standing::{Bootstrap, Relays, peer_of};
use super::status::{DhtStatus, LimitStatus, NatStatus, Reachability, Status, TopicStatus};
use super::topics::{MAX_TOPIC_BYTES, MAX_TOPICS, Topics};
use crate::admission::limit_of;
use crate::observe::metrics::{Direction, Metrics};
use crate::observe::throttle::Throttle;

/// Commands taken before the swarm gets its turn.
const COMMANDS_A_TURN: usize = 16;

/// Housekeeping, and the pulse.
const TICK: Duration = Duration::from_secs(1);

/// How long a value that was put here is held and published again, as others
/// hold it by the specification.
const VALUE_TTL: Duration = Duration::from_secs(48 * 3600);

/// Expired DHT records are dropped this often, in ticks.
const SWEEP_TICKS: u64 = 300;

/// How long the loop waits at its end for connections to close properly.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) struct EventLoop {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) commands: Receiver<Command>,
    pub(super) stop: oneshot::Receiver<()>,
    /// Dropped with the loop, which tells that it has ended.
    pub(super) _alive: oneshot::Sender<()>,
    pub(super) options: Options,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) meters: Meters,
    pub(super) peers: Peers,
    pub(super) topics: Topics,
    pub(super) queries: Queries,
    pub(super) bootstrap: Bootstrap,
    pub(super) relays: Relays,
    pub(super) nat: NatStatus,
    pub(super) dials: HashMap<ConnectionId, Reply<PeerId>>,
    pub(super) dials_of_peer: HashMap<PeerId, Vec<Reply<PeerId>>>,
    pub(super) listens: HashMap<ListenerId, (Multiaddr, Reply<Multiaddr>)>,
    pub(super) drained: Vec<Reply<()>>,
    pub(super) draining: bool,
    pub(super) refusals: Throttle,
    pub(super) ticks: u64,
}

impl Drop for EventLoop {
    /// Whoever asked for something and was not answered must not wait for ever:
    /// a channel keeps what is queued for as long as somebody can send, and
    /// those who wait hold a sender. Also when the loop ends by a panic.
    fn drop(&mut self) {
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
    }
}

impl EventLoop {
    /// Runs until told to stop, or until nobody holds a handle.
    pub(super) async fn run(mut self) {
        for name in self.options.topics.clone() {
            let topic = gossipsub::IdentTopic::new(name.clone());
            match self.swarm.behaviour_mut().gossip.subscribe(&topic) {
                Ok(_) => self.topics.keep(topic.hash(), name),
                Err(e) => log::warn!(topic:% = name, error:% = e; "cannot join topic"),
            }
        }
        for address in self.options.external_addrs.clone() {
            self.swarm.add_external_address(address);
        }
        self.enter_remembered();
        let mut tick = async_io::Timer::interval(TICK);
        self.housekeeping(Instant::now());
        loop {
            for _ in 0..COMMANDS_A_TURN {
                match self.commands.try_recv() {
                    Ok(command) => self.command(command),
                    Err(_) => break,
                }
            }
            futures::select! {
                _ = &mut self.stop => break,
                command = self.commands.recv().fuse() => match command {
                    Ok(command) => self.command(command),
                    Err(_) => break,
                },
                event = self.swarm.select_next_some() => self.event(event),
                _ = tick.next().fuse() => self.housekeeping(Instant::now()),
            }
        }
        self.say_goodbye().await;
    }

    /// Closes every connection, so that peers see an end and not a time-out.
    async fn say_goodbye(&mut self) {
        for peer in self.peers.ids().copied().collect::<Vec<_>>() {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let mut deadline = futures::FutureExt::fuse(async_io::Timer::after(GOODBYE));
        while self.peers.len() > 0 {
            futures::select! {
                event = self.swarm.select_next_some() => self.event(event),
                _ = deadline => break,
            }
        }
    }

    /// Puts peers of the last run into the address book, and dials a few of them
    /// beside the configured ones.
    fn enter_remembered(&mut self) {
        let remembered = std::mem::take(&mut self.options.remembered_peers);
        for (n, known) in remembered.into_iter().enumerate() {
            let PeerAddrs { peer, addrs } = known;
            if peer == *self.swarm.local_peer_id() {
                continue;
            }
            self.swarm.behaviour_mut().book.add(peer, &addrs, true);
            if n < super::standing::REMEMBERED_AT_ONCE {
                let opts =
                    DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing);
                let _ = self.swarm.dial(opts.build());
            }
        }
    }

    /// What is due once a second.
    fn housekeeping(&mut self, now: Instant) {
        self.ticks += 1;
        for topic in self.topics.abandoned() {
            let topic = gossipsub::IdentTopic::new(topic.into_string());
            self.swarm.behaviour_mut().gossip.unsubscribe(&topic);
        }
        for id in self.queries.abandoned() {
            if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                query.finish();
            }
        }
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            self.swarm
                .behaviour_mut()
                .kad
                .store_mut()
                .remove_expired(now);
        }
        let table = self.routing_table_size();
        if !self.draining {
            self.tend_standing(now, table);
        }
        self.record_gauges(table);
        self.pulse.beat(now, self.peers.len(), table);
        self.finish_drain();
    }

    fn tend_standing(&mut self, now: Instant, table: usize) {
        let lonely = self.peers.len() == 0 || table == 0;
        for address in self.bootstrap.due(now, lonely, rand::random) {
            log::debug!(address:% = address; "dialing bootstrap peer");
            let opts = match peer_of(&address) {
                Some(peer) => DialOpts::peer_id(peer)
                    .addresses(vec![address.clone()])
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .build(),
                None => DialOpts::unknown_peer_id().address(address.clone()).build(),
            };
            match self.swarm.dial(opts) {
                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                Err(e) => {
                    log::warn!(address:% = address, error:% = one_line(&e); "cannot dial bootstrap peer");
                }
            }
        }
        for (index, address) in self.relays.due(now, rand::random) {
            match self.swarm.listen_on(address.clone()) {
                Ok(id) => self.relays.list[index].listener = Some(id),
                Err(e) => {
                    log::warn!(address:% = address, error:% = e; "cannot ask relay for a reservation");
                }
            }
        }
    }

    fn record_gauges(&mut self, table: usize) {
        let metrics = self.metrics.clone();
        metrics.dht_routing_table_peers.set(as_gauge(table));
        let behaviour = self.swarm.behaviour_mut();
        let mesh: std::collections::HashSet<&PeerId> = behaviour.gossip.all_mesh_peers().collect();
        metrics.gossip_peers.set(as_gauge(mesh.len()));
        let records = behaviour.kad.store_mut();
        metrics
            .dht_records
            .with_label_values(&["value"])
            .set(as_gauge(records.values_len()));
        metrics
            .dht_records
            .with_label_values(&["provider"])
            .set(as_gauge(records.provider_records_len()));
    }

    fn routing_table_size(&mut self) -> usize {
        self.swarm
            .behaviour_mut()
            .kad
            .kbuckets()
            .map(|b| b.num_entries())
            .sum()
    }

    // ---- what this host asks for -------------------------------------------

    fn command(&mut self, command: Command) {
        match command {
            Command::Listen { address, reply } => self.listen(address, reply),
            Command::Connect { peer, addrs, reply } => self.connect(peer, addrs, reply),
            Command::Disconnect { peer, reply } => {
                let done = self.swarm.disconnect_peer_id(peer);
                let _ = reply.send(done.map_err(|()| Error::NotConnected(peer)));
            }
            Command::AddAddrs { peer, addrs } => {
                self.swarm.behaviour_mut().book.add(peer, &addrs, true);
            }
            Command::KnownAddrs { peer, reply } => {
                let known = self.known_addrs(&peer);
                let _ = reply.send(Ok(known));
            }
            Command::Peers { reply } => {
                let list =
                    self.peers
                        .status(Instant::now(), &self.meters, &self.options.trusted_peers);
                let _ = reply.send(Ok(list));
            }
            Command::Status { reply } => {
                let status = self.status();
                let _ = reply.send(Ok(Box::new(status)));
            }
            Command::RoutingTable { reply } => {
                let table = self.routing_table();
                let _ = reply.send(Ok(table));
            }
            Command::Subscribe { topic, reply } => self.subscribe(topic, reply),
            Command::Publish { topic, data, reply } => self.publish(topic, data, reply),
            Command::Topics { reply } => {
                let names = self
                    .topics
                    .iter()
                    .map(|(_, name)| name.to_owned())
                    .collect();
                let _ = reply.send(Ok(names));
            }
            Command::TopicPeers { topic, reply } => {
                let hash = topic.map(|t| gossipsub::IdentTopic::new(t).hash());
                let peers = self
                    .swarm
                    .behaviour()
                    .gossip
                    .all_peers()
                    .filter(|(_, topics)| match &hash {
                        Some(hash) => topics.contains(&hash),
                        None => !topics.is_empty(),
                    })
                    .map(|(peer, _)| *peer)
                    .collect();
                let _ = reply.send(Ok(peers));
            }
            Command::Drain { reply } => self.drain(reply),
            query => self.query(query),
        }
    }

    fn listen(&mut self, address: Multiaddr, reply: Reply<Multiaddr>) {
        match self.swarm.listen_on(address.clone()) {
            Ok(id) => {
                self.listens.insert(id, (address, reply));
            }
            Err(e) => {
                let reason = transport_reason(&e);
                let _ = reply.send(Err(Error::Listen { address, reason }));
            }
        }
    }

    fn connect(&mut self, peer: Option<PeerId>, addrs: Vec<Multiaddr>, reply: Reply<PeerId>) {
        let peer = peer.or_else(|| addrs.first().and_then(peer_of));
        let target = match (&peer, addrs.first()) {
            (Some(peer), _) => peer.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "nobody".into(),
        };
        if self.draining {
            let _ = reply.send(Err(Error::Draining));
            return;
        }
        if peer == Some(*self.swarm.local_peer_id()) {
            let reason = "that is this node itself".into();
            let _ = reply.send(Err(Error::Dial { target, reason }));
            return;
        }
        let opts = match peer {
            Some(peer) if self.peers.contains(&peer) => {
                let _ = reply.send(Ok(peer));
                return;
            }
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(addrs)
                .extend_addresses_through_behaviour()
                .condition(PeerCondition::NotDialing)
                .build(),
            None => match addrs.into_iter().next() {
                // The swarm would say that no address is known.
                Some(address) if self.swarm.listeners().any(|l| *l == address) => {
                    let reason = "that is this node itself".into();
                    let _ = reply.send(Err(Error::Dial { target, reason }));
                    return;
                }
                Some(address) => DialOpts::unknown_peer_id().address(address).build(),
                None => {
                    let reason = "no address given".into();
                    let _ = reply.send(Err(Error::Dial { target, reason }));
                    return;
                }
            },
        };
        let id = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.dials.insert(id, reply);
            }
            // Somebody else's dial of this peer is under way: share its end.
            Err(DialError::DialPeerConditionFalse(_)) => {
                if let Some(peer) = peer {
                    self.dials_of_peer.entry(peer).or_default().push(reply);
                }
            }
            Err(e) => {
                let reason = one_line(&e);
                let _ = reply.send(Err(Error::Dial { target, reason }));
            }
        }
    }

    fn known_addrs(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut known = self.peers.dialed_addrs(peer);
        known.extend(self.swarm.behaviour_mut().book.get(peer));
        if let Some(bucket) = self.swarm.behaviour_mut().kad.kbucket(*peer) {
            for entry in bucket.iter().filter(|e| e.node.key.preimage() == peer) {
                known.extend(entry.node.value.iter().cloned());
            }
        }
        let mut seen = std::collections::HashSet::new();
        known.iter_mut().for_each(|a| {
            if peer_of(a).is_some()
                && !a
                    .iter()
                    .any(|p| p == libp2p::multiaddr::Protocol::P2pCircuit)
            {
                a.pop();
            }
        });
        known.retain(|a| seen.insert(a.clone()));
        known.truncate(super::handle::MAX_ADDRS_PER_PEER);
        known
    }

    fn routing_table(&mut self) -> Vec<PeerAddrs> {
        let mut table = Vec::new();
        for bucket in self.swarm.behaviour_mut().kad.kbuckets() {
            for entry in bucket.iter() {
                table.push(PeerAddrs {
                    peer: *entry.node.key.preimage(),
                    addrs: entry.node.value.iter().cloned().collect(),
                });
            }
        }
        table
    }

    fn query(&mut self, command: Command) {
        let now = Instant::now();
        let full = self.queries.is_full();
        let alone = self.routing_table_size() == 0;
        let kad = &mut self.swarm.behaviour_mut().kad;
        let refusal = |kind: &'static str, key: &str| Error::Dht {
            kind,
            key: key.to_owned(),
            reason: if self.draining {
                "the node is draining".into()
            } else {
                format!(
                    "this host runs {} DHT queries already, the most that one node may; try again later",
                    super::queries::MAX_QUERIES
                )
            },
        };
        let refused = full || self.draining;
        match command {
            Command::Bootstrap { reply } if refused => {
                let _ = reply.send(Err(refusal("bootstrap", "routing table")));
            }
            Command::Bootstrap { reply } => match kad.bootstrap() {
                Ok(id) => self.queries.insert(
                    id,
                    "routing table".into(),
                    Waiter::Bootstrap(Some(reply)),
                    now,
                ),
                Err(_) => {
                    let reason = "no DHT peer is known; set P2P_BOOTSTRAP_PEERS or connect to one";
                    let _ = reply.send(Err(Error::Dht {
                        kind: "bootstrap",
                        key: "routing table".into(),
                        reason: reason.into(),
                    }));
                }
            },
            Command::ClosestPeers { key, reply } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("closest-peers", &text)));
                    return;
                }
                let id = kad.get_closest_peers(key);
                self.queries
                    .insert(id, text, Waiter::ClosestPeers(reply), now);
            }
            Command::FindProviders {
                key,
                results,
                reply,
            } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("find-providers", &text)));
                    return;
                }
                let id = kad.get_providers(key.into());
                let told = Default::default();
                self.queries
                    .insert(id, text, Waiter::Providers { results, told }, now);
                let _ = reply.send(Ok(()));
            }
            Command::Provide { key, reply } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("provide", &text)));
                    return;
                }
                match kad.start_providing(key.into()) {
                    // Kademlia calls it done when there is nobody to tell.
                    Ok(id) if alone => {
                        if let Some(mut query) = kad.query_mut(&id) {
                            query.finish();
                        }
                        let reason = "no DHT peer is known yet".into();
                        let _ = reply.send(Err(Error::Dht {
                            kind: "provide",
                            key: text,
                            reason,
                        }));
                    }
                    Ok(id) => self.queries.insert(id, text, Waiter::Provide(reply), now),
                    Err(e) => {
                        let reason = format!("{e} (P2P_DHT_MAX_RECORDS)");
                        let _ = reply.send(Err(Error::Dht {
                            kind: "provide",
                            key: text,
                            reason,
                        }));
                    }
                }
            }
            Command::StopProviding { key } => kad.stop_providing(&key.into()),
            Command::GetValue {
                key,
                results,
                first_only,
                end,
            } => {
                let text = key_text(&key);
                if refused {
                    let _ = end.send(Err(refusal("get", &text)));
                    return;
                }
                let id = kad.get_record(key.into());
                let waiter = Waiter::Value {
                    results,
                    first_only,
                    found: Vec::new(),
                    end,
                };
                self.queries.insert(id, text, waiter, now);
            }
            Command::PutValue { key, value, reply } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("put", &text)));
                    return;
                }
                let mut record = kad::Record::new(key, value);
                record.publisher = Some(*self.swarm.local_peer_id());
                // Kademlia gives the copies of others an end, and ours none.
                record.expires = Some(now + VALUE_TTL);
                match self
                    .swarm
                    .behaviour_mut()
                    .kad
                    .put_record(record, kad::Quorum::One)
                {
                    Ok(id) => self.queries.insert(id, text, Waiter::PutValue(reply), now),
                    Err(e) => {
                        let reason = match e {
                            kad::store::Error::ValueTooLarge => format!(
                                "the value is larger than {} bytes, the most that a DHT record holds",
                                super::records::MAX_VALUE_BYTES
                            ),
                            e => format!("{e} (P2P_DHT_MAX_RECORDS)"),
                        };
                        let _ = reply.send(Err(Error::Dht {
                            kind: "put",
                            key: text,
                            reason,
                        }));
                    }
                }
            }
            _ => {}
        }
    }

    fn subscribe(&mut self, topic: String, reply: Reply<super::Subscription>) {
        let refuse = |reason: String| Error::Gossip {
            what: "subscribe",
            topic: topic.clone(),
            reason,
        };
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES {
            let _ = reply.send(Err(refuse(format!(
                "a topic has 1 to {MAX_TOPIC_BYTES} bytes"
            ))));
            return;
        }
        let ident = gossipsub::IdentTopic::new(topic.clone());
        if !self.topics.contains(&ident.hash()) {
            if self.topics.len() >= MAX_TOPICS {
                let _ = reply.send(Err(refuse(format!(
                    "this node has joined {MAX_TOPICS} topics already, the most that one node may"
                ))));
                return;
            }
            if let Err(e) = self.swarm.behaviour_mut().gossip.subscribe(&ident) {
                let _ = reply.send(Err(refuse(e.to_string())));
                return;
            }
        }
        let subscription = self.topics.subscribe(ident.hash(), topic);
        let _ = reply.send(Ok(subscription));
    }

    fn publish(&mut self, topic: String, data: Vec<u8>, reply: Reply<()>) {
        use gossipsub::PublishError;
        let ident = gossipsub::IdentTopic::new(topic.clone());
        let hash = ident.hash();
        let size = data.len();
        let local = *self.swarm.local_peer_id();
        let sent = self
            .swarm
            .behaviour_mut()
            .gossip
            .publish(ident, data.clone());
        let seqno = sent.as_ref().ok().and_then(|id| {
            let tail = id.0.len().checked_sub(8)?;
            Some(u64::from_be_bytes(id.0.get(tail..)?.try_into().ok()?))
        });
        let refused = |reason: String| Error::Gossip {
            what: "publish",
            topic: topic.clone(),
            reason,
        };
        let nobody = matches!(sent, Err(PublishError::NoPeersSubscribedToTopic));
        let result = match sent {
            Ok(_) | Err(PublishError::Duplicate) => Ok(()),
            Err(PublishError::NoPeersSubscribedToTopic) => Err(refused(
                "no connected peer subscribes to it; see `p2p-node peers`".into(),
            )),
            Err(PublishError::MessageTooLarge) => Err(refused(format!(
                "the message of {size} bytes is over the {} bytes that gossip carries",
                super::behaviour::MAX_GOSSIP_BYTES
            ))),
            Err(PublishError::AllQueuesFull(peers)) => Err(refused(format!(
                "the queues of all {peers} peers are full; publish more slowly"
            ))),
            Err(e) => Err(refused(e.to_string())),
        };
        if result.is_ok() {
            self.metrics.message(Direction::Out, "gossip");
        }
        // Programs on this host hear each other through the topic too; what was
        // refused is told to nobody.
        let listeners = if result.is_err() && !nobody {
            0
        } else {
            self.topics.deliver(&hash, |name| GossipMessage {
                from: Some(local),
                data,
                seqno,
                topic: name.to_owned(),
                signature: None,
                key: None,
            })
        };
        let heard = nobody && listeners > 0;
        let _ = reply.send(if heard { Ok(()) } else { result });
    }

    fn drain(&mut self, reply: Reply<()>) {
        if !self.draining {
            self.draining = true;
            log::info!("draining: no new connections, leaving gossip meshes");
            let ids: Vec<gossipsub::TopicHash> =
                self.topics.iter().map(|(h, _)| h.clone()).collect();
            for hash in ids {
                let topic = gossipsub::IdentTopic::new(hash.into_string());
                self.swarm.behaviour_mut().gossip.unsubscribe(&topic);
            }
            let mut limits = libp2p::connection_limits::ConnectionLimits::default();
            limits = limits.with_max_pending_incoming(Some(0));
            *self.swarm.behaviour_mut().limits.limits_mut() = limits;
        }
        self.drained.push(reply);
        self.finish_drain();
    }

    fn finish_drain(&mut self) {
        if self.draining && self.queries.len() == 0 {
            for reply in self.drained.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
    }

    fn status(&mut self) -> Status {
        let table = self.routing_table_size();
        let kad = &mut self.swarm.behaviour_mut().kad;
        let dht = DhtStatus {
            protocol: self.options.kad_protocol.clone(),
            mode: match kad.mode() {
                kad::Mode::Server => "server",
                kad::Mode::Client => "client",
            },
            routing_table_size: table,
            values: kad.store_mut().values_len(),
            provider_records: kad.store_mut().provider_records_len(),
            queries: self.queries.len(),
        };
        let gossip = &self.swarm.behaviour().gossip;
        let mut topics: Vec<TopicStatus> = self
            .topics
            .iter()
            .map(|(hash, name)| TopicStatus {
                topic: name.to_owned(),
                mesh_peers: gossip.mesh_peers(hash).count(),
                peers: gossip
                    .all_peers()
                    .filter(|(_, t)| t.contains(&hash))
                    .count(),
            })
            .collect();
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        let counters = self.swarm.network_info().connection_counters().clone();
        let limit = |variable, used: u32, allowed: u32| LimitStatus {
            variable,
            used: used.into(),
            allowed: allowed.into(),
        };
        let mut nat = self.nat.clone();
        nat.relays = self
            .relays
            .list
            .iter()
            .filter(|r| r.reserved)
            .filter_map(|r| r.target.peer)
            .map(|p| p.to_string())
            .collect();
        Status {
            peer_id: self.swarm.local_peer_id().to_string(),
            agent: AGENT.into(),
            network: self.options.network.clone(),
            uptime: self.pulse.uptime(),
            listen_addrs: self.swarm.listeners().cloned().collect(),
            external_addrs: self.swarm.external_addresses().cloned().collect(),
            connections_in: self.peers.inbound(),
            connections_out: self.peers.outbound(),
            connections_pending: counters.num_pending(),
            connected_peers: self.peers.len(),
            dht,
            topics,
            nat,
            limits: vec![
                limit(
                    "P2P_MAX_CONNECTIONS",
                    self.peers.inbound() + self.peers.outbound(),
                    self.options.limits.total,
                ),
                limit(
                    "P2P_MAX_INBOUND_CONNECTIONS",
                    self.peers.inbound(),
                    self.options.limits.inbound,
                ),
                limit(
                    "P2P_MAX_OUTBOUND_CONNECTIONS",
                    self.peers.outbound(),
                    self.options.limits.outbound,
                ),
            ],
            draining: self.draining,
        }
    }

    // ---- what the network does ---------------------------------------------

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event, now),
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                log::info!(address:% = address; "listening");
                if let Some((_, reply)) = self.listens.remove(&listener_id) {
                    let _ = reply.send(Ok(address));
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                log::info!(address:% = address; "listening no more");
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => {
                let reason = reason.err().map(|e| causes(&e));
                if let Some((address, reply)) = self.listens.remove(&listener_id) {
                    let reason = reason.unwrap_or_else(|| "the listener closed".into());
                    let _ = reply.send(Err(Error::Listen { address, reason }));
                } else if let Some((relay, reserved)) = self.relays.closed(listener_id) {
                    self.nat_result("relay", false);
                    match (reserved, reason) {
                        (true, reason) => {
                            let reason = reason.unwrap_or_else(|| "the relay ended it".into());
                            log::warn!(relay:% = relay, reason:% = reason; "relay reservation ended; asking again");
                        }
                        (false, Some(reason)) => {
                            log::warn!(relay:% = relay, reason:% = reason; "the relay gave no reservation; asking again later");
                        }
                        // It was not reached; the dial has said why.
                        (false, None) => {}
                    }
                } else if let Some(reason) = reason {
                    log::error!(addresses:? = addresses, error:% = reason; "listener failed");
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                // A remote provokes it with any packet that is nearly a handshake.
                if let Some(more) = self.refusals.allow("listener error", now) {
                    log::warn!(error:% = error, suppressed = more; "listener error");
                }
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.peers.opened(peer_id, connection_id, &endpoint, now);
                self.metrics.connections_opened.inc();
                self.metrics.connections_active.inc();
                log::debug!(peer:% = peer_id, address:% = endpoint.get_remote_address(); "connected");
                self.bootstrap.connected(&peer_id, now, rand::random());
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Ok(peer_id));
                }
                for reply in self.dials_of_peer.remove(&peer_id).into_iter().flatten() {
                    let _ = reply.send(Ok(peer_id));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                self.metrics.connections_active.dec();
                let label = match &cause {
                    None => "local",
                    Some(ConnectionError::KeepAliveTimeout) => "idle",
                    Some(ConnectionError::IO(_)) => "error",
                };
                self.metrics
                    .connections_closed
                    .with_label_values(&[label])
                    .inc();
                log::debug!(peer:% = peer_id, cause = label; "connection closed");
                if self.peers.closed(&peer_id, connection_id) && label == "error" {
                    self.bootstrap.lost(&peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                self.dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                ..
            } => {
                if self.draining {
                    log::debug!(address:% = send_back_addr; "connection refused: draining");
                } else if let ListenError::Denied { cause } = &error {
                    let limit = limit_of(cause);
                    self.metrics
                        .connections_refused
                        .with_label_values(&[limit])
                        .inc();
                    if let Some(more) = self.refusals.allow(limit, now) {
                        let advice = match limit.starts_with("P2P_") {
                            true => format!("; raise or change {limit} if that is not wanted"),
                            false => String::new(),
                        };
                        log::warn!(
                            address:% = send_back_addr, limit = limit, suppressed = more;
                            "connection refused by this node's own limit{advice}: {cause}"
                        );
                    }
                } else {
                    log::debug!(address:% = send_back_addr, error:% = error; "inbound connection failed");
                }
            }
            SwarmEvent::NewExternalAddrCandidate { .. } => {}
            SwarmEvent::ExternalAddrConfirmed { address } => {
                log::info!(address:% = address; "others can dial this address");
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                if self.swarm.external_addresses().next().is_none()
                    && self.nat.reachability == Reachability::Public
                {
                    self.nat.reachability = Reachability::Private;
                }
                log::info!(address:% = address; "others can no longer dial this address");
            }
            _ => {}
        }
    }

    fn dial_failed(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        self.metrics.dial_failures.inc();
        let reason = one_line(error);
        if let DialError::Denied { cause } = error {
            let limit = limit_of(cause);
            self.metrics
                .connections_refused
                .with_label_values(&[limit])
                .inc();
        }
        let target = peer.map_or_else(|| "peer".into(), |p| p.to_string());
        let configured =
            peer.is_some_and(|p| self.bootstrap.targets.iter().any(|t| t.peer == Some(p)));
        let relay = peer.is_some_and(|p| self.relays.list.iter().any(|r| r.target.peer == Some(p)));
        if configured {
            log::warn!(peer:% = target, error:% = reason; "cannot reach bootstrap peer; trying again later");
        } else if relay {
            log::warn!(peer:% = target, error:% = reason; "cannot reach relay; trying again later");
        } else {
            log::debug!(peer:% = target, error:% = reason; "dial failed");
        }
        if let Some(reply) = self.dials.remove(&id) {
            let _ = reply.send(Err(Error::Dial {
                target: target.clone(),
                reason: reason.clone(),
            }));
        }
        let Some(peer) = peer else { return };
        for reply in self.dials_of_peer.remove(&peer).into_iter().flatten() {
            let _ = reply.send(Err(Error::Dial {
                target: target.clone(),
                reason: reason.clone(),
            }));
        }
        // Kademlia keeps the last address of a peer whatever happens, and every
        // query that passes by waits for it: a host that is off holds QUIC's whole
        // handshake time-out. One that comes back identifies itself and is routed
        // to again. When nobody is connected the fault may be on this side.
        let gone = matches!(
            error,
            DialError::Transport(_) | DialError::WrongPeerId { .. } | DialError::NoAddresses
        );
        if gone
            && !configured
            && !self.peers.contains(&peer)
            && self.swarm.connected_peers().next().is_some()
        {
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Identify(event) => self.identify_event(event),
            BehaviourEvent::Ping(ping::Event { peer, result, .. }) => match result {
                Ok(rtt) => {
                    self.metrics.message(Direction::Out, "ping");
                    self.metrics.ping_rtt.observe(rtt.as_secs_f64());
                    self.peers.pinged(&peer, rtt);
                }
                Err(ping::Failure::Unsupported) => {}
                Err(e) => log::debug!(peer:% = peer, error:% = e; "ping failed"),
            },
            BehaviourEvent::Kad(event) => self.kad_event(event, now),
            BehaviourEvent::Gossip(event) => self.gossip_event(event, now),
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                renewal,
                ..
            }) => {
                self.relays.accepted(&relay_peer_id);
                self.nat_result("relay", true);
                if !renewal {
                    log::info!(relay:% = relay_peer_id; "reachable through relay");
                }
            }
            BehaviourEvent::Dcutr(event) => {
                self.nat_result("dcutr", event.result.is_ok());
                match event.result {
                    Ok(_) => {
                        self.nat.hole_punched += 1;
                        log::info!(peer:% = event.remote_peer_id; "hole punched: direct connection");
                    }
                    Err(e) => {
                        log::debug!(peer:% = event.remote_peer_id, error:% = e; "hole punching failed")
                    }
                }
            }
            BehaviourEvent::AutonatClient(autonat::v2::client::Event {
                tested_addr,
                server,
                result,
                ..
            }) => {
                self.nat_result("autonat", result.is_ok());
                match result {
                    Ok(()) => {
                        self.nat.reachability = Reachability::Public;
                        log::debug!(address:% = tested_addr, server:% = server; "address is dialable");
                    }
                    Err(e) => {
                        if self.nat.reachability == Reachability::Unknown {
                            self.nat.reachability = Reachability::Private;
                        }
                        log::debug!(address:% = tested_addr, server:% = server, error:% = e; "address is not dialable");
                    }
                }
            }
            BehaviourEvent::RelayServer(event) => self.relay_event(&event),
            _ => {}
        }
    }

    fn nat_result(&self, method: &str, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.metrics
            .nat_traversal
            .with_label_values(&[method, result])
            .inc();
    }

    fn relay_event(&mut self, event: &relay::Event) {
        let metrics = &self.metrics;
        match event {
            relay::Event::ReservationReqAccepted { renewed: false, .. } => {
                metrics.relay_reservations_active.inc();
            }
            relay::Event::ReservationClosed { .. } | relay::Event::ReservationTimedOut { .. } => {
                metrics.relay_reservations_active.dec();
            }
            relay::Event::CircuitReqAccepted { .. } => metrics.relay_connections_active.inc(),
            relay::Event::CircuitClosed { .. } => metrics.relay_connections_active.dec(),
            _ => {}
        }
    }

    fn identify_event(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received {
                peer_id,
                info,
                connection_id,
            } => {
                self.metrics.message(Direction::In, "identify");
                self.peers.identified(&peer_id, &info.agent_version);
                let near = self
                    .peers
                    .address_of(&peer_id, connection_id)
                    .is_some_and(is_loopback);
                let speaks_kad = info
                    .protocols
                    .iter()
                    .any(|p| p.as_ref() == self.options.kad_protocol);
                let behaviour = self.swarm.behaviour_mut();
                behaviour.book.add(peer_id, &info.listen_addrs, near);
                if speaks_kad {
                    self.route(peer_id, usable(&info.listen_addrs, near).collect());
                } else {
                    // It was a server once and is not now: it would only slow queries.
                    behaviour.kad.remove_peer(&peer_id);
                }
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => {
                self.metrics.message(Direction::Out, "identify");
            }
            identify::Event::Error { peer_id, error, .. } => {
                log::debug!(peer:% = peer_id, error:% = error; "identify failed");
            }
        }
    }

    /// Puts what a peer says of its addresses into the routing table, in place of
    /// what it said before. Kademlia itself only ever adds, so that a peer which
    /// tells new addresses again and again would grow its entry without end.
    fn route(&mut self, peer: PeerId, addrs: Vec<Multiaddr>) {
        if addrs.is_empty() {
            return;
        }
        // Where we reached it is good too, also when it does not know (a port
        // mapping, a name).
        let dialed = self.peers.dialed_addrs(&peer);
        let kad = &mut self.swarm.behaviour_mut().kad;
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

    fn kad_event(&mut self, event: kad::Event, now: Instant) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result,
                stats,
                step,
            } => {
                if step.last {
                    let sent = u64::from(stats.num_requests());
                    self.metrics
                        .messages
                        .with_label_values(&["out", "dht"])
                        .inc_by(sent);
                }
                if let kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders {
                    providers,
                    ..
                })) = &result
                {
                    self.keep_addrs(providers.iter().copied());
                }
                if let kad::QueryResult::GetClosestPeers(Ok(found)) = &result {
                    let near = self.peers.any_near();
                    let book = &mut self.swarm.behaviour_mut().book;
                    for peer in &found.peers {
                        book.add(peer.peer_id, &peer.addrs, near);
                    }
                }
                let next = self
                    .queries
                    .step(id, result, &stats, step.last, &self.metrics);
                if let Next::Finish = next
                    && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id)
                {
                    query.finish();
                }
                self.finish_drain();
            }
            kad::Event::InboundRequest { request } => {
                self.metrics.message(Direction::In, "dht");
                self.store_record(request);
                self.metrics
                    .message_processing
                    .with_label_values(&["dht"])
                    .observe(now.elapsed().as_secs_f64());
            }
            kad::Event::ModeChanged { new_mode } => {
                log::info!(mode:? = new_mode; "DHT mode changed");
            }
            _ => {}
        }
    }

    /// Stores what another node asked this one to hold for the DHT.
    ///
    /// A provider that does not know yet which of its addresses others can dial
    /// sends none; whoever asks for it later gets those that it told by identify.
    fn store_record(&mut self, request: kad::InboundRequest) {
        use kad::store::RecordStore;
        let behaviour = self.swarm.behaviour_mut();
        let stored = match request {
            kad::InboundRequest::AddProvider {
                record: Some(mut record),
            } => {
                if record.addresses.is_empty() {
                    record.addresses = behaviour.book.get(&record.provider);
                }
                behaviour.kad.store_mut().add_provider(record)
            }
            kad::InboundRequest::PutRecord {
                record: Some(record),
                ..
            } => behaviour.kad.store_mut().put(record),
            _ => return,
        };
        if let Err(e) = stored
            && let Some(more) = self.refusals.allow("P2P_DHT_MAX_RECORDS", Instant::now())
        {
            log::warn!(
                limit = "P2P_DHT_MAX_RECORDS", suppressed = more;
                "a DHT record was refused by this node's own limit: {e}"
            );
        }
    }

    /// Kademlia knows the addresses of the providers that an answer named only
    /// while the query runs; the book keeps them until the fetch dials.
    fn keep_addrs(&mut self, peers: impl Iterator<Item = PeerId>) {
        use libp2p::swarm::NetworkBehaviour;
        let near = self.peers.any_near();
        for peer in peers {
            if self.peers.contains(&peer) {
                continue;
            }
            let behaviour = self.swarm.behaviour_mut();
            let known = behaviour.kad.handle_pending_outbound_connection(
                ConnectionId::new_unchecked(usize::MAX),
                Some(peer),
                &[],
                libp2p::core::Endpoint::Dialer,
            );
            if let Ok(addrs) = known {
                behaviour.book.add(peer, &addrs, near);
            }
        }
    }

    fn gossip_event(&mut self, event: gossipsub::Event, now: Instant) {
        if let gossipsub::Event::Message { message, .. } = event {
            self.metrics.message(Direction::In, "gossip");
            self.metrics.gossip_messages_received.inc();
            self.topics.deliver(&message.topic, |name| GossipMessage {
                from: message.source,
                data: message.data,
                seqno: message.sequence_number,
                topic: name.to_owned(),
                signature: None,
                key: None,
            });
            self.metrics
                .message_processing
                .with_label_values(&["gossip"])
                .observe(now.elapsed().as_secs_f64());
        }
    }
}

/// Whether two addresses are the same but for a `/p2p/…` at their end.
fn same_place(a: &Multiaddr, b: &Multiaddr) -> bool {
    let bare = |m: &Multiaddr| {
        m.iter()
            .filter(|p| !matches!(p, libp2p::multiaddr::Protocol::P2p(_)))
            .collect::<Multiaddr>()
    };
    a == b || bare(a) == bare(b)
}

fn as_gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A DHT key for people: a CID or peer id when it is one, else hexadecimal.
fn key_text(key: &[u8]) -> String {
    if let Ok(peer) = PeerId::from_bytes(key) {
        return peer.to_string();
    }
    if let Ok(text) = std::str::from_utf8(key)
        && !text.chars().any(char::is_control)
    {
        return text.chars().take(80).collect();
    }
    key.iter().take(40).map(|b| format!("{b:02x}")).collect()
}

/// Every cause of a failed dial on one line, each address once with its reason.
pub(super) fn one_line(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => {
            "no address of it is known; give one, or wait until the DHT knows it".into()
        }
        DialError::LocalPeerId { .. } => "that is this node itself".into(),
        DialError::WrongPeerId { obtained, address } => {
            format!("{address} answered as {obtained}, another peer")
        }
        DialError::Denied { cause } => {
            format!("refused by this node's own limit {}", limit_of(cause))
        }
        DialError::Transport(errors) => {
            let mut parts = Vec::new();
            for (address, error) in errors.iter().take(4) {
                let reason = transport_reason(error);
                // The reason often names the address itself; once is enough.
                if reason.contains(&address.to_string()) {
                    parts.push(reason);
                } else {
                    parts.push(format!("{address}: {reason}"));
                }
            }
            if errors.len() > 4 {
                parts.push(format!("and {} more addresses", errors.len() - 4));
            }
            parts.join("; ")
        }
        other => other.to_string().replace('\n', " "),
    }
}

/// The innermost reasons of a transport error, on one line.
fn transport_reason(error: &libp2p::TransportError<std::io::Error>) -> String {
    match error {
        libp2p::TransportError::MultiaddrNotSupported(_) => {
            "no transport of this node handles this kind of address (TCP, QUIC v1, WebSocket, DNS and relay circuits are)".into()
        }
        libp2p::TransportError::Other(e) => {
            causes(e)
        }
    }
}

/// An error and what caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let part = inner.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        source = inner.source();
    }
    text.replace('\n', " ")
}
