//! The rules of the gate: which networks may connect, how many connections there may be,
//! and how often.

use std::net::IpAddr;

use super::networks::Networks;
use super::refusal::Refusal;
use super::subnet::names_this_host;

/// What the operator allows strangers to do.
#[derive(Clone, Debug)]
pub struct Rules {
    /// If there are any, only these networks may connect (`P2P_ALLOW_CIDRS`).
    pub allow: Networks,
    /// None of these networks may connect (`P2P_DENY_CIDRS`). This takes precedence over
    /// `allow`.
    pub deny: Networks,
    /// The number of connections with one subnet (`P2P_MAX_CONNECTIONS_PER_SUBNET`).
    pub per_subnet: u32,
    /// The number of inbound connections a second (`P2P_MAX_INBOUND_RATE`).
    pub rate: u32,
    /// The number of inbound connections a second from one subnet
    /// (`P2P_MAX_INBOUND_RATE_PER_SUBNET`).
    pub subnet_rate: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            allow: Networks::default(),
            deny: Networks::default(),
            per_subnet: 64,
            rate: 64,
            subnet_rate: 8,
        }
    }
}

impl Rules {
    /// Checks whether an address may connect, or be dialed, at all. `trusted` addresses
    /// do not have to be in the allowed networks.
    ///
    /// # Errors
    /// Returns the rule that refuses it.
    pub fn address(&self, ip: IpAddr, trusted: bool) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if let Some(network) = self.deny.find(ip) {
            return Err(Refusal::Denied { ip, network });
        }
        if !trusted && !self.allow.is_empty() && self.allow.find(ip).is_none() {
            return Err(Refusal::NotAllowed { ip });
        }
        Ok(())
    }
}

/// Checks whether an address to which `name` resolves may be dialed. Anybody can own a
/// name, and can let it resolve to any address. One that leads to this host would turn
/// the node against the services of its own host.
///
/// # Errors
/// Returns [`Refusal::NameOfThisHost`].
pub(super) fn name(ip: IpAddr, name: &str) -> Result<(), Refusal> {
    let ip = ip.to_canonical();
    if !names_this_host(name) && (ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()) {
        return Err(Refusal::NameOfThisHost {
            name: name.to_owned(),
            ip,
        });
    }
    Ok(())
}
