//! Environment and flags become one validated [`Config`].
//!
//! | file | holds |
//! |---|---|
//! | [`variable`] | the table of variables: name, default, what is accepted, help |
//! | `value` | the forms that values take, and their parsers |
//! | [`env_file`] | the environment file: written from the table, read at start and at reload |
//! | `suggest` | the nearest known name for a misspelt one |
//! | [`network_key`] | the pre-shared key of a private network |
//! | [`error`] | why a configuration is refused |
//!
//! Everything here but the reading of the environment file is pure: the
//! environment is an argument, so that tests need no process of their own. The table in
//! [`variable::VARIABLES`] is the only place that knows a variable; flags, help,
//! `config show` and the environment file are made from it.

pub mod env_file;
pub mod error;
pub mod network_key;
mod suggest;
mod value;
pub mod variable;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

pub use env_file::{EnvFile, Position};
pub use error::Error;
pub use value::{DhtMode, EnvFilePath, LogFormat, MemoryLimit, PeerAddress, SubnetPrefixes};
pub use variable::{VARIABLES, Variable};

/// Variables by name, as a process's environment gives them.
pub type Environment = BTreeMap<OsString, OsString>;

/// Values from the command line, by the name of the variable that they mirror.
pub type Flags = BTreeMap<&'static str, OsString>;

/// Where the daemon of the packages has its socket; commands look there when
/// nothing else says where the daemon is.
pub const SYSTEM_SOCKET: &str = "/run/p2p-node/control.sock";

/// The variable that says where the environment file is.
pub(crate) const ENV_FILE: &str = "P2P_ENV_FILE";

/// What a configuration is made from, beside the environment file: the daemon
/// keeps it, and makes its configuration anew from it at every reload.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The environment of the process.
    pub env: Environment,
    /// Its command line.
    pub flags: Flags,
}

/// A configuration and the environment file that it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the environment file says; empty without one.
    pub file: EnvFile,
    /// The environment file that was to be read and does not exist.
    pub missing: Option<PathBuf>,
}

impl Inputs {
    /// Those of this process.
    pub fn of_process(flags: Flags) -> Inputs {
        Inputs {
            env: std::env::vars_os().collect(),
            flags,
        }
    }

    /// Reads the environment file, when `P2P_ENV_FILE` or its flag names one, and
    /// makes the configuration: flags win over the environment, and both over
    /// the file.
    ///
    /// # Errors
    /// When the file cannot be read, or a value anywhere is refused.
    pub fn load(&self) -> Result<Loaded, Error> {
        let (file, missing) = self.read_file()?;
        Ok(Loaded {
            config: Config::build(
                &self.env,
                &file,
                &self.flags,
                nix::unistd::geteuid().is_root(),
            )?,
            file,
            missing,
        })
    }

    fn read_file(&self) -> Result<(EnvFile, Option<PathBuf>), Error> {
        let nothing = (EnvFile::default(), None);
        let Some(variable) = Variable::find(ENV_FILE) else {
            return Ok(nothing);
        };
        let (source, given) = match (self.flags.get(ENV_FILE), self.env.get(OsStr::new(ENV_FILE))) {
            (Some(given), _) => (Source::Flag, given),
            (None, Some(given)) => (Source::Environment, given),
            (None, None) => return Ok(nothing),
        };
        let text = utf8(variable, &source, given)?.trim();
        if text.is_empty() {
            return Ok(nothing);
        }
        let wanted = value::env_file(text).map_err(|why| bad(variable, &source, text, why))?;
        match env_file::read(&wanted.path) {
            Ok(file) => Ok((file, None)),
            Err(env_file::ReadError::Line(e)) => Err(e),
            Err(env_file::ReadError::Io(e))
                if wanted.may_be_missing && e.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok((EnvFile::default(), Some(wanted.path)))
            }
            Err(env_file::ReadError::Io(e)) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(Error::EnvFile {
                    path: wanted.path.display().to_string(),
                    why: format!(
                        "cannot read this environment file: {e}; the daemon reads it as its own \
                         user, so let that one: `chgrp p2p-node FILE` and `chmod 640 FILE` for the \
                         service"
                    ),
                })
            }
            Err(env_file::ReadError::Io(e)) => Err(Error::EnvFile {
                path: wanted.path.display().to_string(),
                why: format!(
                    "cannot read this environment file: {e}; correct {}, or write it as -{} when \
                     the file may be missing",
                    origin(variable, &source),
                    wanted.path.display()
                ),
            }),
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The table's default, or one derived from the environment (`HOME`, …).
    Default,
    /// It follows from another variable, named here.
    Implied(&'static str),
    /// A line of the environment file.
    File(Position),
    /// The environment of the process.
    Environment,
    /// The command line of `run`.
    Flag,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::Implied(name) => write!(f, "implied by {name}"),
            Source::File(position) => position.fmt(f),
            Source::Environment => f.write_str("environment"),
            Source::Flag => f.write_str("flag"),
        }
    }
}

