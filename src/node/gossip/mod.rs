//! Gossip: how gossipsub is set up, what it takes in, and who judges it.
//!
//! What is decided of gossip is in [`crate::gossip`]; this room applies it to libp2p.
//!
//! The way of a message that a peer sends:
//!
//! 1. gossipsub's codec, on the connection's own task: size, publisher's
//!    signature (StrictSign), form of the sequence number.
//! 2. [`intake`], in the event loop, before gossipsub keeps anything of it: the
//!    topic must be joined here, a copy of a message whose verdict is known ends
//!    here, and the peer's token bucket and the node's ceilings must allow it.
//! 3. gossipsub: scores, duplicates, and the wait for a verdict. Nothing is
//!    forwarded before.
//! 4. The verdict. On a plain topic, of whatever application, it is at once
//!    "accept": what came this far is a valid libp2p message, and its sequence
//!    number may be random. On a topic of this network (`/<P2P_NETWORK>/…`) it is for
//!    the workers of [`validation`].
//! 5. Accepted: forwarded to the mesh at once, and given to the subscribers on this
//!    host when it is written down that it was seen ([`recording`]).
//!
//! What this host publishes waits for a peer that hears it
//! ([`unheard`](crate::gossip::unheard)), for its turn ([`line`](mod@crate::gossip::line))
//! and for the pace at which receivers take it ([`pace`](crate::gossip::pace)), is then
//! sealed on a topic of this network ([`sealing`]), and goes to every subscribed peer and
//! to the subscribers on this host; the answer says to how many.
//!
//! | file | noun |
//! |---|---|
//! | [`subsystem`] | the state of gossip in the event loop |
//! | [`lent`] | what the event loop lends to it for a call |
//! | [`incoming`] | messages that peers send, to their verdict and to the subscribers |
//! | [`publishing`] | what programs on this host publish |
//! | [`publish`] | what such a program asks |
//! | [`audience`] | who hears a topic: programs on this host, and peers |
//! | [`membership`] | the members of topics: searches, dials and holds for them |
//! | [`ending`] | what is still taken when the event loop ends |
//! | [`config`] | how gossipsub is set up |
//! | [`intake`] | what is let in to gossipsub |
//! | [`sender`] | which connection of a peer carries what it is sent |
//! | [`messages`] | judges messages on this network's topics, with what it remembers for that |
//! | [`signed`] | what makes, opens and remembers signed messages |
//! | [`validation`] | the workers that run that judgement, and their queue |
//! | [`recording`] | accepted messages that wait for the disk |
//! | [`sealing`] | numbers and signatures for this host's messages, in the order of their turns |
//! | [`subscriber`], [`subscription`] | a program on this host that listens to a topic: the loop's end and its own |

mod audience;
mod config;
mod ending;
mod incoming;
mod intake;
mod lent;
mod membership;
mod messages;
mod publish;
mod publishing;
mod recording;
mod sealing;
mod sender;
pub mod signed;
mod subscriber;
mod subscription;
mod subsystem;
mod validation;

pub(super) use ending::Ending;
pub(super) use intake::Intake;
pub(super) use lent::Lent;
pub(super) use membership::Found;
pub use messages::Messages;
pub(super) use publish::{Content, Publish};
pub use subscription::Subscription;
pub(super) use subsystem::{Gossip, Results, Turn};
