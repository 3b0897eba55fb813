//! Whether a connection that ended was ended by the remote in order.
//!
//! libp2p has one kind of error for everything that happens below it. What tells
//! a goodbye (yamux's go-away, the end of a stream of bytes, QUIC's
//! CONNECTION_CLOSE) from a break is at the bottom of it.

use std::io;

use libp2p::swarm::ConnectionError;

use crate::transport::{quic, yamux};

/// Whether `cause` is a goodbye of the remote.
pub(super) fn by_remote(cause: &ConnectionError) -> bool {
    match cause {
        ConnectionError::IO(error) => in_order(error),
        ConnectionError::KeepAliveTimeout => false,
    }
}

fn in_order(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else {
        return false;
    };
    // Each muxer that is put into another wraps the error once more.
    if let Some(inner) = inner.downcast_ref::<io::Error>() {
        return in_order(inner);
    }
    if let Some(yamux::Error::Connection(e)) = inner.downcast_ref() {
        return matches!(e, ::yamux::ConnectionError::Closed);
    }
    if let Some(quic::Error::Connection(e)) = inner.downcast_ref() {
        return matches!(e, quinn::ConnectionError::ApplicationClosed(_));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_goodbye_is_the_remotes_and_however_often_it_is_wrapped() {
        let goodbye = || io::Error::other(yamux::Error::from(::yamux::ConnectionError::Closed));
        assert!(by_remote(&ConnectionError::IO(goodbye())));
        assert!(by_remote(&ConnectionError::IO(io::Error::other(goodbye()))));
        let broken = ::yamux::ConnectionError::Io(io::ErrorKind::ConnectionReset.into());
        for error in [
            io::Error::other(yamux::Error::from(broken)),
            io::Error::other(yamux::Error::Flood),
            io::Error::other(quic::Error::from(quinn::ConnectionError::TimedOut)),
            io::Error::other("something"),
            io::ErrorKind::UnexpectedEof.into(),
        ] {
            assert!(!by_remote(&ConnectionError::IO(error)));
        }
        let closed = quinn::ConnectionError::ApplicationClosed(quinn::ApplicationClose {
            error_code: 0u32.into(),
            reason: Default::default(),
        });
        let closed = io::Error::other(quic::Error::from(closed));
        assert!(by_remote(&ConnectionError::IO(closed)));
        assert!(!by_remote(&ConnectionError::KeepAliveTimeout));
    }
}
