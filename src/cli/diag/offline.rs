//! Collects facts about the host, for which no daemon is needed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use socket2::{Domain, Socket, Type};

use super::{DiagArgs, tool};
use crate::api::Snapshot;
use crate::cli::context::Context;
use crate::config::{Config, Environment, Error as Refused, Flags, Inputs, network_key};
use crate::diag::Finding;
use crate::diag::host::{self, Folder, Port, Unit};
use crate::system::usage;
use crate::transport::tcp::owner;

/// The path at which the packages install the environment file.
const PACKAGED_FILE: &str = "/etc/p2p-node/p2p-node.env";

/// Returns findings about what keeps a daemon from starting.
pub(super) fn without_a_daemon(context: &Context, args: &DiagArgs) -> Vec<Finding> {
    let (source, loaded) = load(context, args.env_file.as_deref());
    let unit = unit();
    let mut findings = vec![host::unit(unit.as_ref()), judged(&source, &loaded)];
    if let Ok(config) = &loaded {
        findings.push(host::folder(&folder(&config.data_dir)));
        // When the service is running and only its socket cannot be used, the service
        // itself holds the ports.
        if unit.is_none_or(|u| u.active != "active") {
            findings.push(host::ports(&ports(config)));
        }
        if let Ok(space) = usage::disk(nearest(&config.data_dir)) {
            findings.push(host::disk(&config.data_dir, space.free, space.total));
        }
    }
    findings
}

/// Returns findings that the daemon cannot make itself: the state of its systemd unit,
/// and whether it could start again with the environment file as it is now.
pub(super) fn beside_a_daemon(args: &DiagArgs, snapshot: Option<&Snapshot>) -> Vec<Finding> {
    let unit = unit();
    let runs = unit.as_ref().is_some_and(|u| u.active == "active");
    let setting = snapshot.and_then(|s| s.setting("P2P_ENV_FILE"));
    if let Some(file) = setting.and_then(|f| f.strip_prefix('-'))
        && args.env_file.is_none()
        && matches!(Path::new(file).try_exists(), Ok(false))
    {
        return vec![host::unit(unit.as_ref()), host::no_file(file)];
    }
    let of_daemon = setting
        .map(|f| f.strip_prefix('-').unwrap_or(f))
        .filter(|f| !f.is_empty())
        .map(PathBuf::from);
    let file = args
        .env_file
        .clone()
        .or(of_daemon)
        .or_else(|| (runs && Path::new(PACKAGED_FILE).exists()).then(|| PACKAGED_FILE.into()));
    let configuration = match file {
        Some(file) => {
            let source = file.display().to_string();
            // The environment of the user who runs `diag` plays no part here.
            if !may_read(&file) {
                return vec![
                    host::unit(unit.as_ref()),
                    Finding::ok(
                        "configuration",
                        format!("in force; this user may not read {source}"),
                    ),
                ];
            }
            match from_file(&file, Environment::new(), Flags::new()) {
                Ok(config) => host::configuration(&source, Ok(&warnings(&config))),
                Err(e) => host::configuration(&source, Err(&e.to_string())),
            }
        }
        None => Finding::ok("configuration", "in force; from the daemon's environment"),
    };
    vec![host::unit(unit.as_ref()), configuration]
}

fn may_read(file: &Path) -> bool {
    !matches!(std::fs::File::open(file), Err(e) if e.kind() == io::ErrorKind::PermissionDenied)
}

/// Loads the configuration that a start would use, and returns it with its source.
fn load(context: &Context, file: Option<&Path>) -> (String, Result<Config, Refused>) {
    let named = std::env::var_os("P2P_ENV_FILE").is_some_and(|v| !v.is_empty());
    let packaged = Path::new(PACKAGED_FILE);
    let file = file.or_else(|| (!named && packaged.exists()).then_some(packaged));
    let mut flags = Flags::new();
    if let Some(socket) = &context.global.socket {
        flags.insert("P2P_CONTROL_SOCKET", socket.clone().into());
    }
    let env = std::env::vars_os().collect();
    match file {
        Some(file) => (file.display().to_string(), from_file(file, env, flags)),
        None => ("this environment".into(), made(Inputs { env, flags })),
    }
}

fn from_file(file: &Path, mut env: Environment, mut flags: Flags) -> Result<Config, Refused> {
    // The file does not name the data folder, since the unit sets it.
    env.entry("STATE_DIRECTORY".into())
        .or_insert_with(|| "/var/lib/p2p-node".into());
    flags.insert("P2P_ENV_FILE", file.into());
    made(Inputs { env, flags })
}

fn made(inputs: Inputs) -> Result<Config, Refused> {
    let config = inputs.load()?.config;
    if let Some(path) = &config.network_key_file {
        network_key::load(path)?;
    }
    Ok(config)
}

fn judged(source: &str, loaded: &Result<Config, Refused>) -> Finding {
    match loaded {
        Ok(config) => host::configuration(source, Ok(&warnings(config))),
        Err(e) => host::configuration(source, Err(&e.to_string())),
    }
}

fn warnings(config: &Config) -> Vec<String> {
    let without_effect = config.set_without_effect();
    without_effect.iter().map(|v| v.without_effect()).collect()
}

