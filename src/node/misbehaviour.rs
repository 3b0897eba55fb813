//! The lines about misbehaving peers, and the one among them that fail2ban reads.

use std::net::IpAddr;

use libp2p::PeerId;

use crate::peers::{Action, Conduct};

/// The target of the lines that fail2ban counts, and of no others. Every form of the log puts the
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
    pub action: Action,
    /// Lines kept back since the last one.
    pub suppressed: u64,
}

/// Writes it down. Of who was cut off for it, in a line of fixed form that
/// `packaging/fail2ban` reads: `misbehaving peer at 192.0.2.1: invalid-signature`,
/// followed by key-values. What was only noted happens to honest peers too (a lost
/// ping, a busy second), and trusted peers are never cut off: no firewall is to
/// count that, so it has other words and another target.
pub fn tell(what: &Misbehaviour<'_>) {
    let Misbehaviour {
        peer,
        ip,
        offence,
        reputation,
        action,
        suppressed,
    } = *what;
    let ip = ip.map(|ip| ip.to_canonical());
    let action = match action {
        Action::Note => {
            match ip {
                Some(ip) => log::info!(
                    peer:% = peer, address:% = ip, reputation, suppressed;
                    "offence noted: {offence}"
                ),
                None => log::info!(
                    peer:% = peer, reputation, suppressed; "offence noted: {offence}"
                ),
            }
            return;
        }
        Action::Disconnect => "disconnected",
        Action::Ban => "banned",
    };
    match ip {
        Some(ip) => log::warn!(
            target: TARGET, peer:% = peer, address:% = ip, reputation, action, suppressed;
            "misbehaving peer at {ip}: {offence}"
        ),
        None => log::warn!(
            target: TARGET, peer:% = peer, reputation, action, suppressed;
            "misbehaving peer without an address of its own: {offence}"
        ),
    }
}
