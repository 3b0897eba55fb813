//! The rules of the gate: which networks may connect, and how many and how often.

use std::net::IpAddr;

use super::networks::Networks;
use super::refusal::Refusal;
use super::subnet::names_this_host;

/// What the operator allows to strangers.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Only these networks, when there are any (`P2P_ALLOW_CIDRS`).
    pub allow: Networks,
    /// None of these (`P2P_DENY_CIDRS`). It takes precedence over `allow`.
    pub deny: Networks,
    /// Connections with one subnet (`P2P_MAX_CONNECTIONS_PER_SUBNET`).
    pub per_subnet: u32,
    /// Inbound connections a second (`P2P_MAX_INBOUND_RATE`).
    pub rate: u32,
    /// Inbound connections a second from one subnet
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
    /// Whether an address may connect, or be dialed, at all. `trusted` addresses need
    /// not be in the allowed networks.
    ///
    /// # Errors
    /// The rule that refuses it.
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

/// Whether an address may be dialed that `name` stands for. A name can belong to
/// anybody, and so can the address that it stands for. One that leads to this host
/// would turn the node against the services of its own host.
///
/// # Errors
/// [`Refusal::NameOfThisHost`].
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
