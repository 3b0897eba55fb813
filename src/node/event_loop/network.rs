//! What the network does: the swarm's events and those of each protocol.

use std::time::Instant;

use libp2p::swarm::{ConnectionError, ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, identify, kad, ping, relay};

use super::EventLoop;
use super::effect::Effect;
use super::members::broke_off;
use super::text::{as_gauge, causes, refusal_text, same_place};
use crate::api::Reachability;
use crate::dht::addresses::usable;
use crate::dht::records::Sender;
use crate::node::behaviour::BehaviourEvent;
use crate::node::compat::muxer_error::is_closed_by_remote;
use crate::node::handle::Error;
use crate::node::peers::connected;
use crate::node::queries::Next;
use crate::peers::record::{Connection, Record};
use crate::peers::refusal::Refusal;
use crate::peers::table::Closed;
use crate::peers::{Conduct, limit_of};
use crate::system::moment::Moment;
use crate::telemetry::Direction;
use crate::text::duration::millis;

/// Which way a connection was made, as status and logs say it.
fn direction(dialed: bool) -> &'static str {
    let direction = if dialed {
        Direction::Out
    } else {
        Direction::In
    };
    direction.as_str()
}

fn tell_closed(
    peer: &PeerId,
    connection: &Connection,
    label: &'static str,
    cause: Option<&ConnectionError>,
    now: Instant,
) {
    let Connection {
        outbound,
        address,
        since,
        ..
    } = connection;
    let protocol = connected::transport(connection);
    let direction = direction(*outbound);
    let duration_ms = millis(now.saturating_duration_since(*since));
    match cause {
        Some(ConnectionError::IO(e)) => log::debug!(
            peer:% = peer, address:% = address, protocol, direction, duration_ms,
            cause = label, error = causes(e).as_str();
            "connection closed"
        ),
        _ => log::debug!(
            peer:% = peer, address:% = address, protocol, direction, duration_ms, cause = label;
            "connection closed"
        ),
    }
}

