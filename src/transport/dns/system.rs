//! The system's files resolv.conf and hosts. They are read again when they change, as the
//! C library does, because the network configuration changes while a daemon runs.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hickory_resolver::Hosts;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;

use super::runtime::AsyncStd;
use super::{Error, Options, Servers};

/// A resolver of hickory's over this node's runtime.
pub(crate) type Hickory = hickory_resolver::Resolver<AsyncStd>;

/// Bytes of a configuration file that are read. The hosts file of an ad
/// blocker has some megabytes, and no sensible file has more.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Answers kept in memory. A node knows few names, and asks for them again and
/// again; an answer can be 64 KiB.
const CACHED_ANSWERS: u64 = 256;

/// Distinguishes one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    fn of(path: &Path) -> Stamp {
        Stamp(
            fs::metadata(path)
                .and_then(|m| Ok((m.modified()?, m.len())))
                .ok(),
        )
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The configuration that is used now. Cheap to clone.
#[derive(Clone)]
pub(crate) struct System {
    /// The resolver, or the file that should have named servers and what is
    /// wrong with it.
    pub(crate) resolver: Result<Hickory, (PathBuf, String)>,
    hosts: std::sync::Arc<Hosts>,
    servers_stamp: Option<(PathBuf, Stamp)>,
    hosts_stamp: Option<(PathBuf, Stamp)>,
}

impl System {
    /// Reads the files. Blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// When the options can never work. An invalid file is not an error here: the failure
    /// is kept and reported when a name is resolved.
    pub(crate) fn load(options: &Options) -> Result<System, Error> {
        let (resolver, servers_stamp) = match &options.servers {
            Servers::Fixed(servers) if servers.is_empty() => return Err(Error::NoServersGiven),
            Servers::Fixed(servers) => {
                let servers = servers.iter().map(|addr| {
                    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                    for connection in &mut connections {
                        connection.port = addr.port();
                    }
                    NameServerConfig::new(addr.ip(), true, connections)
                });
                let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
                let resolver = build(config, ResolverOpts::default(), options)
                    .map_err(|reason| Error::Start { reason })?;
                (Ok(resolver), None)
            }
            Servers::File(path) => {
                // Before the content: a change in between is then seen next time.
                let stamp = Stamp::of(path);
                (
                    from_file(path, options).map_err(|reason| (path.clone(), reason)),
                    Some((path.clone(), stamp)),
                )
            }
        };
        let hosts_stamp = options
            .hosts
            .as_ref()
            .map(|path| (path.clone(), Stamp::of(path)));
        let mut hosts = Hosts::default();
        if let Some(path) = &options.hosts
            && let Err(e) = read(path).and_then(|bytes| hosts.read_hosts_conf(&*bytes))
            && e.kind() != io::ErrorKind::NotFound
        {
            log::warn!(path:% = path.display(), error:% = e; "cannot read the table of hosts");
        }
        Ok(System {
            resolver,
            hosts: hosts.into(),
            servers_stamp,
            hosts_stamp,
        })
    }

    /// Whether a file changed since it was read. Blocks for as long as the disk
    /// takes.
    pub(crate) fn is_stale(&self) -> bool {
        [&self.servers_stamp, &self.hosts_stamp]
            .into_iter()
            .flatten()
            .any(|(path, stamp)| Stamp::of(path) != *stamp)
    }

    /// Whether any of it was read from a file.
    pub(crate) fn has_files(&self) -> bool {
        self.servers_stamp.is_some() || self.hosts_stamp.is_some()
    }

    /// The addresses of `name` in the table of hosts.
    pub(crate) fn hosts(&self, name: &Name, record: RecordType) -> Vec<IpAddr> {
        let mut query = Query::query(name.to_lowercase(), record);
        query.name.set_fqdn(true);
        self.hosts
            .lookup_static_host(&query)
            .map(|l| {
                l.answers()
                    .iter()
                    .filter_map(|r| r.data.ip_addr())
                    .collect()
            })
            .unwrap_or_default()
    }
}

fn from_file(path: &Path, options: &Options) -> Result<Hickory, String> {
    let bytes = read(path).map_err(|e| e.to_string())?;
    let (config, opts) = parse_resolv_conf(bytes).map_err(|e| match e {
        hickory_resolver::net::NetError::Io(e) => e.to_string(),
        e => e.to_string(),
    })?;
    build(config, opts, options)
}

fn build(
    config: ResolverConfig,
    mut opts: ResolverOpts,
    options: &Options,
) -> Result<Hickory, String> {
    if let Some(timeout) = options.timeout {
        opts.timeout = timeout;
    }
    if let Some(retries) = options.retries {
        opts.attempts = retries;
    }
    opts.cache_size = CACHED_ANSWERS;
    // The table of hosts is ours to read and to watch.
    opts.use_hosts_file = ResolveHosts::Never;
    // The kernel's choice of port is random too, and never one that a service
    // of this host is about to bind.
    opts.os_port_selection = true;
    opts.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    // A server that garbles UDP may do better over TCP.
    opts.try_tcp_on_error = true;
    Hickory::builder_with_config(config, AsyncStd)
        .with_options(opts)
        .build()
        .map_err(|e| e.to_string())
}