/// The whole configuration, every value parsed and within its range.
#[derive(Debug, Clone)]
pub struct Config {
    /// `P2P_ENV_FILE`: read already, see [`Inputs::load`].
    pub env_file: Option<EnvFilePath>,
    /// `P2P_LISTEN_ADDRS`: IP addresses with TCP, WebSocket or QUIC v1.
    pub listen_addrs: Vec<Multiaddr>,
    /// `P2P_EXTERNAL_ADDRS`: addresses to advertise as confirmed.
    pub external_addrs: Vec<Multiaddr>,
    /// `P2P_BOOTSTRAP_PEERS`.
    pub bootstrap_peers: Vec<PeerAddress>,
    /// `P2P_BOOTSTRAP`. Its consequences are already in [`Config::dht_mode`],
    /// [`Config::relay_server`] and [`Config::autonat_server`].
    pub bootstrap: bool,
    /// This node answers the autonat probes of others. Follows from
    /// [`Config::bootstrap`]; there is no variable of its own.
    pub autonat_server: bool,
    /// `P2P_MAX_CONNECTIONS`: established, both directions together.
    pub max_connections: u32,
    /// `P2P_MAX_INBOUND_CONNECTIONS`: established inbound; also under the total.
    pub max_inbound_connections: u32,
    /// `P2P_MAX_OUTBOUND_CONNECTIONS`: established outbound; also under the total.
    pub max_outbound_connections: u32,
    /// `P2P_MAX_CONNECTIONS_PER_PEER`.
    pub max_connections_per_peer: u32,
    /// `P2P_MAX_CONNECTIONS_PER_SUBNET`.
    pub max_connections_per_subnet: u32,
    /// `P2P_MAX_INBOUND_RATE`: connections a second.
    pub max_inbound_rate: u32,
    /// `P2P_MAX_INBOUND_RATE_PER_SUBNET`: connections a second.
    pub max_inbound_rate_per_subnet: u32,
    /// `P2P_SUBNET_PREFIXES`.
    pub subnet_prefixes: SubnetPrefixes,
    /// `P2P_MAX_INBOUND_STREAMS`: concurrent, per connection.
    pub max_inbound_streams: u32,
    /// `P2P_MAX_OUTBOUND_STREAMS`: concurrent, per connection.
    pub max_outbound_streams: u32,
    /// `P2P_CONNECTION_IDLE_TIMEOUT`.
    pub connection_idle_timeout: Duration,
    /// `P2P_STREAM_IDLE_TIMEOUT`.
    pub stream_idle_timeout: Duration,
    /// `P2P_MAX_MEMORY`.
    pub max_memory: MemoryLimit,
    /// `P2P_TRUSTED_PEERS`: bypass limits.
    pub trusted_peers: Vec<PeerId>,
    /// `P2P_ALLOW_CIDRS`: empty allows all.
    pub allow_cidrs: Vec<IpNet>,
    /// `P2P_DENY_CIDRS`.
    pub deny_cidrs: Vec<IpNet>,
    /// `P2P_MAX_UPLOAD_RATE`: bytes a second, `None` without a ceiling.
    pub max_upload_rate: Option<u64>,
    /// `P2P_MAX_DOWNLOAD_RATE`: bytes a second, `None` without a ceiling.
    pub max_download_rate: Option<u64>,
    /// `P2P_RATE_BURST`: messages that a peer's token bucket holds.
    pub rate_burst: u32,
    /// `P2P_RATE_FILL`: messages a second that flow into it.
    pub rate_fill: u32,
    /// Bytes of messages that a peer may send at once.
    pub rate_bytes_burst: u64,
    /// Bytes of messages a second that a peer may send for long.
    pub rate_bytes_fill: u64,
    /// `P2P_NETWORK`: `[a-z0-9._-]`, 1 to 64 characters.
    pub network: String,
    /// `P2P_KAD_PROTOCOL`: begins with `/`.
    pub kad_protocol: String,
    /// `P2P_DHT_MODE`.
    pub dht_mode: DhtMode,
    /// `P2P_DHT_MAX_RECORDS`.
    pub dht_max_records: usize,
    /// `P2P_NETWORK_KEY_FILE`: not read here.
    pub network_key_file: Option<PathBuf>,
    /// `P2P_TOPICS`: joined at start.
    pub topics: Vec<String>,
    /// `P2P_GOSSIP_D`: mesh degree, 3 to 64; its bounds follow from it.
    pub gossip_d: usize,
    /// `P2P_GOSSIP_HEARTBEAT`.
    pub gossip_heartbeat: Duration,
    /// `P2P_STORE_MAX_BYTES`.
    pub store_max_bytes: u64,
    /// `P2P_BLOCK_TTL`: default time to live of blocks put here.
    pub block_ttl: Duration,
    /// `P2P_MAX_BLOCK_BYTES`.
    pub max_block_bytes: usize,
    /// `P2P_RELAY_SERVER`.
    pub relay_server: bool,
    /// `P2P_PEERING`: peers that are connected always.
    pub peering: Vec<PeerAddress>,
    /// `P2P_MIN_PEERS`.
    pub min_peers: u32,
    /// `P2P_RELAYS`: relays to hold a reservation with.
    pub relays: Vec<PeerAddress>,
    /// `P2P_MDNS`.
    pub mdns: bool,
    /// `P2P_METRICS_HOST`.
    pub metrics_host: IpAddr,
    /// `P2P_METRICS_PORT`: 0 takes any free port.
    pub metrics_port: u16,
    /// `P2P_CONTROL_SOCKET`: fits into a Unix socket address.
    pub control_socket: PathBuf,
    /// `P2P_DATA_DIR`.
    pub data_dir: PathBuf,
    /// `P2P_DRAIN_TIMEOUT`.
    pub drain_timeout: Duration,
    /// `P2P_LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `RUST_LOG`: a filter in env_logger's syntax.
    pub rust_log: String,
    sources: BTreeMap<&'static str, Source>,
}

