//! Why the daemon could not start, or failed.

use std::fmt;
use std::path::PathBuf;

use crate::node::identity;
use crate::web::http;
use crate::{control, node, store, transport};

/// The data folder belongs to another user. Root could write to it, but the daemon of
/// that user could then not read these files.
#[derive(Debug)]
pub struct NotOurs {
    /// The folder.
    pub path: PathBuf,
    /// The user id of its owner.
    pub uid: u32,
    /// The owner's name, if it has one.
    pub user: Option<String>,
}

/// The user as whom the packaged service runs.
const SERVICE_USER: &str = "p2p-node";

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Some(user) = &self.user else {
            return write!(
                f,
                "{path} belongs to user id {}, which has no name here; run this as that user, or \
                 give the folder to root: `chown -R root: {path}`",
                self.uid
            );
        };
        write!(f, "{path} belongs to user {user}; ")?;
        if user == SERVICE_USER {
            write!(f, "start the service with `systemctl start p2p-node`, or ")?;
        }
        write!(
            f,
            "run this as that user: `runuser -u {user} -- p2p-node run --data-dir {path}`"
        )
    }
}

/// Why the daemon could not start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be created.
    #[error(
        "cannot make the data folder {path}: {source}; set P2P_DATA_DIR to a folder that this user may write"
    )]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// This process runs as root, and the data folder belongs to another user.
    #[error("{0}")]
    NotOurs(Box<NotOurs>),
    /// The identity cannot be read or created.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The control socket cannot be bound.
    #[error(transparent)]
    Control(#[from] control::server::BindError),
    /// The metrics port cannot be bound.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The key of the network cannot be read.
    #[error(transparent)]
    NetworkKey(#[from] crate::config::Error),
    /// The transports cannot be built.
    #[error(transparent)]
    Transport(#[from] transport::BuildError),
    /// The node cannot be built.
    #[error(transparent)]
    Node(#[from] node::BuildError),
    /// An address cannot be listened on, or another request to the node failed.
    #[error(transparent)]
    Listen(#[from] node::Error),
    /// The metrics cannot be registered.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The name of the network cannot be part of a protocol id.
    #[error("P2P_NETWORK cannot be part of a protocol id: {0}")]
    Protocol(#[from] libp2p::swarm::InvalidProtocol),
    /// The event loop has ended, which only a fault in the program can cause.
    #[error(
        "the node's event loop ended by itself, which is a fault in p2p-node; the lines before this one say where; restart it, and report them"
    )]
    LoopEnded,
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(std::io::Error),
}
