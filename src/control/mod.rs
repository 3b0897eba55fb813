//! The control socket: how the commands and the programs on this host steer
//! the node.
//!
//! # The protocol
//!
//! It is the libp2p daemon control protocol, as go-libp2p-daemon publishes it
//! (CONTROL, DHT, PUBSUB and CM specifications), so its clients work unchanged.
//! This node adds requests of its own. All messages are in `proto/p2pd.proto`;
//! numbers from 100 on are the additions.
//!
//! A program connects to the Unix socket (`P2P_CONTROL_SOCKET`, mode 0660: it
//! must run as the node's user or in its group). It writes a `Request` and reads
//! a `Response`. Every message is its length as an unsigned varint (LEB128, the
//! same as protobuf's), then its protobuf bytes. In Python, with the messages
//! compiled by `protoc --python_out=. p2pd.proto`:
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
//! Peer ids, CIDs and multiaddrs travel in their binary forms. A request that
//! cannot be done is answered by `Response { type: ERROR, error.msg }`, one line
//! for a person; the connection goes on. What is not of the protocol, or over a
//! bound, is answered by ERROR and the end of the connection.
//!
//! Requests on one connection are answered one after the other. A program that
//! hangs up cancels its query, dial or transfer. Ending only its own direction
//! (`shutdown(SHUT_WR)`) cancels nothing, but for a subscription.
//!
//! | request | answer |
//! |---|---|
//! | IDENTIFY | `identify`: peer id, listen and external addresses |
//! | CONNECT | OK. Without `addrs` the peer is sought among the known addresses and then in the DHT. With an empty `peer` (ours): whoever answers at `addrs`, named in `peers` |
//! | DISCONNECT, LIST_PEERS | OK; `peers`, one entry a peer |
//! | STREAM_OPEN | `streamInfo`; from then on the connection is the stream, both directions end on their own |
//! | STREAM_HANDLER | OK. For each inbound stream the node connects to `addr` and writes a `StreamInfo` (no `Response` around it), then the stream's bytes. Stays until replaced or the daemon ends |
//! | DHT FIND_PEER, GET_VALUE, GET_PUBLIC_KEY | `dht` of type VALUE |
//! | DHT PUT_VALUE, PROVIDE | OK. Keys are raw bytes; content is provided under its multihash |
//! | DHT FIND_PROVIDERS, GET_CLOSEST_PEERS, SEARCH_VALUE | `dht` BEGIN in a `Response`, then bare `DHTResponse` messages: VALUE each, then END |
//! | PUBSUB GET_TOPICS, LIST_PEERS | `pubsub` |
//! | PUBSUB PUBLISH | OK when the message has been handed on, as fast as peers take it; when nobody hears it, an error after at most five seconds, in which one is looked for; `published` (ours) says to how many peers, and programs on this host |
//! | PUBSUB SUBSCRIBE | OK, then bare `PSMessage` messages until the program ends its direction. `moreTopics` (ours) adds topics |
//! | CONNMANAGER TAG_PEER, UNTAG_PEER, TRIM | OK. TRIM closes the least weight first, down to half of P2P_MAX_CONNECTIONS, or to `keep` (ours) |
//! | STATUS, PEERS, HEALTH (ours) | `status`, `peerStatus`, `health` |
//! | BAN, UNBAN, BANS (ours) | `bans`: the one that was set or lifted, which is then in force and on the disk; all in force |
//! | DIAG (ours) | `diag`: status, metrics now and some minutes ago, the configuration in force; also while the event loop is stuck |
//! | BLOCK LS, STAT, RM (ours) | LS: BEGIN, ENTRIES…, END; the others one END, in `block` |
//! | BLOCK PUT (ours) | see below |
//! | BLOCK GET (ours) | see below |
//!
//! **PUT.** The node answers BEGIN, then the program writes the file as data
//! frames: a varint length of at most 1 MiB and that many bytes, as many as it
//! takes, and one frame of length zero, which is the end mark. The node answers
//! END with the one entry (CID, size, …) when all of it is durable and peers of the
//! DHT have been told, or have not within three seconds: `announceError` says why
//! they could not be told yet, and `announcing` how many files wait for that in the
//! background. With `background` END does not wait for the DHT at all.
//! Hanging up before the end mark leaves nothing. When storing fails the node
//! answers ERROR and hangs up: after a failed write, read the answer.
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
//! **GET.** The node answers with a series of `Response` messages: PROGRESS at
//! any point, BEGIN with `size` once, DATA with the next bytes in order, and END
//! when all have come. ERROR in place of any of them ends it, and what came is
//! not the whole file. All bytes are verified before they are sent.
//!
//! # Bounds
//!
//! | what | bound |
//! |---|---|
//! | clients at once | [`server::MAX_CLIENTS`] |
//! | a request | [`codec::MAX_REQUEST`] |
//! | a data frame | [`codec::MAX_FRAME`] |
//! | uploads and downloads at once | 64 |
//! | handled protocols; inbound streams at once | 256; 512 |
//! | topics of one subscription | 64 |
//! | messages waiting for one slow subscriber | 2,048, then it loses messages |
//! | messages waiting to be published | 1,024 and 32 MiB, then they are refused |
//! | a client that does not read | cut off after 30 s (downloads: 10 min) and counted in `p2p_control_clients_dropped_total` |
//!
//! # Files
//!
//! | file | noun |
//! |---|---|
//! | [`client`] | the client's end: one typed method a request |
//! | [`server`] | the daemon's end: clients, within bounds |
//! | `session` | one client, and which file answers each of its requests |
//! | `listener` | the socket that the daemon listens on: mode, lock, inherited ones |
//! | `socket` | a connected socket, and what can be asked of its other end |
//! | [`codec`] | the framing, shared by both ends |
//! | [`wire`] | the types of [`crate::api`] as the protocol carries them |
//! | `report` | IDENTIFY, LIST_PEERS, PEERS, STATUS, HEALTH |
//! | `streams`, `pipe` | STREAM_OPEN and STREAM_HANDLER, and the bytes of their streams |
//! | `dht`, `pubsub`, `content`, `connmgr`, `bans`, `reload`, [`diag`] | the requests of these names; `content` is BLOCK, `connmgr` is CONNMANAGER |
//! | `metrics` | what is counted of the programs on this host |

mod bans;
pub mod client;
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

/// Says whether the node is ready to serve, and if not, why, for a person.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Reads the configuration again.
pub type Reload = Arc<
    dyn Fn() -> BoxFuture<'static, Result<crate::api::Reload, crate::api::ReloadError>>
        + Send
        + Sync,
>;

/// What the control socket steers.
#[derive(Clone)]
pub struct Backend {
    /// The node.
    pub handle: Handle,
    /// Content over that node.
    pub content: Content<ContentNetwork>,
    /// Where it lies.
    pub store: Store,
    /// When its event loop last turned, and what it said of itself then.
    pub pulse: Arc<Pulse>,
    /// The same answer that `/health/ready` gives while the event loop turns.
    pub readiness: Readiness,
    /// Connections that a TRIM without a number leaves.
    pub low_water: Arc<AtomicUsize>,
    /// Bans and reputations, and their way to the disk.
    pub keeper: Keeper,
    /// What a diagnosis needs beside all that.
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
