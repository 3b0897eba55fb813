//! The forms of values: durations, sizes, percentages, booleans, lists, addresses. Each
//! parser returns why a text is refused. Each has a `show_*` function that formats a
//! value in the form in which it is parsed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The result of a parser. The error says what is wrong with the text.
pub(super) type Parsed<T> = Result<T, String>;

/// A peer and one address of it, from a multiaddr that ends in `/p2p/PEER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// The peer that answers there.
    pub peer: PeerId,
    /// The whole multiaddr, with its final `/p2p/PEER`.
    pub address: Multiaddr,
}

/// The path of an environment file, in the form of `EnvironmentFile=` in a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFilePath {
    /// The path.
    pub path: PathBuf,
    /// Whether it was written with a `-` in front: then a file that does not exist counts
    /// as empty.
    pub may_be_missing: bool,
}

impl std::fmt::Display for EnvFilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dash = if self.may_be_missing { "-" } else { "" };
        write!(f, "{dash}{}", self.path.display())
    }
}

pub(super) fn env_file(text: &str) -> Parsed<EnvFilePath> {
    let (may_be_missing, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    Ok(EnvFilePath {
        path: path(rest)?,
        may_be_missing,
    })
}

/// The amount of memory that the process may use before new connections are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// A percentage (1 to 100) of the cgroup's limit, or of the machine's memory.
    Percent(u8),
    /// A number of bytes.
    Bytes(u64),
}

/// The prefix lengths that make two addresses count as one subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetPrefixes {
    /// The length for IPv4, 1 to 32.
    pub ipv4: u8,
    /// The length for IPv6, 1 to 128.
    pub ipv6: u8,
}

/// The role of this node in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhtMode {
    /// Server while an external address is confirmed, and client otherwise.
    Auto,
    /// A server, which always answers queries.
    Server,
    /// A client, which only asks.
    Client,
}

/// The format of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `journal` if journald reads stderr, `text` on a terminal, and `json` otherwise.
    Auto,
    /// Text with `<N>` priority prefixes.
    Journal,
    /// Text for people to read.
    Text,
    /// One JSON object per line.
    Json,
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("not a yes or no".into()),
    }
}

/// Parses a whole number within `min..=max`.
pub(super) fn number(text: &str, min: u64, max: u64) -> Parsed<u64> {
    let n: u64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    in_range(n, min, max, |n| n.to_string())
}

pub(super) fn in_range<T: PartialOrd + Copy>(
    value: T,
    min: T,
    max: T,
    show: impl Fn(T) -> String,
) -> Parsed<T> {
    if value < min {
        Err(format!("less than {}", show(min)))
    } else if value > max {
        Err(format!("more than {}", show(max)))
    } else {
        Ok(value)
    }
}

/// Splits `12.5MiB` into its digits and its unit. Fractions are refused: a limit should
/// be exactly the number that was written.
fn digits_and_unit(text: &str) -> Parsed<(u64, &str)> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    if digits.is_empty() {
        return Err("does not begin with a whole number".into());
    }
    let n = digits
        .parse()
        .map_err(|_| "the number is too large".to_owned())?;
    Ok((n, unit.trim_start()))
}

/// Parses a duration within `min..=max`: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(text: &str, min: Duration, max: Duration) -> Parsed<Duration> {
    let (n, unit) = digits_and_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if n == 0 => 0,
        "" => return Err("the unit is missing".into()),
        _ => return Err(format!("unknown unit {unit:?}")),
    };
    let millis = n.checked_mul(millis).ok_or("the number is too large")?;
    in_range(Duration::from_millis(millis), min, max, show_duration)
}

/// Returns the shortest form that [`duration`] parses to the same value.
pub(super) fn show_duration(d: Duration) -> String {
    let millis = d.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 {
        "0s".into()
    } else {
        format!("{millis}ms")
    }
}

