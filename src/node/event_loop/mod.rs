//! The event loop: the one task that owns the swarm.
//!
//! A turn takes the commands from this host first (bounded, so that a busy program cannot
//! keep the network waiting), and then one event of the swarm. Once a second, a turn is
//! for housekeeping. The loop waits for nothing else: neither for a disk nor for a
//! client.
//!
//! The loop itself decides little. It gives each event to the subsystem that it belongs
//! to, with the time of the turn, and carries out the [effects](super::effect) that the
//! subsystem returns:
//!
//! | file | noun |
//! |---|---|
//! | [`dialing`] | dials that programs on this host asked for, and the programs that wait for peers |
//! | [`reach`] | how others can reach this node, and for which peers it relays |
//! | [`neighbourhood`] | the peers that this node is connected to of its own accord |
//! | [`dht`] | queries, records and the routing table |
//! | [`drain`] | the programs that wait until this node has finished what it does for others |
//! | [`gossip`] | what is lent to the subsystem of gossip, in `node::gossip`, and looked up for it |
//! | [`sanctions`] | the consequences of misbehaviour |
//! | [`commands`], [`network`] | to which of them each command and each event goes |
//! | [`adjust`] | what a reload of the configuration changes |
//! | [`limits`] | every limit, used and allowed |

mod adjust;
mod commands;
mod dht;
mod dialing;
mod drain;
mod gossip;
mod limits;
mod neighbourhood;
mod network;
mod reach;
mod relief;
mod sanctions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::channel::Receiver;
use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::swarm::{DialError, Swarm, SwarmEvent};

use self::dht::Dht;
use self::dialing::Dialing;
use self::drain::Drain;
use self::neighbourhood::Neighbourhood;
use self::reach::Reach;
use crate::node::Metrics;
use crate::node::accounting::Accounting;
use crate::node::bandwidth::Bandwidth;
use crate::node::behaviour::{Behaviour, BehaviourEvent};
use crate::node::command::Command;
use crate::node::compat::boxed_handlers::BoxedHandlers;
use crate::node::dial_error::one_line;
use crate::node::effect::{Dialer, Effect};
use crate::node::gossip::{Gossip, Turn as GossipTurn};
use crate::node::metrics::as_gauge;
use crate::node::options::Options;
use crate::node::peers::connected::Connected;
use crate::node::pulse::Pulse;
use crate::node::streams::Idle;
use crate::peers::relief::Relief;
use crate::peers::{Order, Sanctions};
use crate::system::moment::Moment;
use crate::telemetry::coop;
use crate::telemetry::throttle::Throttle;

/// The number of commands that are taken before the swarm gets its turn.
const COMMANDS_A_TURN: usize = 16;

/// The interval of the housekeeping, and of the pulse.
const TICK: Duration = Duration::from_secs(1);

/// The interval at which expired DHT records are removed, in ticks.
const SWEEP_TICKS: u64 = 300;

/// The interval at which expired bans, full buckets and forgotten reputations are
/// removed, in ticks. To look at all of them takes a fraction of a millisecond.
const TEND_TICKS: u64 = 10;

/// How long the loop waits at its end for connections to close properly.
const GOODBYE: Duration = Duration::from_secs(1);

/// The parts of the loop that other code makes.
pub(super) struct Parts {
    pub(super) swarm: Swarm<BoxedHandlers<Behaviour>>,
    pub(super) commands: Receiver<Command>,
    pub(super) stop: oneshot::Receiver<()>,
    /// Dropped with the loop, to tell others that it has ended.
    pub(super) alive: oneshot::Sender<()>,
    pub(super) options: Options,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) accounting: Accounting,
    pub(super) bandwidth: Bandwidth,
    pub(super) idle: Idle,
    pub(super) gossip: Gossip,
    pub(super) identity: Keypair,
}

/// The swarm, the channels through which others ask something of it, and the subsystems
/// that decide what it does.
pub(super) struct EventLoop {
    swarm: Swarm<BoxedHandlers<Behaviour>>,
    commands: Receiver<Command>,
    stop: oneshot::Receiver<()>,
    _alive: oneshot::Sender<()>,
    /// The configuration, as of the last reload.
    options: Options,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    accounting: Accounting,
    bandwidth: Bandwidth,
    idle: Idle,
    speed: limits::Speed,
    /// The connected peers, which every subsystem reads.
    peers: Connected,
    dialing: Dialing,
    reach: Reach,
    neighbourhood: Neighbourhood,
    dht: Dht,
    drain: Drain,
    gossip: Gossip,
    sanctions: Sanctions,
    misbehaviour_lines: sanctions::Lines,
    refusals: Throttle,
    relief: Relief,
    /// What is still to be carried out in this turn.
    effects: VecDeque<Effect>,
    /// Whether somebody does that.
    carrying_out: bool,
    ticks: u64,
}

