//! How much the reason for a failed try tells whoever reads it. Pure.
//!
//! Of many peers that failed one is named in the error, with its reason. Reasons come
//! as lines of text from the transports, the gate, the DHT and streams, often several
//! in one line, one for each address. What a line is worth is what the best of them is;
//! so it is the words that are looked at, and the tests say for the errors of each of
//! those rooms what they are worth.

/// What a reason is worth; the order is that of the variants, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Telling {
    /// The try was given up before anything came of it: this node was busy.
    GivenUp,
    /// Nobody knows an address of the peer.
    Nowhere,
    /// An address is known, and nothing came back from there.
    NoAnswer,
    /// Something else, which the line says.
    Other,
    /// A host or router said no: the daemon does not run there, or a network is down.
    Refused,
    /// Somebody answered who is not the peer, or the peer, and it does not want this node.
    Unwanted,
    /// A rule or limit of this node is in the way, which whoever reads this can change.
    Here,
}

/// Words by which a line is known.
const WORDS: [(&str, Telling); 27] = [
    ("this node's own limit", Telling::Here),
    (
        "are being opened already, which is the limit of this node",
        Telling::Here,
    ),
    (
        "are open on the connection, which is the limit of this node",
        Telling::Here,
    ),
    ("this node itself", Telling::Here),
    ("no transport of this node", Telling::Here),
    ("another peer", Telling::Unwanted),
    (" answered", Telling::Unwanted),
    ("closed the connection at once", Telling::Unwanted),
    ("not a valid libp2p certificate", Telling::Unwanted),
    ("nothing listens on that port", Telling::Refused),
    ("network unreachable", Telling::Refused),
    ("host unreachable", Telling::Refused),
    // As the kernel says it.
    ("Network is unreachable", Telling::Refused),
    ("Network is down", Telling::Refused),
    ("No route to host", Telling::Refused),
    ("Host is down", Telling::Refused),
    ("Connection refused", Telling::Refused),
    ("timed out", Telling::NoAnswer),
    // As libp2p-core says it of a connection that was not ready in time.
    ("Timeout has been reached", Telling::NoAnswer),
    ("did not finish within", Telling::NoAnswer),
    ("did not answer", Telling::NoAnswer),
    ("no stream within", Telling::NoAnswer),
    ("no byte has moved on the stream", Telling::NoAnswer),
    ("no address of it is known", Telling::Nowhere),
    ("knows an address of it", Telling::Nowhere),
    ("the DHT was not asked", Telling::GivenUp),
    ("others are faster", Telling::GivenUp),
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

impl Telling {
    /// What a reason in words is worth.
    pub(crate) fn of(reason: &str) -> Telling {
        let reason = own_words(reason);
        let known = WORDS.iter().filter(|(words, _)| reason.contains(words));
        known
            .map(|(_, telling)| *telling)
            .max()
            .unwrap_or(Telling::Other)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
            assert_eq!(Telling::of(&tcp(kind)), Telling::Refused, "{}", tcp(kind));
        }
        assert_eq!(Telling::of(&tcp(TimedOut)), Telling::NoAnswer);
        let remote = "192.0.2.1:4001".parse().unwrap();
        let late = quic::Error::HandshakeTimeout {
            remote,
            after: std::time::Duration::from_secs(5),
        };
        assert_eq!(Telling::of(&late.to_string()), Telling::NoAnswer);
        let lost = quic::Error::Handshake {
            remote,
            source: quinn::ConnectionError::TimedOut,
        };
        assert_eq!(Telling::of(&lost.to_string()), Telling::NoAnswer);
        let other = quic::Error::WrongPeer {
            remote,
            expected: Box::new(libp2p::PeerId::random()),
            found: Box::new(libp2p::PeerId::random()),
        };
        assert_eq!(Telling::of(&other.to_string()), Telling::Unwanted);
        assert_eq!(Telling::of("unexpected end of file"), Telling::Other);
        use libp2p::core::transport::timeout::TransportTimeoutError;
        let unready = TransportTimeoutError::<io::Error>::Timeout.to_string();
        assert_eq!(Telling::of(&unready), Telling::NoAnswer, "{unready}");
    }

    #[test]
    fn what_the_kernel_says_is_told_apart() {
        let remote = "192.0.2.1:4001".parse().unwrap();
        for (errno, worth) in [
            (nix::libc::ECONNREFUSED, Telling::Refused),
            (nix::libc::ENETUNREACH, Telling::Refused),
            (nix::libc::ENETDOWN, Telling::Refused),
            (nix::libc::EHOSTUNREACH, Telling::Refused),
            (nix::libc::EHOSTDOWN, Telling::Refused),
            (nix::libc::ETIMEDOUT, Telling::NoAnswer),
        ] {
            let error = || io::Error::from_raw_os_error(errno);
            let source = error();
            let quic = quic::Error::Unreachable { remote, source };
            for said in [error().to_string(), tcp_of(error()), quic.to_string()] {
                assert_eq!(Telling::of(&said), worth, "{said}");
            }
        }
    }

    #[test]
    fn only_a_limit_of_this_node_is_one_that_can_be_changed_here() {
        for limit in [
            "8 streams to the peer are being opened already, which is the limit of this node; try again",
            "8 streams to the peer are open on the connection, which is the limit of this node; close some",
        ] {
            assert_eq!(Telling::of(limit), Telling::Here, "{limit}");
        }
        let stalls = "no byte has moved on the stream for 60s, which is the limit of this node \
                      (P2P_STREAM_IDLE_TIMEOUT)";
        assert_eq!(Telling::of(stalls), Telling::NoAnswer);
    }

    #[test]
    fn what_a_remote_writes_counts_for_nothing() {
        let remote = "192.0.2.1:4001".parse().unwrap();
        let reason = "this node's own limit is reached; another peer answered";
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
            assert_eq!(Telling::of(&said), Telling::Other, "{said}");
            let late = tcp(io::ErrorKind::TimedOut);
            assert_eq!(Telling::of(&format!("{late}; {said}")), Telling::NoAnswer);
        }
    }

    #[test]
    fn of_several_reasons_in_one_line_the_best_counts() {
        let refused = tcp(io::ErrorKind::ConnectionRefused);
        let late = tcp(io::ErrorKind::TimedOut);
        let line = format!("first with what is known here: {late}; then: {refused}");
        assert_eq!(Telling::of(&line), Telling::Refused);
    }

    #[test]
    fn what_can_be_mended_here_is_worth_more_than_what_is_wrong_there() {
        let order = [
            "first with what is known here: x; the DHT was not asked, as others are being looked for there",
            "no address of it is known; give one with /p2p/PEER_ID at its end",
            "no stream within 10s",
            "Handshake failed: unexpected end of file",
            "refused; the host is up but nothing listens on that port, or a firewall rejects it",
            "/ip4/192.0.2.1/tcp/4001 answered as 12D3KooW, another peer",
            "refused by this node's own limit denied: 192.0.2.1 is in 192.0.2.0/24",
        ];
        assert!(order.is_sorted_by_key(|line| Telling::of(line)));
        let mut worth: Vec<Telling> = order.iter().map(|line| Telling::of(line)).collect();
        worth.dedup();
        assert_eq!(
            worth.len(),
            order.len(),
            "each is worth more than the one before"
        );
    }
}
