//! Signed messages of this network, with what must be remembered for them.
//!
//! What a message is and when it is valid is [`crate::message`]'s; here it is applied,
//! and what a restart must not forget goes to the store.
//!
//! | file | holds |
//! |---|---|
//! | [`sealer`] | from a payload to an envelope, for whoever publishes |
//! | [`numbers`] | the numbers for it, reserved on disk ahead of use |
//! | [`opener`] | from an envelope to a message that was never seen, for gossip |
//! | [`recorder`] | what was accepted, written down before it is delivered |

pub mod numbers;
pub mod opener;
pub mod recorder;
pub mod sealer;

pub use numbers::Numbers;
pub use opener::Opener;
pub use sealer::Sealer;
