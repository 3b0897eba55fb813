//! The client's end of the control socket, with one typed method for each request.
//!
//! ```no_run
//! # async fn f() -> Result<(), p2p_node::control::client::Error> {
//! use p2p_node::control::Client;
//! let mut client = Client::connect("/run/p2p-node/control.sock").await?;
//! println!("{:?}", client.status().await?);
//! # Ok(()) }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `error` | why a request was not carried out |
//! | `node` | the node: identity, status, health, diagnosis, reload |
//! | `peers` | peers: connections, tags |
//! | `bans` | bans |
//! | `streams` | streams to peers and from them |
//! | `dht` | queries of the DHT |
//! | `pubsub` | gossip |
//! | `content` | files: storing, fetching, and listing what is in the store |

mod bans;
mod content;
mod dht;
mod error;
mod node;
mod peers;
mod pubsub;
mod streams;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};

use super::codec::{self, Channel, MAX_RESPONSE};
use super::pb;
use super::pb::request::Type as Kind;

pub use bans::BanOptions;
pub use content::{Download, Event, PutOptions};
pub use dht::DhtResults;
pub use error::Error;
pub use pubsub::Subscription;
pub use streams::RawStream;

/// How long to wait for a daemon whose queue of new connections is full. A daemon that runs
/// accepts all that wait there within milliseconds.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);

/// How often to try during that time.
const QUEUE_RETRY: Duration = Duration::from_millis(10);

/// Whether connecting failed because the socket's queue is full. `Async::connect` takes the
/// EAGAIN that says so for the beginning of a connection, and then finds that there is none.
fn is_full(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

/// A connection to a daemon. Requests on it are answered one after the other; open several
/// connections to do several things at once.
#[derive(Debug)]
pub struct Client {
    channel: Channel<Async<UnixStream>>,
    path: PathBuf,
}

impl Client {
    /// Connects to the daemon whose socket is at `path`.
    ///
    /// # Errors
    /// Returns [`Error::NoDaemon`] when nobody listens there, [`Error::Busy`] when the daemon
    /// accepts no connection, and [`Error::Denied`] when
    /// this user may not use the socket.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let begun = Instant::now();
        loop {
            return match Async::<UnixStream>::connect(&path).await {
                Ok(io) => Ok(Client {
                    channel: Channel::new(io),
                    path,
                }),
                Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                    Err(Error::Denied { path, cause })
                }
                // The kernel's queue of the socket is full. A socket that does not block is
                // not told when there is room again, so this has to try again.
                Err(cause) if is_full(&cause) => {
                    if begun.elapsed() < QUEUE_PATIENCE {
                        Timer::after(QUEUE_RETRY).await;
                        continue;
                    }
                    let seconds = QUEUE_PATIENCE.as_secs();
                    Err(Error::Busy { path, seconds })
                }
                Err(cause) => Err(Error::NoDaemon { path, cause }),
            };
        }
    }

    fn lost(&self, cause: codec::Error) -> Error {
        Error::Lost {
            path: self.path.clone(),
            cause,
        }
    }

    async fn send(&mut self, request: pb::Request) -> Result<(), Error> {
        self.channel
            .write(&request)
            .await
            .map_err(|e| self.lost(e.into()))
    }

    async fn read<M: prost::Message + Default>(&mut self) -> Result<M, Error> {
        match self.channel.read(MAX_RESPONSE).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Error::HungUp {
                path: self.path.clone(),
            }),
            Err(e) => Err(self.lost(e)),
        }
    }

    async fn answer(&mut self) -> Result<pb::Response, Error> {
        let answer: pb::Response = self.read().await?;
        if answer.r#type == pb::response::Type::Ok as i32 {
            return Ok(answer);
        }
        Err(Error::Refused(match answer.error {
            Some(e) if !e.msg.is_empty() => e.msg,
            _ => "the daemon refused without a reason".into(),
        }))
    }

    async fn ask(&mut self, request: pb::Request) -> Result<pb::Response, Error> {
        // A daemon with too many clients says so and hangs up at once. Its answer may
        // have arrived although the write failed.
        let sent = self.send(request).await;
        match (self.answer().await, sent) {
            (Err(Error::Refused(why)), _) => Err(Error::Refused(why)),
            (_, Err(e)) => Err(e),
            (answer, Ok(())) => answer,
        }
    }
}

fn request(kind: Kind) -> pb::Request {
    pb::Request {
        r#type: kind as i32,
        ..Default::default()
    }
}

/// Returns whole seconds, and at least one, since zero means "the default" in the
/// protocol.
fn seconds(d: Duration) -> i64 {
    i64::try_from(d.as_secs()).unwrap_or(i64::MAX).max(1)
}
