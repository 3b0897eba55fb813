//! What a program on this host sees of the node, as Rust types. The node creates them,
//! the control socket carries them (`proto/p2pd.proto`), and the commands and the
//! diagnosis show them.
//!
//! | file | holds |
//! |---|---|
//! | [`status`] | everything that `p2p-node status` shows |
//! | [`state`] | whether a node is starting, running or stopping |
//! | [`limit`] | one limit, and how much of it is used |
//! | [`nat`] | whether and how the node can be reached through NAT |
//! | [`dht_role`] | what a node does in the DHT |
//! | [`peer`] | a connected peer and its connections |
//! | [`peer_info`] | a peer and its addresses |
//! | [`stream`] | streams between a program and a peer |
//! | [`health`] | whether the node is live and ready |
//! | [`reload`] | what a reload of the configuration did |
//! | [`entry`] | files in the local store |
//! | [`publication`] | what the publisher of content states about it |
//! | [`progress`] | the progress of a fetch |
//! | [`message`] | a gossip message |
//! | [`published`] | how many received a published message |
//! | [`snapshot`] | the daemon at one moment, for a diagnosis |
//! | [`setting`] | one variable of the configuration, for a diagnosis |

pub mod dht_role;
pub mod entry;
pub mod health;
pub mod limit;
pub mod message;
pub mod nat;
pub mod peer;
pub mod peer_info;
pub mod progress;
pub mod publication;
pub mod published;
pub mod reload;
pub mod setting;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod stream;

pub use dht_role::DhtRole;
pub use entry::Entry;
pub use health::Health;
pub use limit::{LimitStatus, Unit};
pub use message::Message;
pub use nat::{NatStatus, Reachability};
pub use peer::{Connection, Peer};
pub use peer_info::PeerInfo;
pub use progress::Progress;
pub use publication::Publication;
pub use published::Published;
pub use reload::{Change, Reload, ReloadError};
pub use setting::Setting;
pub use snapshot::Snapshot;
pub use state::State;
pub use status::{AnnouncementStatus, DhtStatus, Status, StoreStatus, TopicStatus};
pub use stream::StreamInfo;
