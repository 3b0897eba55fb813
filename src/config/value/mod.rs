//! The forms of values: durations, sizes, percentages, booleans, lists, addresses. Each
//! parser returns why a text is refused. Each has a `show_*` function that formats a
//! value in the form in which it is parsed.

mod cidr;
mod dht_mode;
mod duration;
mod env_file_path;
mod log_filter;
mod log_format;
mod memory_limit;
mod multiaddr;
mod name;
mod peer_address;
mod size;
mod subnet_prefixes;

use std::net::IpAddr;
use std::path::PathBuf;

use libp2p::PeerId;

pub(super) use cidr::cidr;
pub use dht_mode::DhtMode;
pub(super) use dht_mode::dht_mode;
pub(super) use duration::{duration, show_duration};
pub use env_file_path::EnvFilePath;
pub(super) use env_file_path::env_file;
pub(super) use log_filter::log_filter;
pub use log_format::LogFormat;
pub(super) use log_format::log_format;
pub use memory_limit::MemoryLimit;
pub(super) use memory_limit::{memory, show_memory};
use multiaddr::multiaddr;
pub(super) use multiaddr::{external_addr, listen_addr};
pub(super) use name::{network_name, protocol_id, topic};
pub use peer_address::PeerAddress;
pub(super) use peer_address::peer_address;
pub(super) use size::{rate, show_rate, show_size, size};
pub use subnet_prefixes::SubnetPrefixes;
pub(super) use subnet_prefixes::subnet_prefixes;

/// The result of a parser. The error says what is wrong with the text.
pub(super) type Parsed<T> = Result<T, String>;

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

fn in_range<T: PartialOrd + Copy>(
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

pub(super) fn peer_id(text: &str) -> Parsed<PeerId> {
    text.parse()
        .map_err(|e: libp2p::identity::ParseError| e.to_string())
        .map_err(|e| format!("not a peer id ({})", e.escape_debug()))
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
