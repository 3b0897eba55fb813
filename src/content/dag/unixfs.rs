//! The UnixFS message inside a node.

use super::protobuf::{Fields, Value, take_varint};
use super::{DagError, MAX_LINKS};

pub(super) struct UnixFs<'a> {
    pub(super) data: &'a [u8],
    pub(super) file_size: Option<u64>,
    pub(super) block_sizes: Vec<u64>,
}

pub(super) fn decode_unixfs(bytes: &[u8]) -> Result<UnixFs<'_>, DagError> {
    let mut kind = None;
    let mut message = UnixFs {
        data: &[],
        file_size: None,
        block_sizes: Vec::new(),
    };
    let mut input = Fields(bytes);
    while let Some(field) = input.next()? {
        match field {
            (1, Value::Varint(value)) => kind = Some(value),
            (2, Value::Bytes(value)) => message.data = value,
            (3, Value::Varint(value)) => message.file_size = Some(value),
            (4, Value::Varint(value)) => message.push_size(value)?,
            // A protobuf reader must accept a repeated number in packed form as well.
            (4, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    let value = take_varint(&mut packed)?;
                    message.push_size(value)?;
                }
            }
            (1..=4, _) => return Err(DagError::Malformed("a UnixFS field of the wrong type")),
            // The mode, the time and the fields that follow them do not change the
            // content.
            _ => {}
        }
    }
    match kind {
        Some(0 | 2) => Ok(message),
        Some(1) => Err(DagError::NotAFile("directory")),
        Some(5) => Err(DagError::NotAFile("directory (in shards)")),
        Some(4) => Err(DagError::NotAFile("symbolic link")),
        Some(3) => Err(DagError::NotAFile("metadata object")),
        Some(_) => Err(DagError::Malformed("an unknown UnixFS type")),
        None => Err(DagError::Malformed("no UnixFS type")),
    }
}

impl UnixFs<'_> {
    fn push_size(&mut self, size: u64) -> Result<(), DagError> {
        if self.block_sizes.len() == MAX_LINKS {
            return Err(DagError::TooManyLinks);
        }
        self.block_sizes.push(size);
        Ok(())
    }
}
