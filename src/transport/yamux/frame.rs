//! The header of a frame, as it is on the wire.
//!
//! Twelve bytes: the version, the kind, two bytes of flags, the stream's id, and a
//! length whose meaning depends on the kind. All numbers are big-endian.

use super::Violation;

/// Bytes of a header.
pub(super) const HEADER: usize = 12;

/// What a frame is for, and thereby what the header's length means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As many bytes of a stream follow as the length says.
    Data,
    /// The other side may send as many bytes more on a stream as the length says.
    WindowUpdate,
    /// The other side is to send the length back.
    Ping,
    /// The other side ends the connection; the length says why.
    GoAway,
}

/// The flag that opens a stream, and that marks a ping that is to be answered.
pub(super) const SYN: u16 = 1;
/// The flag that acknowledges a stream, and that marks the answer to a ping.
pub(super) const ACK: u16 = 2;
/// The flag that ends one direction of a stream.
pub(super) const FIN: u16 = 4;
/// The flag that ends a stream at once, in both directions.
pub(super) const RST: u16 = 8;

/// The reasons that a go-away gives, which are the frame's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The connection is not needed any more.
    Normal = 0,
    /// The other side did what the protocol does not allow.
    Protocol = 1,
    /// This side cannot go on.
    Internal = 2,
}

/// A frame without the bytes that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    /// The stream that the frame is about; zero for pings and go-aways.
    pub(super) stream: u32,
    /// See [`Kind`].
    pub(super) length: u32,
}

impl Header {
    pub(super) fn data(stream: u32, length: u32, flags: u16) -> Self {
        Header {
            kind: Kind::Data,
            flags,
            stream,
            length,
        }
    }

    pub(super) fn window_update(stream: u32, credit: u32, flags: u16) -> Self {
        Header {
            kind: Kind::WindowUpdate,
            flags,
            stream,
            length: credit,
        }
    }

    pub(super) fn ping(id: u32, flags: u16) -> Self {
        Header {
            kind: Kind::Ping,
            flags,
            stream: 0,
            length: id,
        }
    }

    pub(super) fn go_away(reason: Reason) -> Self {
        Header {
            kind: Kind::GoAway,
            flags: 0,
            stream: 0,
            length: reason as u32,
        }
    }

    /// Whether the frame carries `flag`.
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[1] = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        bytes[2..4].copy_from_slice(&self.flags.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// Flags that the specification does not name are kept and mean nothing, as in other
    /// implementations.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self, Violation> {
        let &[version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(Violation::Version(version));
        }
        let header = Header {
            kind: match kind {
                0 => Kind::Data,
                1 => Kind::WindowUpdate,
                2 => Kind::Ping,
                3 => Kind::GoAway,
                other => return Err(Violation::Kind(other)),
            },
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        };
        let about_a_stream = matches!(header.kind, Kind::Data | Kind::WindowUpdate);
        if about_a_stream == (header.stream == 0) {
            return Err(Violation::StreamId(header.stream));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_went_out() {
        let headers = [
            Header::data(7, 65_536, SYN | FIN),
            Header::window_update(u32::MAX, 1, ACK),
            Header::ping(0xdead_beef, SYN),
            Header::go_away(Reason::Protocol),
        ];
        for header in headers {
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
        assert_eq!(
            Header::data(0x0102_0304, 0x0506_0708, RST).encode(),
            [0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]
        );
    }

    #[test]
    fn what_the_protocol_does_not_know_is_refused() {
        let good = Header::ping(1, SYN).encode();
        for (at, value, error) in [
            (0, 1, Violation::Version(1)),
            (1, 4, Violation::Kind(4)),
            (7, 3, Violation::StreamId(3)),
        ] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Header::decode(&bad), Err(error));
        }
        let nobody = Header::data(0, 1, 0).encode();
        assert_eq!(Header::decode(&nobody), Err(Violation::StreamId(0)));
    }
}
