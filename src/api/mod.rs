//! What a program on this host sees of the node, as Rust types. The node creates them,
//! the control socket carries them (`proto/p2pd.proto`), and the commands and the
//! diagnosis show them.
//!
//! | file | holds |
//! |---|---|
//! | [`status`] | everything that `p2p-node status` shows |
//! | [`peer`] | peers and their connections |
//! | [`stream`] | streams between a program and a peer |
//! | [`health`] | whether the node is live and ready |
//! | [`reload`] | what a reload of the configuration did |
//! | [`entry`] | files in the local store |
//! | [`progress`] | the progress of a fetch |
//! | [`gossip`] | messages, and how many received them |
//! | [`snapshot`] | the daemon at one moment, for a diagnosis |

pub mod entry;
pub mod gossip;
pub mod health;
pub mod peer;
pub mod progress;
pub mod reload;
pub mod snapshot;
pub mod status;
pub mod stream;

pub use entry::{Entry, Publication};
pub use gossip::{Message, Published};
pub use health::Health;
pub use peer::{Connection, Peer, PeerInfo};
pub use progress::Progress;
pub use reload::{Change, Reload, ReloadError};
pub use snapshot::{Setting, Snapshot};
pub use status::{
    AnnouncementStatus, DhtStatus, LimitStatus, NatStatus, Reachability, State, Status,
    StoreStatus, TopicStatus, Unit,
};
pub use stream::StreamInfo;
