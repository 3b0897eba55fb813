//! What this host asks of the node: the handle's commands, each with its reply.

use std::time::Instant;

use libp2p::kad::store::RecordStore;
use libp2p::{Multiaddr, PeerId, gossipsub, kad};

use super::gossip::DRAIN_WRITTEN;
use super::text::{key_text, transport_reason};
use super::{EventLoop, VALUE_TTL, view};
use crate::api::{DhtStatus, State, Status, TopicStatus};
use crate::node::dht_intake::Provision;
use crate::node::handle::{Command, DhtCommand, Error, PeerAddrs, Reply};
use crate::node::options::AGENT;
use crate::node::queries::Waiter;
use crate::node::standing::peer_of;

impl EventLoop {
    pub(super) fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Listen { address, reply } => self.listen(address, reply),
            Command::Connect { peer, addrs, reply } => {
                let is_own = addrs
                    .first()
                    .is_some_and(|address| self.swarm.listeners().any(|own| own == address));
                let view = view!(self, now);
                let dial = self.dialing.connect(peer, addrs, is_own, reply, view);
                self.carry_out(dial, now);
            }
            Command::Abandon { peer } => {
                let end = self.dialing.abandon(peer, self.swarm.is_connected(&peer));
                self.carry_out(end, now);
            }
            Command::AwaitIdentified { peer, reply } => {
                let view = view!(self, now);
                self.dialing.await_identified(peer, reply, view);
            }
            Command::Disconnect { peer, reply } => {
                let is_connected = self.swarm.is_connected(&peer);
                let end = self.dialing.disconnect(peer, is_connected, reply, now);
                self.carry_out([end], now);
                if is_connected {
                    self.tended.members.dismissed(&peer, now);
                    self.swarm.behaviour_mut().keep.part(peer, now);
                }
            }
            Command::AddAddrs { peer, addrs } => {
                self.swarm.behaviour_mut().book.add(peer, &addrs, true);
            }
            Command::KnownAddrs { peer, reply } => {
                let known = self.known_addrs(&peer);
                let _ = reply.send(Ok(known));
            }
            Command::Peers { reply } => {
                let list = self.peers.describe(
                    now,
                    &self.meters,
                    |peer| self.peering.contains(peer),
                    &self.swarm.behaviour().keep,
                );
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
            Command::Subscribe { topic, reply } => self.subscribe(topic, reply, now),
            Command::Publish {
                topic,
                content,
                client,
                reply,
            } => self.publish(topic, content, client, reply, now),
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
            Command::Drain { reply } => self.drain(reply, now),
            Command::Adjust { changes, reply } => {
                let done = self.adjust(*changes, now);
                let _ = reply.send(done);
            }
            Command::Dht(command) => self.dht_command(command, now),
        }
    }

    pub(super) fn listen(&mut self, address: Multiaddr, reply: Reply<Multiaddr>) {
        match self.swarm.listen_on(address.clone()) {
            Ok(id) => {
                self.listening.push(id);
                self.listens.insert(id, (address, reply));
            }
            Err(e) => {
                let reason = transport_reason(&e);
                let _ = reply.send(Err(Error::Listen { address, reason }));
            }
        }
    }

    /// Where a peer can be dialed, as far as this node knows.
    pub(super) fn known_addrs(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        self.known_addrs_after(peer, None)
    }

    /// As [`Self::known_addrs`], when a connection has just ended that this node had
    /// dialed at `dialed`.
    pub(super) fn known_addrs_after(
        &mut self,
        peer: &PeerId,
        dialed: Option<Multiaddr>,
    ) -> Vec<Multiaddr> {
        let mut known: Vec<Multiaddr> = dialed.into_iter().collect();
        known.extend(self.peers.dialed_addrs(peer));
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
        known.truncate(crate::node::handle::MAX_ADDRS_PER_PEER);
        known
    }

    pub(super) fn routing_table(&mut self) -> Vec<PeerAddrs> {
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

    fn dht_command(&mut self, command: DhtCommand, now: Instant) {
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
                    crate::node::queries::MAX_QUERIES
                )
            },
        };
        let refused = full || self.draining;
        match command {
            DhtCommand::ClosestPeers { key, reply } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("closest-peers", &text)));
                    return;
                }
                let id = kad.get_closest_peers(key);
                self.queries
                    .insert(id, text, Waiter::ClosestPeers(reply), now);
            }
            DhtCommand::FindProviders {
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
            DhtCommand::Provide {
                key,
                of_content,
                verify,
                replies,
            } => {
                let text = key_text(&key);
                if refused {
                    let _ = replies.told.send(Err(refusal("provide", &text)));
                    return;
                }
                let key = kad::RecordKey::from(key);
                let local = *self.swarm.local_peer_id();
                let kad = &mut self.swarm.behaviour_mut().kad;
                // Who asks this node for the providers is told of it at once.
                let kept = if of_content {
                    kad.store_mut().provide_content(key.clone());
                    Ok(())
                } else {
                    let record = kad::ProviderRecord::new(key.clone(), local, Vec::new());
                    kad.store_mut().add_provider(record)
                };
                let refusal = match kept {
                    Err(e) => Some(Error::Dht {
                        kind: "provide",
                        key: text.clone(),
                        reason: format!("{e} (P2P_DHT_MAX_RECORDS)"),
                    }),
                    // Kademlia calls it done when there is nobody to tell.
                    Ok(()) if alone => Some(Error::NoDhtPeer {
                        kind: "provide",
                        key: text.clone(),
                    }),
                    Ok(()) => None,
                };
                if let Some(error) = refusal {
                    let _ = replies.told.send(Err(error));
                    return;
                }
                let id = kad.get_closest_peers(key.to_vec());
                let provision = Provision {
                    key,
                    verify,
                    replies,
                };
                self.queries
                    .insert(id, text, Waiter::Provide(provision), now);
            }
            DhtCommand::WatchTable { mut entered } => {
                if !alone {
                    // It is empty yet.
                    let _ = entered.try_send(());
                }
                self.entered.push(entered);
            }
            DhtCommand::KeepContent { keys } => {
                for key in keys {
                    kad.store_mut().provide_content(key.into());
                }
            }
            DhtCommand::StopProviding { key } => kad.stop_providing(&key.into()),
            DhtCommand::GetValue {
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
            DhtCommand::PutValue { key, value, reply } => {
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
                                crate::dht::records::MAX_VALUE_BYTES
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
        }
    }

    pub(super) fn drain(&mut self, reply: Reply<()>, now: Instant) {
        if !self.draining {
            self.draining = true;
            self.drain_writes_until = Some(now + DRAIN_WRITTEN);
            log::info!("draining: no new connections, leaving gossip meshes");
            let ids: Vec<gossipsub::TopicHash> =
                self.topics.iter().map(|(h, _)| h.clone()).collect();
            for hash in ids {
                self.topic_left(&hash);
                let topic = gossipsub::IdentTopic::new(hash.into_string());
                self.swarm.behaviour_mut().gossip.leave(&topic);
            }
            // First the listeners: who comes now waits in the backlog, for the next
            // process when the service manager keeps the sockets. Who has come is
            // served as before.
            for id in std::mem::take(&mut self.listening) {
                self.swarm.remove_listener(id);
            }
            self.swarm.behaviour_mut().gate.close();
            self.swarm.behaviour_mut().keep.close();
            self.swarm.behaviour().streams.close();
        }
        self.drained.push(reply);
        self.finish_drain(now);
    }

    pub(super) fn finish_drain(&mut self, now: Instant) {
        let writes_over = |until| now >= until;
        let written =
            self.recording.waiting() == 0 || self.drain_writes_until.is_some_and(writes_over);
        if self.draining
            && self.queries.len() == 0
            && self.validation.waiting() == 0
            && written
            && self.circuits == 0
        {
            for reply in self.drained.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// What the event loop knows of it; other rooms fill in the rest.
    pub(super) fn status(&mut self) -> Status {
        let table = self.routing_table_size();
        let kad = &mut self.swarm.behaviour_mut().kad;
        let dht = DhtStatus {
            protocol: self.options.kad_protocol.clone(),
            mode: match kad.mode() {
                kad::Mode::Server => "server".to_owned(),
                kad::Mode::Client => "client".to_owned(),
            },
            table_size: table as u64,
            values: kad.store_mut().values_len() as u64,
            provider_records: kad.store_mut().provider_records_len() as u64,
            queries: self.queries.len() as u64,
        };
        let gossip = &self.swarm.behaviour().gossip;
        let mut topics: Vec<TopicStatus> = self
            .topics
            .iter()
            .map(|(hash, name)| TopicStatus {
                topic: name.to_owned(),
                mesh_peers: gossip.mesh_peers(hash).count() as u64,
                peers: gossip
                    .all_peers()
                    .filter(|(_, t)| t.contains(&hash))
                    .count() as u64,
            })
            .collect();
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        let counters = self.swarm.network_info().connection_counters().clone();
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
            peer_id: Some(*self.swarm.local_peer_id()),
            agent: AGENT.into(),
            network: self.options.network.clone(),
            uptime: self.pulse.uptime(),
            state: if self.draining {
                State::Draining
            } else {
                State::Running
            },
            listen_addrs: self.swarm.listeners().cloned().collect(),
            external_addrs: self.swarm.external_addresses().cloned().collect(),
            peers: self.peers.len() as u64,
            connections_inbound: self.peers.inbound().into(),
            connections_outbound: self.peers.outbound().into(),
            connections_pending: counters.num_pending().into(),
            dht,
            topics,
            nat,
            limits: self.limits(),
            ..Status::default()
        }
    }
}