/// Parses a size within `min..=max`: bytes, or a whole number and a unit of 1024 (`KiB`,
/// `MiB`, `GiB`, `TiB`) or 1000 (`kB`, `MB`, `GB`, `TB`).
pub(super) fn size(text: &str, min: u64, max: u64) -> Parsed<u64> {
    let (n, unit) = digits_and_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(format!("unknown unit {unit:?}")),
    };
    let bytes = n.checked_mul(factor).ok_or("the number is too large")?;
    in_range(bytes, min, max, show_size)
}

/// Returns the shortest form that [`size`] parses to the same value.
pub(super) fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Parses bytes a second. `unlimited` and an empty text mean no ceiling.
pub(super) fn rate(text: &str) -> Parsed<Option<u64>> {
    if text.is_empty() || text == "unlimited" {
        return Ok(None);
    }
    // Less than 16 KiB a second is not even enough for the handshakes of a few peers.
    size(text.strip_suffix("/s").unwrap_or(text), 16 << 10, u64::MAX).map(Some)
}

pub(super) fn show_rate(rate: Option<u64>) -> String {
    rate.map_or_else(|| "unlimited".into(), show_size)
}

pub(super) fn memory(text: &str) -> Parsed<MemoryLimit> {
    match text.strip_suffix('%') {
        Some(percent) => Ok(MemoryLimit::Percent(
            number(percent.trim_end(), 1, 100)? as u8
        )),
        // An idle node needs some 20 MiB. With less, it would refuse every peer.
        None => size(text, 32 << 20, u64::MAX).map(MemoryLimit::Bytes),
    }
}

pub(super) fn show_memory(limit: MemoryLimit) -> String {
    match limit {
        MemoryLimit::Percent(p) => format!("{p}%"),
        MemoryLimit::Bytes(b) => show_size(b),
    }
}

/// Parses a comma-separated list. An empty text is an empty list, and an empty item is an
/// error.
pub(super) fn list<T>(text: &str, item: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(str::trim)
        .map(|part| {
            if part.is_empty() {
                return Err("an item of the list is empty".into());
            }
            item(part).map_err(|why| format!("{part:?}: {why}"))
        })
        .collect()
}

pub(super) fn show_list<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) fn multiaddr(text: &str) -> Parsed<Multiaddr> {
    // The text that the parser quotes is escaped, so that an error stays one line.
    text.parse()
        .map_err(|e: libp2p::multiaddr::Error| e.to_string())
        .map_err(|e| format!("not a multiaddr ({})", e.escape_debug()))
}

/// Parses an address that this node can listen on: an IP address, then TCP, TCP with
/// WebSocket, or QUIC v1.
pub(super) fn listen_addr(text: &str) -> Parsed<Multiaddr> {
    let addr = multiaddr(text)?;
    let mut rest = addr.iter();
    let ip = matches!(rest.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
    let transport = match rest.next() {
        Some(Protocol::Tcp(_)) => matches!(rest.next(), None | Some(Protocol::Ws(_))),
        Some(Protocol::Udp(_)) => matches!(rest.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    if ip && transport && rest.next().is_none() {
        Ok(addr)
    } else {
        Err("not an IP address with /tcp/PORT, /tcp/PORT/ws or /udp/PORT/quic-v1".into())
    }
}

/// Parses an address to advertise. It must not name a peer: that is added when it is
/// sent.
pub(super) fn external_addr(text: &str) -> Parsed<Multiaddr> {
    let addr = multiaddr(text)?;
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) if ip.is_unspecified() => Err("nobody can dial 0.0.0.0".into()),
        Some(Protocol::Ip6(ip)) if ip.is_unspecified() => Err("nobody can dial ::".into()),
        None => Err("empty".into()),
        _ => Ok(addr),
    }
}

pub(super) fn peer_address(text: &str) -> Parsed<PeerAddress> {
    let address = multiaddr(text)?;
    match address.iter().last() {
        Some(Protocol::P2p(peer)) if address.iter().count() > 1 => {
            Ok(PeerAddress { peer, address })
        }
        _ => Err("it does not say where and end in /p2p/PEER_ID".into()),
    }
}

pub(super) fn peer_id(text: &str) -> Parsed<PeerId> {
    text.parse()
        .map_err(|e: libp2p::identity::ParseError| e.to_string())
        .map_err(|e| format!("not a peer id ({})", e.escape_debug()))
}

/// Parses an address range. A single address is a range of one.
pub(super) fn cidr(text: &str) -> Parsed<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => text
            .parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|_| "neither an address range nor an address")?,
    };
    // Addresses are compared as IPv4 if they are IPv4, so a range of addresses that are
    // mapped to IPv6 (::ffff:192.0.2.0/120) would never match.
    let IpNet::V6(v6) = net else {
        return Ok(net);
    };
    let mapped = Ipv6Net::new_assert(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96);
    if mapped.contains(&v6) {
        let v4 = v6.addr().to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED);
        return Ok(Ipv4Net::new_assert(v4, v6.prefix_len() - 96).into());
    }
    if v6.contains(&mapped) && v6.prefix_len() > 0 {
        return Err("holds IPv4 addresses in IPv6 form, which it would not match; name the IPv4 range itself".into());
    }
    Ok(net)
}