impl Drop for EventLoop {
    /// Nobody who asked for something and has no answer may wait for ever. A channel
    /// keeps what is queued for as long as somebody can send, and those that wait hold a
    /// sender. This also runs when the loop ends by a panic.
    fn drop(&mut self) {
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
    }
}

/// What a turn of the loop is about.
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, which lives for a turn and is moved twice"
)]
enum Turn {
    Command(Command),
    Order(Option<Order>),
    Event(SwarmEvent<BehaviourEvent>),
    Gossip(GossipTurn),
    Tick,
    Beat,
}

/// Returns what the subsystems may read at a given time. It is a macro, so that it
/// borrows only what it reads while a subsystem is borrowed for a change.
macro_rules! view {
    ($loop:ident, $now:expr) => {
        $crate::node::effect::View {
            now: $now.mono,
            wall: $now.wall,
            local: *$loop.swarm.local_peer_id(),
            draining: $loop.drain.is_draining(),
            peers: &$loop.peers,
        }
    };
}
use view;

impl EventLoop {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            swarm,
            commands,
            stop,
            alive,
            options,
            metrics,
            pulse,
            accounting,
            bandwidth,
            idle,
            gossip,
            identity,
        } = parts;
        let external = options.external_addrs.clone();
        EventLoop {
            swarm,
            commands,
            stop,
            _alive: alive,
            pulse,
            accounting,
            bandwidth,
            idle,
            speed: limits::Speed::default(),
            peers: Connected::new(options.policy.clone()),
            dialing: Dialing::default(),
            reach: Reach::new(external, &options.relays, metrics.clone()),
            neighbourhood: Neighbourhood::new(&options, metrics.clone(), Instant::now()),
            dht: Dht::new(&options, identity, metrics.clone()),
            drain: Drain::default(),
            gossip,
            sanctions: options.policy.sanctions(),
            misbehaviour_lines: sanctions::Lines::default(),
            refusals: Throttle::default(),
            relief: Relief::default(),
            effects: VecDeque::new(),
            carrying_out: false,
            ticks: 0,
            metrics,
            options,
        }
    }

    /// Carries out what a subsystem asks for, in order. Effects that follow from these,
    /// such as those of a dial that is refused at once, are carried out after them.
    pub(super) fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect>, now: Moment) {
        self.effects.extend(effects);
        if self.carrying_out {
            return;
        }
        self.carrying_out = true;
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Dial { opts, by } => {
                    if let (Dialer::Command(_), Some(peer)) = (&by, opts.get_peer_id()) {
                        self.options
                            .policy
                            .write(|peers| peers.want(&peer, now.mono));
                    }
                    if let Err(e) = self.swarm.dial(*opts) {
                        self.not_dialed(by, &e, now);
                    }
                }
                // The end of a connection will tell whether there was one.
                Effect::Disconnect(peer) => drop(self.swarm.disconnect_peer_id(peer)),
                // It may have ended by itself.
                Effect::Close(id) => drop(self.swarm.close_connection(id)),
                Effect::Hold {
                    peer,
                    reason,
                    until,
                } => {
                    // A peer that has disconnected in the meantime is not held.
                    let keep = &mut self.swarm.behaviour_mut().keep;
                    keep.hold(&peer, reason, until, now.mono);
                }
                Effect::Release { peer, reason } => {
                    let keep = &mut self.swarm.behaviour_mut().keep;
                    keep.release(&peer, reason, now.mono);
                }
                Effect::Report { peer, conduct } => {
                    self.options.policy.report(&peer, conduct, now);
                }
                Effect::Listen { address, wanted_by } => {
                    let result = self.swarm.listen_on(address.clone());
                    self.reach.begun(address, wanted_by, result);
                }
                // As above.
                Effect::RemoveListener(id) => drop(self.swarm.remove_listener(id)),
                Effect::AddExternalAddress(address) => self.swarm.add_external_address(address),
                Effect::RemoveExternalAddress(address) => {
                    self.swarm.remove_external_address(&address);
                }
                Effect::EnterNetwork => self.neighbourhood.bootstrap_wanted(),
                Effect::FindPeers => self.neighbourhood.wanted(now.mono),
                Effect::FindMembers { topic, key } => self.find_members(topic, key, now),
                Effect::AnnounceTopic { topic, key } => self.announce_topic(topic, key, now),
                Effect::StopProviding(key) => self.swarm.behaviour_mut().kad.stop_providing(&key),
                Effect::EndQuery(id) => {
                    if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                        query.finish();
                    }
                }
                Effect::LocateMember(peer) => self.learn_addrs(&peer),
            }
        }
        self.carrying_out = false;
    }

    /// Tells the part of the node that wanted a dial that the swarm has refused to begin
    /// it.
    fn not_dialed(&mut self, by: Dialer, error: &DialError, now: Moment) {
        match by {
            Dialer::Command(id) => self.dialing.refused(id, error, now.mono),
            // Another dial of the same peer is under way.
            Dialer::Bootstrap(_) if matches!(error, DialError::DialPeerConditionFalse(_)) => {}
            Dialer::Bootstrap(address) => {
                log::warn!(address:% = address, error:% = one_line(error); "cannot dial bootstrap peer");
            }
            // As above.
            Dialer::Member(_) if matches!(error, DialError::DialPeerConditionFalse(_)) => {}
            Dialer::Member(peer) => {
                self.with_gossip(now, |gossip, lent| gossip.dial_failed(&peer, lent));
            }
            Dialer::Known(peer) => {
                log::debug!(peer:% = peer, error:% = one_line(error); "cannot dial a known peer");
            }
        }
    }

    /// Runs until it is told to stop, or until nobody holds a handle any more.
    pub(super) async fn run(mut self) {
        let now = Moment::now();
        for name in self.options.topics.clone() {
            self.with_gossip(now, |gossip, lent| gossip.keep_topic(&name, lent));
        }
        let start = self.reach.start();
        self.carry_out(start, now);
        let remembered = std::mem::take(&mut self.options.remembered_peers);
        let local = *self.swarm.local_peer_id();
        let book = &mut self.swarm.behaviour_mut().book;
        let dials = self.neighbourhood.start(remembered, book, local);
        self.carry_out(dials, now);
        self.record_limits();
        let mut tick = async_io::Timer::interval(TICK);
        // This is faster than the tick only when the manager is configured with a short
        // period.
        let mut beats = self
            .options
            .watchdog
            .as_ref()
            .map_or_else(async_io::Timer::never, |watchdog| {
                async_io::Timer::interval(watchdog.every())
            });
        self.housekeeping(now);
        let results = self.gossip.results();
        loop {
            #[cfg(feature = "fault-injection")]
            crate::system::faults::event_loop();
            for _ in 0..COMMANDS_A_TURN {
                match self.commands.try_recv() {
                    Ok(command) => self.command(command, Moment::now()),
                    Err(_) => break,
                }
            }
            // What the commands cost is not to be taken from the network's turn.
            coop::pause_if_over().await;
            let turn = futures::select! {
                _ = &mut self.stop => break,
                command = self.commands.recv().fuse() => command.map(Turn::Command).ok(),
                order = self.sanctions.next().fuse() => Some(Turn::Order(order)),
                event = self.swarm.select_next_some() => Some(Turn::Event(event)),
                // If one of these three channels has ended, the workers have stopped,
                // which is a bug.
                done = results.judged.recv().fuse() => {
                    done.map(|done| Turn::Gossip(GossipTurn::Judged(done))).ok()
                },
                done = results.recorded.recv().fuse() => {
                    done.map(|done| Turn::Gossip(GossipTurn::Recorded(done))).ok()
                },
                done = results.sealed.recv().fuse() => {
                    done.map(|done| Turn::Gossip(GossipTurn::Sealed(done))).ok()
                },
                _ = FutureExt::fuse(self.gossip.publish_turn()) => {
                    Some(Turn::Gossip(GossipTurn::Publish))
                },
                _ = tick.next().fuse() => Some(Turn::Tick),
                _ = beats.next().fuse() => Some(Turn::Beat),
            };
            let Some(turn) = turn else { break };
            // The time of this turn: everything in it happens at the same time.
            let now = Moment::now();
            self.turn(turn, now);
            // There is always a next turn on a busy node, and this task would keep its
            // thread.
            coop::pause_if_over().await;
        }
        // What is accepted is passed on to the mesh while there are connections. What
        // arrives while they are being closed is for the programs on this host. Peers get
        // their goodbye even if the disk does not answer.
        self.judge_all().await;
        self.say_goodbye().await;
        self.settle_all().await;
    }

    fn turn(&mut self, turn: Turn, now: Moment) {
        match turn {
            Turn::Command(command) => self.command(command, now),
            Turn::Order(order) => {
                if let Some(order) = order {
                    self.order(order, now);
                }
            }
            Turn::Event(event) => self.event(event, now),
            Turn::Gossip(turn) => self.gossip_turn(turn, now),
            Turn::Tick => self.housekeeping(now),
            Turn::Beat => self.beat_watchdog(now),
        }
    }

    /// Closes every connection, so that peers see an end and not a time-out.
    async fn say_goodbye(&mut self) {
        for peer in self.peers.ids() {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let mut deadline = FutureExt::fuse(async_io::Timer::after(GOODBYE));
        while self.peers.len() > 0 {
            futures::select! {
                event = self.swarm.select_next_some() => self.event(event, Moment::now()),
                _ = deadline => break,
            }
            coop::pause_if_over().await;
        }
    }

    fn beat_watchdog(&mut self, now: Moment) {
        if let Some(watchdog) = &mut self.options.watchdog {
            watchdog.beat(now.mono);
        }
    }

    /// Does what is due once a second.
    fn housekeeping(&mut self, now: Moment) {
        self.ticks += 1;
        self.with_gossip(now, Gossip::leave_abandoned);
        let behaviour = &mut **self.swarm.behaviour_mut();
        self.dht.tend(&mut behaviour.kad);
        if self.ticks.is_multiple_of(TEND_TICKS) {
            self.options.policy.tend(now);
        }
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            self.dht.sweep(&mut behaviour.kad, now.mono);
        }
        behaviour.gossip.tend(now);
        self.dialing.tend(now.mono);
        behaviour.keep.tend(now.mono);
        let table = dht::routing_table_size(&mut behaviour.kad);
        if !self.drain.is_draining() {
            self.tend_neighbourhood(now);
            let relays = self.reach.due(now.mono, rand::random);
            self.carry_out(relays, now);
        }
        self.with_gossip(now, Gossip::tick);
        let streams = &self.swarm.behaviour().streams;
        let view = view!(self, now);
        let superseded = self
            .neighbourhood
            .superseded(view, |peer, id| streams.is_used(peer, id));
        self.carry_out(superseded, now);
        self.speed.look(&self.bandwidth, now.mono);
        let mesh = self.record_gauges(table);
        self.pulse.beat(now.mono, self.peers.len(), table, mesh);
        self.relieve_memory(now.mono);
        self.finish_drain(now);
    }

    fn tend_neighbourhood(&mut self, now: Moment) {
        let view = view!(self, now);
        let behaviour = &mut **self.swarm.behaviour_mut();
        let (gossip, intake) = (&self.gossip, &behaviour.gossip);
        let on_topics = || gossip.peers(intake);
        let (kad, keep) = (&mut behaviour.kad, &behaviour.keep);
        let effects = self
            .neighbourhood
            .tend(view, self.ticks, kad, keep, on_topics);
        self.carry_out(effects, now);
    }

    /// Updates the gauges. Returns the number of peers in all meshes together.
    fn record_gauges(&mut self, table: usize) -> usize {
        let metrics = self.metrics.clone();
        metrics.dht_routing_table_peers.set(as_gauge(table));
        metrics.connections_inbound.set(self.peers.inbound().into());
        metrics
            .connections_outbound
            .set(self.peers.outbound().into());
        let mesh = self.gossip.record_gauges(&self.swarm.behaviour().gossip);
        metrics.connected_peers.set(as_gauge(self.peers.len()));
        let keep = &self.swarm.behaviour().keep;
        let kept = self
            .peers
            .ids()
            .iter()
            .filter(|peer| keep.is_kept(peer))
            .count();
        metrics.connections_kept.set(as_gauge(kept));
        let public = self.reach.is_public();
        let ways = &metrics.nat_traversal;
        ways.with_label_values(&["direct"]).set(public.into());
        let reserved = self.reach.reserved();
        ways.with_label_values(&["relay"]).set(as_gauge(reserved));
        let records = self.swarm.behaviour_mut().kad.store_mut();
        metrics
            .dht_records
            .with_label_values(&["value"])
            .set(as_gauge(records.values_len()));
        metrics
            .dht_records
            .with_label_values(&["provider"])
            .set(as_gauge(records.provider_records_len()));
        mesh
    }
}
