//! What the node reports about itself: IDENTIFY, LIST_PEERS, PEERS, STATUS, HEALTH.

use std::time::Instant;

use super::pb;
use super::session::{Failure, Session, ok};
use super::wire;
use crate::api::{PeerInfo, State, Status};

impl Session {
    pub(super) async fn identify(&self) -> Result<pb::Response, Failure> {
        let handle = &self.shared.node.handle;
        let status = handle.status().await?;
        let mut addrs = status.listen_addrs;
        for addr in status.external_addrs {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        Ok(pb::Response {
            identify: Some(pb::IdentifyResponse {
                id: wire::id_bytes(&handle.local_peer_id()),
                addrs: wire::addr_bytes(&addrs),
            }),
            ..ok()
        })
    }

    pub(super) async fn list_peers(&self) -> Result<pb::Response, Failure> {
        let peers = self.shared.node.handle.peers().await?;
        let peers = peers
            .into_iter()
            .map(|p| {
                let addrs = p.connections.into_iter().map(|c| c.addr).collect();
                PeerInfo { id: p.id, addrs }.to_pb()
            })
            .collect();
        Ok(pb::Response { peers, ..ok() })
    }

    pub(super) async fn peers(&self) -> Result<pb::Response, Failure> {
        let peers = self.shared.node.handle.peers().await?;
        let peer_status = peers
            .into_iter()
            .map(|mut peer| {
                peer.weight = self.shared.tags.weight(&peer.id);
                peer.to_pb()
            })
            .collect();
        Ok(pb::Response {
            peer_status,
            ..ok()
        })
    }

    pub(super) async fn status(&self) -> Result<pb::Response, Failure> {
        Ok(pb::Response {
            status: Some(self.status_now().await?.to_pb()),
            ..ok()
        })
    }

    /// Returns everything that `p2p-node status` shows. This asks the event loop.
    pub(super) async fn status_now(&self) -> Result<Status, Failure> {
        let node = &self.shared.node;
        let mut status = node.handle.status().await?;
        let peers = node.handle.peers().await?;
        let policy = node.keeper.policy();
        let (bans, reputations, _) = policy.read(|peers| peers.sizes(Instant::now()));
        if status.state == State::Running && (node.readiness)().is_err() {
            status.state = State::Starting;
        }
        status.limits.push(node.store.limit());
        status.streams = peers.iter().map(|p| p.streams).sum();
        status.store = self.store_status();
        status.announcements = self.announcement_status();
        status.resident_bytes = resident_bytes();
        status.bans = bans as u64;
        status.reputations = reputations as u64;
        Ok(*status)
    }

    /// Answers as `/health/ready` does, without waiting for the event loop.
    pub(super) fn health(&self) -> pb::Response {
        let node = &self.shared.node;
        let health = node.pulse.health((node.readiness)().err(), Instant::now());
        pb::Response {
            health: Some(health.to_pb()),
            ..ok()
        }
    }
}

/// Returns the resident memory of this process, or zero when the system does not report
/// it.
fn resident_bytes() -> u64 {
    // According to proc(5), these are the size and the resident set, in pages.
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|s| s.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()))
        .unwrap_or(0);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten();
    pages * page.and_then(|n| u64::try_from(n).ok()).unwrap_or(4096)
}
