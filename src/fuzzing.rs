//! Doors to private decoders, for the crate in `fuzz/` and for nobody else: only
//! with the feature `fuzzing`, and no part of the library's interface.
//!
//! Each takes the bytes that come from outside and gives what the program makes
//! of them, in types that can be compared. What must hold is said in `fuzz/`.

pub use crate::store::fuzzing as store;

/// Blocks and the exchange.
pub mod block {
    use std::time::SystemTime;

    use bytes::Bytes;
    use cid::Cid;
    use futures::StreamExt;
    use futures::channel::mpsc;
    use futures::io::{AsyncRead, AsyncWrite};
    use prost::Message;

    use crate::block::exchange::pb::message::Block;
    use crate::block::exchange::session::{self, Answer, Command, Reply};
    use crate::content::check;
    use crate::content::refusal::Refusal;
    use crate::message::provenance::Provenance;

    /// Checks an encoded `Block` that came for `wanted`; `None` when it is none.
    pub fn accept(
        message: Bytes,
        wanted: &Cid,
        max: usize,
        now: SystemTime,
    ) -> Option<Result<(Bytes, Provenance), Refusal>> {
        let block = Block::decode(message).ok()?;
        let accepted = check::accept(block, wanted, max, now);
        Some(accepted.map(|a| (a.data, a.provenance)))
    }

    /// What a session over `stream`, with these wants open (those that are true ask
    /// only whether the block is there), answers: the id, the
    /// address and, when there is a block, how it is encoded. The last is whether
    /// the session ended by a breach of the protocol.
    pub async fn session<S: AsyncRead + AsyncWrite + Unpin>(
        stream: S,
        max_block: usize,
        wants: &[(u64, Cid, bool)],
    ) -> (Vec<(u64, Cid, Option<Vec<u8>>)>, bool) {
        let (send, commands) = mpsc::unbounded();
        for (id, cid, have_only) in wants {
            let _ = send.unbounded_send(match have_only {
                true => Command::Have(*id, *cid),
                false => Command::Want(*id, *cid),
            });
        }
        let (mut answers, mut received) = mpsc::channel(wants.len() + 2);
        let ended = session::run(stream, max_block, commands, &mut answers, |a| a).await;
        drop((answers, send));
        let mut replies = Vec::new();
        while let Some(answer) = received.next().await {
            match answer {
                Answer::Open(_) => {}
                Answer::Reply(id, cid, Reply::Block(block)) => {
                    replies.push((id, cid, Some(block.encode_to_vec())));
                }
                Answer::Reply(id, cid, _) => replies.push((id, cid, None)),
            }
        }
        (replies, ended.is_err_and(|e| e.is_violation()))
    }
}

/// The network key.
pub mod config {
    use libp2p::pnet::PreSharedKey;

    /// The key in a file's text.
    pub fn network_key(text: &str) -> Option<PreSharedKey> {
        crate::config::network_key::parse(text)
    }
}

/// Both sides of the control socket.
pub mod control {
    use std::io;

    use bytes::Bytes;
    use cid::Cid;
    use futures::AsyncReadExt;
    use futures::io::AsyncRead;
    use libp2p::{Multiaddr, PeerId};
    use prost::Message;

    use crate::api::{Entry, Health, Peer, PeerInfo, Status};
    use crate::api::{Message as Gossip, StreamInfo};
    use crate::control::codec::Channel;
    use crate::control::content::Upload;
    use crate::control::pb;
    use crate::control::wire::{self, InvalidField};

    /// What the typed fields of a request become.
    #[derive(Debug, Default, PartialEq)]
    pub struct Fields {
        /// Peer ids.
        pub peers: Vec<Result<PeerId, String>>,
        /// Addresses, by list.
        pub addrs: Vec<Result<Vec<Multiaddr>, String>>,
        /// CIDs.
        pub cids: Vec<Result<Cid, String>>,
    }

