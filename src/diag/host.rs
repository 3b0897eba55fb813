//! The checks that need no daemon: whether there is one, and if not, what prevents it
//! from starting.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Severity};
use crate::text::{foreign, size};

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

/// The state of the unit according to systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `LoadState`, such as `loaded` or `not-found`.
    pub load: String,
    /// `ActiveState`, such as `active` or `failed`.
    pub active: String,
    /// `SubState`, such as `running` or `auto-restart`.
    pub sub: String,
    /// `Result`, such as `success` or `exit-code`.
    pub result: String,
    /// `ExecMainStatus`: the exit code, or the signal.
    pub status: i32,
    /// `NRestarts`: automatic restarts since it was started.
    pub restarts: u32,
    /// `UnitFileState`, such as `enabled`.
    pub enabled: String,
}

impl Unit {
    /// Parses the output of `systemctl show`.
    pub fn parse(text: &str) -> Unit {
        let mut unit = Unit::default();
        for (name, value) in text.lines().filter_map(|l| l.split_once('=')) {
            match name {
                "LoadState" => unit.load = value.into(),
                "ActiveState" => unit.active = value.into(),
                "SubState" => unit.sub = value.into(),
                "Result" => unit.result = value.into(),
                "ExecMainStatus" => unit.status = value.parse().unwrap_or(0),
                "NRestarts" => unit.restarts = value.parse().unwrap_or(0),
                "UnitFileState" => unit.enabled = value.into(),
                _ => {}
            }
        }
        unit
    }
}

/// Checks the state of the unit, which is `None` when there is no systemd to ask.
pub fn unit(unit: Option<&Unit>) -> Finding {
    const CHECK: &str = "unit";
    let Some(u) = unit else {
        return Finding::ok(CHECK, "no systemd here, or it does not answer");
    };
    if u.load != "loaded" {
        return Finding::ok(CHECK, format!("p2p-node.service is {}", u.load));
    }
    let mut said = format!("p2p-node.service is {} ({})", u.active, u.sub);
    if u.restarts > 0 {
        said.push_str(&format!(", restarted {} times by itself", u.restarts));
    }
    match (u.active.as_str(), u.sub.as_str()) {
        ("failed", _) | (_, "auto-restart") => Finding::new(
            CHECK,
            Severity::Problem,
            format!("{said}: {}, status {}", u.result, u.status),
            match u.status {
                78 => {
                    "its configuration is wrong; see that finding, then systemctl restart p2p-node"
                }
                _ => "read why: journalctl -u p2p-node -n 50; then systemctl restart p2p-node",
            },
        ),
        ("active", _) if u.restarts > 0 => Finding::new(
            CHECK,
            Severity::Warning,
            said,
            "read why: journalctl -u p2p-node -p err",
        ),
        ("active", _) => Finding::ok(CHECK, said),
        ("inactive", _) => Finding::new(
            CHECK,
            Severity::Warning,
            said,
            match u.enabled.as_str() {
                "enabled" => "systemctl start p2p-node",
                _ => "systemctl enable --now p2p-node",
            },
        ),
        _ => Finding::new(
            CHECK,
            Severity::Note,
            said,
            "wait until it has finished: systemctl status p2p-node",
        ),
    }
}

/// Checks the configuration. `source` is where it was read from; `outcome` is a list of
/// warnings, or the line that refuses it.
pub fn configuration(source: &str, outcome: Result<&[String], &str>) -> Finding {
    const CHECK: &str = "configuration";
    match outcome {
        Err(why) => Finding::new(
            CHECK,
            Severity::Problem,
            format!("{source}: {}", foreign::printable(why)),
            "correct it; the daemon does not start with it (exit code 78)",
        ),
        Ok([]) => Finding::ok(CHECK, format!("{source}: good")),
        Ok(warnings) => Finding::new(
            CHECK,
            Severity::Warning,
            format!("{source}: {}", warnings.join("; ")),
            "take out what does nothing",
        ),
    }
}

