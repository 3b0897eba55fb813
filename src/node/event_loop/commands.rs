//! What programs on this host ask of the node: the handle's commands, each with its
//! reply.

use libp2p::{Multiaddr, PeerId};

use super::{EventLoop, dht, view};
use crate::api::{State, Status};
use crate::node::command::Command;
use crate::node::gossip::Gossip;
use crate::node::options::AGENT;
use crate::node::reply::Reply;
use crate::system::moment::Moment;

impl EventLoop {
    pub(super) fn command(&mut self, command: Command, now: Moment) {
        match command {
            Command::Listen { address, reply } => {
                let listen = self.reach.listen(address, reply);
                self.carry_out([listen], now);
            }
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
                let end = self.dialing.disconnect(peer, is_connected, reply, now.mono);
                self.carry_out([end], now);
                if is_connected {
                    self.gossip.dismissed(&peer, now.mono);
                    self.swarm.behaviour_mut().keep.part(peer, now.mono);
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
                    now.mono,
                    &self.accounting,
                    |peer| self.neighbourhood.peering().contains(peer),
                    &self.swarm.behaviour().keep,
                );
                let _ = reply.send(Ok(list));
            }
            Command::Status { reply } => {
                let status = self.status();
                let _ = reply.send(Ok(Box::new(status)));
            }
            Command::RoutingTable { reply } => {
                let table = dht::routing_table(&mut self.swarm.behaviour_mut().kad);
                let _ = reply.send(Ok(table));
            }
            Command::Subscribe { topic, reply } => {
                self.with_gossip(now, |gossip, lent| gossip.subscribe(topic, reply, lent));
            }
            Command::Publish(message) => {
                self.with_gossip(now, |gossip, lent| gossip.publish(message, lent));
            }
            Command::Topics { reply } => {
                let _ = reply.send(Ok(self.gossip.topics()));
            }
            Command::TopicPeers { topic, reply } => {
                let peers = Gossip::peers_on(topic, &self.swarm.behaviour().gossip);
                let _ = reply.send(Ok(peers));
            }
            Command::Drain { reply } => self.drain(reply, now),
            Command::Adjust { changes, reply } => {
                let done = self.adjust(*changes, now);
                let _ = reply.send(done);
            }
            Command::Dht(command) => {
                let view = view!(self, now);
                let kad = &mut self.swarm.behaviour_mut().kad;
                self.dht.command(command, kad, view);
            }
        }
    }

    /// Returns where a peer can be dialed, as far as this node knows without asking
    /// others.
    pub(super) fn known_addrs(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        self.known_addrs_after(peer, None)
    }

    /// Does the same as [`Self::known_addrs`] just after the end of a connection that
    /// this node had dialed at `dialed`.
    pub(super) fn known_addrs_after(
        &mut self,
        peer: &PeerId,
        dialed: Option<Multiaddr>,
    ) -> Vec<Multiaddr> {
        let mut known: Vec<Multiaddr> = dialed.into_iter().collect();
        known.extend(self.peers.dialed_addrs(peer));
        let behaviour = &mut **self.swarm.behaviour_mut();
        dht::known_addrs(peer, known, &mut behaviour.book, &mut behaviour.kad)
    }

    pub(super) fn drain(&mut self, reply: Reply<()>, now: Moment) {
        if self.drain.begin(reply, now.mono) {
            log::info!("draining: no new connections, leaving gossip meshes");
            self.with_gossip(now, Gossip::drain);
            // The listeners come first. A client that connects now waits in the backlog
            // for the next process, if the service manager keeps the sockets. Clients
            // that are connected already are served as before.
            let listeners = self.reach.drain();
            self.carry_out(listeners, now);
            self.swarm.behaviour_mut().gate.close();
            self.swarm.behaviour_mut().keep.close();
            self.swarm.behaviour().streams.close();
        }
        self.finish_drain(now);
    }

    pub(super) fn finish_drain(&mut self, now: Moment) {
        let under_way =
            self.dht.queries() > 0 || self.gossip.unjudged() > 0 || self.reach.circuits() > 0;
        let unwritten = self.gossip.unrecorded() > 0;
        self.drain.finish(under_way, unwritten, now.mono);
    }

    /// Returns what the event loop knows of the status; other rooms fill in the rest.
    pub(super) fn status(&mut self) -> Status {
        let dht = self.dht.status(&mut self.swarm.behaviour_mut().kad);
        let topics = self.gossip.status(&self.swarm.behaviour().gossip);
        let counters = self.swarm.network_info().connection_counters().clone();
        Status {
            peer_id: Some(*self.swarm.local_peer_id()),
            agent: AGENT.into(),
            network: self.options.network.clone(),
            uptime: self.pulse.uptime(),
            state: if self.drain.is_draining() {
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
            nat: self.reach.nat(),
            limits: self.limits(),
            ..Status::default()
        }
    }
}
