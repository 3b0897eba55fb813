//! TLS for QUIC: certificates, the peers that they prove, and the secrets of an endpoint.

use std::sync::{Arc, OnceLock};

use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p_tls::certificate;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::rustls;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CipherSuite, DigitallySignedStruct, SignatureScheme};

use super::Error;

/// Separates the stateless reset key from everything else that is derived from
/// an identity.
const RESET_DOMAIN: &[u8] = b"p2p-node quic stateless reset key v1";

/// The same for the key that connection ids are made with.
const ID_DOMAIN: &[u8] = b"p2p-node quic connection id key v1";

/// TLS settings of one identity.
#[derive(Clone)]
pub(super) struct Tls {
    client: rustls::ClientConfig,
    server: Arc<QuicServerConfig>,
}

impl Tls {
    /// Makes a certificate for `identity` and the settings that present it.
    pub(super) fn new(identity: &Keypair) -> Result<Self, Error> {
        Ok(Self {
            client: client_config(identity)?,
            server: Arc::new(
                QuicServerConfig::try_from(server_config(identity)?)
                    .map_err(|e| Error::Tls(e.to_string()))?,
            ),
        })
    }

    /// For accepting.
    pub(super) fn server(&self) -> Arc<QuicServerConfig> {
        self.server.clone()
    }

    /// For one dial, which fails unless `expected`, when given, answers.
    pub(super) fn client(
        &self,
        expected: Option<PeerId>,
    ) -> Result<(Arc<QuicClientConfig>, Arc<PeerVerifier>), Error> {
        let verifier = Arc::new(PeerVerifier::new(expected));
        let mut config = self.client.clone();
        config
            .dangerous()
            .set_certificate_verifier(verifier.clone());
        let config = QuicClientConfig::try_from(config).map_err(|e| Error::Tls(e.to_string()))?;
        Ok((Arc::new(config), verifier))
    }
}

/// libp2p's client settings with this transport's verifier.
pub(crate) fn client_config(identity: &Keypair) -> Result<rustls::ClientConfig, Error> {
    let base = libp2p_tls::make_client_config(identity, None)?;
    let mut provider = base.crypto_provider().as_ref().clone();
    if aes_in_hardware() {
        // The dialler's order decides. With instructions for AES its GCM is
        // faster than ChaCha20-Poly1305, which libp2p puts first.
        provider
            .cipher_suites
            .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    }
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| Error::Tls(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PeerVerifier::new(None)))
        .with_client_cert_resolver(base.client_auth_cert_resolver.clone());
    config.alpn_protocols = base.alpn_protocols.clone();
    config.key_log = base.key_log.clone();
    // A resumed session skips the certificate, and sessions are found by server
    // name, of which libp2p has none: another peer's session could be resumed.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// libp2p's server settings without session tickets, which nothing resumes.
pub(crate) fn server_config(identity: &Keypair) -> Result<rustls::ServerConfig, Error> {
    let mut config = libp2p_tls::make_server_config(identity)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Whether this processor has instructions for AES and for GCM's multiplication.
fn aes_in_hardware() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        std::arch::is_x86_feature_detected!("aes")
            && std::arch::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes")
            && std::arch::is_aarch64_feature_detected!("pmull")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    {
        false
    }
}

/// Checks a server's certificate as the libp2p TLS specification asks, and that
/// it proves the expected peer; remembers which peer it proved.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    expected: Option<PeerId>,
    found: OnceLock<PeerId>,
}

impl PeerVerifier {
    fn new(expected: Option<PeerId>) -> Self {
        Self {
            expected,
            found: OnceLock::new(),
        }
    }

    /// The expected peer, and the other one that answered instead.
    pub(super) fn mismatch(&self) -> Option<(PeerId, PeerId)> {
        let (expected, found) = (self.expected?, *self.found.get()?);
        (expected != found).then_some((expected, found))
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !intermediates.is_empty() {
            return Err(rustls::Error::General(
                "a libp2p certificate stands alone, but a chain was presented".into(),
            ));
        }
        let peer = certificate::parse(end_entity)?.peer_id();
        let found = *self.found.get_or_init(|| peer);
        match self.expected {
            Some(expected) if expected != found => Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::ApplicationVerificationFailure,
            )),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(
            rustls::PeerIncompatible::Tls12NotOffered,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificate::parse(cert)?.verify_signature(signed.scheme, message, signed.signature())?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // The schemes of the libp2p TLS specification that can be verified here,
        // the preferred ones first.
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA256,
        ]
    }
}