/// One line of `config show`.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The variable.
    pub variable: &'static Variable,
    /// Its effective value, in the form that it is read from.
    pub value: String,
    /// Where that came from.
    pub source: Source,
}

impl Config {
    /// The configuration that `env` and `flags` make, without an environment file.
    /// Flags win. Besides the
    /// table's variables it reads `STATE_DIRECTORY`, `RUNTIME_DIRECTORY`,
    /// `XDG_DATA_HOME` and `HOME` for the defaults of paths, and asks the system
    /// one thing: whether this is root.
    pub fn from_env_map(env: &Environment, flags: &Flags) -> Result<Config, Error> {
        let file = EnvFile::default();
        Self::build(env, &file, flags, nix::unistd::geteuid().is_root())
    }

    /// The configuration from pairs of variable and value; for tests.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Config, Error> {
        let env = pairs
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        Self::from_env_map(&env, &Flags::new())
    }

    fn build(
        env: &Environment,
        file: &EnvFile,
        flags: &Flags,
        root: bool,
    ) -> Result<Config, Error> {
        if let Some((_, position)) = file.get(OsStr::new(ENV_FILE)) {
            return Err(Error::EnvFile {
                path: position.to_string(),
                why: format!(
                    "{ENV_FILE} cannot stand in the file that it names; set it in the unit's \
                     environment or as the flag --env-file"
                ),
            });
        }
        for (name, value) in env {
            known(name, value, None)?;
        }
        for (name, value, position) in file.iter() {
            known(name, value, Some(position))?;
        }
        let mut config = Config::blank();
        for variable in VARIABLES {
            let name = variable.name;
            let (source, given) = if let Some(given) = flags.get(name) {
                (Source::Flag, Some(given.as_os_str()))
            } else if let Some(given) = env.get(OsStr::new(name)) {
                (Source::Environment, Some(given.as_os_str()))
            } else if let Some((given, position)) = file.get(OsStr::new(name)) {
                (Source::File(position.clone()), Some(given))
            } else {
                (Source::Default, None)
            };
            let text = match given {
                Some(given) => utf8(variable, &source, given)?,
                None => variable.default,
            };
            let text = text.trim();
            // A default that is derived stays blank here; see `derive`.
            if source != Source::Default || !text.is_empty() {
                (variable.set)(&mut config, text)
                    .map_err(|why| bad(variable, &source, text, why))?;
            }
            config.sources.insert(name, source);
        }
        // What systemd says in the environment counts for paths as well when it
        // stands in the file.
        let mut all = file.environment();
        all.extend(env.iter().map(|(k, v)| (k.clone(), v.clone())));
        config.derive(&all, root)?;
        config.cross_check()?;
        Ok(config)
    }

    /// The state before the table's defaults are applied; never seen outside.
    fn blank() -> Config {
        Config {
            env_file: None,
            listen_addrs: Vec::new(),
            external_addrs: Vec::new(),
            bootstrap_peers: Vec::new(),
            bootstrap: false,
            autonat_server: false,
            max_connections: 0,
            max_inbound_connections: 0,
            max_outbound_connections: 0,
            max_connections_per_peer: 0,
            max_connections_per_subnet: 0,
            max_inbound_rate: 0,
            max_inbound_rate_per_subnet: 0,
            subnet_prefixes: SubnetPrefixes {
                ipv4: 32,
                ipv6: 128,
            },
            max_inbound_streams: 0,
            max_outbound_streams: 0,
            connection_idle_timeout: Duration::ZERO,
            stream_idle_timeout: Duration::ZERO,
            max_memory: MemoryLimit::Percent(100),
            trusted_peers: Vec::new(),
            allow_cidrs: Vec::new(),
            deny_cidrs: Vec::new(),
            max_upload_rate: None,
            max_download_rate: None,
            rate_burst: 0,
            rate_fill: 0,
            rate_bytes_burst: 0,
            rate_bytes_fill: 0,
            network: String::new(),
            kad_protocol: String::new(),
            dht_mode: DhtMode::Auto,
            dht_max_records: 0,
            network_key_file: None,
            topics: Vec::new(),
            gossip_d: 0,
            gossip_heartbeat: Duration::ZERO,
            store_max_bytes: 0,
            block_ttl: Duration::ZERO,
            max_block_bytes: 0,
            relay_server: false,
            peering: Vec::new(),
            min_peers: 0,
            relays: Vec::new(),
            mdns: false,
            metrics_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            metrics_port: 0,
            control_socket: PathBuf::new(),
            data_dir: PathBuf::new(),
            drain_timeout: Duration::ZERO,
            log_format: LogFormat::Auto,
            rust_log: String::new(),
            sources: BTreeMap::new(),
        }
    }

    /// Fills in what follows from other values and from the environment.
    fn derive(&mut self, env: &Environment, root: bool) -> Result<(), Error> {
        if self.data_dir.as_os_str().is_empty() {
            self.data_dir = default_data_dir(env, root).ok_or(Error::NoDataDir)?;
        }
        if self.control_socket.as_os_str().is_empty() {
            self.control_socket = default_control_socket(env, &self.data_dir);
        }
        if self.kad_protocol.is_empty() {
            self.kad_protocol = format!("/{}/kad/1.0.0", self.network);
        }
        if self.rust_log.is_empty() {
            self.rust_log = "info".into();
        }
        if self.bootstrap {
            self.imply("P2P_RELAY_SERVER", |c| c.relay_server = true);
            self.imply("P2P_DHT_MODE", |c| c.dht_mode = DhtMode::Server);
            self.autonat_server = true;
        }
        Ok(())
    }

    /// Applies a consequence of `P2P_BOOTSTRAP` unless its variable is set.
    fn imply(&mut self, name: &'static str, apply: impl FnOnce(&mut Config)) {
        if self.source(name) == Source::Default {
            apply(self);
            self.sources.insert(name, Source::Implied("P2P_BOOTSTRAP"));
        }
    }

    /// What no value shows alone.
    fn cross_check(&self) -> Result<(), Error> {
        if self.bootstrap && self.dht_mode == DhtMode::Client {
            return Err(Error::Conflict {
                origin: self.origin("P2P_DHT_MODE"),
                value: self.dht_mode.to_string(),
                why: "a bootstrap node (P2P_BOOTSTRAP) has to answer DHT queries".into(),
                accepts: "auto or server, or no P2P_BOOTSTRAP".into(),
            });
        }
        if self.bootstrap && !self.relay_server {
            return Err(Error::Conflict {
                origin: self.origin("P2P_RELAY_SERVER"),
                value: "false".into(),
                why: "a bootstrap node (P2P_BOOTSTRAP) is a relay too".into(),
                accepts: "true, or no P2P_BOOTSTRAP".into(),
            });
        }
        if self.store_max_bytes < self.max_block_bytes as u64 {
            return Err(Error::Conflict {
                origin: self.origin("P2P_STORE_MAX_BYTES"),
                value: value::show_size(self.store_max_bytes),
                why: "not even one block of P2P_MAX_BLOCK_BYTES would fit".into(),
                accepts: format!("at least {}", value::show_size(self.max_block_bytes as u64)),
            });
        }
        // The handshake of a private network wraps a byte stream; QUIC has none
        // to wrap, and an unprotected listener would be worse than none.
        if self.network_key_file.is_some() {
            let quic = |a: &&Multiaddr| a.iter().any(|p| matches!(p, Protocol::QuicV1));
            if let Some(addr) = self.listen_addrs.iter().find(quic) {
                return Err(Error::Conflict {
                    origin: self.origin("P2P_LISTEN_ADDRS"),
                    value: addr.to_string(),
                    why: "a private network (P2P_NETWORK_KEY_FILE) works over TCP only".into(),
                    accepts: "addresses with /tcp/PORT".into(),
                });
            }
        }
        let length = self.control_socket.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            return Err(Error::Conflict {
                origin: self.origin("P2P_CONTROL_SOCKET"),
                value: self.control_socket.display().to_string(),
                why: format!("a path of {length} bytes is too long for a Unix socket"),
                accepts: format!("a path of at most {MAX_SOCKET_PATH} bytes"),
            });
        }
        Ok(())
    }

    /// How a person would name the place to correct the variable `name`.
    fn origin(&self, name: &'static str) -> String {
        match Variable::find(name) {
            Some(variable) => origin(variable, &self.source(name)),
            None => name.into(),
        }
    }

    /// Where the value of the variable `name` came from.
    pub fn source(&self, name: &str) -> Source {
        self.sources.get(name).cloned().unwrap_or(Source::Default)
    }

    /// Every variable with its effective value, in the table's order.
    pub fn settings(&self) -> Vec<Setting> {
        VARIABLES
            .iter()
            .map(|variable| Setting {
                variable,
                value: (variable.get)(self),
                source: self.source(variable.name),
            })
            .collect()
    }

    /// Variables that are set although this version does not act on them yet.
    pub fn set_without_effect(&self) -> Vec<&'static Variable> {
        VARIABLES
            .iter()
            .filter(|v| !v.effective)
            .filter(|v| {
                matches!(
                    self.source(v.name),
                    Source::File(_) | Source::Environment | Source::Flag
                )
            })
            .collect()
    }
}

