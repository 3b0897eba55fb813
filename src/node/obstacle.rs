//! What was in the way of a dial or of a stream.
//!
//! The swarm says of a dial what kind of failure it was, and of the failure of a
//! transport it has only the words: each layer of the stack boxes the errors of the one
//! below, so that their types are lost. This is the one place where words are looked at.
//! The tests say for the errors of each transport what they tell.

use libp2p::TransportError;
use libp2p::swarm::DialError;

use super::dial_error::{SHOWN_ADDRESSES, one_line, transport_reason};
use super::streams::OpenError;
use crate::content::fetch::{Obstacle, Unreachable};

/// Words by which the failure of a transport is known.
const WORDS: [(&str, Obstacle); 16] = [
    ("another peer", Obstacle::Unwanted),
    (" answered", Obstacle::Unwanted),
    ("not a valid libp2p certificate", Obstacle::Unwanted),
    ("nothing listens on that port", Obstacle::Refused),
    ("network unreachable", Obstacle::Refused),
    ("host unreachable", Obstacle::Refused),
    // As the kernel says it.
    ("Network is unreachable", Obstacle::Refused),
    ("Network is down", Obstacle::Refused),
    ("No route to host", Obstacle::Refused),
    ("Host is down", Obstacle::Refused),
    ("Connection refused", Obstacle::Refused),
    ("timed out", Obstacle::NoAnswer),
    // As libp2p-core says it of a connection that was not ready in time.
    ("Timeout has been reached", Obstacle::NoAnswer),
    ("did not finish within", Obstacle::NoAnswer),
    ("did not answer", Obstacle::NoAnswer),
    ("no byte has moved on the stream", Obstacle::NoAnswer),
];

/// What comes before words of the remote: the reason in its CONNECTION_CLOSE, as quinn
/// shows it.
const REMOTE: [&str; 2] = ["closed by peer: ", "aborted by peer: "];

/// The part of a reason that this node has written. Nothing tells where the words of a
/// remote end, and it may write whatever it wants there, so all after them is left out.
fn own_words(reason: &str) -> &str {
    let begins = REMOTE.iter().filter_map(|words| reason.find(words));
    begins.min().map_or(reason, |at| &reason[..at])
}

/// What the words of a transport tell: of several reasons, the one that tells most.
fn of_words(reason: &str) -> Obstacle {
    let reason = own_words(reason);
    let known = WORDS.iter().filter(|(words, _)| reason.contains(words));
    known
        .map(|(_, obstacle)| *obstacle)
        .max()
        .unwrap_or(Obstacle::Other)
}

/// What the failure of a transport tells.
fn of_transport(error: &TransportError<std::io::Error>) -> Obstacle {
    match error {
        TransportError::MultiaddrNotSupported(_) => Obstacle::ThisNode,
        TransportError::Other(_) => of_words(&transport_reason(error)),
    }
}

/// Why a dial failed.
pub(super) fn unreachable(error: &DialError) -> Unreachable {
    Unreachable::new(of_dial(error), one_line(error))
}

/// What a dial that failed tells. Of many addresses only those are looked at that are
/// shown.
fn of_dial(error: &DialError) -> Obstacle {
    match error {
        DialError::NoAddresses => Obstacle::NoAddress,
        DialError::LocalPeerId { .. } | DialError::Denied { .. } => Obstacle::ThisNode,
        DialError::WrongPeerId { .. } => Obstacle::Unwanted,
        DialError::Transport(errors) => {
            let shown = errors.iter().take(SHOWN_ADDRESSES);
            let all = shown.map(|(_, error)| of_transport(error));
            Obstacle::of_several(all).unwrap_or(Obstacle::Other)
        }
        DialError::DialPeerConditionFalse(_) | DialError::Aborted => Obstacle::Other,
    }
}

