//! The control socket, through which the commands and the programs on this host control
//! the node.
//!
//! # The protocol
//!
//! It is the libp2p daemon control protocol, as go-libp2p-daemon publishes it (CONTROL,
//! DHT, PUBSUB and CM specifications), so that its clients work unchanged. This node adds
//! requests of its own. All messages are defined in `proto/p2pd.proto`, where the
//! additions have numbers from 100 on.
//!
//! A program connects to the Unix socket (`P2P_CONTROL_SOCKET`, mode 0660: the program
//! must run as the node's user or in its group). It writes a `Request` and reads a
//! `Response`. Every message is sent as its length, an unsigned varint (LEB128, as in
//! protobuf), followed by its protobuf bytes. This is an example in Python, with the
//! messages compiled by `protoc --python_out=. p2pd.proto`:
//!
//! ```python
//! import socket
//! from google.protobuf.internal.encoder import _VarintBytes as varint
//! import p2pd_pb2 as pb
//!
//! def connect(path="/run/p2p-node/control.sock"):
//!     s = socket.socket(socket.AF_UNIX)
//!     s.connect(path)
//!     return s
//!
//! def send(s, message):
//!     body = message.SerializeToString()
//!     s.sendall(varint(len(body)) + body)
//!
//! def receive(s, message):
//!     length = shift = 0
//!     while True:
//!         byte = s.recv(1)[0]
//!         length |= (byte & 0x7F) << shift
//!         shift += 7
//!         if byte < 0x80:
//!             break
//!     body = s.recv(length, socket.MSG_WAITALL)
//!     message.ParseFromString(body)
//!     return message
//!
//! s = connect()
//! send(s, pb.Request(type=pb.Request.STATUS))
//! print(receive(s, pb.Response()).status)
//! ```
//!
//! Peer ids, CIDs and multiaddrs are sent in their binary forms. When a request cannot be
//! carried out, the answer is `Response { type: ERROR, error.msg }`, with one line of
//! text for a person, and the connection stays open. Anything that does not belong to the
//! protocol or exceeds a bound is answered with ERROR, and then the connection is closed.
//!
//! Requests on one connection are answered one after the other. When a program hangs up,
//! its query, dial or transfer is cancelled. When it only ends its own direction
//! (`shutdown(SHUT_WR)`), nothing is cancelled except for a subscription.
//!
//! | request | answer |
//! |---|---|
//! | IDENTIFY | `identify`: peer id, listen and external addresses |
//! | CONNECT | OK. Without `addrs` the peer is looked for among the known addresses and then in the DHT. With an empty `peer` (ours), any peer that answers at `addrs` is accepted and named in `peers` |
//! | DISCONNECT, LIST_PEERS | OK; `peers`, with one entry for each peer |
//! | STREAM_OPEN | `streamInfo`; from then on the connection is the stream, and each direction ends separately |
//! | STREAM_HANDLER | OK. For each inbound stream the node connects to `addr` and writes a `StreamInfo` (without a `Response` around it), then the stream's bytes. The handler stays until it is replaced or the daemon ends |
//! | DHT FIND_PEER, GET_VALUE, GET_PUBLIC_KEY | `dht` of type VALUE |
//! | DHT PUT_VALUE, PROVIDE | OK. Keys are raw bytes; content is provided under its multihash |
//! | DHT FIND_PROVIDERS, GET_CLOSEST_PEERS, SEARCH_VALUE | `dht` BEGIN in a `Response`, then `DHTResponse` messages without one: a VALUE for each result, then END |
//! | PUBSUB GET_TOPICS, LIST_PEERS | `pubsub` |
//! | PUBSUB PUBLISH | OK when the message has been passed on, as fast as peers take it. If there is no one to receive it, the node looks for a receiver for at most five seconds and then answers with an error; `published` (ours) says how many peers, and programs on this host, received it |
//! | PUBSUB SUBSCRIBE | OK, then `PSMessage` messages without a `Response`, until the program ends its direction. `moreTopics` (ours) adds topics |
//! | CONNMANAGER TAG_PEER, UNTAG_PEER, TRIM | OK. TRIM closes the connections with the least weight first, until half of P2P_MAX_CONNECTIONS or `keep` (ours) are left |
//! | STATUS, PEERS, HEALTH (ours) | `status`, `peerStatus`, `health` |
//! | BAN, UNBAN, BANS (ours) | `bans`: the ban that was set or lifted, which is then in force and on the disk; for BANS, all bans in force |
//! | DIAG (ours) | `diag`: the status, the metrics now and some minutes ago, and the configuration in force; this also works while the event loop is stuck |
//! | BLOCK LS, STAT, RM (ours) | in `block`: LS gives BEGIN, ENTRIES…, END; the others give one END |
//! | BLOCK PUT (ours) | see below |
//! | BLOCK GET (ours) | see below |
//!
//! **PUT.** The node answers BEGIN. Then the program writes the file as data frames, each
//! of them a varint length of at most 1 MiB and that many bytes. There may be any number
//! of frames; one frame of length zero is the end mark. The node answers END with the one
//! entry (CID, size, …) when all of the file is durable and peers of the DHT have been
//! told, or three seconds have passed without that. In the latter case `announceError`
//! says why they could not be told yet, and `announcing` how many files are waiting for
//! that in the background. With `background`, END does not wait for the DHT at all. When
//! the program hangs up before the end mark, nothing is stored. When storing fails, the
//! node answers ERROR and hangs up, so a program should read the answer after a failed
//! write.
//!
//! ```python
//! send(s, pb.Request(type=pb.Request.BLOCK, block=pb.BlockRequest(type=pb.BlockRequest.PUT)))
//! assert receive(s, pb.Response()).type == pb.Response.OK
//! while chunk := file.read(1 << 20):
//!     s.sendall(varint(len(chunk)) + chunk)
//! s.sendall(b"\0")
//! cid = receive(s, pb.Response()).block.entries[0].cid
//! ```
//!
//! **GET.** The node answers with a series of `Response` messages: PROGRESS at any point,
//! BEGIN with `size` once, DATA with the next bytes in order, and END when all bytes have
//! been sent. ERROR in place of any of them ends the series, and then the bytes so far
//! are not the whole file. All bytes are verified before they are sent.
//!
//! # Bounds
//!
//! | what | bound |
//! |---|---|
//! | clients at once; of one user | [`server::MAX_CLIENTS`]; [`server::MAX_CLIENTS_OF_A_USER`], root and the daemon's own user excepted. Beyond it the oldest client that has not asked anything is ended, or only `status` and `health` are answered |
//! | a client that asks nothing | cut off after 60 s |
//! | a request | [`codec::MAX_REQUEST`]; if it is neither PUBSUB nor DHT, 64 KiB |
//! | requests of more than 64 KiB that are received at once, from all clients | 8; one that makes no progress is cut off while others wait |
//! | a data frame | [`codec::MAX_FRAME`] |
//! | uploads and downloads at once | 64 |
//! | handled protocols; inbound streams at once | 256; 512 |
//! | topics of one subscription | 64 |
//! | messages waiting for one slow subscriber | 2,048; further ones are lost |
//! | messages waiting to be published | 1,024 and 32 MiB; further ones are refused |
//! | a client that does not read | cut off after 30 s (downloads: 10 min) and counted in `p2p_control_clients_dropped_total` |
//!
//! # Files
//!
//! | file | noun |
//! |---|---|
//! | [`client`] | the client's end, with one typed method for each request |
//! | [`server`] | the daemon's end: accepts clients, up to a limit |
//! | `session` | one client, and which file handles each of its requests |
//! | `clients` | the places of clients, and who gives up a place |
//! | `requests` | the memory of large requests |
//! | `listener` | the socket on which the daemon listens: its mode, its lock, inheritance |
//! | `socket` | a connected socket, and what can be found out about its other end |
//! | [`codec`] | the framing, which both ends share |
//! | [`wire`] | converts the types of [`crate::api`] to and from the protocol |
//! | `report` | IDENTIFY, LIST_PEERS, PEERS, STATUS, HEALTH |
//! | `streams`, `pipe` | STREAM_OPEN and STREAM_HANDLER, and the bytes of their streams |
//! | `dht`, `pubsub`, `content`, `connmgr`, `bans`, `reload`, [`diag`] | the requests of these names; `content` is BLOCK, `connmgr` is CONNMANAGER |
//! | `metrics` | counts what the programs on this host do |

