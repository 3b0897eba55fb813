//! What is done to a network, and what is seen of it then.
//!
//! | file | what happens |
//! |---|---|
//! | [`join`] | nodes come, one after another or all at once |
//! | [`content`] | files are put and got between random nodes |
//! | [`gossip`] | messages from random nodes to all members of a topic |
//! | [`lookup`] | random keys are looked up in the DHT |
//! | [`quiet`] | nobody does anything |
//! | [`kill`] | three of ten end at once |
//! | [`churn`] | a tenth of the nodes is replaced each minute |
//! | [`restart`] | all stop and come back at once |
//! | [`partition`] | half of them are cut off, and come back |
//! | [`eclipse`] | ids of an attacker lie around a key |
//! | [`orphan`] | the bootstrap nodes go for good |

pub(crate) mod churn;
pub(crate) mod content;
pub(crate) mod eclipse;
pub(crate) mod gossip;
pub(crate) mod join;
pub(crate) mod kill;
pub(crate) mod lookup;
pub(crate) mod orphan;
pub(crate) mod partition;
pub(crate) mod quiet;
pub(crate) mod restart;
