//! How a configuration is made: every variable is looked up and parsed, and checked
//! against the others.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::paths::{MAX_SOCKET_PATH, default_control_socket, default_data_dir};
use super::{
    Config, DhtMode, ENV_FILE, EnvFile, Environment, Error, Flags, Position, Source, VARIABLES,
    Variable,
};
use super::{suggest, value};

impl Config {
    /// Makes the configuration from `env` and `flags`, without an environment file. Flags
    /// take precedence. In addition to the variables of the table, it reads
    /// `STATE_DIRECTORY`, `RUNTIME_DIRECTORY`, `XDG_DATA_HOME` and `HOME` for the default
    /// paths. It asks the system only whether the user is root.
    pub fn from_env_map(env: &Environment, flags: &Flags) -> Result<Config, Error> {
        let file = EnvFile::default();
        Self::build(env, &file, flags, nix::unistd::geteuid().is_root())
    }

    /// Makes the configuration from pairs of variable and value, for tests.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Config, Error> {
        let env = pairs
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        Self::from_env_map(&env, &Flags::new())
    }

    pub(super) fn build(
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
        // Variables of systemd that determine paths also count if they are in the file.
        let mut all = file.environment();
        all.extend(env.iter().map(|(k, v)| (k.clone(), v.clone())));
        config.derive(&all, root)?;
        config.cross_check()?;
        Ok(config)
    }

    /// Fills in the values that follow from other values and from the environment.
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

    /// Checks what cannot be seen from a single value.
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
        // The handshake of a private network wraps a byte stream. QUIC has none to wrap,
        // and an unprotected listener would be worse than none.
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

    /// Returns the place where the variable `name` is to be corrected, in words.
    fn origin(&self, name: &'static str) -> String {
        match Variable::find(name) {
            Some(variable) => self.source(name).origin(variable),
            None => name.into(),
        }
    }
}

pub(super) fn bad(variable: &Variable, source: &Source, text: &str, why: String) -> Error {
    Error::Bad {
        origin: source.origin(variable),
        value: shorten(text),
        why,
        accepts: variable.accepts,
    }
}

/// The number of characters of a value that an error shows.
const LONGEST_SHOWN: usize = 200;

/// Returns the start of a value, which may be as long as the kernel allows, so that an
/// error stays one readable line.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

pub(super) fn utf8<'a>(
    variable: &Variable,
    source: &Source,
    value: &'a OsStr,
) -> Result<&'a str, Error> {
    value.to_str().ok_or_else(|| Error::NotUtf8 {
        origin: source.origin(variable),
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
    // Kubernetes and Docker links describe a service called `p2p…` to every container in
    // such variables. The owner of the service has to know about it.
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
