//! A UDP socket with quinn behind it, and what its connections are set up with.

use std::net::SocketAddr;
use std::sync::Arc;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use quinn::crypto::HmacKey;
use quinn::{AsyncUdpSocket, NoneTokenStore};
use quinn_proto::HashedConnectionIdGenerator;

use super::congestion::LastPacket;
use super::connecting::Connecting;
use super::runtime::AsyncStd;
use super::socket::{self, MAX_RECEIVE_PAYLOAD, Socket};
use super::tls::{self, Tls};
use super::{Error, Options};
use crate::system::sockets::{Binding, Sockets};

/// Connection attempts that wait in quinn until the listener takes them; more
/// are refused on arrival. 1024: a second of arrivals at the rate at which one
/// core completes handshakes.
const MAX_WAITING_ATTEMPTS: usize = 1024;

/// Bytes held for one waiting attempt beyond its first packet, and for all of
/// them. A libp2p client can send nothing but its hello before it is answered:
/// two packets with the post-quantum key share, or ten with retransmissions.
const WAITING_ATTEMPT_BYTES: u64 = 16 << 10;
const WAITING_BYTES: u64 = 4 << 20;

/// A server name, which TLS requires. libp2p has none and ignores it.
const SERVER_NAME: &str = "l";

/// What all endpoints of a transport share.
pub(super) struct Shared {
    pub(super) options: Options,
    tls: Tls,
    reset_key: Arc<dyn HmacKey>,
    connection_id_key: u64,
}

impl Shared {
    pub(super) fn new(identity: &Keypair, options: Options) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self {
            options,
            tls: Tls::new(identity)?,
            reset_key: tls::reset_key(identity)?,
            connection_id_key: tls::connection_id_key(identity)?,
        })
    }

    /// How a connection from `remote` is accepted.
    pub(super) fn server_config(
        &self,
        remote: SocketAddr,
        last: &LastPacket,
    ) -> quinn::ServerConfig {
        let mut config = quinn::ServerConfig::with_crypto(self.tls.server());
        // Without a route back the answer is lost, as any packet may be.
        let mtu = socket::route_mtu(remote).ok().flatten();
        config.transport = self.options.for_path(remote, mtu, last);
        self.limit(&mut config);
        config
    }

    fn limit(&self, config: &mut quinn::ServerConfig) {
        config
            // An address that changes under a connection would slip past every
            // limit that was checked when the connection was admitted.
            .migration(false)
            .max_incoming(MAX_WAITING_ATTEMPTS)
            .incoming_buffer_size(WAITING_ATTEMPT_BYTES)
            .incoming_buffer_size_total(WAITING_BYTES);
    }
}

/// A bound UDP socket that can dial, and listen if it was opened to.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) quinn: quinn::Endpoint,
    pub(super) socket: Arc<Socket>,
    pub(super) local: SocketAddr,
}

impl Endpoint {
    /// Binds `address` to dial from.
    pub(super) fn bind(shared: &Shared, address: SocketAddr) -> Result<Self, Error> {
        let socket = Socket::bind(address, shared.options.socket_buffer)?;
        Self::new(shared, address, socket, false)
    }

    /// Listens at `address`, with an inherited socket if there is one.
    pub(super) fn listen(
        shared: &Shared,
        address: SocketAddr,
        sockets: &Sockets,
    ) -> Result<Self, Error> {
        let bind_error = |source| Error::Bind { address, source };
        let socket = match sockets.take_udp(address) {
            Some(inherited) => Socket::new(inherited).map_err(bind_error)?,
            None => {
                let socket = Socket::bind(address, shared.options.socket_buffer)?;
                sockets.keep("quic", &Binding::Udp(address), socket.as_fd());
                socket
            }
        };
        Self::new(shared, address, socket, true)
    }

    /// `listen` says whether connections are accepted at the socket.
    fn new(
        shared: &Shared,
        address: SocketAddr,
        socket: Socket,
        listen: bool,
    ) -> Result<Self, Error> {
        let bind_error = |source| Error::Bind { address, source };
        let socket = Arc::new(socket);
        let local = socket.local_addr().map_err(bind_error)?;

        let mut config = quinn::EndpointConfig::new(shared.reset_key.clone());
        config.supported_versions(vec![1]);
        let key = shared.connection_id_key;
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)))
            .max_udp_payload_size(MAX_RECEIVE_PAYLOAD)
            .map_err(|e| Error::Tls(e.to_string()))?;

        let server = listen.then(|| {
            let mut config = quinn::ServerConfig::with_crypto(shared.tls.server());
            shared.limit(&mut config);
            config
        });
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            config,
            server,
            socket.clone(),
            Arc::new(AsyncStd {
                polls: socket.polls(),
            }),
        )
        .map_err(bind_error)?;
        Ok(Self {
            quinn,
            socket,
            local,
        })
    }

    /// Begins a connection to `remote`, which must prove to be `expected` when
    /// that is given.
    pub(super) fn dial(
        &self,
        shared: &Shared,
        remote: SocketAddr,
        expected: Option<PeerId>,
    ) -> Result<Connecting, Error> {
        let mtu =
            socket::route_mtu(remote).map_err(|source| Error::Unreachable { remote, source })?;
        let (crypto, verifier) = shared.tls.client(expected)?;
        let last = LastPacket::default();
        let mut config = quinn::ClientConfig::new(crypto);
        config
            .transport_config(shared.options.for_path(remote, mtu, &last))
            // Tokens for later connections are stored by server name, and there is none.
            .token_store(Arc::new(NoneTokenStore));
        let connecting = self
            .quinn
            .connect_with(config, remote, SERVER_NAME)
            .map_err(|source| Error::Dial { remote, source })?;
        Ok(Connecting::outbound(
            connecting,
            remote,
            verifier,
            last,
            &shared.options,
        ))
    }
}
