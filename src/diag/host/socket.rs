//! Whether there is a daemon, and what was found at the path of its control socket.

use std::path::PathBuf;

use crate::diag::finding::{Finding, Severity};
use crate::text::foreign;

/// What was found at a path where the control socket may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// A daemon answers.
    Answers,
    /// A daemon accepts the connection but does not answer, for this reason.
    Silent(String),
    /// There is no file.
    Missing,
    /// There is a socket that nobody listens on, such as `kill -9` leaves behind.
    Abandoned,
    /// There is a file that is no socket.
    NotASocket,
    /// This user may not use the socket, or may not look into its folder.
    Denied,
}

/// Checks whether there is a daemon.
pub fn daemon(sockets: &[(PathBuf, Socket)]) -> Finding {
    const CHECK: &str = "daemon";
    for (path, socket) in sockets {
        let path = path.display();
        match socket {
            Socket::Answers => return Finding::ok(CHECK, format!("answers at {path}")),
            Socket::Silent(why) => {
                return Finding::new(
                    CHECK,
                    Severity::Problem,
                    format!(
                        "takes connections at {path} and does not answer: {}",
                        foreign::printable(why)
                    ),
                    "read its log (journalctl -u p2p-node), then restart it; one of another version \
                     than this program has to be restarted too",
                );
            }
            Socket::Denied => {
                return Finding::new(
                    CHECK,
                    Severity::Problem,
                    format!("this user may not use {path}"),
                    "run it as root, or join the group: adduser USER p2p-node, and log in again",
                );
            }
            Socket::Missing | Socket::Abandoned | Socket::NotASocket => {}
        }
    }
    let seen: Vec<_> = sockets
        .iter()
        .map(|(path, socket)| {
            let what = match socket {
                Socket::Abandoned => "a socket that nobody serves is at",
                Socket::NotASocket => "something that is no socket is at",
                _ => "nothing is at",
            };
            format!("{what} {}", path.display())
        })
        .collect();
    Finding::new(
        CHECK,
        Severity::Problem,
        format!("no daemon answers: {}", seen.join(", ")),
        "start it: systemctl start p2p-node, or p2p-node run; if it runs, name its socket with \
         --socket, or where the socket's file was deleted, systemctl restart p2p-node",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, socket: Socket) -> (PathBuf, Socket) {
        (path.into(), socket)
    }

    #[test]
    fn a_missing_daemon_is_told_by_what_lies_there() {
        let none = daemon(&[at("/a", Socket::Abandoned), at("/b", Socket::Missing)]);
        assert_eq!(none.severity, Severity::Problem);
        assert!(
            none.finding
                .contains("nobody serves is at /a, nothing is at /b"),
            "{none:?}"
        );
        assert_eq!(
            daemon(&[at("/a", Socket::Missing), at("/b", Socket::Answers)]).severity,
            Severity::Ok
        );
        let denied = daemon(&[at("/a", Socket::Missing), at("/b", Socket::Denied)]);
        assert!(denied.advice.contains("group"), "{denied:?}");
        let silent = daemon(&[at("/a", Socket::Silent("10 s\u{1b}".into()))]);
        assert!(silent.finding.contains("10 s\\u{1b}"), "{silent:?}");
    }
}
