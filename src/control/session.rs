//! One client. Its requests are carried out one after the other, and each is answered
//! before the next is read. When a client hangs up, the query, dial or transfer that it
//! waits for is cancelled.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use async_lock::SemaphoreGuardArc;
use async_std::channel::Receiver;
use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, Aborted, Either, Fuse, select};
use futures::pin_mut;

use super::clients::{MAX_CLIENTS, MAX_CLIENTS_OF_A_USER, Place};
use super::codec::{self, Channel, MAX_REQUEST};
use super::pb;
use super::pb::request::Type as Kind;
use super::requests::{self, SMALL};
use super::server::Shared;
use super::socket::client_gone;
use super::wire::{self, InvalidField};
use crate::control::Metrics;
use crate::node;
use crate::telemetry::Direction;

/// How long one answer may wait for a client that does not read. By then its socket holds
/// some hundred KiB. A person who has paused a pipe is cut off as well, so that what the
/// client occupies becomes free.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// The time allowed for a request that does not set it, as in go-libp2p's daemon.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time that a request may ask for. Every query ends by itself before that.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long a client may stay without asking anything. After its first request it may
/// stay silent for as long as it likes.
const FIRST_REQUEST: Duration = Duration::from_secs(60);

/// Why a request is answered with ERROR, as one line of text for a person.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl From<node::Error> for Failure {
    fn from(e: node::Error) -> Self {
        Failure(e.to_string())
    }
}

impl From<InvalidField> for Failure {
    fn from(e: InvalidField) -> Self {
        Failure(e.to_string())
    }
}

impl From<&str> for Failure {
    fn from(e: &str) -> Self {
        Failure(e.to_owned())
    }
}

/// Why a client's session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client hung up, or its connection was turned into a stream.
    Over,
    /// The client does not read the answer.
    Stalled,
    /// The client has not asked anything for [`FIRST_REQUEST`].
    Silent,
    /// The client sends a large request too slowly, or at a time when there are many.
    Displaced,
    /// The client sent something that is not part of the protocol.
    Malformed(codec::Error),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Over
    }
}

/// Why there is no next request.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// The client hung up, or does not speak the protocol.
    #[error(transparent)]
    Channel(#[from] codec::Error),
    /// A large request took too long.
    #[error(
        "a request of more than {SMALL} bytes must arrive within {} s, and this one did not; send it without pauses",
        requests::PATIENCE.as_secs()
    )]
    Slow,
    /// A large request made no progress while others needed its memory.
    #[error(
        "the control socket receives {} requests of more than {SMALL} bytes at a time, and this one made no progress while others waited; send it again, without pauses",
        requests::MAX_RECEIVED
    )]
    Displaced,
}

/// One client's connection.
pub(super) struct Session {
    pub(super) channel: Channel<Async<UnixStream>>,
    pub(super) shared: Arc<Shared>,
    /// The node, with a separate place for this client in the publishing queue.
    pub(super) publisher: node::Handle,
    place: Place,
}

/// A request, with what it occupies while it is carried out.
struct Asked {
    request: pb::Request,
    _running: Option<SemaphoreGuardArc>,
}