/// `sun_path` holds 108 bytes, the last of them zero.
const MAX_SOCKET_PATH: usize = 107;

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

fn default_control_socket(env: &Environment, data_dir: &Path) -> PathBuf {
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

/// A duration within `min..=max` in the form that variables use: a whole number
/// and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    value::duration(text.trim(), min, max)
}

/// How a person would name the place to correct.
fn origin(variable: &Variable, source: &Source) -> String {
    match source {
        Source::Flag => format!("--{}", variable.flag()),
        Source::File(position) => format!("{position}: {}", variable.name),
        _ => variable.name.into(),
    }
}

fn bad(variable: &Variable, source: &Source, text: &str, why: String) -> Error {
    Error::Bad {
        origin: origin(variable, source),
        value: shorten(text),
        why,
        accepts: variable.accepts,
    }
}

/// Characters of a value in an error.
const LONGEST_SHOWN: usize = 200;

/// The start of a value that may be as long as the kernel lets it be: an error
/// stays one readable line.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

fn utf8<'a>(variable: &Variable, source: &Source, value: &'a OsStr) -> Result<&'a str, Error> {
    value.to_str().ok_or_else(|| Error::NotUtf8 {
        origin: origin(variable, source),
        value: OsStr::from_bytes(&value.as_bytes()[..value.len().min(LONGEST_SHOWN)]).into(),
        accepts: variable.accepts,
    })
}

/// Refuses a variable that begins with `P2P_` and is not in the table.
fn known(name: &OsStr, value: &OsStr, position: Option<&Position>) -> Result<(), Error> {
    let name = name.to_string_lossy();
    if !name.starts_with("P2P_") || VARIABLES.iter().any(|v| v.name == name) {
        return Ok(());
    }
    // Kubernetes and Docker links describe a service called `p2p…` to every
    // container in such variables; their owner has to hear of it.
    let hint = if name.ends_with("_SERVICE_HOST") || name.contains("_PORT_") {
        "it looks like a service link, which `enableServiceLinks: false` turns off".into()
    } else {
        match suggest::nearest(&name, VARIABLES.iter().map(|v| v.name)) {
            Some(known) => format!("did you mean {known}?"),
            None => "no known name is near".into(),
        }
    };
    let shown = shorten(&name.escape_debug().to_string());
    Err(Error::Unknown {
        name: match position {
            Some(position) => format!("{position}: {shown}"),
            None => shown,
        },
        value: shorten(&value.to_string_lossy()),
        hint,
    })
}

#[cfg(test)]
mod tests;
