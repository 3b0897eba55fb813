//! The ports that the configuration names.

use std::net::SocketAddr;

use crate::diag::finding::{Finding, Severity};
use crate::text::foreign;

/// A port that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The variable that names it.
    pub variable: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Whether it is a UDP port.
    pub udp: bool,
    /// What prevents a daemon from using it, in words: `is taken by …`.
    pub obstacle: Option<String>,
}

/// Checks whether the ports that a daemon would use are free.
pub fn ports(ports: &[Port]) -> Finding {
    const CHECK: &str = "ports";
    let kind = |p: &Port| if p.udp { "UDP" } else { "TCP" };
    let taken: Vec<_> = ports
        .iter()
        .filter_map(|p| {
            let obstacle = p.obstacle.as_deref()?;
            Some(format!(
                "{} {} of {} {}",
                kind(p),
                p.address,
                p.variable,
                foreign::printable(obstacle)
            ))
        })
        .collect();
    if !taken.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Problem,
            taken.join("; "),
            "stop who has it, or set the variable to another port or address (9100 is node_exporter's too)",
        );
    }
    let list: Vec<_> = ports
        .iter()
        .map(|p| format!("{} {}", kind(p), p.address))
        .collect();
    Finding::ok(
        CHECK,
        match list.is_empty() {
            true => "none is fixed by the configuration".into(),
            false => format!("free: {}", list.join(", ")),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder_and_its_variable() {
        let port = |obstacle: Option<&str>| Port {
            variable: "P2P_METRICS_PORT",
            address: "127.0.0.1:9100".parse().unwrap(),
            udp: false,
            obstacle: obstacle.map(Into::into),
        };
        assert_eq!(ports(&[port(None)]).severity, Severity::Ok);
        let taken = ports(&[
            port(None),
            port(Some("is taken by process 8 (node_exporter)")),
        ]);
        assert_eq!(taken.severity, Severity::Problem);
        assert_eq!(
            taken.finding,
            "TCP 127.0.0.1:9100 of P2P_METRICS_PORT is taken by process 8 (node_exporter)"
        );
    }
}
