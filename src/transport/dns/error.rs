//! What can go wrong between a name and a connection.

use std::fmt;
use std::time::Duration;

use libp2p::Multiaddr;

/// Why a name could not be resolved. Remotes choose names and what their records say, so
/// both are escaped: an error is one line and cannot control a terminal.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The options hold no name server.
    #[error("cannot resolve any name: the list of name servers is empty; give at least one")]
    NoServersGiven,
    /// The resolver could not be built.
    #[error("cannot start the resolver: {reason}")]
    Start {
        /// What the resolver said.
        reason: String,
    },
    /// The system's configuration names no usable name server.
    #[error(
        "cannot resolve {}: {file}: {reason}; put a `nameserver` line there, \
         or use addresses without names", .name.escape_debug())]
    NoServers {
        /// The name that was asked for.
        name: String,
        /// The configuration file.
        file: String,
        /// Why it is of no use.
        reason: String,
    },
    /// The name is not one.
    #[error("cannot resolve {}: not a valid domain name: {}", .name.escape_debug(), .reason.escape_debug())]
    BadName {
        /// The name that was asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The name does not exist.
    #[error(
        "cannot resolve {}: it does not exist (NXDOMAIN); check the spelling, \
         or that its records are published", .name.escape_debug())]
    NotFound {
        /// The name that was asked for.
        name: String,
    },
    /// The name exists, but not with records of this type.
    #[error("cannot resolve {}: it has no {record} records; {advice}", .name.escape_debug())]
    NoRecords {
        /// The name that was asked for.
        name: String,
        /// The type of record.
        record: &'static str,
        /// What to try.
        advice: &'static str,
    },
    /// The name has TXT records, none of which is of use.
    #[error(
        "cannot resolve {}: none of its {records} TXT records is dnsaddr=<multiaddr>{}; \
         check what its owner publishes", .name.escape_debug(), .ending.escape_debug())]
    NoUsableRecords {
        /// The name that was asked for.
        name: String,
        /// How many TXT records it has.
        records: usize,
        /// " ending in …", when the address asked for a peer.
        ending: String,
    },
    /// No name server answered in time.
    #[error(
        "cannot resolve {}: no answer from a name server within {}; \
         check the network and the name servers", .name.escape_debug(),
        Seconds(*waited))]
    Timeout {
        /// The name that was asked for.
        name: String,
        /// For how long.
        waited: Duration,
    },
    /// A name server answered that it will not or cannot say.
    #[error("cannot resolve {}: the name server answered: {code}; try another name server", .name.escape_debug())]
    ServerFailure {
        /// The name that was asked for.
        name: String,
        /// The response code.
        code: String,
    },
    /// The question or the answer did not get through.
    #[error("cannot resolve {}: {reason}; check the network and the name servers", .name.escape_debug())]
    Network {
        /// The name that was asked for.
        name: String,
        /// What happened.
        reason: String,
    },
    /// `/dnsaddr` answers lead only to each other.
    #[error(
        "cannot resolve {}: its dnsaddr records only lead back to one another; \
         its owner must correct them", .name.escape_debug())]
    Loop {
        /// The name that was asked for.
        name: String,
    },
    /// `/dnsaddr` answers lead to further names too many times.
    #[error(
        "cannot resolve {}: still names after {limit} names in a row; \
         its owner must shorten the chain", .name.escape_debug())]
    TooDeep {
        /// The name that was asked for.
        name: String,
        /// [`super::MAX_DEPTH`].
        limit: usize,
    },
    /// `/dnsaddr` answers lead to too many names.
    #[error(
        "cannot resolve {}: too many answers: no address after {limit} lookups; \
         its owner must publish fewer names", .name.escape_debug())]
    TooMany {
        /// The name that was asked for.
        name: String,
        /// [`super::MAX_LOOKUPS`].
        limit: usize,
    },
    /// This node resolves as many names as it may.
    #[error("cannot resolve {}: {limit} names are being resolved already; try again later", .name.escape_debug())]
    Busy {
        /// The name that was asked for.
        name: String,
        /// [`super::MAX_RESOLUTIONS`].
        limit: usize,
    },
}

/// A length of time in words.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f32())
    }
}

/// Why an address could not be dialed. `E` is the error of the inner transport.
#[derive(Debug)]
pub enum DialError<E> {
    /// The inner transport's own error, of an address without names, of a
    /// listener, or of an incoming connection.
    Inner(E),
    /// The node's own rules forbid the address.
    Forbidden {
        /// The address.
        address: Multiaddr,
        /// The rule.
        reason: String,
    },
    /// The names could not be resolved.
    Resolve(Error),
    /// The names stand for addresses, none of which could be dialed.
    Unreachable {
        /// The address with the names.
        address: Multiaddr,
        /// Every address that was tried, and what came of it.
        attempts: Vec<Attempt<E>>,
    },
}

/// An address that a name stood for and that could not be dialed.
#[derive(Debug)]
pub struct Attempt<E> {
    /// The address.
    pub address: Multiaddr,
    /// Why that failed.
    pub failure: Failure<E>,
}

/// Why one address could not be dialed.
#[derive(Debug)]
pub enum Failure<E> {
    /// The inner transport does not know such addresses.
    Unsupported,
    /// The node's own rules forbid it.
    Forbidden(String),
    /// The inner transport's error.
    Dial(E),
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unsupported => f.write_str("no transport for it here"),
            Failure::Forbidden(reason) => f.write_str(reason),
            Failure::Dial(error) => error.fmt(f),
        }
    }
}

/// Attempts that an error message lists. With more it would be too long for one line.
const ATTEMPTS_SHOWN: usize = 3;

impl<E: fmt::Display> fmt::Display for DialError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Inner(error) => error.fmt(f),
            DialError::Resolve(error) => error.fmt(f),
            DialError::Forbidden { address, reason } => {
                write!(f, "cannot dial {address}: {reason}")
            }
            DialError::Unreachable { address, attempts } => {
                write!(f, "cannot dial {address}: ")?;
                // An attempt that was made says more than one that was not.
                let (tried, unknown): (Vec<_>, Vec<_>) = attempts
                    .iter()
                    .partition(|a| !matches!(a.failure, Failure::Unsupported));
                for (i, attempt) in tried
                    .iter()
                    .chain(&unknown)
                    .take(ATTEMPTS_SHOWN)
                    .enumerate()
                {
                    if i > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{}: {}", attempt.address, attempt.failure)?;
                }
                if attempts.len() > ATTEMPTS_SHOWN {
                    write!(f, "; and {} more", attempts.len() - ATTEMPTS_SHOWN)?;
                }
                Ok(())
            }
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for DialError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is this error's text already, and so are those of the rest.
            DialError::Inner(error) => error.source(),
            DialError::Resolve(_) | DialError::Forbidden { .. } | DialError::Unreachable { .. } => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_remote_chose_cannot_steer_a_terminal() {
        let name = String::from("a\0\u{1b}[2J\nb");
        let errors = [
            Error::BadName {
                name: name.clone(),
                reason: name.clone(),
            },
            Error::NoUsableRecords {
                name: name.clone(),
                records: 1,
                ending: name.clone(),
            },
            Error::Timeout {
                name: name.clone(),
                waited: Duration::from_secs(1),
            },
            Error::Loop { name },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.contains(r"a\0\u{1b}[2J\nb"), "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}