    /// A request decoded: its typed fields, and how it is encoded again.
    pub fn request(message: &[u8]) -> Option<(Fields, Vec<u8>)> {
        let request = pb::Request::decode(message).ok()?;
        let text = |e: InvalidField| e.to_string();
        let mut fields = Fields::default();
        let mut peer = |bytes: Option<&[u8]>| {
            let peer = bytes.map(|b| wire::peer_id("peer", b).map_err(text));
            fields.peers.extend(peer);
        };
        peer(request.connect.as_ref().map(|r| &r.peer[..]));
        peer(request.disconnect.as_ref().map(|r| &r.peer[..]));
        peer(request.stream_open.as_ref().map(|r| &r.peer[..]));
        peer(request.dht.as_ref().and_then(|r| r.peer.as_deref()));
        peer(
            request
                .conn_manager
                .as_ref()
                .and_then(|r| r.peer.as_deref()),
        );
        if let Some(connect) = &request.connect {
            let addrs = wire::multiaddrs("addrs", &connect.addrs);
            fields.addrs.push(addrs.map_err(text));
        }
        if let Some(handler) = &request.stream_handler {
            let addr = wire::multiaddr("addr", &handler.addr);
            fields.addrs.push(addr.map(|a| vec![a]).map_err(text));
        }
        for bytes in [
            request.dht.as_ref().and_then(|r| r.cid.as_deref()),
            request.block.as_ref().and_then(|r| r.cid.as_deref()),
        ] {
            let cid = bytes.map(|b| wire::cid("cid", b).map_err(text));
            fields.cids.extend(cid);
        }
        Some((fields, request.encode_to_vec()))
    }

    /// A part of an answer, in the client's types.
    #[derive(Clone, Debug, PartialEq)]
    #[allow(missing_docs)]
    pub enum Part {
        Status(Box<Status>),
        Peer(Peer),
        PeerInfo(PeerInfo),
        Stream(StreamInfo),
        Health(Health),
        Entry(Entry),
    }

    /// The parts of an answer, each as the client reads it; `None` when the bytes
    /// are no answer.
    pub fn answer(message: &[u8]) -> Option<Vec<Result<Part, InvalidField>>> {
        let answer = pb::Response::decode(message).ok()?;
        let mut parts = Vec::new();
        let status = answer.status.map(Status::from_pb);
        parts.extend(status.map(|s| s.map(|s| Part::Status(Box::new(s)))));
        let peers = answer.peer_status.into_iter().map(Peer::from_pb);
        parts.extend(peers.map(|p| p.map(Part::Peer)));
        let infos = answer.peers.iter().map(PeerInfo::from_pb);
        parts.extend(infos.map(|p| p.map(Part::PeerInfo)));
        let stream = answer.stream_info.iter().map(StreamInfo::from_pb);
        parts.extend(stream.map(|s| s.map(Part::Stream)));
        parts.extend(answer.health.map(|h| Ok(Part::Health(Health::from_pb(h)))));
        let entries = answer.block.unwrap_or_default().entries.into_iter();
        parts.extend(entries.map(|e| Entry::from_pb(e).map(Part::Entry)));
        Some(parts)
    }

    /// The answer that holds these parts, encoded as the server does.
    pub fn encode(parts: &[Part]) -> Vec<u8> {
        let mut answer = pb::Response::default();
        let mut entries = Vec::new();
        for part in parts {
            match part {
                Part::Status(status) => answer.status = Some(status.to_pb()),
                Part::Peer(peer) => answer.peer_status.push(peer.to_pb()),
                Part::PeerInfo(info) => answer.peers.push(info.to_pb()),
                Part::Stream(stream) => answer.stream_info = Some(stream.to_pb()),
                Part::Health(health) => answer.health = Some(health.to_pb()),
                Part::Entry(entry) => entries.push(entry.to_pb()),
            }
        }
        if !entries.is_empty() {
            answer.block = Some(pb::BlockResponse {
                entries,
                ..Default::default()
            });
        }
        answer.encode_to_vec()
    }

    /// A gossip message as a subscriber reads it; `None` when the bytes are none.
    pub fn gossip(message: &[u8]) -> Option<Result<Gossip, InvalidField>> {
        Some(Gossip::from_pb(pb::PsMessage::decode(message).ok()?))
    }

