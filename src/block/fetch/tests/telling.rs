//! What the errors of the transports, the kernel and this node tell.

use std::io;

use crate::content::fetch::telling::Telling;
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
