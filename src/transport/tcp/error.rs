//! What can go wrong with TCP, said for the person who has to fix it.

use std::io;
use std::net::SocketAddr;

/// A TCP operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener could not be opened.
    #[error("cannot listen on tcp {address}: {}", listen_reason(source, owner.as_deref()))]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
        /// Which process holds the address, when it is in use and that can be found out.
        owner: Option<String>,
    },
    /// An inherited socket cannot be used as a listener.
    #[error(
        "cannot adopt the inherited listening socket: {0}; check ListenStream= of the socket unit"
    )]
    Adopt(#[source] io::Error),
    /// The interfaces of the host cannot be watched, which a wildcard listener needs.
    #[error(
        "cannot watch the network interfaces: {0}; listen on explicit addresses instead, or allow AF_NETLINK"
    )]
    Watch(#[source] io::Error),
    /// A connection could not be made.
    #[error("cannot connect to tcp {address}: {}", dial_reason(source))]
    Dial {
        /// The address dialled.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

fn listen_reason(source: &io::Error, owner: Option<&str>) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => match owner {
            Some(owner) => format!("the address is in use by {owner}; stop it or choose another port"),
            None => "the address is in use by another program; stop it or choose another port".to_owned(),
        },
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this host has that address; check the address and that the interface is up".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => source.to_string(),
    }
}

fn dial_reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => {
            "refused; the host is up but nothing listens on that port, or a firewall rejects it"
                .to_owned()
        }
        io::ErrorKind::NetworkUnreachable => {
            "network unreachable; this host has no route for that address family or network"
                .to_owned()
        }
        io::ErrorKind::HostUnreachable => {
            "host unreachable; it is down, or a router or firewall on the way says so".to_owned()
        }
        io::ErrorKind::TimedOut => {
            "timed out; the host is down, or a firewall drops the packets".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no free local port; too many connections to that address are open or were just closed"
                .to_owned()
        }
        _ => source.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_one_line_that_names_the_address() {
        let address: SocketAddr = "127.0.0.1:4001".parse().unwrap();
        for kind in [
            io::ErrorKind::AddrInUse,
            io::ErrorKind::AddrNotAvailable,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::TimedOut,
            io::ErrorKind::Other,
        ] {
            let owner = Some("process 7 (kubo)".to_owned());
            let listen = Error::Listen {
                address,
                source: kind.into(),
                owner,
            }
            .to_string();
            let dial = Error::Dial {
                address,
                source: kind.into(),
            }
            .to_string();
            for text in [&listen, &dial] {
                assert!(
                    text.contains("127.0.0.1:4001") && !text.contains('\n'),
                    "{text}"
                );
            }
            assert_eq!(
                listen.contains("kubo"),
                kind == io::ErrorKind::AddrInUse,
                "{listen}"
            );
        }
    }
}