impl Session {
    pub(super) fn new(
        channel: Channel<Async<UnixStream>>,
        shared: Arc<Shared>,
        place: Place,
    ) -> Self {
        let publisher = shared.node.handle.for_client();
        Session {
            channel,
            shared,
            publisher,
            place,
        }
    }

    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Serves the client until it hangs up. When `winding_down` ends, only requests that
    /// have already arrived are served.
    pub(super) async fn run(mut self, winding_down: Receiver<()>) {
        let metrics = self.metrics();
        let mut first = FutureExt::fuse(Timer::after(FIRST_REQUEST));
        let end = loop {
            let asked = futures::select_biased! {
                asked = self.next_request().fuse() => asked,
                _ = winding_down.recv().fuse() => break End::Over,
                _ = first => break End::Silent,
            };
            let Asked { request, _running } = match asked {
                Ok(Some(asked)) => asked,
                Ok(None) => break End::Over,
                Err(Unread::Channel(codec::Error::Io(_) | codec::Error::Truncated)) => {
                    break End::Over;
                }
                Err(Unread::Channel(e)) => {
                    let _ = self.answer(&error(e.to_string())).await;
                    break End::Malformed(e);
                }
                Err(unread @ (Unread::Slow | Unread::Displaced)) => {
                    let _ = self.answer(&error(unread.to_string())).await;
                    break End::Displaced;
                }
            };
            first = Fuse::terminated();
            self.place.asked();
            let begin = Instant::now();
            metrics.traffic.message(Direction::In, "control");
            let kind = Kind::try_from(request.r#type);
            if let Err(Failure(why)) = self.may_ask(kind.ok(), &request) {
                match self.answer(&error(why)).await {
                    Ok(()) if self.place.is_guest() => break End::Over,
                    Ok(()) => continue,
                    Err(end) => break end,
                }
            }
            metrics
                .control_requests
                .with_label_values(&[label(kind.ok())])
                .inc();
            // A request that turns the connection into a stream takes the session over.
            let result = match kind {
                Ok(Kind::StreamOpen) => match self.open_stream(request.stream_open).await {
                    Ok(session) => {
                        self = session;
                        Ok(())
                    }
                    Err(end) => break end,
                },
                kind => self.dispatch(kind, request).await,
            };
            if let Err(end) = result {
                break end;
            }
            metrics
                .traffic
                .message_processing
                .with_label_values(&["control"])
                .observe(begin.elapsed().as_secs_f64());
        };
        match end {
            End::Over => {}
            End::Stalled => {
                metrics
                    .control_clients_dropped
                    .with_label_values(&["stalled"])
                    .inc();
                log::warn!(
                    seconds = WRITE_PATIENCE.as_secs();
                    "cut off a client of the control socket that does not read"
                );
            }
            End::Silent | End::Displaced => {
                metrics
                    .control_clients_dropped
                    .with_label_values(&["stalled"])
                    .inc();
            }
            End::Malformed(error) => {
                metrics
                    .control_clients_dropped
                    .with_label_values(&["malformed"])
                    .inc();
                log::warn!(error:% = error; "hung up on a client of the control socket that does not speak its protocol");
            }
        }
    }

    /// Reads the next request. It is `None` when the client has ended between two of them.
    async fn next_request(&mut self) -> Result<Option<Asked>, Unread> {
        let Some(length) = self.channel.length(MAX_REQUEST).await? else {
            return Ok(None);
        };
        let (bytes, running) = if length <= SMALL {
            (self.channel.body(length, |_| {}).await?, None)
        } else {
            let requests = self.shared.requests.clone();
            let (abort, registration) = AbortHandle::new_pair();
            let receiving = requests.receive(abort).await;
            let receive = async {
                let progress = |bytes| receiving.progress(bytes, Instant::now());
                let bytes = self.channel.body(length, progress).await?;
                Ok((bytes, requests.run().await))
            };
            let received = async_std::future::timeout(
                requests::PATIENCE,
                Abortable::new(receive, registration),
            );
            let (bytes, running) = match received.await {
                Ok(Ok(received)) => received.map_err(Unread::Channel)?,
                Ok(Err(Aborted)) => return Err(Unread::Displaced),
                Err(_) => return Err(Unread::Slow),
            };
            (bytes, Some(running))
        };
        let request = <pb::Request as prost::Message>::decode(bytes)
            .map_err(|e| Unread::Channel(e.into()))?;
        Ok(Some(Asked {
            request,
            _running: running,
        }))
    }

    /// Says whether this client may ask for this now.
    fn may_ask(&self, kind: Option<Kind>, request: &pb::Request) -> Result<(), Failure> {
        let carries_data = matches!(kind, Some(Kind::Pubsub | Kind::Dht));
        if !carries_data && prost::Message::encoded_len(request) > SMALL {
            return Err(Failure(format!(
                "a request of this kind may have {SMALL} bytes, and this one has more"
            )));
        }
        let mends = matches!(
            kind,
            Some(
                Kind::ListPeers
                    | Kind::Peers
                    | Kind::Disconnect
                    | Kind::Ban
                    | Kind::Unban
                    | Kind::Bans
                    | Kind::Diag
                    | Kind::Reload
            )
        );
        let asks_how = matches!(kind, Some(Kind::Status | Kind::Health));
        if !self.place.is_guest() || asks_how || mends && self.place.is_privileged() {
            return Ok(());
        }
        Err(Failure(format!(
            "the control socket already serves {MAX_CLIENTS} clients, or {MAX_CLIENTS_OF_A_USER} of your user, \
             which is its limit; close some"
        )))
    }

    async fn dispatch(
        &mut self,
        kind: Result<Kind, prost::UnknownEnumValue>,
        request: pb::Request,
    ) -> Result<(), End> {
        let missing = |what: &str| Failure(format!("malformed request: {what} is missing"));
        let result = match kind {
            Ok(Kind::Identify) => self.identify().await,
            Ok(Kind::ListPeers) => self.list_peers().await,
            Ok(Kind::Status) => self.status().await,
            Ok(Kind::Peers) => self.peers().await,
            Ok(Kind::Health) => Ok(self.health()),
            Ok(Kind::Connect) => match request.connect {
                Some(ask) => {
                    let shared = Arc::clone(&self.shared);
                    self.attend(connect(shared, ask)).await?
                }
                None => Err(missing("connect")),
            },
            Ok(Kind::Disconnect) => match request.disconnect {
                Some(ask) => self.disconnect(&ask).await,
                None => Err(missing("disconnect")),
            },
            Ok(Kind::StreamHandler) => match request.stream_handler {
                Some(ask) => self.handle_streams(ask),
                None => Err(missing("streamHandler")),
            },
            Ok(Kind::Ban) => match request.ban {
                Some(ask) => self.ban(&ask).await,
                None => Err(missing("ban")),
            },
            Ok(Kind::Unban) => match request.ban {
                Some(ask) => self.unban(&ask).await,
                None => Err(missing("ban")),
            },
            Ok(Kind::Bans) => Ok(self.bans()),
            Ok(Kind::Diag) => self.diag().await,
            Ok(Kind::Reload) => self.reload().await,
            Ok(Kind::Connmanager) => match request.conn_manager {
                Some(ask) => self.connmgr(ask).await,
                None => Err(missing("connManager")),
            },
            Ok(Kind::Dht) => match request.dht {
                Some(ask) => return self.dht(ask).await,
                None => Err(missing("dht")),
            },
            Ok(Kind::Pubsub) => match request.pubsub {
                Some(ask) => return self.pubsub(ask).await,
                None => Err(missing("pubsub")),
            },
            Ok(Kind::Block) => match request.block {
                Some(ask) => return self.block(ask).await,
                None => Err(missing("block")),
            },
            // The caller handles this one.
            Ok(Kind::StreamOpen) => return Ok(()),
            Err(_) => Err(Failure(format!(
                "requests of type {} are not known to this version of p2p-node",
                request.r#type
            ))),
        };
        self.reply(result).await
    }

    /// Writes the answer, or the reason for the failure.
    pub(super) async fn reply(&mut self, result: Result<pb::Response, Failure>) -> Result<(), End> {
        match result {
            Ok(response) => self.answer(&response).await,
            Err(Failure(why)) => self.answer(&error(why)).await,
        }
    }

    /// Writes one message, within [`WRITE_PATIENCE`].
    pub(super) async fn answer<M: prost::Message>(&mut self, message: &M) -> Result<(), End> {
        self.shared
            .metrics
            .traffic
            .message(Direction::Out, "control");
        match async_std::future::timeout(WRITE_PATIENCE, self.channel.write(message)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(End::Stalled),
        }
    }

    /// Runs `work` to its end. When the client hangs up before that, `work` is dropped.
    pub(super) async fn attend<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let gone = client_gone(&mut self.channel);
        pin_mut!(work, gone);
        match select(work, gone).await {
            Either::Left((result, _)) => Ok(result),
            Either::Right(((), _)) => Err(End::Over),
        }
    }