/// The peer that the remote of an established connection has proved to be.
///
/// # Errors
/// A reason in words when the connection carries no certificate or a wrong one.
pub(super) fn remote_peer(connection: &quinn::Connection) -> Result<PeerId, String> {
    let identity = connection.peer_identity().ok_or("none was presented")?;
    let chain = identity
        .downcast::<Vec<CertificateDer<'static>>>()
        .map_err(|_| "it is of an unknown kind")?;
    let certificate = chain.first().ok_or("the chain is empty")?;
    Ok(certificate::parse(certificate)
        .map_err(|e| e.to_string())?
        .peer_id())
}

/// The key of the stateless resets of `identity`'s endpoints: the same after a
/// restart, so that peers with connections from before the restart are told at once that
/// those are gone, instead of waiting for a timeout.
///
/// An RSA identity has no secret of fixed size to derive from and gets a random
/// key, with which those peers wait.
pub(super) fn reset_key(identity: &Keypair) -> Result<Arc<dyn HmacKey>, Error> {
    let secret = derive(identity, RESET_DOMAIN)?;
    Ok(Arc::new(ResetKey(aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        &secret,
    ))))
}

/// The key by which an endpoint of `identity` recognises its own connection ids, those
/// from before a restart too. A packet with any other id gets no answer, not even a
/// stateless reset.
///
/// The key may become known, since the ids are not secret and are made with a weak hash.
/// Whoever has it can provoke resets, and gets fewer bytes than it sends.
pub(super) fn connection_id_key(identity: &Keypair) -> Result<u64, Error> {
    let [a, b, c, d, e, f, g, h, ..] = derive(identity, ID_DOMAIN)?;
    Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

/// A secret of the identity for one purpose.
fn derive(identity: &Keypair, domain: &[u8]) -> Result<[u8; 32], Error> {
    match identity.derive_secret(domain) {
        Some(secret) => Ok(secret),
        None => {
            let mut secret = [0; 32];
            aws_lc_rs::rand::fill(&mut secret)
                .map_err(|_| Error::Tls("the system gives no random bytes".into()))?;
            Ok(secret)
        }
    }
}

/// HMAC-SHA-256 for stateless reset tokens.
struct ResetKey(aws_lc_rs::hmac::Key);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        out.copy_from_slice(aws_lc_rs::hmac::sign(&self.0, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        aws_lc_rs::hmac::verify(&self.0, data, signature).map_err(|_| CryptoError)
    }
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;
    use rustls::quic::{ClientConnection, ServerConnection, Version};

    use super::*;

    fn token(key: &dyn HmacKey) -> Vec<u8> {
        let mut out = vec![0; key.signature_len()];
        key.sign(b"a connection id", &mut out);
        out
    }

    #[test]
    fn the_reset_key_is_the_identitys_own() {
        let identity = Keypair::generate_ed25519();
        let key = reset_key(&identity).unwrap();
        assert_eq!(token(&*key), token(&*reset_key(&identity).unwrap()));
        assert!(key.verify(b"a connection id", &token(&*key)).is_ok());
        assert!(key.verify(b"another one", &token(&*key)).is_err());
        let other = reset_key(&Keypair::generate_ed25519()).unwrap();
        assert_ne!(token(&*key), token(&*other));
    }

    #[test]
    fn the_handshake_agrees_on_the_hybrid_post_quantum_group() {
        let (dialler, listener) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let mut client = ClientConnection::new(
            Arc::new(client_config(&dialler).unwrap()),
            Version::V1,
            ServerName::try_from("l").unwrap(),
            Vec::new(),
        )
        .unwrap();
        let mut server = ServerConnection::new(
            Arc::new(server_config(&listener).unwrap()),
            Version::V1,
            Vec::new(),
        )
        .unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            // One call to `write_hs` ends where the keys change.
            let mut flight = Vec::new();
            client.write_hs(&mut flight);
            server.read_hs(&flight).unwrap();
            loop {
                flight.clear();
                let keys = server.write_hs(&mut flight);
                client.read_hs(&flight).unwrap();
                if keys.is_none() && flight.is_empty() {
                    break;
                }
            }
        }
        for group in [
            client.negotiated_key_exchange_group(),
            server.negotiated_key_exchange_group(),
        ] {
            assert_eq!(group.unwrap().name(), NamedGroup::X25519MLKEM768);
        }
        let suite = client.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(
            suite == CipherSuite::TLS13_AES_128_GCM_SHA256,
            aes_in_hardware()
        );
    }
}
