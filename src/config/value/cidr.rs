//! Ranges of IP addresses.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Parsed;

/// Parses an address range. A single address is a range of one.
pub(in crate::config) fn cidr(text: &str) -> Parsed<IpNet> {
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