    async fn disconnect(&self, ask: &pb::DisconnectRequest) -> Result<pb::Response, Failure> {
        let peer = wire::peer_id("peer", &ask.peer)?;
        self.shared.node.handle.disconnect(peer).await?;
        Ok(ok())
    }
}

async fn connect(shared: Arc<Shared>, ask: pb::ConnectRequest) -> Result<pb::Response, Failure> {
    let addrs = wire::multiaddrs("addrs", &ask.addrs)?;
    let handle = &shared.node.handle;
    within("connecting", ask.timeout, async {
        if !ask.peer.is_empty() {
            let peer = wire::peer_id("peer", &ask.peer)?;
            if peer == handle.local_peer_id() {
                return Err(Failure(format!("{peer} is this node itself")));
            }
            match addrs.is_empty() {
                true => handle.connect_anyhow(peer).await?,
                false => handle.connect(peer, addrs).await?,
            }
            handle.identified(peer).await?;
            return Ok(ok());
        }
        let mut failures = Vec::new();
        for addr in &addrs {
            let connected = async {
                let peer = handle.dial(addr.clone()).await?;
                handle.identified(peer).await.map(|()| peer)
            };
            match connected.await {
                Ok(peer) => {
                    let peer = crate::api::PeerInfo {
                        id: peer,
                        addrs: vec![addr.clone()],
                    };
                    return Ok(pb::Response {
                        peers: vec![peer.to_pb()],
                        ..ok()
                    });
                }
                Err(e) => failures.push(e.to_string()),
            }
        }
        Err(Failure(if failures.is_empty() {
            "neither a peer nor an address to connect to was given".into()
        } else {
            failures.join("; ")
        }))
    })
    .await
}

