//! Unsigned varints (<https://github.com/multiformats/unsigned-varint>), as
//! lengths and numbers on every wire of this program have them.

use unsigned_varint::decode::{self, Error};

/// Bytes of the longest number, 64 bits in groups of seven.
const LONGEST: usize = 10;

/// The number at the beginning of `bytes`, and the bytes after it.
///
/// Each number has one form: padded ones are refused, and so are those of more
/// than 64 bits. `unsigned_varint` cuts the latter off at 64, so that two programs
/// would read two different lengths from the same bytes.
///
/// # Errors
/// [`Error::Insufficient`] when more bytes may complete it; after any other it never
/// can be.
pub(crate) fn decode(bytes: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (number, rest) = decode::u64(bytes)?;
    match bytes.get(LONGEST - 1) {
        // Nine groups hold 63 bits.
        Some(last) if bytes.len() - rest.len() == LONGEST && *last > 1 => Err(Error::Overflow),
        _ => Ok((number, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_form() {
        let mut buffer = unsigned_varint::encode::u64_buffer();
        for number in [0, 127, 128, 1 << 35, u64::MAX >> 1, 1 << 63, u64::MAX] {
            let mut bytes = unsigned_varint::encode::u64(number, &mut buffer).to_vec();
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), Err(Error::Insufficient));
            }
            bytes.push(7);
            assert_eq!(decode(&bytes), Ok((number, &[7][..])));
        }
        assert_eq!(decode(&[0x80, 0]), Err(Error::NotMinimal));
        assert_eq!(decode(&[0xff; 11]), Err(Error::Overflow));
    }

    #[test]
    fn more_than_64_bits_are_refused_and_not_cut_off() {
        let mut bytes = [0x80; 10];
        for last in 2..=0x7f {
            bytes[9] = last;
            assert_eq!(decode(&bytes), Err(Error::Overflow), "{last:#x}");
        }
        bytes[9] = 1;
        assert_eq!(decode(&bytes), Ok((1 << 63, &[][..])));
    }
}