    /// The bytes of an upload, and what was read ahead of the next request.
    pub async fn upload<S: AsyncRead + Unpin>(io: S) -> (io::Result<Vec<u8>>, Bytes) {
        let mut channel = Channel::new(io);
        let mut data = Vec::new();
        let ended = Upload::new(&mut channel).read_to_end(&mut data).await;
        (ended.map(|_| data), channel.into_parts().1)
    }
}

/// Text for people and machines.
pub mod text {
    use cid::Cid;
    use libp2p::{Multiaddr, PeerId};

    /// Text of a remote as commands print it.
    pub fn printable(text: &str) -> String {
        crate::text::foreign::printable(text)
    }

    /// A CID on the command line.
    pub fn cid(text: &str) -> Result<Cid, String> {
        crate::cli::parse::cid(text)
    }

    /// A peer, an address or both on the command line.
    pub fn destination(text: &str) -> Result<(Option<PeerId>, Option<Multiaddr>), String> {
        crate::cli::parse::destination(text).map(|d| (d.peer, d.addr))
    }
}

/// The status pages.
pub mod http {
    use crate::web::http::request::{self, Method, Page};

    /// The method, where it is one that differs, and the page, where there is one.
    pub type Head = (Option<&'static str>, Option<&'static str>);

    /// The request whose head is whole; the answer to one that is refused.
    pub fn head(bytes: &[u8]) -> Result<Option<Head>, Vec<u8>> {
        let head = request::parse(bytes).map_err(|answer| answer.to_bytes())?;
        Ok(head.map(|head| {
            let method = match head.method {
                Method::Get => Some("GET"),
                Method::Head => Some("HEAD"),
                Method::Other => None,
            };
            let page = head.page.map(|page| match page {
                Page::Status { still: false } => "/",
                Page::Status { still: true } => "/?still",
                Page::Metrics => "/metrics",
                Page::Live => "/health/live",
                Page::Ready => "/health/ready",
            });
            (method, page)
        }))
    }
}

/// Addresses and names.
pub mod transport {
    use std::net::{IpAddr, SocketAddr};

    use libp2p::{Multiaddr, PeerId};

    use crate::transport::dns::address::Named;
    use crate::transport::dns::walk::Walk;
    use crate::transport::dns::{Error, resolver};
    use crate::transport::{quic, tcp};

    /// The socket address of a TCP address.
    pub fn tcp(address: &Multiaddr) -> Option<SocketAddr> {
        tcp::address::to_socket_addr(address)
    }

    /// The TCP address of a socket.
    pub fn to_tcp(socket: SocketAddr) -> Multiaddr {
        tcp::address::to_multiaddr(socket.ip(), socket.port())
    }

    /// The socket address and the peer of a QUIC address.
    pub fn quic(address: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
        quic::address::parse(address)
    }

    /// The QUIC address of a socket.
    pub fn to_quic(socket: SocketAddr) -> Multiaddr {
        quic::address::format(socket)
    }

    /// The address of a TXT record, which comes in parts.
    pub fn txt(parts: &[&[u8]]) -> Option<Multiaddr> {
        let parts: Vec<Box<[u8]>> = parts.iter().map(|part| Box::from(*part)).collect();
        resolver::parse_record(&parts)
    }

    /// What a name stands for.
    #[derive(Clone, Debug)]
    pub enum Answer {
        /// Records of a `/dnsaddr`.
        Records(Vec<Multiaddr>),
        /// Addresses of a host.
        Hosts(Vec<IpAddr>),
    }

    /// Follows the names in `address` as the resolver does, `look_up` being the
    /// name server: how many lookups it took, and what came out. `None` when
    /// there is no name.
    pub fn follow(
        address: &Multiaddr,
        mut look_up: impl FnMut(&str) -> Answer,
    ) -> Option<(usize, Result<Vec<Multiaddr>, Error>)> {
        let mut walk = Walk::new(address)?;
        let mut lookups = 0;
        loop {
            let questions: Vec<Named> = walk.next_questions();
            if questions.is_empty() {
                return Some((lookups, walk.finish()));
            }
            for named in questions {
                lookups += 1;
                let found = match look_up(&named.name) {
                    Answer::Records(records) => records
                        .iter()
                        .filter_map(|r| named.with_record(r))
                        .collect(),
                    Answer::Hosts(ips) => ips.into_iter().map(|ip| named.with_ip(ip)).collect(),
                };
                walk.answer(Ok(found));
            }
        }
    }
}

