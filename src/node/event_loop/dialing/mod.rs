//! Dials that programs on this host asked for, and the programs that wait until a
//! connection with a peer is usable, or has ended.
//!
//! | file | noun |
//! |---|---|
//! | [`reasons`] | why peers could not be dialed lately |
//! | [`waiters`] | the programs that wait until a peer is identified, or disconnected |

mod reasons;
mod waiters;

use std::collections::HashMap;
use std::time::Instant;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use self::reasons::DialReasons;
use self::waiters::{Outcome, Waiters};
use crate::content::fetch::{Obstacle, Unreachable};
use crate::node::configured::peer_of;
use crate::node::effect::{Dialer, Effect, View};
use crate::node::error::Error;
use crate::node::obstacle::unreachable;
use crate::node::reply::Reply;

/// A dial that a program on this host asked for.
#[derive(Debug)]
struct Commanded {
    /// The peer that it is for, if that is known.
    peer: Option<PeerId>,
    /// The same for people to read: the peer, or the address.
    target: String,
    reply: Reply<PeerId>,
}

/// The error for a program that dials its own node.
const ITSELF: &str = "that is this node itself";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::node) struct Dialing {
    /// Dials that programs asked for. They are bounded by the clients of the control
    /// socket and the fetches of this node, each of which waits for its dials.
    commanded: HashMap<ConnectionId, Commanded>,
    /// The programs that wait for the end of a dial that another part of this node began.
    sharing: HashMap<PeerId, Vec<Reply<PeerId>>>,
    waiters: Waiters,
    reasons: DialReasons,
}

impl Dialing {
    /// Begins a connection with `peer`, or with the peer that answers at the first of
    /// `addrs`, for a program. `is_own` tells whether this node itself listens on that
    /// address.
    pub(super) fn connect(
        &mut self,
        peer: Option<PeerId>,
        addrs: Vec<Multiaddr>,
        is_own: bool,
        reply: Reply<PeerId>,
        view: View<'_>,
    ) -> Option<Effect> {
        let peer = peer.or_else(|| addrs.first().and_then(peer_of));
        let target = match (&peer, addrs.first()) {
            (Some(peer), _) => peer.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "nobody".into(),
        };
        let refuse = |target: String, reply: Reply<PeerId>, obstacle, words: &str| {
            let reason = Unreachable::new(obstacle, words);
            let _ = reply.send(Err(Error::Dial { target, reason }));
        };
        if view.draining {
            let _ = reply.send(Err(Error::Draining));
            return None;
        }
        if peer == Some(view.local) {
            refuse(target, reply, Obstacle::ThisNode, ITSELF);
            return None;
        }
        let opts = match peer {
            Some(peer) if view.peers.contains(&peer) => {
                let _ = reply.send(Ok(peer));
                return None;
            }
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(addrs)
                .extend_addresses_through_behaviour()
                .condition(PeerCondition::NotDialing)
                .build(),
            None => match addrs.into_iter().next() {
                // The swarm would report that no address is known.
                Some(_) if is_own => {
                    refuse(target, reply, Obstacle::ThisNode, ITSELF);
                    return None;
                }
                Some(address) => DialOpts::unknown_peer_id().address(address).build(),
                None => {
                    refuse(target, reply, Obstacle::Other, "no address given");
                    return None;
                }
            },
        };
        let id = opts.connection_id();
        let commanded = Commanded {
            peer,
            target,
            reply,
        };
        self.commanded.insert(id, commanded);
        Some(Effect::Dial {
            opts: Box::new(opts),
            by: Dialer::Command(id),
        })
    }