fn unit() -> Option<Unit> {
    // systemd creates this folder when it is the system's init process: sd_booted(3).
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    const PROPERTIES: &str =
        "LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts,UnitFileState";
    let shown = tool::ask("systemctl", &["show", "p2p-node.service", "-p", PROPERTIES])?;
    Some(Unit::parse(&shown))
}

fn folder(path: &Path) -> Folder {
    let look = |path: &Path| {
        let m = std::fs::metadata(path).ok()?;
        Some((m.uid(), m.permissions().mode() & 0o7777))
    };
    let found = look(path);
    Folder {
        path: path.into(),
        found,
        key: look(&path.join("identity.key")),
        foreign: found.and_then(|(owner, _)| foreign(path, owner)),
        readable: std::fs::read_dir(path).is_ok(),
        user: nix::unistd::geteuid().as_raw(),
    }
}

/// Returns the first entry of the data folder, or of a folder in it, that does not belong
/// to `owner`. The number of entries is bounded by the segments of the store, which are
/// some thousands at most.
fn foreign(path: &Path, owner: u32) -> Option<(PathBuf, u32)> {
    let entries = |folder: &Path| {
        let read = std::fs::read_dir(folder).into_iter().flatten();
        read.flatten().map(|e| e.path()).collect::<Vec<_>>()
    };
    let top = entries(path);
    let below: Vec<_> = top
        .iter()
        .filter(|p| p.is_dir() && !p.is_symlink())
        .flat_map(|p| entries(p))
        .collect();
    top.into_iter().chain(below).find_map(|p| {
        let uid = std::fs::symlink_metadata(&p).ok()?.uid();
        (uid != owner).then_some((p, uid))
    })
}

/// Returns the folder itself, or the nearest folder above it that exists.
fn nearest(path: &Path) -> &Path {
    path.ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("/"))
}

/// Returns every port that the configuration sets to a fixed number.
fn ports(config: &Config) -> Vec<Port> {
    let metrics = SocketAddr::new(config.metrics_host, config.metrics_port);
    let listening = config.listen_addrs.iter().filter_map(|addr| {
        let (address, udp) = socket_of(addr)?;
        Some(("P2P_LISTEN_ADDRS", address, udp))
    });
    listening
        .chain([("P2P_METRICS_PORT", metrics, false)])
        .filter(|(_, address, _)| address.port() != 0)
        .map(|(variable, address, udp)| Port {
            variable,
            address,
            udp,
            obstacle: obstacle(address, udp),
        })
        .collect()
}

fn socket_of(addr: &Multiaddr) -> Option<(SocketAddr, bool)> {
    let mut ip: Option<IpAddr> = None;
    for part in addr {
        match (part, ip) {
            (Protocol::Ip4(v4), _) => ip = Some(v4.into()),
            (Protocol::Ip6(v6), _) => ip = Some(v6.into()),
            (Protocol::Tcp(port), Some(ip)) => return Some((SocketAddr::new(ip, port), false)),
            (Protocol::Udp(port), Some(ip)) => return Some((SocketAddr::new(ip, port), true)),
            _ => {}
        }
    }
    None
}

/// Returns what keeps a daemon from using `address`. To find out, the address is bound
/// for a moment, but never listened on.
fn obstacle(address: SocketAddr, udp: bool) -> Option<String> {
    let bind = || {
        let kind = if udp { Type::DGRAM } else { Type::STREAM };
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if !udp {
            // The daemon sets this too, so that lingering connections are no obstacle to
            // it.
            socket.set_reuse_address(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    };
    let error: io::Error = bind().err()?;
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = match udp {
                true => owner::of_datagrams(address),
                false => owner::of_listener(address),
            };
            // systemd holds the ports for the service between two starts, or for a
            // .socket unit, and passes them to the service.
            if owner.as_deref() == Some("process 1 (systemd)") {
                return None;
            }
            let owner = owner.unwrap_or_else(|| "a process that cannot be seen".into());
            Some(format!("is taken by {owner}"))
        }
        io::ErrorKind::AddrNotAvailable => Some("is no address of this host".into()),
        // What this user is not permitted to do, the daemon's user may be. The daemon too
        // passes over an address family that is switched off.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_and_a_foreign_address_are_obstacles() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let me = format!("process {} ", std::process::id());
        let told = obstacle(address, false).unwrap();
        assert!(told.starts_with(&format!("is taken by {me}")), "{told}");
        drop(tcp);
        // A child process that another test is starting shares the socket until it has
        // executed its program.
        let begun = std::time::Instant::now();
        while obstacle(address, false).is_some() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60));
            std::thread::yield_now();
        }
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let told = obstacle(udp.local_addr().unwrap(), true).unwrap();
        assert!(told.contains(&me), "{told}");
        assert_eq!(
            obstacle("192.0.2.1:1".parse().unwrap(), false).as_deref(),
            Some("is no address of this host")
        );
    }

    #[test]
    fn the_sockets_of_listen_addresses_are_found() {
        let of = |text: &str| socket_of(&text.parse().unwrap());
        assert_eq!(
            of("/ip4/0.0.0.0/tcp/4001/ws"),
            Some(("0.0.0.0:4001".parse().unwrap(), false))
        );
        assert_eq!(
            of("/ip6/::/udp/4001/quic-v1"),
            Some(("[::]:4001".parse().unwrap(), true))
        );
        assert_eq!(of("/dns4/x/tcp/1"), None);
    }
}
