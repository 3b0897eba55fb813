//! The fields of a protobuf message, without copying.

use super::DagError;
use crate::message::varint;

pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Iterates over the fields of a protobuf message without copying.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, DagError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = take_varint(&mut self.0)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(DagError::Malformed("field number 0"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut self.0)?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = take_varint(&mut self.0)?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(DagError::Malformed("an unknown wire type")),
        };
        Ok(Some((number, value)))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], DagError> {
        let len = usize::try_from(len).map_err(|_| DagError::Malformed("a field over its end"))?;
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or(DagError::Malformed("a field over the end of its message"))?;
        self.0 = tail;
        Ok(head)
    }
}

pub(super) fn take_varint(input: &mut &[u8]) -> Result<u64, DagError> {
    let (value, rest) = varint::decode(input).map_err(|_| DagError::Malformed("a varint"))?;
    *input = rest;
    Ok(value)
}

pub(super) fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend(unsigned_varint::encode::u64(value, &mut buffer));
}
