//! The events of the network: those of the swarm and of each protocol.

use std::time::Instant;

use libp2p::swarm::{ConnectionError, ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{PeerId, autonat, identify, kad, ping};

use super::gossip::broke_off;
use super::{EventLoop, view};
use crate::dht::addresses::usable;
use crate::node::behaviour::BehaviourEvent;
use crate::node::compat::muxer_error::is_closed_by_remote;
use crate::node::compat::swarm_pauses;
use crate::node::dial_error::{causes, refusal_text};
use crate::node::effect::Effect;
use crate::node::gossip::Gossip;
use crate::node::peers::connected;
use crate::peers::record::{Connection, Record};
use crate::peers::table::Closed;
use crate::peers::{Conduct, limit_of};
use crate::system::moment::Moment;
use crate::telemetry::Direction;
use crate::text::duration::millis;

/// Returns which side made a connection, in the words of status and logs.
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
    pub(super) fn event(&mut self, event: SwarmEvent<BehaviourEvent>, now: Moment) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event, now),
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => self.reach.listening(listener_id, &address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.reach.listening_no_more(&address);
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => self.reach.closed(listener_id, &addresses, reason),
            SwarmEvent::ListenerError { error, .. } => self.reach.listener_error(&error, now.mono),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.metrics.connections_opened.inc();
                self.metrics.connections_active.inc();
                let opened = Connection::new(&endpoint, now.mono);
                let protocol = connected::transport(&opened);
                log::debug!(
                    peer:% = peer_id, address:% = opened.address, protocol = protocol,
                    direction = direction(endpoint.is_dialer());
                    "connection opened"
                );
                self.gossip.connected(&peer_id, now.mono);
                let hold = self.neighbourhood.opened(&peer_id, now.mono);
                self.carry_out(hold, now);
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
                self.neighbourhood.closed();
                if let Some(Closed { connection, .. }) = &closed {
                    let dialed = connection.outbound.then(|| connection.address.clone());
                    let addresses = self.known_addrs_after(&peer_id, dialed);
                    if self.gossip.knows(&peer_id) {
                        self.gossip.learn(&peer_id, &addresses);
                    }
                    tell_closed(&peer_id, connection, label, cause.as_ref(), now.mono);
                    if last && matches!(label, "error" | "ping") {
                        let since = connection.since;
                        self.neighbourhood
                            .broke(peer_id, addresses, since, now.mono);
                    }
                }
                if last {
                    self.dialing.gone(&peer_id);
                    let lost = broke_off(silent, cause.as_ref());
                    self.gossip.disconnected(&peer_id, lost, now.mono);
                }
                if last && label == "error" {
                    self.neighbourhood.lost(&peer_id);
                }
                if self.peers.len() == 0 {
                    self.neighbourhood.alone(now.mono);
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
                if self.drain.is_draining() {
                    log::debug!(address:% = send_back_addr; "connection refused: draining");
                } else if let ListenError::Denied { cause } = &error {
                    let limit = limit_of(cause);
                    self.metrics
                        .connections_refused
                        .with_label_values(&[limit])
                        .inc();
                    if let Some(more) = self.refusals.allow(limit, now.mono) {
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
            SwarmEvent::ExternalAddrConfirmed { address } => {
                self.reach.external_found(&address, now.mono);
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                let others = self.swarm.external_addresses().next().is_some();
                self.reach.external_lost(&address, others, now.mono);
            }
            // These need no action: what begins is reported again when it has ended, and
            // the protocols that find candidates and addresses have told each other.
            SwarmEvent::IncomingConnection { .. }
            | SwarmEvent::Dialing { .. }
            | SwarmEvent::NewExternalAddrCandidate { .. }
            | SwarmEvent::NewExternalAddrOfPeer { .. } => {}
            // The enum may get more variants in later versions of libp2p. All that this
            // version has are named above.
            _ => {}
        }
    }

    pub(super) fn dial_failed(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        now: Moment,
    ) {
        self.metrics.dial_failures.inc();
        let reason = self.dialing.failed(id, peer, error, now.mono);
        if let DialError::Denied { cause } = error {
            let limit = limit_of(cause);
            self.metrics
                .connections_refused
                .with_label_values(&[limit])
                .inc();
        }
        let target = peer.map_or_else(|| "peer".into(), |p| p.to_string());
        let configured = peer.is_some_and(|p| self.neighbourhood.is_bootstrap(&p));
        let relay = peer.is_some_and(|p| self.reach.is_relay(&p));
        if configured {
            // This happens as often as a node without any connection tries.
            if let Some(suppressed) = self.refusals.allow("bootstrap peer not reached", now.mono) {
                log::warn!(peer:% = target, error:% = reason, suppressed; "cannot reach bootstrap peer; trying again later");
            }
        } else if relay {
            log::warn!(peer:% = target, error:% = reason; "cannot reach relay; trying again later");
        } else {
            log::debug!(peer:% = target, error:% = reason; "dial failed");
        }
        let Some(peer) = peer else { return };
        self.with_gossip(now, |gossip, lent| gossip.dial_failed(&peer, lent));
        if configured {
            return;
        }
        let alone = self.swarm.connected_peers().next().is_none();
        let view = view!(self, now);
        let kad = &mut self.swarm.behaviour_mut().kad;
        self.dht.dial_failed(&peer, error, alone, kad, view);
    }

    pub(super) fn behaviour_event(&mut self, event: BehaviourEvent, now: Moment) {
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
                        let conduct = Conduct::PingLost;
                        let report = Effect::Report { peer, conduct };
                        self.carry_out([report, Effect::Close(connection)], now);
                    }
                }
            },
            BehaviourEvent::Keep(event) => self.neighbourhood.keep_event(event, now.mono),
            BehaviourEvent::Kad(event) => self.kad_event(event, now),
            BehaviourEvent::Gossip(event) => {
                self.with_gossip(now, |gossip, lent| gossip.event(event, lent));
            }
            BehaviourEvent::RelayClient(event) => self.reach.relay_client(&event),
            BehaviourEvent::Dcutr(event) => self.reach.dcutr(event),
            BehaviourEvent::AutonatClient(event) => self.reach.autonat(event),
            BehaviourEvent::RelayServer(event) => {
                self.reach.relay_server(&event, &self.peers);
                // The drain may have waited for the last circuit.
                self.finish_drain(now);
            }
            // The addresses that this node tests for others do not concern it.
            BehaviourEvent::AutonatServer(autonat::v2::server::Event { .. }) => {}
            // The loop lets other tasks run before it goes on.
            BehaviourEvent::Pauses(swarm_pauses::Pause) => {}
            BehaviourEvent::Gate(event)
            | BehaviourEvent::Book(event)
            | BehaviourEvent::Probe(event)
            | BehaviourEvent::Streams(event) => match event {},
        }
    }

    pub(super) fn identify_event(&mut self, event: identify::Event, now: Moment) {
        match event {
            identify::Event::Received {
                peer_id,
                info,
                connection_id,
            } => {
                self.metrics.traffic.message(Direction::In, "identify");
                self.dialing.identified(&peer_id);
                // Each push changes what is known of a peer, so it takes from the peer's
                // budget. The number of addresses in it is no offence: a host of
                // containers has hundreds, the message cannot hold more, and only a few
                // are kept.
                if self.options.policy.allow(&peer_id, 1, now).is_err() {
                    return;
                }
                let protocols = info.protocols.iter().map(AsRef::as_ref);
                self.options.policy.record_mut(&peer_id, |record| {
                    record.identified(&info.agent_version, protocols);
                });
                self.neighbourhood.identified();
                let near = self.peers.is_near(&peer_id, connection_id);
                let speaks_kad = self.dht.is_server(info.protocols.iter().map(AsRef::as_ref));
                let behaviour = &mut **self.swarm.behaviour_mut();
                behaviour.book.add(peer_id, &info.listen_addrs, near);
                if speaks_kad {
                    let addrs = usable(&info.listen_addrs, near).collect();
                    let kad = &mut behaviour.kad;
                    self.dht.route(peer_id, addrs, kad, &self.peers, now.mono);
                } else {
                    // It was once a server and is not one now. In the table it would only
                    // slow queries.
                    behaviour.kad.remove_peer(&peer_id);
                }
                self.learn_addrs(&peer_id);
                if speaks_kad {
                    self.with_gossip(now, Gossip::met_dht_node);
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

    pub(super) fn kad_event(&mut self, event: kad::Event, now: Moment) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result,
                stats,
                step,
            } => {
                let behaviour = &mut **self.swarm.behaviour_mut();
                let (kad, book) = (&mut behaviour.kad, &mut behaviour.book);
                self.dht.learn(&result, kad, book, &self.peers);
                self.topic_query(id, &result, step.last, now);
                let kad = &mut self.swarm.behaviour_mut().kad;
                self.dht.step(id, result, &stats, step.last, kad, now);
                self.finish_drain(now);
            }
            kad::Event::InboundRequest { request } => {
                let behaviour = &mut **self.swarm.behaviour_mut();
                let (kad, book) = (&mut behaviour.kad, &mut behaviour.book);
                let refused = self.dht.store_record(request, kad, book, now);
                self.carry_out(refused, now);
                // The clock at this moment, and not the time of the turn: what the request
                // cost this turn is to count.
                let took = &self.metrics.traffic.message_processing;
                took.with_label_values(&["dht"])
                    .observe(now.mono.elapsed().as_secs_f64());
            }
            kad::Event::RoutingUpdated {
                peer,
                is_new_peer: true,
                ..
            } => self.dht.entered(peer, &mut self.swarm.behaviour_mut().kad),
            kad::Event::ModeChanged { new_mode } => {
                log::info!(mode:? = new_mode; "DHT mode changed");
            }
            // This node has dialed it, and it speaks the protocol.
            kad::Event::RoutablePeer { peer, address } => {
                let kad = &mut self.swarm.behaviour_mut().kad;
                self.dht.route_dialed(peer, address, kad, now.mono);
            }
            // These report another address of a peer in the table, or a peer that does
            // not enter it.
            kad::Event::RoutingUpdated { .. }
            | kad::Event::UnroutablePeer { .. }
            | kad::Event::PendingRoutablePeer { .. } => {}
        }
    }
}
