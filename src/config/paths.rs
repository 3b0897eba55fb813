//! Where files are if no variable says so: the folder of the data and the control socket.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Environment;

/// The path at which the daemon of the packages has its socket. Commands look there if
/// nothing else tells where the daemon is.
pub const SYSTEM_SOCKET: &str = "/run/p2p-node/control.sock";

/// The longest path of a socket: `sun_path` has 108 bytes, and the last of them is zero.
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// Returns the folder of the node's data if `P2P_DATA_DIR` is not set: systemd's, or else
/// the system's for root, or else the XDG data folder. Returns `None` if nothing
/// determines it.
pub fn default_data_dir(env: &Environment, root: bool) -> Option<PathBuf> {
    if let Some(dir) = systemd_dir(env, "STATE_DIRECTORY") {
        return Some(dir);
    }
    if root {
        return Some("/var/lib/p2p-node".into());
    }
    let absolute = |name: &str| {
        env.get(OsStr::new(name))
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    // The XDG specification requires that relative paths are ignored.
    let data_home =
        absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    Some(data_home?.join("p2p-node"))
}

pub(super) fn default_control_socket(env: &Environment, data_dir: &Path) -> PathBuf {
    systemd_dir(env, "RUNTIME_DIRECTORY")
        .unwrap_or_else(|| data_dir.into())
        .join("control.sock")
}

/// Returns the first of the folders that systemd lists, separated by colons. That one
/// belongs to this program.
fn systemd_dir(env: &Environment, name: &str) -> Option<PathBuf> {
    let first = env
        .get(OsStr::new(name))?
        .as_bytes()
        .split(|b| *b == b':')
        .next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
}

/// Returns where a command looks for the daemon, most likely places first: `given` (the
/// flag `--socket`), or else `P2P_CONTROL_SOCKET`, or else the defaults of a daemon of
/// this user and then that of the packages. Other variables do not matter here, so that a
/// command works whatever the daemon's configuration is.
pub fn control_sockets(env: &Environment, given: Option<&Path>, root: bool) -> Vec<PathBuf> {
    if let Some(path) = given {
        return vec![path.into()];
    }
    let set = |name: &str| {
        env.get(OsStr::new(name))
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    if let Some(path) = set("P2P_CONTROL_SOCKET") {
        return vec![path];
    }
    let data_dir = set("P2P_DATA_DIR").or_else(|| default_data_dir(env, root));
    let mut sockets: Vec<PathBuf> = data_dir
        .map(|dir| default_control_socket(env, &dir))
        .into_iter()
        .collect();
    if !sockets.iter().any(|s| s == Path::new(SYSTEM_SOCKET)) {
        sockets.push(SYSTEM_SOCKET.into());
    }
    sockets
}
