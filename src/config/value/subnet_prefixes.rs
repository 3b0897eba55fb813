//! The prefix lengths that make two addresses count as one subnet.

use super::{Parsed, list, number};

/// The prefix lengths that make two addresses count as one subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetPrefixes {
    /// The length for IPv4, 1 to 32.
    pub ipv4: u8,
    /// The length for IPv6, 1 to 128.
    pub ipv6: u8,
}

pub(in crate::config) fn subnet_prefixes(text: &str) -> Parsed<SubnetPrefixes> {
    let parts = list(text, |p| number(p, 1, 128))?;
    match parts[..] {
        [v4, v6] => Ok(SubnetPrefixes {
            ipv4: number(&v4.to_string(), 1, 32)? as u8,
            ipv6: v6 as u8,
        }),
        _ => Err("not two numbers".into()),
    }
}

impl std::fmt::Display for SubnetPrefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.ipv4, self.ipv6)
    }
}
