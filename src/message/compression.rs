//! Snappy on the wire: when it is tried, and how its output is unpacked safely.
//!
//! A sender packs a field, keeps the smaller form and marks which one it is
//! ([`pack`]). A receiver reads the unpacked size that the packed form declares
//! and refuses one over its limit before it allocates anything ([`unpack`]), so
//! a small message cannot make it reserve much memory. The format is Snappy's
//! block format (google/snappy, `format_description.txt`): a varint of the
//! unpacked size, then literals and copies.

use bytes::Bytes;

pub use super::pb::Compression;

/// Shorter data is never packed: it fits a network packet either way.
pub const NEVER_BELOW: usize = 1 << 10;

/// Data from this length on is always tried.
pub const ALWAYS_FROM: usize = 10 << 10;

/// From this length on packing is tried. Between [`NEVER_BELOW`] and
/// [`ALWAYS_FROM`] that is a matter of measurement, and it pays in all of it
/// (`cargo bench --bench message -- compression`, CPU time of one thread):
///
/// | data | packed to | pack + unpack, µs | pays below, MB/s |
/// |---|---|---|---|
/// | 1 KiB of JSON | 39% | 0.9 | 660 |
/// | 4 KiB of JSON | 33% | 3.8 | 728 |
/// | 1 KiB of text | 65% | 1.7 | 211 |
/// | 4 KiB of text | 51% | 7.7 | 261 |
/// | 1 KiB that is random | - | 0.2 | never |
/// | 4 KiB that is random | - | 0.6 | never |
///
/// The last column is the speed of a link on which sending the saved bytes takes
/// as long as packing and unpacking, for one hop; gossip sends a message to
/// several neighbours. A try in vain costs a hundredth of a signature check (31 µs).
pub const TRY_FROM: usize = NEVER_BELOW;

/// The most that one byte of Snappy's elements unpacks to, rounded up: a copy of
/// 64 bytes takes three. A larger declared size cannot be true.
const MAX_RATIO: usize = 22;

/// Why a packed field was not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The declared size is over the receiver's limit. Nothing was allocated.
    #[error("{packed} packed bytes declare {declared} unpacked, more than the {limit} allowed")]
    Bomb {
        /// Bytes as received.
        packed: usize,
        /// Bytes that they declare.
        declared: usize,
        /// The receiver's limit.
        limit: usize,
    },
    /// Data that came unpacked is over the limit.
    #[error("{len} bytes are more than the {limit} allowed")]
    TooLong {
        /// Bytes as received.
        len: usize,
        /// The receiver's limit.
        limit: usize,
    },
    /// The bytes are not Snappy's, or their declared size is not what they hold.
    #[error("the bytes are not valid Snappy data: they are damaged or were not packed")]
    Broken,
    /// A way of packing that this program does not know.
    #[error("compression {0} is unknown; known are 0 (none) and 1 (Snappy)")]
    Unknown(i32),
}

/// The smaller form of `data`, and which one it is.
///
/// `data` itself is returned without a copy when packing is not tried or does
/// not make it smaller.
pub fn pack(data: Bytes) -> (Bytes, Compression) {
    if data.len() < TRY_FROM {
        return (data, Compression::None);
    }
    match snap::raw::Encoder::new().compress_vec(&data) {
        Ok(mut packed) if packed.len() < data.len() => {
            // Room for the worst case was allocated; a message that waits in a
            // queue should take only what it needs.
            packed.shrink_to_fit();
            (packed.into(), Compression::Snappy)
        }
        // Not smaller, or over the 4 GiB that the format can say.
        _ => (data, Compression::None),
    }
}

/// Unpacks `data`, to at most `limit` bytes.
///
/// # Errors
/// See [`Error`].
pub fn unpack(data: Bytes, compression: Compression, limit: usize) -> Result<Bytes, Error> {
    check(&data, compression, limit)?;
    match compression {
        Compression::None => Ok(data),
        Compression::Snappy => snap::raw::Decoder::new()
            .decompress_vec(&data)
            .map(Bytes::from)
            .map_err(|_| Error::Broken),
    }
}

/// Whether [`unpack`] would allocate at most `limit` bytes for `data`; returns
/// how many. Looks at a few bytes only.
///
/// # Errors
/// See [`Error`].
pub fn check(data: &[u8], compression: Compression, limit: usize) -> Result<usize, Error> {
    match compression {
        Compression::None if data.len() > limit => Err(Error::TooLong {
            len: data.len(),
            limit,
        }),
        Compression::None => Ok(data.len()),
        // The format has a byte of length even for nothing.
        Compression::Snappy if data.is_empty() => Err(Error::Broken),
        Compression::Snappy => {
            let declared = snap::raw::decompress_len(data).map_err(|_| Error::Broken)?;
            if declared > limit {
                return Err(Error::Bomb {
                    packed: data.len(),
                    declared,
                    limit,
                });
            }
            if declared / MAX_RATIO > data.len() {
                return Err(Error::Broken);
            }
            Ok(declared)
        }
    }
}

