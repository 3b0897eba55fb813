//! Where files are when no variable says: the folder of the data and the control socket.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Environment;

/// Where the daemon of the packages has its socket; commands look there when
/// nothing else says where the daemon is.
pub const SYSTEM_SOCKET: &str = "/run/p2p-node/control.sock";

/// `sun_path` holds 108 bytes, the last of them zero.
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// Folder of the node's data when `P2P_DATA_DIR` does not say: systemd's, else
/// the system's for root, else the XDG data folder. `None` when nothing says.
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
    // The XDG specification has relative paths ignored.
    let data_home =
        absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    Some(data_home?.join("p2p-node"))
}

pub(super) fn default_control_socket(env: &Environment, data_dir: &Path) -> PathBuf {
    systemd_dir(env, "RUNTIME_DIRECTORY")
        .unwrap_or_else(|| data_dir.into())
        .join("control.sock")
}

/// systemd lists several folders separated by colons; the first is ours.
fn systemd_dir(env: &Environment, name: &str) -> Option<PathBuf> {
    let first = env
        .get(OsStr::new(name))?
        .as_bytes()
        .split(|b| *b == b':')
        .next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
}

/// Where a command finds the daemon, most likely first: `given` (the flag
/// `--socket`), else `P2P_CONTROL_SOCKET`, else the defaults of a daemon of this
/// user and then that of the packages. Other variables do not matter here, so
/// that a command works whatever the daemon's configuration is.
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