    /// Records that the swarm did not begin a dial that a program asked for.
    pub(super) fn refused(&mut self, id: ConnectionId, error: &DialError, now: Instant) {
        let Some(commanded) = self.commanded.remove(&id) else {
            return;
        };
        let Commanded {
            peer,
            target,
            reply,
        } = commanded;
        match (error, peer) {
            // Another dial of this peer is under way. This one gets the same result.
            (DialError::DialPeerConditionFalse(_), Some(peer)) => {
                self.sharing.entry(peer).or_default().push(reply);
            }
            (error, peer) => {
                let reason = self.reason(peer.as_ref(), error, now);
                let _ = reply.send(Err(Error::Dial { target, reason }));
            }
        }
    }

    fn reason(&mut self, peer: Option<&PeerId>, error: &DialError, now: Instant) -> Unreachable {
        match peer {
            Some(peer) => self.reasons.failed(peer, error, now),
            None => unreachable(error),
        }
    }

    /// Ends a dial that a program asked for, if nobody waits for it any more. A dial that
    /// another part of this node began goes on.
    pub(super) fn abandon(&self, peer: PeerId, is_connected: bool) -> Option<Effect> {
        if is_connected {
            return None;
        }
        let dials = self.commanded.values().filter(|c| c.peer == Some(peer));
        let mut waited: Vec<bool> = dials.map(|c| !c.reply.is_canceled()).collect();
        if waited.is_empty() {
            return None;
        }
        let sharing = self.sharing.get(&peer).into_iter().flatten();
        waited.extend(sharing.map(|reply| !reply.is_canceled()));
        // The peer is not connected, so this only ends its dials.
        (!waited.contains(&true)).then_some(Effect::Disconnect(peer))
    }

    /// Lets a program wait until `peer`, to which it connected, has said who it is.
    pub(super) fn await_identified(&mut self, peer: PeerId, reply: Reply<()>, view: View<'_>) {
        if !view.peers.contains(&peer) {
            let _ = reply.send(Err(waiters::closed(peer)));
        } else if view.peers.is_identified(&peer) {
            let _ = reply.send(Ok(()));
        } else {
            let outcome = Outcome::Identified;
            self.waiters.wait(peer, outcome, reply, view.now);
        }
    }

    /// Closes all connections with `peer` for a program, which waits for that.
    pub(super) fn disconnect(
        &mut self,
        peer: PeerId,
        is_connected: bool,
        reply: Reply<()>,
        now: Instant,
    ) -> Effect {
        if is_connected {
            self.waiters.wait(peer, Outcome::Gone, reply, now);
        } else {
            let _ = reply.send(Err(Error::NotConnected(peer)));
        }
        // For a peer that is not connected, this ends the dials.
        Effect::Disconnect(peer)
    }

    /// Records that a connection was established.
    pub(super) fn established(&mut self, peer: PeerId, id: ConnectionId) {
        self.reasons.forget(&peer);
        let commanded = self.commanded.remove(&id).map(|c| c.reply);
        let sharing = self.sharing.remove(&peer).into_iter().flatten();
        for reply in commanded.into_iter().chain(sharing) {
            let _ = reply.send(Ok(peer));
        }
    }

    /// Records that a dial has failed, whichever part of this node began it. Returns the
    /// reason on one line.
    pub(super) fn failed(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        now: Instant,
    ) -> Unreachable {
        let reason = self.reason(peer.as_ref(), error, now);
        let target = peer.map_or_else(|| "peer".into(), |p| p.to_string());
        let commanded = self.commanded.remove(&id).map(|c| c.reply);
        let sharing = peer.and_then(|peer| self.sharing.remove(&peer));
        for reply in commanded.into_iter().chain(sharing.into_iter().flatten()) {
            let _ = reply.send(Err(Error::Dial {
                target: target.clone(),
                reason: reason.clone(),
            }));
        }
        reason
    }

    /// Records that the peer has said who it is.
    pub(super) fn identified(&mut self, peer: &PeerId) {
        self.waiters.identified(peer);
    }

