//! Replaces peer ids and addresses before a report leaves the host.
//!
//! Each of them gets a pseudonym that is the same throughout one report, so that a reader
//! can follow a peer through it: `<peer-1>`, `<ip-1>`, `<name-1>`. The pseudonyms are
//! numbers in order of appearance rather than hashes, because all IPv4 addresses can be
//! hashed and compared within a minute.
//!
//! Loopback and wildcard addresses are kept, since they identify nobody.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libp2p::PeerId;

/// Replaces ids, addresses and names, and remembers the pseudonym of each.
#[derive(Debug, Default)]
pub struct Redactor {
    own: Option<PeerId>,
    peers: BTreeMap<PeerId, usize>,
    ips: BTreeMap<IpAddr, usize>,
    names: BTreeMap<String, usize>,
    keep_peers: bool,
}

/// The text that follows the value in the error line about an unknown variable.
const UNKNOWN: &str = ": there is no such variable";

impl Redactor {
    /// Creates a redactor for the report of the node `own`. With `keep_peers`, ids and
    /// addresses are kept.
    pub fn new(own: Option<PeerId>, keep_peers: bool) -> Redactor {
        Redactor {
            own,
            keep_peers,
            ..Redactor::default()
        }
    }

    /// Returns the text with everything replaced. A host name is recognised only after it
    /// has occurred in a multiaddr, so texts with multiaddrs (the configuration) must
    /// come first.
    pub fn text(&mut self, text: &str) -> String {
        let text: Vec<String> = text.split('\n').map(without_value).collect();
        let text = text.join("\n");
        if self.keep_peers {
            return text;
        }
        self.learn_names(&text);
        let text = self.replace_names(&text);
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let end = rest.find(|c| !in_token(c)).unwrap_or(rest.len());
            let (token, after) = rest.split_at(end);
            out.push_str(&self.token(token));
            let gap = after.find(in_token).unwrap_or(after.len());
            out.push_str(&after[..gap]);
            rest = &after[gap..];
        }
        out
    }

    fn token(&mut self, token: &str) -> String {
        let core = token.trim_end_matches(['.', ':']);
        let tail = &token[core.len()..];
        if let Some(name) = self.one(core) {
            return name + tail;
        }
        if let Ok(socket) = core.parse::<SocketAddr>() {
            let ip = self.ip(socket.ip());
            return format!("{ip}:{}{tail}", socket.port());
        }
        if !core.contains(':') {
            return token.to_owned();
        }
        let parts: Vec<String> = core
            .split(':')
            .map(|part| self.one(part).unwrap_or_else(|| part.to_owned()))
            .collect();
        parts.join(":") + tail
    }

    /// Returns the pseudonym of a peer id or an address; `None` for anything else.
    fn one(&mut self, text: &str) -> Option<String> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(self.ip(ip));
        }
        // The shortest peer ids, which are hashes of RSA keys, have 46 characters.
        if text.len() < 40 {
            return None;
        }
        let peer = text.parse::<PeerId>().ok()?;
        if Some(peer) == self.own {
            return Some("<this-node>".into());
        }
        let next = self.peers.len() + 1;
        let number = self.peers.entry(peer).or_insert(next);
        Some(format!("<peer-{number}>"))
    }

    fn ip(&mut self, ip: IpAddr) -> String {
        let v4 = match ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(v6) => v6.to_ipv4_mapped(),
        };
        let plain = v4.map_or(ip, IpAddr::V4);
        if plain.is_loopback() || plain.is_unspecified() || v4 == Some(Ipv4Addr::BROADCAST) {
            return ip.to_string();
        }
        let next = self.ips.len() + 1;
        let number = self.ips.entry(plain).or_insert(next);
        format!("<ip-{number}>")
    }

    /// Learns the names in `/dns…/NAME` parts of multiaddrs.
    fn learn_names(&mut self, text: &str) {
        for kind in ["/dns/", "/dns4/", "/dns6/", "/dnsaddr/"] {
            for (at, _) in text.match_indices(kind) {
                let rest = &text[at + kind.len()..];
                let end = rest
                    .find(|c: char| !(c.is_alphanumeric() || ".-_".contains(c)))
                    .unwrap_or(rest.len());
                let name = &rest[..end];
                if !name.is_empty() && name != "localhost" {
                    let next = self.names.len() + 1;
                    self.names.entry(name.to_owned()).or_insert(next);
                }
            }
        }
    }

    fn replace_names(&self, text: &str) -> String {
        let mut names: Vec<_> = self.names.iter().collect();
        // The longest name is replaced first, because a shorter one may be its end.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut text = text.to_owned();
        for (name, number) in names {
            text = text.replace(name.as_str(), &format!("<name-{number}>"));
        }
        text
    }
}

