//! The line about a misbehaving peer that fail2ban reads.

use std::net::IpAddr;

use libp2p::PeerId;

use crate::admission::Conduct;

/// The target of these lines, and of no others. Every form of the log puts the
/// target before the message, so that nothing a remote says can pass for one.
const TARGET: &str = "p2p_node::misbehaviour";

/// What happened, for one line.
#[derive(Clone, Copy, Debug)]
pub struct Misbehaviour<'a> {
    /// Who.
    pub peer: &'a PeerId,
    /// From where; `None` for a peer behind a relay. Whoever blocks addresses must
    /// not block a relay for it.
    pub ip: Option<IpAddr>,
    /// The offence; its name is of small letters with dashes between.
    pub offence: Conduct,
    /// The peer's reputation after it.
    pub reputation: f32,
    /// What was done about it.
    pub action: &'static str,
    /// Lines kept back since the last one.
    pub suppressed: u64,
}

/// Writes the line: `misbehaving peer at 192.0.2.1: invalid-signature`, followed
/// by key-values. Its form is fixed: `packaging/fail2ban` reads it.
pub fn tell(what: &Misbehaviour<'_>) {
    let Misbehaviour {
        peer,
        ip,
        offence,
        reputation,
        action,
        suppressed,
    } = *what;
    match ip {
        Some(ip) => {
            let ip = ip.to_canonical();
            log::warn!(
                target: TARGET, peer:% = peer, address:% = ip, reputation, action, suppressed;
                "misbehaving peer at {ip}: {offence}"
            );
        }
        None => log::warn!(
            target: TARGET, peer:% = peer, reputation, action, suppressed;
            "misbehaving peer without an address of its own: {offence}"
        ),
    }
}