/// Reports that the optional file of the configuration does not exist.
pub fn no_file(source: &str) -> Finding {
    Finding::new(
        "configuration",
        Severity::Warning,
        format!("{source} does not exist: every variable has its default"),
        "put it back when that was not wanted, then restart: a copy of yours, or of the package, by \
         apt install --reinstall -o Dpkg::Options::=--force-confmiss p2p-node",
    )
}

/// The data folder, as far as this user can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// The owner's user id and the mode of the folder; `None` when there is no folder.
    pub found: Option<(u32, u32)>,
    /// The owner's user id and the mode of the identity's file; `None` when there is no
    /// such file or when it cannot be seen.
    pub key: Option<(u32, u32)>,
    /// A file in the folder whose owner is not that of the folder, and its owner's user
    /// id.
    pub foreign: Option<(PathBuf, u32)>,
    /// Whether this user may look into it.
    pub readable: bool,
    /// The id of this user.
    pub user: u32,
}

/// Checks the data folder.
pub fn folder(f: &Folder) -> Finding {
    const CHECK: &str = "data-folder";
    let path = f.path.display();
    let Some((owner, mode)) = f.found else {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{path} does not exist"),
            "the first start makes it; if there was one, P2P_DATA_DIR is another than before",
        );
    };
    if mode & 0o077 != 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{path} has mode {mode:04o}: others may look into it"),
            format!("chmod 700 {path}"),
        );
    }
    if let Some((_, key_mode)) = f.key
        && key_mode & 0o077 != 0
    {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!("{path}/identity.key has mode {key_mode:04o}: it is refused"),
            format!("chmod 600 {path}/identity.key"),
        );
    }
    if let Some((file, other)) = &f.foreign {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!(
                "{path} belongs to user id {owner}, and {} to {other}: a start by another user has \
                 left it",
                foreign::printable(&file.display().to_string())
            ),
            format!("chown -R {owner}:{owner} {path}, and restart the service"),
        );
    }
    if f.key.is_none() && !f.readable {
        return Finding::ok(
            CHECK,
            format!(
                "{path} belongs to user id {owner}; user id {} may not look into it",
                f.user
            ),
        );
    }
    Finding::ok(CHECK, format!("{path}, user id {owner}, mode {mode:04o}"))
}

/// A port that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The variable that names it.
    pub variable: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Whether it is a UDP port.
    pub udp: bool,
    /// What prevents a daemon from using it, in words: `is taken by …`.
    pub obstacle: Option<String>,
}

/// Checks whether the ports that a daemon would use are free.
pub fn ports(ports: &[Port]) -> Finding {
    const CHECK: &str = "ports";
    let kind = |p: &Port| if p.udp { "UDP" } else { "TCP" };
    let taken: Vec<_> = ports
        .iter()
        .filter_map(|p| {
            let obstacle = p.obstacle.as_deref()?;
            Some(format!(
                "{} {} of {} {}",
                kind(p),
                p.address,
                p.variable,
                foreign::printable(obstacle)
            ))
        })
        .collect();
    if !taken.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Problem,
            taken.join("; "),
            "stop who has it, or set the variable to another port or address (9100 is node_exporter's too)",
        );
    }
    let list: Vec<_> = ports
        .iter()
        .map(|p| format!("{} {}", kind(p), p.address))
        .collect();
    Finding::ok(
        CHECK,
        match list.is_empty() {
            true => "none is fixed by the configuration".into(),
            false => format!("free: {}", list.join(", ")),
        },
    )
}

