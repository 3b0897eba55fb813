//! What the event loop lends to gossip for one call.

use libp2p::PeerId;

use super::Intake;
use crate::node::effect::{Effect, View};

/// See the module's documentation. The state of gossip itself is in
/// [`Gossip`](super::Gossip).
pub(in crate::node) struct Lent<'a> {
    /// Gossipsub.
    pub(in crate::node) intake: &'a mut Intake,
    /// Whether a node of the DHT is known.
    pub(in crate::node) knows_dht: &'a mut dyn FnMut() -> bool,
    /// Whether a peer does not want this node to keep the connection at present.
    pub(in crate::node) refuses: &'a dyn Fn(&PeerId) -> bool,
    /// The rest of the node.
    pub(in crate::node) view: View<'a>,
    /// What the loop is to do after the call, in this order.
    pub(in crate::node) effects: Vec<Effect>,
}

impl Lent<'_> {
    /// Has the loop do something after the call.
    pub(super) fn wants(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The connected peers that are on a topic.
    pub(super) fn subscribers(&self, hash: &libp2p::gossipsub::TopicHash) -> Vec<PeerId> {
        let all = self.intake.all_peers();
        all.filter(|(_, topics)| topics.contains(&hash))
            .map(|(peer, _)| *peer)
            .collect()
    }
}