pub(super) fn subnet_prefixes(text: &str) -> Parsed<SubnetPrefixes> {
    let parts = list(text, |p| number(p, 1, 128))?;
    match parts[..] {
        [v4, v6] => Ok(SubnetPrefixes {
            ipv4: number(&v4.to_string(), 1, 32)? as u8,
            ipv6: v6 as u8,
        }),
        _ => Err("not two numbers".into()),
    }
}

/// Parses the name of a network. It becomes a part of protocol ids, so it may contain
/// only characters that are not used as separators in them.
pub(super) fn network_name(text: &str) -> Parsed<String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if text.is_empty() || text.len() > 64 {
        return Err("not 1 to 64 characters long".into());
    }
    match text.chars().find(|c| !good(*c)) {
        Some(c) => Err(format!("the character {c:?} is not allowed")),
        None => Ok(text.into()),
    }
}

pub(super) fn protocol_id(text: &str) -> Parsed<String> {
    if !text.starts_with('/') {
        return Err("does not begin with /".into());
    }
    // multistream-select sends a protocol id on one line of at most 140 bytes.
    if text.len() > 140 || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("longer than 140 bytes, or with a space in it".into());
    }
    Ok(text.into())
}

pub(super) fn topic(text: &str) -> Parsed<String> {
    // Peers send the name of every topic that they join to every neighbour, so names are
    // short.
    if text.len() > 256 {
        return Err("longer than 256 bytes".into());
    }
    Ok(text.into())
}

pub(super) fn ip(text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| "not an IP address".into())
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() {
        Err("empty".into())
    } else {
        Ok(PathBuf::from(text))
    }
}

pub(super) fn dht_mode(text: &str) -> Parsed<DhtMode> {
    match text {
        "auto" => Ok(DhtMode::Auto),
        "server" => Ok(DhtMode::Server),
        "client" => Ok(DhtMode::Client),
        _ => Err("no such mode".into()),
    }
}

impl std::fmt::Display for DhtMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DhtMode::Auto => "auto",
            DhtMode::Server => "server",
            DhtMode::Client => "client",
        })
    }
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "journal" => Ok(LogFormat::Journal),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("no such format".into()),
    }
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LogFormat::Auto => "auto",
            LogFormat::Journal => "journal",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

/// Parses a filter in env_logger's syntax: directives `level`, `target` or
/// `target=level`, and an optional `/regex` at the end. env_logger itself ignores what it
/// cannot read, but a misspelt level should be reported.
pub(super) fn log_filter(text: &str) -> Parsed<String> {
    let directives = text.split('/').next().unwrap_or_default();
    for directive in directives
        .split(',')
        .map(str::trim)
        .filter(|d| !d.is_empty())
    {
        if let Some((target, level)) = directive.split_once('=') {
            if target.is_empty() || level.parse::<log::LevelFilter>().is_err() {
                return Err(format!("{directive:?} is not TARGET=LEVEL"));
            }
        } else if directive.contains(char::is_whitespace) {
            return Err(format!("{directive:?} has a space in it"));
        }
    }
    Ok(text.into())
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl std::fmt::Display for SubnetPrefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.ipv4, self.ipv6)
    }
}