/// What a stream that could not be opened tells.
pub(super) fn of_opening(error: &OpenError) -> Obstacle {
    match error {
        OpenError::Dial(why) => why.obstacle,
        OpenError::TooManyPending(_) | OpenError::TooManyStreams { .. } => Obstacle::ThisNode,
        OpenError::Timeout(_) => Obstacle::NoAnswer,
        // A layer may have boxed the error, so that only its words tell.
        OpenError::Io(error) => {
            let both = [Obstacle::of_io(error), of_words(&error.to_string())];
            Obstacle::of_several(both).unwrap_or(Obstacle::Other)
        }
        OpenError::Stopped | OpenError::NoProtocol | OpenError::Closed | OpenError::Unsupported => {
            Obstacle::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::transport::{quic, tcp};

    fn tcp(kind: io::ErrorKind) -> String {
        tcp_of(kind.into())
    }

    fn tcp_of(source: io::Error) -> String {
        let address = "192.0.2.1:4001".parse().unwrap();
        tcp::Error::Dial { address, source }.to_string()
    }

    #[test]
    fn what_the_transports_say_is_told_apart() {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
        for kind in [ConnectionRefused, HostUnreachable, NetworkUnreachable] {
            assert_eq!(of_words(&tcp(kind)), Obstacle::Refused, "{}", tcp(kind));
        }
        assert_eq!(of_words(&tcp(TimedOut)), Obstacle::NoAnswer);
        let remote = "192.0.2.1:4001".parse().unwrap();
        let late = quic::Error::HandshakeTimeout {
            remote,
            after: Duration::from_secs(5),
        };
        assert_eq!(of_words(&late.to_string()), Obstacle::NoAnswer);
        let lost = quic::Error::Handshake {
            remote,
            source: quinn::ConnectionError::TimedOut,
        };
        assert_eq!(of_words(&lost.to_string()), Obstacle::NoAnswer);
        let other = quic::Error::WrongPeer {
            remote,
            expected: Box::new(libp2p::PeerId::random()),
            found: Box::new(libp2p::PeerId::random()),
        };
        assert_eq!(of_words(&other.to_string()), Obstacle::Unwanted);
        assert_eq!(of_words("unexpected end of file"), Obstacle::Other);
        use libp2p::core::transport::timeout::TransportTimeoutError;
        let unready = TransportTimeoutError::<io::Error>::Timeout.to_string();
        assert_eq!(of_words(&unready), Obstacle::NoAnswer, "{unready}");
    }

    #[test]
    fn what_the_kernel_says_is_told_apart() {
        let remote = "192.0.2.1:4001".parse().unwrap();
        for (errno, obstacle) in [
            (nix::libc::ECONNREFUSED, Obstacle::Refused),
            (nix::libc::ENETUNREACH, Obstacle::Refused),
            (nix::libc::ENETDOWN, Obstacle::Refused),
            (nix::libc::EHOSTUNREACH, Obstacle::Refused),
            (nix::libc::EHOSTDOWN, Obstacle::Refused),
            (nix::libc::ETIMEDOUT, Obstacle::NoAnswer),
        ] {
            let error = || io::Error::from_raw_os_error(errno);
            let source = error();
            let quic = quic::Error::Unreachable { remote, source };
            for said in [error().to_string(), tcp_of(error()), quic.to_string()] {
                assert_eq!(of_words(&said), obstacle, "{said}");
            }
        }
    }

    #[test]
    fn only_a_limit_of_this_node_is_one_that_can_be_changed_here() {
        let streams = OpenError::TooManyStreams {
            used: 8,
            configured: 8,
        };
        for limit in [OpenError::TooManyPending(8), streams] {
            assert_eq!(of_opening(&limit), Obstacle::ThisNode, "{limit}");
        }
        let stalls = OpenError::Io(io::ErrorKind::TimedOut.into());
        assert_eq!(of_opening(&stalls), Obstacle::NoAnswer);
        for words in ["timed out", "Host is down (os error 112)"] {
            let boxed = OpenError::Io(io::Error::other(words));
            assert_eq!(of_opening(&boxed), of_words(words));
        }
        let late = OpenError::Timeout(Duration::from_secs(10));
        assert_eq!(of_opening(&late), Obstacle::NoAnswer);
    }

    #[test]
    fn what_a_remote_writes_counts_for_nothing() {
        let remote = "192.0.2.1:4001".parse().unwrap();
        let reason = "nothing listens on that port; another peer answered";
        let by_program = quinn::ConnectionError::ApplicationClosed(quinn::ApplicationClose {
            error_code: 0_u32.into(),
            reason: reason.into(),
        });
        let by_quic = quinn::ConnectionError::ConnectionClosed(quinn::ConnectionClose {
            error_code: quinn_proto::TransportErrorCode::CONNECTION_REFUSED,
            frame_type: None,
            reason: reason.into(),
        });
        for source in [by_program, by_quic] {
            let said = quic::Error::Handshake { remote, source }.to_string();
            assert!(said.contains(reason), "{said}");
            assert_eq!(of_words(&said), Obstacle::Other, "{said}");
            let late = tcp(io::ErrorKind::TimedOut);
            assert_eq!(of_words(&format!("{late}; {said}")), Obstacle::NoAnswer);
        }
    }

    #[test]
    fn of_several_addresses_the_one_counts_that_tells_most() {
        let address =
            |n: u8| -> libp2p::Multiaddr { format!("/ip4/192.0.2.{n}/tcp/4001").parse().unwrap() };
        let failed = |n, kind: io::ErrorKind| {
            (
                address(n),
                TransportError::Other(io::Error::other(tcp(kind))),
            )
        };
        let unsupported = || {
            (
                address(9),
                TransportError::MultiaddrNotSupported(address(9)),
            )
        };
        let late = || failed(1, io::ErrorKind::TimedOut);
        let refused = || failed(2, io::ErrorKind::ConnectionRefused);
        let dial = |errors| of_dial(&DialError::Transport(errors));
        assert_eq!(dial(vec![late()]), Obstacle::NoAnswer);
        assert_eq!(dial(vec![late(), refused(), late()]), Obstacle::Refused);
        let unknown = || failed(3, io::ErrorKind::UnexpectedEof);
        assert_eq!(dial(vec![late(), unknown()]), Obstacle::NoAnswer);
        assert_eq!(
            dial(vec![late(), unsupported(), refused()]),
            Obstacle::ThisNode
        );
        // The fifth is not shown.
        let many = vec![late(), late(), late(), late(), refused()];
        assert_eq!(dial(many), Obstacle::NoAnswer);
        assert_eq!(of_dial(&DialError::NoAddresses), Obstacle::NoAddress);
    }
}