/// Checks whether there is room on the disk to which a daemon would write.
pub fn disk(path: &Path, free: u64, total: u64) -> Finding {
    const CHECK: &str = "disk";
    let said = format!(
        "{} of {} free for {}",
        size::show(free),
        size::show(total),
        path.display()
    );
    if free < super::thresholds::DISK_LEAST {
        return Finding::new(
            CHECK,
            Severity::Problem,
            said,
            "make room: the daemon cannot open its database on a full disk",
        );
    }
    Finding::ok(CHECK, said)
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

    #[test]
    fn the_unit_is_told_as_systemd_sees_it() {
        let show = |active: &str, sub: &str, status: i32, restarts: u32| {
            let text = format!(
                "LoadState=loaded\nActiveState={active}\nSubState={sub}\nResult=exit-code\n\
                 ExecMainStatus={status}\nNRestarts={restarts}\nUnitFileState=enabled\n"
            );
            unit(Some(&Unit::parse(&text)))
        };
        assert_eq!(show("active", "running", 0, 0).severity, Severity::Ok);
        assert_eq!(show("active", "running", 0, 1).severity, Severity::Warning);
        assert_eq!(show("inactive", "dead", 0, 0).severity, Severity::Warning);
        assert_eq!(show("activating", "start", 0, 0).severity, Severity::Note);
        assert_eq!(
            show("activating", "auto-restart", 1, 3).severity,
            Severity::Problem
        );
        let failed = show("failed", "failed", 78, 0);
        assert_eq!(failed.severity, Severity::Problem);
        assert!(failed.advice.contains("configuration"), "{failed:?}");
        assert_eq!(unit(None).severity, Severity::Ok);
        assert_eq!(
            unit(Some(&Unit::parse(
                "LoadState=not-found\nActiveState=inactive\n"
            )))
            .severity,
            Severity::Ok
        );
    }

    #[test]
    fn a_refused_configuration_is_a_problem() {
        assert_eq!(configuration("f", Ok(&[])).severity, Severity::Ok);
        let warned = configuration("f", Ok(&["P2P_MDNS does nothing".into()]));
        assert_eq!(warned.severity, Severity::Warning);
        let bad = configuration("f", Err("P2P_X=\"1\": no such variable"));
        assert_eq!(bad.severity, Severity::Problem);
        assert!(bad.finding.starts_with("f: P2P_X"), "{bad:?}");
    }

    #[test]
    fn the_folder_and_its_key_belong_to_one_user_and_nobody_else() {
        let good = Folder {
            path: "/d".into(),
            found: Some((7, 0o700)),
            key: Some((7, 0o600)),
            foreign: None,
            readable: true,
            user: 0,
        };
        let severity = |f: Folder| folder(&f).severity;
        assert_eq!(severity(good.clone()), Severity::Ok);
        let with = |found, key| Folder {
            found,
            key,
            ..good.clone()
        };
        assert_eq!(severity(with(Some((7, 0o750)), None)), Severity::Warning);
        assert_eq!(
            severity(with(Some((7, 0o700)), Some((7, 0o640)))),
            Severity::Problem
        );
        let foreign = Some((PathBuf::from("/d/blocks/00000000.seg"), 0));
        let finding = folder(&Folder {
            foreign,
            ..good.clone()
        });
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.finding.contains("00000000.seg to 0"), "{finding:?}");
        assert_eq!(severity(with(None, None)), Severity::Note);
        assert_eq!(
            severity(Folder {
                readable: false,
                ..with(Some((7, 0o700)), None)
            }),
            Severity::Ok
        );
    }

    #[test]
    fn a_taken_port_names_its_holder_and_its_variable() {
        let port = |obstacle: Option<&str>| Port {
            variable: "P2P_METRICS_PORT",
            address: "127.0.0.1:9100".parse().unwrap(),
            udp: false,
            obstacle: obstacle.map(Into::into),
        };
        assert_eq!(ports(&[port(None)]).severity, Severity::Ok);
        let taken = ports(&[
            port(None),
            port(Some("is taken by process 8 (node_exporter)")),
        ]);
        assert_eq!(taken.severity, Severity::Problem);
        assert_eq!(
            taken.finding,
            "TCP 127.0.0.1:9100 of P2P_METRICS_PORT is taken by process 8 (node_exporter)"
        );
    }

    #[test]
    fn a_full_disk_is_a_problem() {
        let least = super::super::thresholds::DISK_LEAST;
        assert_eq!(disk(Path::new("/"), least, 1 << 40).severity, Severity::Ok);
        assert_eq!(
            disk(Path::new("/"), least - 1, 1 << 40).severity,
            Severity::Problem
        );
    }
}
