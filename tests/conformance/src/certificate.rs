//! TLS certificates that are no libp2p certificates, from both ends, over TCP
//! and QUIC. <https://github.com/libp2p/specs/blob/master/tls/tls.md>
//!
//! The hostile peer is built directly on rustls and quinn, since libp2p's own
//! cannot be made to lie. A valid certificate is tested in the same way first,
//! so that a refusal must be due to the certificate.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use async_io::Async;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures_rustls::{TlsAcceptor, TlsConnector};
use libp2p::identity::Keypair;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

use crate::connections::serves;
use crate::link::{Family, Link, Pair};
use crate::malformed::{MULTISTREAM, address, socket};
use crate::node::{Node, Side};
use crate::watch::run;

const LIBP2P_EXTENSION: &[u64] = &[1, 3, 6, 1, 4, 1, 53594, 1, 1];
const TLS_PROTOCOL: &[u8] = b"\x0b/tls/1.0.0\n";

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The extension with the peer's key is missing.
    NoExtension,
    /// It is not the structure that it should be.
    GarbageExtension,
    /// It is empty.
    EmptyExtension,
    /// It holds something that is no public key.
    GarbageKey,
    /// The peer signed another certificate's key.
    OtherCertificate,
    /// Someone else signed: the peer id is claimed, not proved.
    OtherSigner,
    /// It is there twice.
    TwoExtensions,
    /// A critical extension that nobody knows.
    UnknownCritical,
    /// Valid in the past only.
    Expired,
    /// The certificate's own signature is broken.
    TamperedSignature,
    /// A chain of two.
    Chain,
    /// Bytes that are no certificate at all.
    NotACertificate,
}

const FAULTS: [Fault; 12] = [
    Fault::NoExtension,
    Fault::GarbageExtension,
    Fault::EmptyExtension,
    Fault::GarbageKey,
    Fault::OtherCertificate,
    Fault::OtherSigner,
    Fault::TwoExtensions,
    Fault::UnknownCritical,
    Fault::Expired,
    Fault::TamperedSignature,
    Fault::Chain,
    Fault::NotACertificate,
];

type Certificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// DER of `SEQUENCE { OCTET STRING, OCTET STRING }`, shorter than 128 bytes.
fn signed_key(key: &[u8], signature: &[u8]) -> Vec<u8> {
    let string = |bytes: &[u8]| [&[0x04, u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
    let content = [string(key), string(signature)].concat();
    assert!(content.len() < 128);
    [&[0x30, content.len() as u8][..], &content].concat()
}

/// A certificate with this fault, or a good one.
fn certificate(fault: Option<Fault>) -> Certificate {
    let peer = Keypair::generate_ed25519();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let signer = match fault {
        Some(Fault::OtherSigner) => Keypair::generate_ed25519(),
        _ => peer.clone(),
    };
    let signed_for = match fault {
        Some(Fault::OtherCertificate) => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .unwrap()
            .public_key_der(),
        _ => key.public_key_der(),
    };
    let signature = signer
        .sign(&[b"libp2p-tls-handshake:".as_slice(), &signed_for].concat())
        .unwrap();
    let good = signed_key(&peer.public().encode_protobuf(), &signature);
    let extension = |content| CustomExtension::from_oid_content(LIBP2P_EXTENSION, content);

    let mut params = CertificateParams::default();
    params.custom_extensions = match fault {
        Some(Fault::NoExtension) => vec![],
        Some(Fault::GarbageExtension) => vec![extension(b"\x30\x7fgarbage".to_vec())],
        Some(Fault::EmptyExtension) => vec![extension(vec![])],
        Some(Fault::GarbageKey) => vec![extension(signed_key(&[0xff; 40], &signature))],
        Some(Fault::TwoExtensions) => vec![extension(good.clone()), extension(good)],
        Some(Fault::UnknownCritical) => {
            let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
            unknown.set_criticality(true);
            vec![extension(good), unknown]
        }
        _ => vec![extension(good)],
    };
    if fault == Some(Fault::Expired) {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let mut der = params.self_signed(&key).unwrap().der().to_vec();
    match fault {
        Some(Fault::TamperedSignature) => *der.last_mut().unwrap() ^= 1,
        Some(Fault::NotACertificate) => der = b"no certificate".to_vec(),
        _ => {}
    }
    let certificate = CertificateDer::from(der);
    let chain = match fault {
        Some(Fault::Chain) => vec![certificate.clone(), certificate],
        _ => vec![certificate],
    };
    (
        chain,
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
    )
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Presents its certificate as it is, without a look at it.
#[derive(Debug)]
struct Shameless(Arc<rustls::sign::CertifiedKey>);

impl Shameless {
    fn new((chain, key): Certificate) -> Arc<Shameless> {
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Arc::new(Shameless(Arc::new(rustls::sign::CertifiedKey::new(
            chain, key,
        ))))
    }
}

impl rustls::client::ResolvesClientCert for Shameless {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl rustls::server::ResolvesServerCert for Shameless {
    fn resolve(
        &self,
        _: rustls::server::ClientHello<'_>,
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Believes every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn client(fault: Option<Fault>) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_client_cert_resolver(Shameless::new(certificate(fault)));
    config.alpn_protocols = vec![b"libp2p".to_vec()];
    config
}

fn server(fault: Option<Fault>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Shameless::new(certificate(fault)));
    config.alpn_protocols = vec![b"libp2p".to_vec()];
    config
}

/// Asks the other side to go on with the protocol; an error when it hangs up.
async fn goes_on(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(MULTISTREAM).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0]).await
}

/// Dials the node over TCP and does what a TLS client does.
async fn tcp_client(to: std::net::SocketAddr, fault: Option<Fault>) -> io::Result<()> {
    let mut stream = Async::<TcpStream>::connect(to).await?;
    let hello = [MULTISTREAM, TLS_PROTOCOL].concat();
    stream.write_all(&hello).await?;
    let mut answer = vec![0; hello.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, hello);
    let name = ServerName::try_from("peer").unwrap();
    let stream = TlsConnector::from(Arc::new(client(fault)))
        .connect(name, stream)
        .await?;
    goes_on(stream).await
}

/// Is dialed by the node over TCP and does what a TLS server does.
async fn tcp_server(listener: Async<TcpListener>, fault: Option<Fault>) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut hello = vec![0; MULTISTREAM.len() + TLS_PROTOCOL.len()];
    stream.read_exact(&mut hello).await?;
    stream.write_all(&hello).await?;
    let stream = TlsAcceptor::from(Arc::new(server(fault)))
        .accept(stream)
        .await?;
    goes_on(stream).await
}

async fn quic_client(to: std::net::SocketAddr, fault: Option<Fault>) -> io::Result<()> {
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(client(fault)).unwrap();
    let mut endpoint = quic_endpoint(None);
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    let connection = endpoint.connect(to, "peer").unwrap().await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(MULTISTREAM).await?;
    receive.read_exact(&mut [0]).await.map_err(io::Error::other)
}

async fn quic_server(endpoint: quinn::Endpoint) -> io::Result<()> {
    let incoming = endpoint.accept().await.unwrap();
    incoming.await?;
    Ok(())
}

fn quic_endpoint(server: Option<ServerConfig>) -> quinn::Endpoint {
    let server = server.map(|config| {
        let tls = quinn::crypto::rustls::QuicServerConfig::try_from(config).unwrap();
        quinn::ServerConfig::with_crypto(Arc::new(tls))
    });
    quinn::Endpoint::new(
        quinn::EndpointConfig::default(),
        server,
        std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        Arc::new(quinn::AsyncStdRuntime),
    )
    .unwrap()
}

#[test]
fn bad_client_over_tcp() {
    run(async {
        let pair = Pair::new(Link::TcpTls, Family::V4, Side::Foreign).await;
        tcp_client(socket(&pair.address), None)
            .await
            .expect("a good certificate");
        for fault in FAULTS {
            let outcome = tcp_client(socket(&pair.address), Some(fault)).await;
            assert!(outcome.is_err(), "{fault:?} was accepted");
        }
        pair.connect().await;
        serves(&pair).await;
    });
}

#[test]
fn bad_client_over_quic() {
    run(async {
        let pair = Pair::new(Link::Quic, Family::V4, Side::Foreign).await;
        quic_client(socket(&pair.address), None)
            .await
            .expect("a good certificate");
        for fault in FAULTS {
            let outcome = quic_client(socket(&pair.address), Some(fault)).await;
            assert!(outcome.is_err(), "{fault:?} was accepted");
        }
        pair.connect().await;
        serves(&pair).await;
    });
}

#[test]
fn bad_server_over_tcp() {
    run(async {
        let node = Node::new(Side::Ours, Link::TcpTls);
        for fault in [None].into_iter().chain(FAULTS.map(Some)) {
            let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = address(Link::TcpTls, listener.get_ref().local_addr().unwrap());
            let (dialed, served) =
                futures::join!(node.dial(&address, None), tcp_server(listener, fault));
            // With one multiplexer on offer its negotiation is lazy, so the dial is
            // done with the handshake.
            assert_eq!(dialed.is_ok(), fault.is_none(), "{fault:?}: {dialed:?}");
            assert_eq!(served.is_ok(), fault.is_none(), "{fault:?}: {served:?}");
        }
        reaches_an_honest_one(&node, Link::TcpTls).await;
    });
}

#[test]
fn bad_server_over_quic() {
    run(async {
        let node = Node::new(Side::Ours, Link::Quic);
        for fault in [None].into_iter().chain(FAULTS.map(Some)) {
            let endpoint = quic_endpoint(Some(server(fault)));
            let address = address(Link::Quic, endpoint.local_addr().unwrap());
            let (dialed, served) = futures::join!(node.dial(&address, None), quic_server(endpoint));
            assert_eq!(dialed.is_ok(), fault.is_none(), "{fault:?}: {dialed:?}");
            assert_eq!(served.is_ok(), fault.is_none(), "{fault:?}: {served:?}");
        }
        reaches_an_honest_one(&node, Link::Quic).await;
    });
}

/// QUIC with the protocol of someone else, or none, is no libp2p.
#[test]
fn other_protocols_over_quic() {
    run(async {
        let pair = Pair::new(Link::Quic, Family::V4, Side::Foreign).await;
        for protocols in [vec![], vec![b"h3".to_vec()]] {
            let mut config = client(None);
            config.alpn_protocols = protocols;
            let tls = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
            let mut endpoint = quic_endpoint(None);
            endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
            let connection = endpoint
                .connect(socket(&pair.address), "peer")
                .unwrap()
                .await;
            assert!(connection.is_err());
        }
        pair.connect().await;
        serves(&pair).await;
    });
}

async fn reaches_an_honest_one(node: &Node, link: Link) {
    let honest = Node::new(Side::Foreign, link);
    let address = honest.listen(link.any(Family::V4)).await;
    node.dial(&address, Some(honest.peer)).await.unwrap();
}
