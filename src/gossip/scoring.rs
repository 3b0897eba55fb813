//! Peer scoring of gossipsub v1.1: every parameter, with its reason.
//!
//! A score is this node's private opinion of a peer as a neighbour in gossip. It
//! decides who is kept in a mesh and whose messages are ignored; it never closes
//! a connection by itself. That is for the reputation in
//! [`crate::peers`], which takes part in the score (P5), and to which a score
//! that sinks below [`GRAYLIST`] is reported.
//!
//! The numbers are made for networks from two nodes to some thousands, with
//! topics that may be silent for hours. Points are comparable over all parts:
//!
//! | part | what it counts | range |
//! |---|---|---|
//! | P1 | minutes in the mesh | 0 to [`MESH_MINUTES`] a topic |
//! | P2 | messages it was first to bring | off |
//! | P1 | over all topics | at most [`MERIT`] |
//! | P3 | too few messages in a mesh | off |
//! | P4 | invalid messages | minus its square |
//! | P5 | reputation | -100 to 10 |
//! | P6 | peers at one address | off |
//! | P7 | broken promises, grafts too soon | minus a thousandth of the square of what is over [`BEHAVIOUR_FREE`] |
//! | slow | messages it did not take in time | minus a hundredth of what is over [`SLOW_FREE`] |

use std::time::Duration;

use libp2p::gossipsub::{
    PeerScoreParams, PeerScoreThresholds, TopicScoreParams, score_parameter_decay_with_base,
};

use crate::peers::Conduct;

/// Below this no lists of messages are exchanged. Five invalid messages, or a
/// reputation that has suffered: it may still be told what we publish.
const GOSSIP: f64 = -20.0;

/// Below this what we publish is not sent to it.
pub(crate) const PUBLISH: f64 = -50.0;

/// Below this all that it sends is ignored: the tenth invalid message within
/// minutes of a peer that had no merit.
pub(crate) const GRAYLIST: f64 = -80.0;

/// The most that merit is worth. Less than five invalid messages (25 points):
/// good behaviour forgives a mishap and pays for no attack.
const MERIT: f64 = 20.0;

/// Minutes in the mesh that count. After five a peer has shown what it is; more
/// would make old peers immovable.
const MESH_MINUTES: f64 = 5.0;

/// Decay works in steps of this.
const STEP: Duration = Duration::from_secs(1);

/// A counter below this is taken for zero.
const ZERO: f64 = 0.1;

/// Scores of peers that left are kept for this long, so that nobody sheds a bad
/// score by connecting anew. No longer, since every stranger who ever connected
/// is remembered (some 300 bytes each: at a hundred new peers a second 18 MB);
/// what lasts is the reputation.
const RETAIN: Duration = Duration::from_secs(600);

/// Points of P7 that are free. A broken promise is a message that was announced,
/// asked for and not brought within three seconds. Honest peers break some: the
/// message may have left their cache, or have come over their budget here and
/// been dropped by this very node. Thirty-seven a second for ever stay free
/// under the decay below; at most [`super::MAX_IDS`] are asked of a peer in one
/// heartbeat.
const BEHAVIOUR_FREE: f64 = 1000.0;

/// Messages that a slow peer may fail to take before it counts. At the node's
/// ceiling of a thousand a second a peer that takes nothing comes to 4,900 under
/// the decay below; one that takes half of them, in a flood and with a busy
/// processor, to this. If that cost its place in the mesh, it would lose all
/// messages, among them the few that it wants.
const SLOW_FREE: f64 = 2500.0;

/// A reputation above minus this does not count: a lost ping or a burst over the
/// budget happens to the best, and any score below zero costs the place in the
/// mesh, which in a network of two is the whole network.
const REPUTATION_NOISE: f64 = 10.0;

/// The most that a good reputation is worth, for the reason of [`MERIT`]. What
/// valid messages alone can earn is worth nothing here: anybody can publish.
const REPUTATION_MERIT: f64 = 10.0;

/// The factor by which a counter shrinks each [`STEP`], to fall to a tenth in `time`.
fn to_a_tenth_in(time: Duration) -> f64 {
    score_parameter_decay_with_base(time, STEP, 0.1)
}

/// The application's part of the score (P5) from a reputation of -100 to 100.
/// Trusted peers get all the merit there is.
pub(crate) fn application_score(reputation: f64, trusted: bool) -> f64 {
    if trusted {
        return -GRAYLIST;
    }
    if reputation < 0.0 {
        (reputation + REPUTATION_NOISE).min(0.0)
    } else {
        (reputation - Conduct::MessageDelivered.ceiling() as f64).clamp(0.0, REPUTATION_MERIT)
    }
}

/// Whether a score is so low that gossipsub ignores the peer, apart from what the
/// reputation itself adds to it (`application`): else a bad reputation would
/// lower itself for ever.
pub(crate) fn is_graylisted(score: f64, application: f64) -> bool {
    score - application < GRAYLIST
}

/// Thresholds, each explained at its constant.
pub(crate) fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: GOSSIP,
        publish_threshold: PUBLISH,
        graylist_threshold: GRAYLIST,
        // Peer exchange is not spoken: nobody reaches this.
        accept_px_threshold: 2.0 * MERIT - GRAYLIST,
        // A mesh whose median is below one minute of presence is young or bad;
        // then two better peers are grafted each minute.
        opportunistic_graft_threshold: 1.0,
    }
}

