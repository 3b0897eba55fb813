//! The part of CBOR (RFC 8949) in which IPNS signs its fields: a map from texts to
//! anything, without lengths that are left open, as DAG-CBOR has it.

/// How deep values may lie in each other. The fields that are read lie at the first level.
const DEEPEST: usize = 16;

/// A value, as far as it is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A number that is not negative.
    Number(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// Something else, which is passed over.
    Other,
}

/// Reads a map that fills `bytes`, and gives each of its fields to `field`. `None` when
/// the bytes are no such map. Each value takes at least one byte, so that this takes no
/// longer than a look at each byte.
pub(super) fn fields<'a>(bytes: &'a [u8], mut field: impl FnMut(&'a str, Item<'a>)) -> Option<()> {
    let mut rest = bytes;
    let (5, count) = head(&mut rest)? else {
        return None;
    };
    for _ in 0..count {
        let Item::Text(name) = item(&mut rest, 1)? else {
            return None;
        };
        field(name, item(&mut rest, 1)?);
    }
    rest.is_empty().then_some(())
}

/// The kind of the next value, and its number or length.
fn head(rest: &mut &[u8]) -> Option<(u8, u64)> {
    let first = take(rest, 1)?[0];
    let long = match first & 0x1f {
        small @ 0..=23 => return Some((first >> 5, u64::from(small))),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let number = take(rest, long)?;
    let number = number.iter().fold(0, |n, b| n << 8 | u64::from(*b));
    Some((first >> 5, number))
}

fn item<'a>(rest: &mut &'a [u8], depth: usize) -> Option<Item<'a>> {
    if depth > DEEPEST {
        return None;
    }
    let (kind, number) = head(rest)?;
    let items = match kind {
        0 => return Some(Item::Number(number)),
        2 => return take(rest, usize::try_from(number).ok()?).map(Item::Bytes),
        3 => {
            let bytes = take(rest, usize::try_from(number).ok()?)?;
            return std::str::from_utf8(bytes).ok().map(Item::Text);
        }
        4 => number,
        5 => number.checked_mul(2)?,
        // A tag stands before one value.
        6 => 1,
        // Negative numbers, truth values, and fractions, whose bytes are read already.
        _ => 0,
    };
    for _ in 0..items {
        item(rest, depth + 1)?;
    }
    Some(Item::Other)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Vec<(&str, Item<'_>)>> {
        let mut all = Vec::new();
        fields(bytes, |name, item| all.push((name, item)))?;
        Some(all)
    }

    #[test]
    fn fields_are_read_and_what_is_of_no_use_is_passed_over() {
        // {"a": 1000, "b": h'0102', "c": [1, {"x": -1}], "d": "e", "f": 42(true)}
        let map = b"\xa5\x61a\x19\x03\xe8\x61b\x42\x01\x02\x61c\x82\x01\xa1\x61x\x20\x61d\x61e\x61f\xd8\x2a\xf5";
        assert_eq!(
            read(map).unwrap(),
            [
                ("a", Item::Number(1000)),
                ("b", Item::Bytes(&[1, 2])),
                ("c", Item::Other),
                ("d", Item::Text("e")),
                ("f", Item::Other),
            ]
        );
        for end in 0..map.len() {
            assert_eq!(read(&map[..end]), None, "cut at {end}");
        }
        assert_eq!(read(&[&map[..], &[0]].concat()), None);
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused_at_once() {
        assert_eq!(read(&[&b"\xa1\x61a"[..], &[0x81; 1 << 16]].concat()), None);
        // A length of 2^64 - 1, of bytes and of values.
        for kind in [0x5b, 0x9b, 0xbb] {
            let claim = [&b"\xa1\x61a"[..], &[kind], &[0xff; 8], &[0; 100]].concat();
            assert_eq!(read(&claim), None);
        }
    }
}