    /// Records that the last connection with the peer has ended.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.waiters.gone(peer);
    }

    /// Handles what is due at `now`.
    pub(super) fn tend(&mut self, now: Instant) {
        self.waiters.tend(now);
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot::{Receiver, channel};

    use super::*;
    use crate::node::peers::connected::Connected;
    use crate::peers::Policy;

    type Answer = Receiver<Result<PeerId, Error>>;

    struct Node {
        dialing: Dialing,
        peers: Connected,
        local: PeerId,
        now: Instant,
    }

    impl Node {
        fn new() -> Self {
            Node {
                dialing: Dialing::default(),
                peers: Connected::new(Policy::default()),
                local: PeerId::random(),
                now: Instant::now(),
            }
        }

        /// Begins a connection with `peer` for a program. Returns the number of the dial,
        /// if there is one.
        fn connect(&mut self, peer: PeerId, draining: bool) -> (Option<ConnectionId>, Answer) {
            let (reply, answer) = channel();
            let view = View {
                now: self.now,
                wall: std::time::UNIX_EPOCH,
                local: self.local,
                draining,
                peers: &self.peers,
            };
            let dial = self
                .dialing
                .connect(Some(peer), Vec::new(), false, reply, view);
            let id = dial.map(|effect| match effect {
                Effect::Dial {
                    opts,
                    by: Dialer::Command(id),
                } if opts.connection_id() == id => id,
                other => panic!("{other:?}"),
            });
            (id, answer)
        }
    }

    fn reason(answer: &mut Answer) -> Unreachable {
        match answer.try_recv() {
            Ok(Some(Err(Error::Dial { reason, .. }))) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_dials_a_peer_that_is_being_dialed_shares_the_end_of_that_dial() {
        let (mut node, peer) = (Node::new(), PeerId::random());
        let (first, mut one) = node.connect(peer, false);
        let (second, mut two) = node.connect(peer, false);
        let (first, second) = (first.unwrap(), second.unwrap());
        let under_way = DialError::DialPeerConditionFalse(PeerCondition::NotDialing);
        node.dialing.refused(second, &under_way, node.now);
        assert!(matches!(two.try_recv(), Ok(None)));
        // The dial goes on as long as one of the two waits.
        drop(two);
        assert!(node.dialing.abandon(peer, false).is_none());
        let (third, mut three) = node.connect(peer, false);
        node.dialing.refused(third.unwrap(), &under_way, node.now);
        let told = node
            .dialing
            .failed(first, Some(peer), &DialError::Aborted, node.now);
        assert_eq!(reason(&mut one), told);
        assert_eq!(reason(&mut three), told);
        // Its next dial is a new one, and in the end nobody waits for it.
        let (again, four) = node.connect(peer, false);
        assert!(again.is_some());
        drop(four);
        let end = node.dialing.abandon(peer, false);
        assert!(matches!(end, Some(Effect::Disconnect(whom)) if whom == peer));
        assert!(node.dialing.abandon(peer, true).is_none());
    }

    #[test]
    fn a_connection_answers_all_who_wait_for_it_whoever_dialed() {
        let (mut node, peer) = (Node::new(), PeerId::random());
        let (first, mut one) = node.connect(peer, false);
        let (second, mut two) = node.connect(peer, false);
        let under_way = DialError::DialPeerConditionFalse(PeerCondition::NotDialing);
        node.dialing.refused(second.unwrap(), &under_way, node.now);
        node.dialing.established(peer, first.unwrap());
        for answer in [&mut one, &mut two] {
            assert!(matches!(answer.try_recv(), Ok(Some(Ok(who))) if who == peer));
        }
    }

    #[test]
    fn a_node_neither_dials_itself_nor_anybody_while_it_drains() {
        let mut node = Node::new();
        let (dial, mut answer) = node.connect(node.local, false);
        assert!(dial.is_none());
        assert_eq!(reason(&mut answer).words, ITSELF);
        let (dial, mut answer) = node.connect(PeerId::random(), true);
        assert!(dial.is_none());
        assert!(matches!(answer.try_recv(), Ok(Some(Err(Error::Draining)))));
    }
}
