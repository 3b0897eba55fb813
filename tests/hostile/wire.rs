//! What attackers send: the messages of each protocol by their published
//! numbers, defined here again so that every field can contain what
//! the node itself would never send.

use prost::Message;

/// Length as an unsigned varint.
pub(crate) fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// `bytes` with their length before them.
pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// A message with its length before it.
pub(crate) fn frame(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

/// Gossipsub: <https://github.com/libp2p/specs/blob/master/pubsub/README.md>.
pub(crate) mod gossip {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Rpc {
        #[prost(message, repeated, tag = "1")]
        pub(crate) subscriptions: Vec<Sub>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) publish: Vec<Publish>,
        #[prost(message, optional, tag = "3")]
        pub(crate) control: Option<Control>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sub {
        #[prost(bool, optional, tag = "1")]
        pub(crate) subscribe: Option<bool>,
        #[prost(string, optional, tag = "2")]
        pub(crate) topic: Option<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Publish {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub(crate) from: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(crate) data: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "3")]
        pub(crate) seqno: Option<Vec<u8>>,
        #[prost(string, tag = "4")]
        pub(crate) topic: String,
        #[prost(bytes = "vec", optional, tag = "5")]
        pub(crate) signature: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "6")]
        pub(crate) key: Option<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Control {
        #[prost(message, repeated, tag = "1")]
        pub(crate) ihave: Vec<Ihave>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) graft: Vec<Graft>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Ihave {
        #[prost(string, optional, tag = "1")]
        pub(crate) topic: Option<String>,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub(crate) ids: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Graft {
        #[prost(string, optional, tag = "1")]
        pub(crate) topic: Option<String>,
    }

    use libp2p::identity::Keypair;
    use prost::Message as _;

    impl Publish {
        /// A message as StrictSign wants it.
        pub(crate) fn signed(author: &Keypair, topic: &str, seqno: u64, data: Vec<u8>) -> Self {
            let mut message = Publish {
                from: Some(author.public().to_peer_id().to_bytes()),
                data: Some(data),
                seqno: Some(seqno.to_be_bytes().to_vec()),
                topic: topic.to_owned(),
                signature: None,
                key: None,
            };
            let mut statement = b"libp2p-pubsub:".to_vec();
            statement.extend(message.encode_to_vec());
            message.signature = Some(author.sign(&statement).unwrap());
            message.key = Some(author.public().encode_protobuf());
            message
        }
    }

    /// Joins a topic and asks into its mesh.
    pub(crate) fn join(topic: &str) -> Rpc {
        Rpc {
            subscriptions: vec![Sub {
                subscribe: Some(true),
                topic: Some(topic.to_owned()),
            }],
            control: Some(Control {
                graft: vec![Graft {
                    topic: Some(topic.to_owned()),
                }],
                ..Control::default()
            }),
            ..Rpc::default()
        }
    }

    pub(crate) fn publish(messages: Vec<Publish>) -> Rpc {
        Rpc {
            publish: messages,
            ..Rpc::default()
        }
    }
}

/// Kademlia: <https://github.com/libp2p/specs/blob/master/kad-dht/README.md>.
pub(crate) mod kad {
    pub(crate) const PUT_VALUE: i32 = 0;
    pub(crate) const ADD_PROVIDER: i32 = 2;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Message {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) key: Vec<u8>,
        #[prost(message, optional, tag = "3")]
        pub(crate) record: Option<Record>,
        #[prost(message, repeated, tag = "9")]
        pub(crate) providers: Vec<Peer>,
        #[prost(int32, tag = "10")]
        pub(crate) level: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Record {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) value: Vec<u8>,
        /// Who wrote it, and the seconds that it lives: only libp2p in Rust has these.
        #[prost(bytes = "vec", tag = "666")]
        pub(crate) publisher: Vec<u8>,
        #[prost(uint32, tag = "777")]
        pub(crate) ttl: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Peer {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) id: Vec<u8>,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub(crate) addrs: Vec<Vec<u8>>,
    }
}

/// Identify: <https://github.com/libp2p/specs/blob/master/identify/README.md>.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Identify {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) public_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) listen_addrs: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) protocols: Vec<String>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) observed_addr: Option<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    pub(crate) protocol_version: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) agent_version: Option<String>,
}

/// The envelope: `proto/message.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SignedMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) signature: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(crate) seq_no: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) key: Vec<u8>,
    #[prost(int32, tag = "5")]
    pub(crate) compression: i32,
}

impl SignedMessage {
    /// An envelope signed as it should be, whatever it holds.
    pub(crate) fn signed(
        author: &libp2p::identity::Keypair,
        topic: &str,
        seq_no: u64,
        payload: Vec<u8>,
        compression: i32,
    ) -> Self {
        use p2p_node::message::statement::{Purpose, Statement};
        let statement = Statement::new(Purpose::Message)
            .bytes(topic.as_bytes())
            .number(seq_no)
            .number(compression as u64)
            .digest(&payload);
        SignedMessage {
            signature: statement.sign(author).unwrap(),
            payload,
            seq_no,
            key: author.public().encode_protobuf(),
            compression,
        }
    }
}

/// The block exchange: `proto/exchange.proto`.
pub(crate) mod exchange {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Response {
        #[prost(uint64, tag = "1")]
        pub(crate) id: u64,
        #[prost(int32, tag = "2")]
        pub(crate) status: i32,
        #[prost(message, optional, tag = "3")]
        pub(crate) block: Option<Block>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Block {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) hash: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) data: Vec<u8>,
        #[prost(uint64, tag = "3")]
        pub(crate) timestamp: u64,
        #[prost(uint32, tag = "4")]
        pub(crate) ttl: u32,
        #[prost(uint32, tag = "5")]
        pub(crate) version: u32,
        #[prost(bytes = "vec", tag = "6")]
        pub(crate) signature: Vec<u8>,
        #[prost(bytes = "vec", tag = "7")]
        pub(crate) key: Vec<u8>,
        #[prost(int32, tag = "8")]
        pub(crate) compression: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Request {
        #[prost(message, repeated, tag = "1")]
        pub(crate) wants: Vec<Want>,
        #[prost(uint64, repeated, tag = "2")]
        pub(crate) cancel: Vec<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Want {
        #[prost(uint64, tag = "1")]
        pub(crate) id: u64,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) cid: Vec<u8>,
    }
}
