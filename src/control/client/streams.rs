//! Streams to peers, and streams that peers open.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_io::Async;
use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};

use super::{Client, Error, Kind, request, seconds};
use crate::api::StreamInfo;
use crate::control::{pb, wire};

impl Client {
    /// Opens a stream to `peer` with the first of `protos` that it supports. From then on
    /// the connection is the stream.
    pub async fn open_stream(
        mut self,
        peer: PeerId,
        protos: &[&str],
        timeout: Option<Duration>,
    ) -> Result<RawStream, Error> {
        let answer = self
            .ask(pb::Request {
                stream_open: Some(pb::StreamOpenRequest {
                    peer: wire::id_bytes(&peer),
                    proto: protos.iter().map(|p| (*p).to_owned()).collect(),
                    timeout: timeout.map(seconds),
                }),
                ..request(Kind::StreamOpen)
            })
            .await?;
        let info = answer.stream_info.ok_or(Error::Unexpected("streamInfo"))?;
        let (io, ahead) = self.channel.into_parts();
        Ok(RawStream {
            info: StreamInfo::from_pb(&info)?,
            io,
            ahead,
        })
    }

    /// Routes inbound streams on `protos` to the program that listens at `addr`
    /// (`/unix/…`, `/ip4/…/tcp/…`). For each stream the node connects to `addr` and first
    /// sends a `StreamInfo`.
    pub async fn handle_streams(&mut self, addr: &Multiaddr, protos: &[&str]) -> Result<(), Error> {
        self.ask(pb::Request {
            stream_handler: Some(pb::StreamHandlerRequest {
                addr: Bytes::from(addr.to_vec()),
                proto: protos.iter().map(|p| (*p).to_owned()).collect(),
            }),
            ..request(Kind::StreamHandler)
        })
        .await
        .map(drop)
    }
}

/// A stream to a peer, opened by [`Client::open_stream`].
#[derive(Debug)]
pub struct RawStream {
    /// The peer at the other end, and the protocol that was agreed on.
    pub info: StreamInfo,
    /// The stream itself.
    pub io: Async<UnixStream>,
    /// Bytes of the stream that arrived together with the daemon's answer. They come
    /// before those of `io`.
    pub ahead: Bytes,
}
