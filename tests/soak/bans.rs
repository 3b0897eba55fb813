//! Bans at the first daemon: of addresses, of peers that were never connected, and of
//! those that come and go.

use std::path::PathBuf;
use std::time::Duration;

use libp2p::PeerId;
use p2p_node::control::Client;
use p2p_node::control::client::BanOptions;
use p2p_node::peers::Target;

use crate::Soak;
use crate::crowd::Draw;

/// Pause between two bans, in seconds.
const EVERY: f64 = 1.5;

pub(crate) async fn go_on(soak: &Soak, churning: Vec<PathBuf>) {
    let mut draw = Draw(4);
    while soak.pause(EVERY).await {
        let target = match draw.below(3) {
            0 => {
                let net = format!("192.0.2.{}/32", draw.below(256));
                Target::net(net.parse().unwrap())
            }
            1 => Target::Peer(PeerId::random()),
            _ => {
                let home = &churning[draw.below(churning.len())];
                // It may be gone at this moment.
                let Some(peer) = peer_at(home).await else {
                    continue;
                };
                Target::Peer(peer)
            }
        };
        let options = BanOptions {
            length: Some(Duration::from_secs(1 + draw.below(5) as u64)),
            reason: Some("a soak".into()),
            force: false,
        };
        let mut client = soak.steady[0].client().await;
        soak.tally.note("bans", client.ban(&target, &options).await);
        if draw.below(2) == 0 {
            // It may have run out already.
            let _ = client.unban(&target).await;
        }
    }
}

async fn peer_at(home: &std::path::Path) -> Option<PeerId> {
    let mut client = Client::connect(home.join("data/control.sock")).await.ok()?;
    Some(client.identify().await.ok()?.id)
}