/// The compression that a field on the wire stands for.
///
/// # Errors
/// [`Error::Unknown`].
pub fn from_wire(value: i32) -> Result<Compression, Error> {
    Compression::try_from(value).map_err(|_| Error::Unknown(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn text(len: usize) -> Bytes {
        let line = b"{\"topic\":\"weather\",\"station\":17,\"celsius\":21.5}\n";
        line.iter().copied().cycle().take(len).collect()
    }

    fn noise(len: usize) -> Bytes {
        let mut x = 0x9E37_79B9_7F4A_7C15_u64;
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 32) as u8
            })
            .collect()
    }

    #[test]
    fn short_data_is_never_packed_and_long_data_always_when_it_gets_smaller() {
        for (data, packed) in [
            (text(0), Compression::None),
            (text(NEVER_BELOW - 1), Compression::None),
            (text(ALWAYS_FROM), Compression::Snappy),
            (text(LIMIT), Compression::Snappy),
            (noise(ALWAYS_FROM), Compression::None),
            (noise(LIMIT), Compression::None),
        ] {
            let (sent, how) = pack(data.clone());
            assert_eq!(how, packed, "{} bytes", data.len());
            assert_eq!(sent.len() < data.len(), how == Compression::Snappy);
            assert_eq!(unpack(sent, how, LIMIT).unwrap(), data);
        }
    }

    #[test]
    fn the_thresholds_keep_the_order_that_the_contract_gives() {
        const { assert!(NEVER_BELOW <= TRY_FROM && TRY_FROM <= ALWAYS_FROM) };
    }

    #[test]
    fn data_that_does_not_get_smaller_is_not_copied() {
        let data = noise(ALWAYS_FROM);
        let (sent, how) = pack(data.clone());
        assert_eq!(sent.as_ptr(), data.as_ptr());
        assert_eq!(unpack(sent, how, LIMIT).unwrap().as_ptr(), data.as_ptr());
    }

    /// Snappy's header for `declared` bytes, and copies that would make them.
    fn bomb(declared: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = declared;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        // One literal byte, then copies of 64 bytes from one byte back.
        bytes.extend([0, b'x']);
        for _ in 0..declared / 64 {
            bytes.extend([0b1111_1110, 1, 0]);
        }
        bytes
    }

    #[test]
    fn a_declared_size_over_the_limit_is_refused_before_anything_is_allocated() {
        let bytes = bomb(LIMIT + 1);
        assert_eq!(
            unpack(bytes.clone().into(), Compression::Snappy, LIMIT),
            Err(Error::Bomb {
                packed: bytes.len(),
                declared: LIMIT + 1,
                limit: LIMIT
            })
        );
        // The largest size that the format can say, of which nothing follows.
        let header = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert!(matches!(
            unpack(header, Compression::Snappy, LIMIT),
            Err(Error::Bomb { declared, .. }) if declared == u32::MAX as usize
        ));
    }

    #[test]
    fn a_size_that_the_bytes_cannot_hold_is_refused_before_anything_is_allocated() {
        // A megabyte declared by ten bytes is under the limit, and a lie.
        let mut bytes = bomb(LIMIT);
        bytes.truncate(10);
        assert_eq!(
            check(&bytes, Compression::Snappy, LIMIT),
            Err(Error::Broken)
        );
        // What really unpacks to the most passes.
        let most = pack(vec![0; LIMIT].into()).0;
        assert_eq!(check(&most, Compression::Snappy, LIMIT), Ok(LIMIT));
    }

    #[test]
    fn broken_packed_data_is_an_error_and_never_a_panic() {
        let good = pack(text(ALWAYS_FROM)).0;
        for len in 0..good.len() {
            let cut = good.slice(..len);
            assert_eq!(unpack(cut, Compression::Snappy, LIMIT), Err(Error::Broken));
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.to_vec();
                bytes[at] ^= 1 << bit;
                // Whatever it is, it is within the limit.
                if let Ok(out) = unpack(bytes.into(), Compression::Snappy, LIMIT) {
                    assert!(out.len() <= LIMIT);
                }
            }
        }
    }

    #[test]
    fn unpacked_data_over_the_limit_is_refused_too() {
        assert_eq!(
            unpack(text(11), Compression::None, 10),
            Err(Error::TooLong { len: 11, limit: 10 })
        );
        assert_eq!(unpack(text(10), Compression::None, 10).unwrap().len(), 10);
    }

    #[test]
    fn an_unknown_compression_is_named() {
        assert_eq!(from_wire(0), Ok(Compression::None));
        assert_eq!(from_wire(1), Ok(Compression::Snappy));
        assert_eq!(from_wire(-1), Err(Error::Unknown(-1)));
        assert!(from_wire(7).unwrap_err().to_string().contains('7'));
    }
}