mod bans;
pub mod client;
mod clients;
pub mod codec;
mod connmgr;
pub(crate) mod content;
mod dht;
pub mod diag;
mod listener;
mod metrics;
mod pipe;
mod pubsub;
mod reload;
mod report;
mod requests;
pub mod server;
mod session;
mod socket;
mod streams;
pub mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures::future::BoxFuture;

pub use client::Client;
pub use metrics::Metrics;
pub use server::Server;

use crate::block::content::Content;
use crate::node::{ContentNetwork, Handle, Pulse};
use crate::store::Keeper;
use crate::store::Store;

/// A function that returns whether the node is ready to serve, and if not, why, for a
/// person.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A function that reads the configuration again.
pub type Reload = Arc<
    dyn Fn() -> BoxFuture<'static, Result<crate::api::Reload, crate::api::ReloadError>>
        + Send
        + Sync,
>;

/// What the control socket controls.
#[derive(Clone)]
pub struct Backend {
    /// The node.
    pub handle: Handle,
    /// The content of that node.
    pub content: Content<ContentNetwork>,
    /// The store that holds the content.
    pub store: Store,
    /// When its event loop last turned, and the state that it reported then.
    pub pulse: Arc<Pulse>,
    /// Gives the answer of `/health/ready` at a time when the event loop turns.
    pub readiness: Readiness,
    /// The number of connections that a TRIM without a number leaves.
    pub low_water: Arc<AtomicUsize>,
    /// Sets bans and reputations, and saves them.
    pub keeper: Keeper,
    /// What a diagnosis needs in addition to that.
    pub diag: diag::Source,
    /// Reads the configuration again.
    pub reload: Reload,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// The protocol's messages, generated from `proto/p2pd.proto`.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/p2pd.pb.rs"));
}
