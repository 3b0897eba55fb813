//! Finds the error of a multiplexer inside the errors that libp2p wraps around it.
//!
//! # What libp2p lacks
//!
//! The swarm boxes every muxer, and turns every error of a muxer into an [`io::Error`]:
//! there is one kind of error for everything that happens below it. Whether the remote
//! closed the connection in order (yamux's go-away, the end of a stream of bytes, QUIC's
//! CONNECTION_CLOSE), whether the connection broke, and whether this node's own
//! multiplexer gave up on the remote is only known from the error inside.
//!
//! # What is done instead
//!
//! Each muxer that is put into another one wraps the error in one more [`io::Error`], so
//! those are taken off one after the other until an error of the type in question is
//! found.
//!
//! # What would make this superfluous
//!
//! A kind of error, or a reason, in the muxers' interface: closed by the remote, closed
//! by this side, broken.
//! <https://github.com/libp2p/rust-libp2p/issues/844> asked for such
//! reasons and was closed. <https://github.com/libp2p/specs/issues/479>, which is open,
//! proposes error codes for the end of a connection in all implementations.

use std::error::Error;
use std::io;

use libp2p::swarm::ConnectionError;

use crate::transport::{quic, yamux};

/// Whether a connection that ended with `cause` was closed in order by the remote.
pub(in crate::node) fn is_closed_by_remote(cause: &ConnectionError) -> bool {
    let ConnectionError::IO(error) = cause else {
        return false;
    };
    match (find(error), find(error)) {
        (Some(error), _) => matches!(error, yamux::Error::Closed),
        (_, Some(quic::Error::Connection(e))) => {
            matches!(e, quinn::ConnectionError::ApplicationClosed(_))
        }
        _ => false,
    }
}

/// Whether yamux ended the connection because the remote opened streams without end, or
/// sent frames that carry nothing without end.
pub(in crate::node) fn is_flood(error: &io::Error) -> bool {
    matches!(
        find(error),
        Some(yamux::Error::Flood | yamux::Error::FrameFlood | yamux::Error::Unread)
    )
}

/// The error inside, however many times it is wrapped in an [`io::Error`].
fn find<E: Error + 'static>(error: &io::Error) -> Option<&E> {
    let mut inner = error.get_ref()?;
    while let Some(wrapped) = inner.downcast_ref::<io::Error>() {
        inner = wrapped.get_ref()?;
    }
    inner.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orderly_end_is_told_from_all_others_however_often_it_is_wrapped() {
        let closed = || io::Error::other(yamux::Error::Closed);
        let is_closed = |error| is_closed_by_remote(&ConnectionError::IO(error));
        assert!(is_closed(closed()));
        assert!(is_closed(io::Error::other(closed())));
        let broken: io::Error = io::ErrorKind::ConnectionReset.into();
        for error in [
            io::Error::other(yamux::Error::from(broken)),
            io::Error::other(yamux::Error::Flood),
            io::Error::other(quic::Error::from(quinn::ConnectionError::TimedOut)),
            io::Error::other("something"),
            io::ErrorKind::UnexpectedEof.into(),
        ] {
            assert!(!is_closed(error));
        }
        let closed = quinn::ConnectionError::ApplicationClosed(quinn::ApplicationClose {
            error_code: 0u32.into(),
            reason: Default::default(),
        });
        assert!(is_closed(io::Error::other(quic::Error::from(closed))));
        assert!(!is_closed_by_remote(&ConnectionError::KeepAliveTimeout));
    }

    #[test]
    fn a_flood_is_found_through_all_wrappers() {
        let flood = || io::Error::other(yamux::Error::Flood);
        assert!(is_flood(&flood()));
        assert!(is_flood(&io::Error::other(flood())));
        assert!(is_flood(&io::Error::other(yamux::Error::FrameFlood)));
        assert!(!is_flood(&io::Error::other("broken")));
        assert!(!is_flood(&io::ErrorKind::BrokenPipe.into()));
    }
}
