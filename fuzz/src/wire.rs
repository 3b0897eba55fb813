//! The messages of `proto/` defined a second time, by hand: what another implementation
//! would send, and a check that field numbers have not changed.

/// `p2p.message.Block`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Block {
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub timestamp: u64,
    #[prost(uint32, tag = "4")]
    pub ttl: u32,
    #[prost(uint32, tag = "5")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "6")]
    pub signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub key: Vec<u8>,
    #[prost(int32, tag = "8")]
    pub compression: i32,
}

/// `p2p.message.SignedMessage`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub seq_no: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub key: Vec<u8>,
    #[prost(int32, tag = "5")]
    pub compression: i32,
}

/// `p2p.exchange.Request`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    #[prost(message, repeated, tag = "1")]
    pub wants: Vec<Want>,
    #[prost(uint64, repeated, tag = "2")]
    pub cancel: Vec<u64>,
}

/// `p2p.exchange.Want`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Want {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub cid: Vec<u8>,
    #[prost(bool, tag = "3")]
    pub have_only: bool,
}

/// `p2p.exchange.Response`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int32, tag = "2")]
    pub status: i32,
    #[prost(message, optional, tag = "3")]
    pub block: Option<Block>,
}

/// A row of a remembered peer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerRow {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub addrs: Vec<Vec<u8>>,
    #[prost(uint64, tag = "2")]
    pub last_seen: u64,
    #[prost(uint32, tag = "3")]
    pub rank: u32,
}

/// A row of a root.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RootRow {
    #[prost(bytes = "vec", tag = "1")]
    pub cid: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub size: u64,
    #[prost(uint64, tag = "3")]
    pub blocks: u64,
    #[prost(bool, tag = "4")]
    pub pinned: bool,
    #[prost(uint64, tag = "5")]
    pub put_at: u64,
    #[prost(uint64, optional, tag = "6")]
    pub expires_at: Option<u64>,
    #[prost(string, optional, tag = "7")]
    pub name: Option<String>,
    #[prost(uint64, tag = "8")]
    pub used_at: u64,
}

/// A row of what a block's publisher says of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProvenanceRow {
    #[prost(uint64, tag = "1")]
    pub timestamp: u64,
    #[prost(uint32, tag = "2")]
    pub ttl: u32,
    #[prost(uint32, tag = "3")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub key: Vec<u8>,
}

/// A row of a ban.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BanRow {
    #[prost(string, tag = "1")]
    pub reason: String,
    #[prost(bool, tag = "2")]
    pub automatic: bool,
    #[prost(uint64, tag = "3")]
    pub since: u64,
    #[prost(uint64, optional, tag = "4")]
    pub until: Option<u64>,
    #[prost(uint32, tag = "5")]
    pub times: u32,
}

/// A row of a reputation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReputationRow {
    #[prost(float, tag = "1")]
    pub score: f32,
    #[prost(float, tag = "2")]
    pub strikes: f32,
    #[prost(uint64, tag = "3")]
    pub at: u64,
}

/// `p2pd.pb.Request`, in part.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ControlRequest {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub connect: Option<PeerAndAddrs>,
    #[prost(message, optional, tag = "5")]
    pub dht: Option<DhtRequest>,
    #[prost(message, optional, tag = "8")]
    pub pubsub: Option<PubsubRequest>,
    #[prost(message, optional, tag = "102")]
    pub block: Option<BlockRequest>,
}

/// `p2pd.pb.ConnectRequest` and `PeerInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerAndAddrs {
    #[prost(bytes = "vec", required, tag = "1")]
    pub peer: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub addrs: Vec<Vec<u8>>,
    #[prost(int64, optional, tag = "3")]
    pub timeout: Option<i64>,
}

/// `p2pd.pb.DHTRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DhtRequest {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub peer: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub cid: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub value: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "6")]
    pub count: Option<i32>,
    #[prost(int64, optional, tag = "7")]
    pub timeout: Option<i64>,
}

/// `p2pd.pb.PSRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PubsubRequest {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(string, optional, tag = "2")]
    pub topic: Option<String>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub data: Option<Vec<u8>>,
}

/// `p2pd.pb.BlockRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BlockRequest {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub cid: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "3")]
    pub ttl: Option<u64>,
}

/// `p2pd.pb.PSMessage`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GossipMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub from: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub data: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub seqno: Option<Vec<u8>>,
    #[prost(string, repeated, tag = "4")]
    pub topics: Vec<String>,
}

/// `p2pd.pb.Response` to PEERS.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeersAnswer {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(message, repeated, tag = "101")]
    pub peers: Vec<PeerStatus>,
}

/// `p2pd.pb.PeerStatus`, in part.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerStatus {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub id: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    pub agent: Option<String>,
    #[prost(uint64, optional, tag = "4")]
    pub ping_us: Option<u64>,
    #[prost(message, repeated, tag = "5")]
    pub connections: Vec<ConnectionStatus>,
    #[prost(int64, optional, tag = "6")]
    pub weight: Option<i64>,
}

/// `p2pd.pb.ConnectionStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConnectionStatus {
    #[prost(bool, optional, tag = "1")]
    pub inbound: Option<bool>,
    #[prost(string, optional, tag = "2")]
    pub transport: Option<String>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub addr: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "4")]
    pub age_ms: Option<u64>,
}
