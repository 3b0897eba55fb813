//! Why a dial, or a listener, failed, for people to read.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{ConnectionDenied, DialError};

use crate::peers::limit_of;
use crate::peers::refusal::Refusal;

/// The number of addresses that [`one_line`] shows; it counts the others.
pub(in crate::node) const SHOWN_ADDRESSES: usize = 4;

/// Returns every cause of a failed dial on one line, each address once with its reason.
pub(in crate::node) fn one_line(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => {
            "no address of it is known; give one with /p2p/PEER_ID at its end".into()
        }
        DialError::LocalPeerId { .. } => "that is this node itself".into(),
        DialError::WrongPeerId { obtained, address } => {
            format!("{address} answered as {obtained}, another peer")
        }
        DialError::Denied { cause } => {
            format!(
                "refused by this node's own limit {}: {}",
                limit_of(cause),
                refusal_text(cause)
            )
        }
        DialError::Transport(errors) => {
            let mut parts = Vec::new();
            for (address, error) in errors.iter().take(SHOWN_ADDRESSES) {
                let reason = transport_reason(error);
                // The reader knows for which peer the dial was.
                let address = without_peer(address);
                // The reason often names the address itself. It need not be shown twice.
                if reason.contains(&address.to_string()) {
                    parts.push(reason);
                } else {
                    parts.push(format!("{address}: {reason}"));
                }
            }
            if errors.len() > SHOWN_ADDRESSES {
                let more = errors.len() - SHOWN_ADDRESSES;
                parts.push(format!("and {more} more addresses"));
            }
            parts.join("; ")
        }
        other => other.to_string().replace('\n', " "),
    }
}

/// Returns the address without the peer id at its end, if something is left of it then.
fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut rest = address.clone();
    match rest.pop() {
        Some(Protocol::P2p(_)) if !rest.is_empty() => rest,
        _ => address.clone(),
    }
}

/// Returns why the gate, or another protocol, refused a connection, on one line.
pub(in crate::node) fn refusal_text(cause: &ConnectionDenied) -> String {
    match cause.downcast_ref::<Refusal>() {
        Some(refusal) => refusal.to_string(),
        None => causes(cause),
    }
}

/// Returns the innermost reasons of a transport error, on one line.
pub(in crate::node) fn transport_reason(error: &libp2p::TransportError<std::io::Error>) -> String {
    match error {
        libp2p::TransportError::MultiaddrNotSupported(_) => {
            "no transport of this node handles this kind of address (TCP, QUIC v1, WebSocket, DNS and relay circuits are)".into()
        }
        libp2p::TransportError::Other(e) => {
            causes(e)
        }
    }
}

/// Returns an error and its causes, on one line.
pub(in crate::node) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let part = inner.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        source = inner.source();
    }
    text.replace('\n', " ")
}
