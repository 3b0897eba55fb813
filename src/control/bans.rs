//! BAN, UNBAN and BANS: the blacklist.

use std::time::{Duration, Instant};

use super::pb;
use super::session::{Failure, Session, ok};
use super::wire;
use crate::peers::Target;
use crate::peers::bans::MAX_REASON;
use crate::system::moment::Moment;

impl Session {
    /// Bans a peer or a network. The answer is sent when the ban is in force and on the
    /// disk.
    pub(super) async fn ban(&self, ask: &pb::BanRequest) -> Result<pb::Response, Failure> {
        let target = target(ask)?;
        self.not_oneself(&target)?;
        if let Some(why) = too_wide(&target)
            && !ask.force.unwrap_or(false)
        {
            return Err(Failure(why));
        }
        let length = ask.seconds.map(Duration::from_secs);
        if length == Some(Duration::ZERO) {
            return Err("a ban lasts for at least a second".into());
        }
        let keeper = &self.shared.node.keeper;
        let reason = ask.reason.as_deref().unwrap_or_default();
        if reason.len() > MAX_REASON {
            return Err(Failure(format!(
                "a reason of {} bytes is longer than the {MAX_REASON} that are kept; say it shorter",
                reason.len()
            )));
        }
        let ban = keeper
            .policy()
            .ban(target, length, reason, Moment::now())
            .map_err(|e| Failure(e.to_string()))?;
        log::info!(target:% = target, reason:% = ban.reason; "banned by an operator");
        self.save(&format!("{target} is banned")).await?;
        Ok(pb::Response {
            bans: vec![wire::Ban::new(ban, None).to_pb()],
            ..ok()
        })
    }

    /// Lifts a ban.
    pub(super) async fn unban(&self, ask: &pb::BanRequest) -> Result<pb::Response, Failure> {
        let target = target(ask)?;
        let policy = self.shared.node.keeper.policy();
        let now = Instant::now();
        let Some(ban) = policy.unban(&target, now) else {
            let wider = match target {
                Target::Net(net) => policy.ban_of_address(net.addr(), now),
                Target::Peer(_) => None,
            };
            return Err(Failure(match wider {
                Some(ban) => format!(
                    "there is no ban of {target} itself; it falls under that of {}",
                    ban.target
                ),
                None => format!("there is no ban of {target}"),
            }));
        };
        log::info!(target:% = target; "ban lifted by an operator");
        self.save(&format!("the ban of {target} is lifted")).await?;
        Ok(pb::Response {
            bans: vec![wire::Ban::new(ban, None).to_pb()],
            ..ok()
        })
    }

    /// Returns the bans in force.
    pub(super) fn bans(&self) -> pb::Response {
        let policy = self.shared.node.keeper.policy();
        let now = Instant::now();
        let bans = policy
            .bans(now)
            .into_iter()
            .map(|ban| {
                let reputation = match ban.target {
                    Target::Peer(peer) => Some(policy.score_of(&peer, now)),
                    Target::Net(_) => None,
                };
                wire::Ban::new(ban, reputation).to_pb()
            })
            .collect();
        pb::Response { bans, ..ok() }
    }

    fn not_oneself(&self, target: &Target) -> Result<(), Failure> {
        match target {
            Target::Peer(peer) if *peer == self.shared.node.handle.local_peer_id() => {
                Err(Failure(format!("{peer} is this node itself")))
            }
            _ => Ok(()),
        }
    }

    async fn save(&self, done: &str) -> Result<(), Failure> {
        self.shared.node.keeper.save_bans().await.map_err(|e| {
            Failure(format!(
                "{done}, but that could not be saved yet and may not outlive a restart: {e}"
            ))
        })
    }
}

fn target(ask: &pb::BanRequest) -> Result<Target, Failure> {
    match (&ask.peer, &ask.network) {
        (Some(peer), None) => Ok(Target::Peer(wire::peer_id("peer", peer)?)),
        (None, Some(network)) => match network.parse::<Target>() {
            Ok(target @ Target::Net(_)) => Ok(target),
            _ => Err(Failure(format!(
                "{network:?} is not an address or range such as 192.0.2.0/24"
            ))),
        },
        _ => Err("a ban is of one peer or of one network".into()),
    }
}

/// Returns a reason when a range is so wide that it is probably a typing error. The
/// widest ranges that were ever given to one holder are /8 of IPv4 and /12 of IPv6.
fn too_wide(target: &Target) -> Option<String> {
    let Target::Net(net) = target else {
        return None;
    };
    let least = if net.addr().is_ipv4() { 8 } else { 12 };
    if net.prefix_len() >= least {
        return None;
    }
    let everybody = match net.prefix_len() {
        0 => "cuts this node off from everybody on that family of addresses",
        _ => "is a large part of all addresses",
    };
    Some(format!(
        "{net} {everybody}; to speak with some networks only, set P2P_ALLOW_CIDRS; --force bans it all the same"
    ))
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[test]
    fn wide_ranges_ask_for_care() {
        for (text, wide) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("10.0.0.0/7", true),
            ("2000::/3", true),
            ("10.0.0.0/8", false),
            ("2400::/12", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(too_wide(&text.parse().unwrap()).is_some(), wide, "{text}");
        }
        assert!(too_wide(&Target::Peer(PeerId::random())).is_none());
    }
}
