//! How far the placement of one record has come.

use libp2p::PeerId;
use libp2p::kad::RecordKey;

use super::Outcome;

/// How far it has come at one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be told.
    Queued,
    /// Told, to be asked.
    Told,
    /// Asked in this round.
    Asked,
    /// It names this node.
    Confirmed,
    /// It was told, and cannot say.
    Unverified,
    /// It was told in vain, or could not be told or asked.
    Failed,
}

/// A receiver of the record.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) peer: PeerId,
    pub(super) state: State,
    pub(super) round: u8,
    pub(super) was_told: bool,
    pub(super) dialed: bool,
}

/// The placement of one record.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) key: RecordKey,
    pub(super) verify: bool,
    pub(super) targets: Vec<Target>,
    /// Whether it was reported how many were told.
    pub(super) told_reported: bool,
    /// Whether the outcome was reported.
    pub(super) outcome_reported: bool,
}

impl Placement {
    /// One that has only begun.
    pub(super) fn new(key: RecordKey, peers: &[PeerId], verify: bool) -> Self {
        let targets = peers.iter().map(|peer| Target {
            peer: *peer,
            state: State::Queued,
            round: 0,
            was_told: false,
            dialed: false,
        });
        Placement {
            key,
            verify,
            targets: targets.collect(),
            told_reported: false,
            outcome_reported: false,
        }
    }

    /// What is known of it by now.
    pub(super) fn outcome(&self) -> Outcome {
        let told = self.targets.iter().filter(|t| t.was_told).count();
        let in_state = |state| self.targets.iter().filter(|t| t.state == state).count();
        Outcome::of(
            told,
            in_state(State::Confirmed),
            in_state(State::Unverified),
        )
    }

    /// Whether every receiver was told once, or could not be.
    pub(super) fn first_round_over(&self) -> bool {
        let waits = |t: &Target| t.state == State::Queued && !t.was_told;
        !self.targets.iter().any(waits)
    }

    /// Whether nothing more will come of it.
    pub(super) fn is_over(&self) -> bool {
        self.targets.iter().all(|t| match t.state {
            State::Queued | State::Told | State::Asked => false,
            State::Confirmed | State::Unverified | State::Failed => true,
        })
    }
}
