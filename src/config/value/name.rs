//! Names in the network: its own, those of protocols, and those of topics.

use super::Parsed;

/// Parses the name of a network. It becomes a part of protocol ids, so it may contain
/// only characters that are not used as separators in them.
pub(in crate::config) fn network_name(text: &str) -> Parsed<String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if text.is_empty() || text.len() > 64 {
        return Err("not 1 to 64 characters long".into());
    }
    match text.chars().find(|c| !good(*c)) {
        Some(c) => Err(format!("the character {c:?} is not allowed")),
        None => Ok(text.into()),
    }
}

pub(in crate::config) fn protocol_id(text: &str) -> Parsed<String> {
    if !text.starts_with('/') {
        return Err("does not begin with /".into());
    }
    // multistream-select sends a protocol id on one line of at most 140 bytes.
    if text.len() > 140 || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("longer than 140 bytes, or with a space in it".into());
    }
    Ok(text.into())
}

pub(in crate::config) fn topic(text: &str) -> Parsed<String> {
    // Peers send the name of every topic that they join to every neighbour, so names are
    // short.
    if text.len() > 256 {
        return Err("longer than 256 bytes".into());
    }
    Ok(text.into())
}
