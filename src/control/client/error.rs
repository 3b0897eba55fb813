//! Errors of the client.

use std::io;
use std::path::PathBuf;

use crate::control::codec;
use crate::control::wire::InvalidField;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens at the socket.
    #[error(
        "no daemon answers at {path}: {cause}; start one with `p2p-node run`, or name its socket \
         with P2P_CONTROL_SOCKET"
    )]
    NoDaemon {
        /// The socket's path.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// A daemon listens at the socket and does not accept connections.
    #[error(
        "the daemon at {path} did not accept a connection for {seconds} s: it is stopped or hangs, \
         or very many programs connect to it"
    )]
    Busy {
        /// The socket's path.
        path: PathBuf,
        /// How long the client waited, in seconds.
        seconds: u64,
    },
    /// The socket exists, but this user may not use it.
    #[error(
        "may not use the control socket {path}: {cause}; run as root or as a member of the \
         socket's group"
    )]
    Denied {
        /// The socket's path.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// The connection failed during a request.
    #[error("lost the connection to the daemon at {path}: {cause}")]
    Lost {
        /// The socket's path.
        path: PathBuf,
        /// What happened.
        cause: codec::Error,
    },
    /// The daemon ended the connection before its answer was complete.
    #[error("the daemon at {path} hung up; see its log for the cause")]
    HungUp {
        /// The socket's path.
        path: PathBuf,
    },
    /// The daemon refused the request for this reason.
    #[error("{0}")]
    Refused(String),
    /// The daemon's answer does not fit the request.
    #[error("the daemon's answer lacks {0}; client and daemon may be of different versions")]
    Unexpected(&'static str),
    /// A field of the daemon's answer is not valid.
    #[error("the daemon's answer cannot be used: {0}")]
    Invalid(#[from] InvalidField),
    /// The data to be sent could not be read.
    #[error("could not read what was to be sent: {0}")]
    Input(io::Error),
}