impl EventLoop {
    pub(super) fn event(&mut self, event: SwarmEvent<BehaviourEvent>, now: Instant) {
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
                            log::warn!(address:% = relay, error:% = reason; "relay reservation ended; asking again");
                        }
                        (false, Some(reason)) => {
                            log::warn!(address:% = relay, error:% = reason; "the relay gave no reservation; asking again later");
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
                self.metrics.connections_opened.inc();
                self.metrics.connections_active.inc();
                let opened = Connection::new(&endpoint, now);
                let protocol = connected::transport(&opened);
                log::debug!(
                    peer:% = peer_id, address:% = opened.address, protocol = protocol,
                    direction = direction(endpoint.is_dialer());
                    "connection opened"
                );
                self.bootstrap.connected(&peer_id, now, rand::random());
                self.tended.members.connected(&peer_id, now);
                self.place_opened(&peer_id, now);
                self.dialing.established(peer_id, connection_id);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                self.metrics.connections_active.dec();
                let closed = self.swarm.behaviour_mut().gate.take_closed(connection_id);
                let silent = closed.as_ref().is_some_and(|c| c.connection.is_silent());
                let label = match &cause {
                    None if silent => "ping",
                    None => "local",
                    Some(ConnectionError::KeepAliveTimeout) => "idle",
                    Some(cause) if is_closed_by_remote(cause) => "remote",
                    Some(ConnectionError::IO(_)) => "error",
                };
                self.metrics
                    .connections_closed
                    .with_label_values(&[label])
                    .inc();
                let last = closed.as_ref().is_none_or(|closed| closed.last);
                self.place_changed = true;
                if let Some(Closed { connection, .. }) = &closed {
                    let dialed = connection.outbound.then(|| connection.address.clone());
                    let addresses = self.known_addrs_after(&peer_id, dialed);
                    if self.tended.members.knows(&peer_id) {
                        self.tended.members.learn(&peer_id, &addresses);
                    }
                    tell_closed(&peer_id, connection, label, cause.as_ref(), now);
                    if last && matches!(label, "error" | "ping") {
                        self.place_lost(peer_id, addresses, connection.since, now);
                    }
                }
                if last {
                    self.dialing.gone(&peer_id);
                    let lost = broke_off(silent, cause.as_ref());
                    let chance = rand::random();
                    let members = &mut self.tended.members;
                    members.disconnected(&peer_id, lost, now, chance);
                }
                if last && label == "error" {
                    self.bootstrap.lost(&peer_id);
                }
                if self.peers.len() == 0 {
                    self.bootstrap.alone(now, rand::random);
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                self.dial_failed(connection_id, peer_id, &error, now);
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
                        let reason = refusal_text(cause);
                        let advice = match limit.starts_with("P2P_") {
                            true => format!("; raise or change {limit} if that is not wanted"),
                            false => String::new(),
                        };
                        log::warn!(
                            address:% = send_back_addr, limit = limit, suppressed = more;
                            "connection refused by this node's own limit{advice}: {reason}"
                        );
                    }
                } else {
                    log::debug!(address:% = send_back_addr, error:% = error; "inbound connection failed");
                }
            }
            SwarmEvent::NewExternalAddrCandidate { .. } => {}
            SwarmEvent::ExternalAddrConfirmed { address } => {
                // Who tests addresses for this node is a remote.
                if let Some(suppressed) = self.refusals.allow("external address found", now) {
                    log::info!(address:% = address, suppressed; "others can dial this address");
                }
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                if self.swarm.external_addresses().next().is_none()
                    && self.nat.state == Reachability::Public
                {
                    self.nat.state = Reachability::Private;
                }
                if let Some(suppressed) = self.refusals.allow("external address lost", now) {
                    log::info!(address:% = address, suppressed; "others can no longer dial this address");
                }
            }
            _ => {}
        }
    }

    pub(super) fn dial_failed(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        now: Instant,
    ) {
        self.metrics.dial_failures.inc();
        let reason = self.dialing.failed(id, peer, error, now);
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
            // As often as a node without any connection tries.
            if let Some(suppressed) = self.refusals.allow("bootstrap peer not reached", now) {
                log::warn!(peer:% = target, error:% = reason, suppressed; "cannot reach bootstrap peer; trying again later");
            }
        } else if relay {
            log::warn!(peer:% = target, error:% = reason; "cannot reach relay; trying again later");
        } else {
            log::debug!(peer:% = target, error:% = reason; "dial failed");
        }
        let Some(peer) = peer else { return };
        self.tended.members.failed(&peer);
        self.publish_unheard(now);
        // Kademlia keeps the last address of a peer whatever happens, and every
        // query that passes by waits for it: a host that is off holds QUIC's whole
        // handshake time-out. One that comes back identifies itself and is routed
        // to again. When nobody is connected the fault may be on this side.
        let gone = matches!(
            error,
            DialError::Transport(_) | DialError::WrongPeerId { .. } | DialError::NoAddresses
        );
        let gone = gone && self.swarm.connected_peers().next().is_some();
        // Whom this node's own rules keep out is not there for it either.
        let forbidden = self.is_forbidden(&peer, error);
        if (gone || forbidden) && !configured && !self.peers.contains(&peer) {
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
        }
    }

    /// Whether bans or rules for networks of this node have made a dial fail. The
    /// transport asks the rules too, and its errors do not name them.
    fn is_forbidden(&self, peer: &PeerId, error: &DialError) -> bool {
        match error {
            DialError::Denied { cause } => cause
                .downcast_ref::<Refusal>()
                .is_some_and(Refusal::is_of_rules),
            DialError::Transport(errors) => {
                let mut tried = errors.iter().map(|(address, _)| address);
                !errors.is_empty()
                    && tried.all(|address| self.is_unwelcome_at(peer, address, Instant::now()))
            }
            _ => false,
        }
    }

    pub(super) fn behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Identify(event) => self.identify_event(event, now),
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result,
            }) => match result {
                Ok(rtt) => {
                    self.metrics.traffic.message(Direction::Out, "ping");
                    self.metrics.ping_rtt.observe(rtt.as_secs_f64());
                    self.options.policy.record_mut(&peer, |record| {
                        record.ping = Some(rtt);
                        if let Some(connection) = record.connection_mut(connection) {
                            connection.ping_answered();
                        }
                    });
                }
                Err(ping::Failure::Unsupported) => {}
                Err(e) => {
                    log::debug!(peer:% = peer, error:% = e; "ping failed");
                    let lost = |record: &mut Record| {
                        let connection = record.connection_mut(connection);
                        connection.is_some_and(Connection::ping_lost)
                    };
                    if self.options.policy.record_mut(&peer, lost) == Some(true) {
                        log::debug!(peer:% = peer; "closing a connection that answers no ping");
                        let moment = Moment::now();
                        self.options.policy.report(&peer, Conduct::PingLost, moment);
                        self.carry_out([Effect::Close(connection)], now);
                    }
                }
            },
            BehaviourEvent::Keep(event) => self.keep_event(event, now),
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
                    log::info!(peer:% = relay_peer_id; "reachable through relay");
                }
            }
            BehaviourEvent::Dcutr(event) => {
                self.nat_result("dcutr", event.result.is_ok());
                match event.result {
                    Ok(_) => {
                        self.nat.hole_punched += 1;
                        log::debug!(peer:% = event.remote_peer_id; "hole punched: direct connection");
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
                        self.nat.state = Reachability::Public;
                        log::debug!(address:% = tested_addr, peer:% = server; "address is dialable");
                    }
                    Err(e) => {
                        if self.nat.state == Reachability::Unknown {
                            self.nat.state = Reachability::Private;
                        }
                        log::debug!(address:% = tested_addr, peer:% = server, error:% = e; "address is not dialable");
                    }
                }
            }
            BehaviourEvent::RelayServer(event) => self.relay_event(&event, now),
            _ => {}
        }
    }

    pub(super) fn nat_result(&self, method: &str, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.metrics
            .nat_traversal_attempts
            .with_label_values(&[method, result])
            .inc();
    }

    pub(super) fn relay_event(&mut self, event: &relay::Event, now: Instant) {
        let metrics = self.metrics.clone();
        let count = |kind, result| {
            let requests = &metrics.relay_requests;
            requests.with_label_values(&[kind, result]).inc();
        };
        match event {
            relay::Event::ReservationReqAccepted { renewed: false, .. } => {
                count("reservation", "accepted");
            }
            relay::Event::ReservationReqDenied { .. } => count("reservation", "denied"),
            relay::Event::CircuitReqAccepted { .. } => count("circuit", "accepted"),
            relay::Event::CircuitReqDenied { .. } => count("circuit", "denied"),
            _ => {}
        }
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
                self.reserved.insert(*src_peer_id);
            }
            // Told of every connection that ends, with a reservation or without.
            relay::Event::ReservationClosed { src_peer_id } if self.peers.contains(src_peer_id) => {
            }
            relay::Event::ReservationClosed { src_peer_id }
            | relay::Event::ReservationTimedOut { src_peer_id } => {
                self.reserved.remove(src_peer_id);
            }
            relay::Event::CircuitReqAccepted { .. } => {
                self.circuits += 1;
                metrics.relay_connections_active.inc();
            }
            relay::Event::CircuitClosed { .. } => {
                self.circuits = self.circuits.saturating_sub(1);
                metrics.relay_connections_active.dec();
                self.finish_drain(now);
            }
            _ => {}
        }
        metrics
            .relay_reservations_active
            .set(as_gauge(self.reserved.len()));
    }

    pub(super) fn identify_event(&mut self, event: identify::Event, now: Instant) {
        match event {
            identify::Event::Received {
                peer_id,
                info,
                connection_id,
            } => {
                self.metrics.traffic.message(Direction::In, "identify");
                self.dialing.identified(&peer_id);
                // A push changes what is known of a peer each time that it comes. How
                // many addresses it lists is no offence: a host of containers has
                // hundreds, the message holds no more, and a few are kept.
                if self
                    .options
                    .policy
                    .allow(&peer_id, 1, Moment::now())
                    .is_err()
                {
                    return;
                }
                let protocols = info.protocols.iter().map(AsRef::as_ref);
                self.options.policy.record_mut(&peer_id, |record| {
                    record.identified(&info.agent_version, protocols);
                });
                self.place_changed = true;
                let near = self.peers.is_near(&peer_id, connection_id);
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
                self.learn_addrs(&peer_id);
                if speaks_kad {
                    self.members_entered(now);
                }
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => {
                self.metrics.traffic.message(Direction::Out, "identify");
            }
            identify::Event::Error { peer_id, error, .. } => {
                log::debug!(peer:% = peer_id, error:% = error; "identify failed");
            }
        }
    }

    /// Puts what a peer says of its addresses into the routing table, in place of
    /// what it said before. Kademlia itself only ever adds, so that a peer which
    /// tells new addresses again and again would grow its entry without end.
    pub(super) fn route(&mut self, peer: PeerId, mut addrs: Vec<Multiaddr>) {
        // What a peer says of itself may be under way when it is banned.
        let now = Instant::now();
        addrs.retain(|address| !self.is_unwelcome_at(&peer, address, now));
        if addrs.is_empty() || self.options.policy.is_banned(&peer, Instant::now()) {
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

    pub(super) fn kad_event(&mut self, event: kad::Event, now: Instant) {
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
                        .traffic
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
                self.topic_query(id, &result, step.last, now);
                let next = self
                    .queries
                    .step(id, result, &stats, step.last, &self.metrics);
                let kad = &mut self.swarm.behaviour_mut().kad;
                match next {
                    Next::Continue => {}
                    Next::Finish => {
                        if let Some(mut query) = kad.query_mut(&id) {
                            query.finish();
                        }
                    }
                    Next::Place(provision, peers) => kad.place(id, provision, &peers),
                }
                self.finish_drain(now);
            }
            kad::Event::InboundRequest { request } => {
                self.metrics.traffic.message(Direction::In, "dht");
                self.store_record(request, now);
                self.metrics
                    .traffic
                    .message_processing
                    .with_label_values(&["dht"])
                    .observe(now.elapsed().as_secs_f64());
            }
            kad::Event::RoutingUpdated {
                is_new_peer: true, ..
            } => {
                // A sender that is full has told already.
                self.entered.retain_mut(|to| {
                    let told = to.try_send(());
                    told.is_ok() || told.is_err_and(|e| e.is_full())
                });
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
    pub(super) fn store_record(&mut self, request: kad::InboundRequest, now: Instant) {
        let sender = match &request {
            kad::InboundRequest::AddProvider {
                record: Some(record),
            } => record.provider,
            kad::InboundRequest::PutRecord { source, .. } => *source,
            _ => return,
        };
        let behaviour = self.swarm.behaviour_mut();
        let store = behaviour.kad.store_mut();
        let policy = &self.options.policy;
        let account = if policy.is_trusted(&sender) {
            Sender::EXEMPT
        } else {
            store.sender(&sender, policy.subnet_of(&sender))
        };
        let stored = match request {
            kad::InboundRequest::AddProvider {
                record: Some(mut record),
            } => {
                if record.addresses.is_empty() {
                    record.addresses = behaviour.book.get(&record.provider);
                }
                behaviour
                    .kad
                    .store_mut()
                    .put_provider_from(account, record, now)
            }
            kad::InboundRequest::PutRecord {
                record: Some(record),
                ..
            } => store.put_value_from(account, record, now),
            _ => return,
        };
        let Err(e) = stored else { return };
        self.metrics.dht_records_refused.inc();
        let policy = &self.options.policy;
        let due = |record: &mut Record| record.record_refused(now);
        if e.is_of_sender() && policy.record_mut(&sender, due) == Some(true) {
            policy.report(&sender, Conduct::RecordStuffing, Moment::now());
        }
        if let Some(more) = self.refusals.allow("P2P_DHT_MAX_RECORDS", now) {
            log::warn!(
                peer:% = sender, limit = "P2P_DHT_MAX_RECORDS", suppressed = more;
                "a DHT record was refused by this node's own limit: {e}"
            );
        }
    }

    /// Kademlia knows the addresses of the providers that an answer named only
    /// while the query runs; the book keeps them until the fetch dials.
    pub(super) fn keep_addrs(&mut self, peers: impl Iterator<Item = PeerId>) {
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
}