/// What holds for a peer over all topics.
pub(crate) fn peer() -> PeerScoreParams {
    PeerScoreParams {
        topics: Default::default(),
        topic_score_cap: MERIT,
        app_specific_weight: 1.0,
        // Off. The gate has a cap for each subnet, before the handshake
        // (P2P_MAX_CONNECTIONS_PER_SUBNET), where the operator sets it, with
        // loopback and trusted peers exempt; a second rule here would hit a
        // cluster behind one address that the operator has let in. Gossipsub also
        // keeps an entry for every address it ever saw, so it is told none
        // (see `intake`).
        ip_colocation_factor_weight: 0.0,
        ip_colocation_factor_threshold: 1.0,
        ip_colocation_factor_whitelist: Default::default(),
        // Squared: 1,300 broken promises or grafts within a backoff (one or two
        // points each) are -90. A peer that announces messages that do not exist,
        // as many as are asked of one peer, is there in a dozen seconds.
        behaviour_penalty_weight: -0.001,
        behaviour_penalty_threshold: BEHAVIOUR_FREE,
        // A minute: the length of a backoff after a prune.
        behaviour_penalty_decay: to_a_tenth_in(Duration::from_secs(60)),
        decay_interval: STEP,
        decay_to_zero: ZERO,
        retain_score: RETAIN,
        // Costs the place in the mesh and hardly more: -24 at most. A slow peer gets
        // what it missed by asking for it.
        slow_peer_weight: -0.01,
        slow_peer_threshold: SLOW_FREE,
        // Ten seconds: a stall of the network ends; a peer that never reads fails
        // again and again, and is reported for it.
        slow_peer_decay: to_a_tenth_in(Duration::from_secs(10)),
    }
}

/// What holds for a peer in one topic, the same for each: this node does not
/// know what a topic is for.
pub(crate) fn topic() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        // P1: one point a minute.
        time_in_mesh_weight: 1.0,
        time_in_mesh_quantum: Duration::from_secs(60),
        time_in_mesh_cap: MESH_MINUTES,
        // P2: off. A peer that floods is the first to bring most messages, and strangers
        // with messages of their own would push peers out of the mesh that came before
        // and only listen.
        first_message_deliveries_weight: 0.0,
        first_message_deliveries_decay: 0.5,
        first_message_deliveries_cap: 1.0,
        // P3 and P3b: off. They expect a number of messages from each peer in the
        // mesh, and a topic that is silent, or has one publisher at the far end,
        // would lose its mesh for it.
        mesh_message_deliveries_weight: 0.0,
        mesh_message_deliveries_threshold: 0.0,
        mesh_message_deliveries_decay: 0.5,
        mesh_message_deliveries_cap: 1.0,
        mesh_message_deliveries_window: Duration::ZERO,
        mesh_message_deliveries_activation: Duration::from_secs(1),
        mesh_failure_penalty_weight: 0.0,
        mesh_failure_penalty_decay: 0.5,
        // P4: squared, so that a mishap (-1) is nothing and ten (-100) are an end.
        // Ten minutes, the time for which a score is kept, take most of it away.
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: to_a_tenth_in(RETAIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossipsub_accepts_every_parameter() {
        peer().validate().unwrap();
        topic().validate().unwrap();
        thresholds().validate().unwrap();
    }

    #[test]
    fn merit_pays_for_a_mishap_and_for_no_attack() {
        let invalid = |n: f64| n * n * topic().invalid_message_deliveries_weight;
        let most = MERIT + application_score(100.0, false);
        assert!(
            most + invalid(1.0) > 0.0,
            "one mishap leaves it in the mesh"
        );
        assert!(most + invalid(11.0) < GRAYLIST, "eleven do not");
        assert!(invalid(9.0) < GRAYLIST, "and nine end a stranger");
    }

    #[test]
    fn a_quiet_peer_in_a_quiet_topic_never_loses_a_point() {
        let topic = topic();
        assert_eq!(topic.mesh_message_deliveries_weight, 0.0);
        assert_eq!(topic.mesh_failure_penalty_weight, 0.0);
        assert_eq!(peer().ip_colocation_factor_weight, 0.0);
        assert_eq!(application_score(0.0, false), 0.0);
    }

    #[test]
    fn messages_alone_earn_nothing_that_puts_others_out_of_the_mesh() {
        assert_eq!(topic().first_message_deliveries_weight, 0.0);
        assert_eq!(application_score(20.0, false), 0.0);
        assert!(application_score(25.0, false) > 0.0);
    }

    #[test]
    fn small_losses_of_reputation_do_not_cost_the_mesh_and_great_ones_do() {
        assert_eq!(application_score(-5.0, false), 0.0);
        assert_eq!(application_score(-10.0, false), 0.0);
        assert!(application_score(-11.0, false) < 0.0);
        assert!(application_score(-100.0, false) < GRAYLIST);
        assert_eq!(application_score(100.0, false), REPUTATION_MERIT);
        assert!(application_score(-100.0, true) > 0.0);
    }

    #[test]
    fn a_bad_reputation_alone_is_not_reported_back_to_itself() {
        let application = application_score(-100.0, false);
        assert!(application < GRAYLIST);
        assert!(!is_graylisted(application, application));
        assert!(is_graylisted(application + GRAYLIST - 1.0, application));
    }
}
