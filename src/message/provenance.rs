//! Where a block comes from: what its publisher says of it, and signs.
//!
//! The hash in a CID proves the bytes and nothing else. The provenance adds who
//! put them, when, and for how long. It is passed on with the block from host to host
//! as it was signed, so that content expires when its publisher said it would,
//! whoever serves it, and the publisher answers for what is served.
//! Anybody may publish any bytes; of two statements on one block the one that
//! expires later counts.
//!
//! What is signed is a [`Statement`] for [`Purpose::Block`]: the multihash of the
//! block's bytes, when it was put (milliseconds since 1970), its time to live from
//! then (seconds), and the version of these rules.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use libp2p::PeerId;

use super::publisher::{MAX_SIGNATURE_BYTES, Publisher};
use super::statement::{Purpose, Statement};
use crate::text::duration::{self, millis};
use crate::text::unix_time::{from_unix_millis, unix_millis};

/// The only version of these rules.
pub const VERSION: u32 = 1;

/// How far ahead of this host's clock a block may be dated. Hosts with NTP agree
/// to a fraction of a second, and those without drift by some seconds a day;
/// Kerberos allows the same five minutes. More would let a publisher extend
/// the lifetime of its content, and less would refuse honest hosts.
pub const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// The earliest time that the clock of a running node can show: 2025-01-01, before
/// this program existed. A host without a battery-backed clock begins at 1970,
/// or at the date of its image, until NTP sets it.
const CLOCK_FLOOR: Duration = Duration::from_secs(1_735_689_600);

/// Whether `now` can be the current time. Content that is put while the clock shows an
/// earlier time has no date.
pub fn is_clock_set(now: SystemTime) -> bool {
    now >= UNIX_EPOCH + CLOCK_FLOOR
}

/// What a publisher says of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// When it was put, milliseconds since 1970.
    pub timestamp: u64,
    /// How long it lives from then, in seconds.
    pub ttl: u32,
    /// Version of the rules; [`VERSION`].
    pub version: u32,
    /// The publisher's public key in libp2p's protobuf form.
    pub key: Bytes,
    /// Its signature.
    pub signature: Bytes,
}

/// What is wrong with a provenance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It follows rules that this program does not know.
    #[error("it follows version {0} of the rules and this program knows version {VERSION}")]
    Version(u32),
    /// It has no signature or no key.
    #[error("no publisher has signed it")]
    Unsigned,
    /// A field is longer than an honest one can be, or cannot be read.
    #[error("the {0} of its publisher is malformed")]
    Malformed(&'static str),
    /// The key did not make the signature over these fields.
    #[error("the signature is not its publisher's")]
    Signature,
    /// It has expired.
    #[error(
        "it expired {} ago by this host's clock; put it again at its source, or check the clocks of both hosts",
        duration::show(*ago)
    )]
    Expired {
        /// For how long.
        ago: Duration,
    },
    /// It is dated later than now and [`MAX_SKEW`].
    #[error(
        "it is dated {} ahead of this host's clock ({} are allowed); check the clocks of both hosts",
        duration::show(*ahead), duration::show(MAX_SKEW)
    )]
    Future {
        /// How far ahead.
        ahead: Duration,
    },
}

impl Provenance {
    /// When the block expires, in milliseconds since 1970.
    pub fn expires_ms(&self) -> u64 {
        self.timestamp
            .saturating_add(u64::from(self.ttl).saturating_mul(1000))
    }

    /// When it was put.
    pub fn published_at(&self) -> SystemTime {
        from_unix_millis(self.timestamp)
    }

    /// When it expires.
    pub fn expires_at(&self) -> SystemTime {
        from_unix_millis(self.expires_ms())
    }

    /// The peer id of its key, when that can be read. The signature is not checked.
    pub fn publisher(&self) -> Option<PeerId> {
        Some(Publisher::decode(&self.key).ok()?.peer())
    }

    /// Checks that the publisher signed this over the block with the multihash
    /// `hash`. The cheap checks come first; the signature costs some 50 µs.
    ///
    /// # Errors
    /// Each [`Flaw`] but those of time.
    pub fn verify(&self, hash: &[u8]) -> Result<(), Flaw> {
        if self.version != VERSION {
            return Err(Flaw::Version(self.version));
        }
        if self.signature.is_empty() || self.key.is_empty() {
            return Err(Flaw::Unsigned);
        }
        if self.signature.len() > MAX_SIGNATURE_BYTES {
            return Err(Flaw::Malformed("signature"));
        }
        let publisher = Publisher::decode(&self.key).map_err(|_| Flaw::Malformed("key"))?;
        let statement = statement(hash, self.timestamp, self.ttl, self.version);
        if statement.is_signed_by(&publisher, &self.signature) {
            Ok(())
        } else {
            Err(Flaw::Signature)
        }
    }

    /// Checks the time: it has not expired, and is not dated ahead by more than [`MAX_SKEW`].
    ///
    /// # Errors
    /// [`Flaw::Expired`] and [`Flaw::Future`].
    pub fn check_time(&self, now: SystemTime) -> Result<(), Flaw> {
        let now = unix_millis(now);
        let ahead = self.timestamp.saturating_sub(now);
        if ahead > millis(MAX_SKEW) {
            return Err(Flaw::Future {
                ahead: Duration::from_millis(ahead),
            });
        }
        if self.expires_ms() <= now {
            return Err(Flaw::Expired {
                ago: Duration::from_millis(now - self.expires_ms()),
            });
        }
        Ok(())
    }
}

pub(super) fn statement(hash: &[u8], timestamp: u64, ttl: u32, version: u32) -> Statement {
    Statement::new(Purpose::Block)
        .bytes(hash)
        .number(timestamp)
        .number(ttl.into())
        .number(version.into())
}