/// The multiplexer.
pub mod yamux {
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    use crate::transport::memory::Memory;
    use crate::transport::yamux::Error;
    use crate::transport::yamux::connection::{Connection, Limits, Role};

    /// One side of a connection, in a time of its own.
    #[derive(Debug)]
    pub struct Side {
        core: Connection,
        memory: Memory,
        now: Instant,
        start: Instant,
    }

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    impl Side {
        /// A client or a server that allows eight streams each way. Sides that are to be
        /// compared begin at the same `start`.
        pub fn new(client: bool, start: Instant) -> Self {
            let memory = Memory::new(usize::MAX);
            let limits = Limits {
                inbound: 8,
                outbound: 8,
            };
            let role = match client {
                true => Role::Client,
                false => Role::Server,
            };
            Side {
                core: Connection::new(role, limits, memory.account(None), start),
                memory,
                now: start,
                start,
            }
        }

        /// Takes bytes of the remote. Gives the error that ends the connection.
        pub fn receive(&mut self, mut bytes: &[u8]) -> Option<String> {
            while !bytes.is_empty() {
                match self.core.receive(bytes, self.now) {
                    Ok(received) => {
                        assert!(received.bytes > 0, "no progress");
                        bytes = &bytes[received.bytes..];
                    }
                    Err(error) => {
                        self.core.fail(&error);
                        return Some(error.to_string());
                    }
                }
            }
            None
        }

        /// What there is to write.
        pub fn transmit(&mut self) -> Vec<u8> {
            self.core.transmit(Vec::new(), self.now, &cx())
        }

        /// Opens a stream.
        pub fn open(&mut self) -> Option<u32> {
            match self.core.open(self.now, &cx()) {
                Poll::Ready(Ok(id)) => Some(id),
                _ => None,
            }
        }

        /// The next stream that the remote opened.
        pub fn accept(&mut self) -> Option<u32> {
            self.core.accept()
        }

        /// Reads at most `most` bytes; nothing when there is none yet.
        pub fn read(&mut self, id: u32, most: usize) -> Option<usize> {
            match self.core.read(id, &mut vec![0; most], self.now, &cx()) {
                Poll::Ready(n) => Some(n),
                Poll::Pending => None,
            }
        }

        /// Writes bytes; how many were taken.
        pub fn write(&mut self, id: u32, bytes: usize) -> usize {
            match self.core.write(id, &vec![0; bytes], &cx()) {
                Poll::Ready(Ok(n)) => n,
                _ => 0,
            }
        }

        /// Ends this side's direction of a stream.
        pub fn finish(&mut self, id: u32) {
            let _ = self.core.finish(id);
        }

        /// Says that a stream is only written to.
        pub fn refuse_bytes(&mut self, id: u32) {
            self.core.refuse_bytes(id);
        }

        /// Drops a stream.
        pub fn drop_stream(&mut self, id: u32) {
            self.core.drop_stream(id);
        }

        /// Lets time pass.
        pub fn pass(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        /// Ends the connection in order, or as one that takes too much memory.
        pub fn end(&mut self, in_order: bool) {
            match in_order {
                true => self.core.close(),
                false => self.core.fail(&Error::Memory),
            }
        }

        /// Checks what must hold between any two steps.
        pub fn check(&mut self) {
            self.core.settle().wake();
            assert_eq!(self.memory.used(), self.core.held());
            assert!(self.core.unread() <= self.core.granted());
            assert!(self.now >= self.start);
        }

        /// Ends everything. Nothing may be held then.
        pub fn leave(self) {
            drop(self.core);
            assert_eq!(self.memory.used(), 0);
        }
    }
}