/// Returns the time that a request allows, which it gives in seconds.
pub(super) fn limit(seconds: Option<i64>) -> Duration {
    match seconds.map(u64::try_from) {
        Some(Ok(s)) if s > 0 => Duration::from_secs(s).min(MAX_TIMEOUT),
        _ => DEFAULT_TIMEOUT,
    }
}

/// Runs `work` within the time that the request allows, in seconds.
pub(super) async fn within<T>(
    what: &str,
    seconds: Option<i64>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let limit = limit(seconds);
    match async_std::future::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure(format!(
            "{what} took longer than the {} s that the request allows",
            limit.as_secs()
        ))),
    }
}

/// Returns an answer without any content.
pub(super) fn ok() -> pb::Response {
    pb::Response {
        r#type: pb::response::Type::Ok as i32,
        ..Default::default()
    }
}

/// Returns an answer with the reason of a failure in one line.
pub(super) fn error(why: String) -> pb::Response {
    let msg = if why.contains(['\n', '\r']) {
        why.replace(['\n', '\r'], " ")
    } else {
        why
    };
    pb::Response {
        r#type: pb::response::Type::Error as i32,
        error: Some(pb::ErrorResponse { msg }),
        ..Default::default()
    }
}

/// Returns all values that [`label`] can return.
pub(super) fn labels() -> impl Iterator<Item = &'static str> {
    // The kinds of requests in the protocol have numbers in this range.
    let known = (0..=i32::from(u8::MAX)).filter_map(|n| Kind::try_from(n).ok());
    known.map(Some).chain([None]).map(label)
}

/// Returns the request's name in the metrics. The set of names is fixed, whatever a
/// client sends.
fn label(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Identify) => "identify",
        Some(Kind::Connect) => "connect",
        Some(Kind::StreamOpen) => "stream_open",
        Some(Kind::StreamHandler) => "stream_handler",
        Some(Kind::Dht) => "dht",
        Some(Kind::ListPeers) => "list_peers",
        Some(Kind::Connmanager) => "connmanager",
        Some(Kind::Disconnect) => "disconnect",
        Some(Kind::Pubsub) => "pubsub",
        Some(Kind::Status) => "status",
        Some(Kind::Peers) => "peers",
        Some(Kind::Block) => "block",
        Some(Kind::Health) => "health",
        Some(Kind::Ban) => "ban",
        Some(Kind::Unban) => "unban",
        Some(Kind::Bans) => "bans",
        Some(Kind::Diag) => "diag",
        Some(Kind::Reload) => "reload",
        None => "unknown",
    }
}