/// A time to live as it is sent: whole seconds, rounded up, at most 136 years.
pub fn ttl_seconds(ttl: Duration) -> u32 {
    let begun = u64::from(ttl.subsec_nanos() > 0);
    u32::try_from(ttl.as_secs().saturating_add(begun)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;
    use crate::message::publisher::MAX_KEY_BYTES;
    use crate::message::signer::Signer;

    const HASH: [u8; 34] = [0x12; 34];
    const PUT: u64 = 1_800_000_000_000;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn signed() -> (Signer, Provenance) {
        let publisher = Signer::new(Keypair::generate_ed25519());
        let provenance = publisher.sign(&HASH, PUT, 60).unwrap();
        (publisher, provenance)
    }

    #[test]
    fn the_signed_bytes_are_these() {
        let mut expected = b"p2p-node-block-v1:\0\0\0\0\0\0\0\x03abc".to_vec();
        for number in [258_u64, 3, 4] {
            expected.extend(number.to_be_bytes());
        }
        assert_eq!(statement(b"abc", 258, 3, 4).as_bytes(), expected);
    }

    #[test]
    fn what_is_signed_verifies_and_names_its_publisher() {
        let (publisher, provenance) = signed();
        assert_eq!(provenance.verify(&HASH), Ok(()));
        assert_eq!(provenance.publisher(), Some(publisher.peer_id()));
        for keypair in [Keypair::generate_secp256k1(), Keypair::generate_ecdsa()] {
            let publisher = Signer::new(keypair);
            let provenance = publisher.sign(&HASH, PUT, 60).unwrap();
            assert_eq!(provenance.verify(&HASH), Ok(()));
            assert_eq!(provenance.publisher(), Some(publisher.peer_id()));
        }
    }

    #[test]
    fn a_change_of_anything_that_is_signed_breaks_the_signature() {
        let (_, good) = signed();
        let other = Signer::new(Keypair::generate_ed25519());
        let stranger = other.sign(&HASH, PUT, 60).unwrap();
        let mut hash = HASH;
        hash[33] ^= 1;
        assert_eq!(good.verify(&hash), Err(Flaw::Signature));
        assert_eq!(good.verify(&HASH[..33]), Err(Flaw::Signature));
        let change = |change: &dyn Fn(&mut Provenance)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.verify(&HASH)
        };
        assert_eq!(change(&|p| p.timestamp += 1), Err(Flaw::Signature));
        assert_eq!(change(&|p| p.ttl += 1), Err(Flaw::Signature));
        assert_eq!(change(&|p| p.version = 2), Err(Flaw::Version(2)));
        assert_eq!(
            change(&|p| p.key = stranger.key.clone()),
            Err(Flaw::Signature)
        );
        assert_eq!(
            change(&|p| p.signature = vec![0; 64].into()),
            Err(Flaw::Signature)
        );
        assert_eq!(change(&|p| p.signature = Bytes::new()), Err(Flaw::Unsigned));
        assert_eq!(change(&|p| p.key = Bytes::new()), Err(Flaw::Unsigned));
        let long = |len| Bytes::from(vec![8; len]);
        assert_eq!(
            change(&|p| p.key = long(MAX_KEY_BYTES + 1)),
            Err(Flaw::Malformed("key"))
        );
        assert_eq!(change(&|p| p.key = long(36)), Err(Flaw::Malformed("key")));
        assert_eq!(
            change(&|p| p.signature = long(MAX_SIGNATURE_BYTES + 1)),
            Err(Flaw::Malformed("signature"))
        );
    }

    #[test]
    fn a_signature_over_something_else_is_none_over_a_block() {
        // The same fields, said as a message.
        let keypair = Keypair::generate_ed25519();
        let message = Statement::new(Purpose::Message)
            .bytes(&HASH)
            .number(PUT)
            .number(60)
            .number(VERSION.into());
        let mut provenance = Signer::new(keypair.clone()).sign(&HASH, PUT, 60).unwrap();
        provenance.signature = message.sign(&keypair).unwrap().into();
        assert_eq!(provenance.verify(&HASH), Err(Flaw::Signature));
    }

    #[test]
    fn time_is_checked_to_the_millisecond_at_both_ends() {
        let (_, provenance) = signed();
        let skew = millis(MAX_SKEW);
        assert_eq!(provenance.check_time(at(PUT - skew)), Ok(()));
        assert_eq!(
            provenance.check_time(at(PUT - skew - 1)),
            Err(Flaw::Future {
                ahead: MAX_SKEW + Duration::from_millis(1)
            })
        );
        assert_eq!(provenance.check_time(at(PUT + 59_999)), Ok(()));
        assert_eq!(
            provenance.check_time(at(PUT + 60_000)),
            Err(Flaw::Expired {
                ago: Duration::ZERO
            })
        );
        // As far as numbers go, without overflow.
        let mut far = provenance.clone();
        (far.timestamp, far.ttl) = (u64::MAX, u32::MAX);
        assert!(matches!(far.check_time(at(PUT)), Err(Flaw::Future { .. })));
        far.timestamp = 0;
        far.ttl = 0;
        assert!(matches!(far.check_time(at(0)), Err(Flaw::Expired { .. })));
    }

    #[test]
    fn times_to_live_are_whole_seconds() {
        assert_eq!(ttl_seconds(Duration::from_millis(1)), 1);
        assert_eq!(ttl_seconds(Duration::from_secs(60)), 60);
        assert_eq!(ttl_seconds(Duration::MAX), u32::MAX);
    }

    #[test]
    fn a_clock_before_this_program_is_not_set() {
        assert!(!is_clock_set(UNIX_EPOCH));
        assert!(!is_clock_set(at(1_700_000_000_000)));
        assert!(is_clock_set(at(PUT)));
    }
}