fn in_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':' || c == '.'
}

/// Returns the line without the value of an unknown variable: the variable may belong to
/// another program, and its value may be a password.
fn without_value(line: &str) -> String {
    let Some(end) = line.find(UNKNOWN) else {
        return line.to_owned();
    };
    let begin = line[..end].find("P2P_").and_then(|name| {
        let at = line[name..end].find('=')?;
        Some(name + at + 1)
    });
    match begin {
        Some(begin) => format!("{}<value>{}", &line[..begin], &line[end..]),
        None => format!("<a variable>{}", &line[end..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";

    fn redact(text: &str) -> String {
        Redactor::new(None, false).text(text)
    }

    #[test]
    fn peers_and_addresses_get_stable_pseudonyms() {
        let mut r = Redactor::new(None, false);
        assert_eq!(
            r.text(&format!(
                "/ip4/192.0.2.1/tcp/4001/p2p/{A},/ip6/2001:db8::1/udp/1/quic-v1/p2p/{B}"
            )),
            "/ip4/<ip-1>/tcp/4001/p2p/<peer-1>,/ip6/<ip-2>/udp/1/quic-v1/p2p/<peer-2>"
        );
        assert_eq!(
            r.text(&format!(
                "peer={A}: 192.0.2.1:4001, [2001:db8::1]:9. \"{B}\" 2001:db8::1"
            )),
            "peer=<peer-1>: <ip-1>:4001, [<ip-2>]:9. \"<peer-2>\" <ip-2>"
        );
        assert_eq!(r.text("::ffff:192.0.2.1 192.0.2.0/24"), "<ip-1> <ip-3>/24");
    }

    #[test]
    fn names_of_hosts_are_known_from_their_multiaddrs() {
        let mut r = Redactor::new(None, false);
        assert_eq!(
            r.text("/dnsaddr/boot.example.org,/dns4/example.org/tcp/1"),
            "/dnsaddr/<name-2>,/dns4/<name-1>/tcp/1"
        );
        assert_eq!(
            r.text("cannot resolve boot.example.org: no such name"),
            "cannot resolve <name-2>: no such name"
        );
    }

    #[test]
    fn nobodys_addresses_and_everything_else_stay() {
        for text in [
            "/ip4/0.0.0.0/tcp/4001 127.0.0.1:9100 /ip6/::/tcp/1 [::1]:2",
            "2026-11-23T12:36:26.5Z p2p_node::node::event_loop 10GiB 0.1.0 99%",
            "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am ünï",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn the_node_itself_is_told_from_others() {
        let mut r = Redactor::new(A.parse().ok(), false);
        assert_eq!(r.text(&format!("{A} {B}")), "<this-node> <peer-1>");
        let mut r = Redactor::new(None, true);
        assert_eq!(r.text(&format!("192.0.2.1 {B}")), format!("192.0.2.1 {B}"));
    }

    #[test]
    fn values_of_unknown_variables_are_left_out_whatever_is_asked_for() {
        let line = "f: P2P_PASSWORD=\"hunter2=\\\"x\": there is no such variable; did you mean";
        for keep in [false, true] {
            assert_eq!(
                Redactor::new(None, keep).text(line),
                "f: P2P_PASSWORD=<value>: there is no such variable; did you mean"
            );
        }
        assert!(
            redact("{\"msg\":\"P2P_X=\\\"pw\\\": there is no such variable\"}")
                .contains("P2P_X=<value>:")
        );
    }
}
