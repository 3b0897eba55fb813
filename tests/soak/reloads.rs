//! Reloads of changed environment files, and everything that an operator looks at.

use crate::crowd::Draw;
use crate::{ENV_FILE, Soak};

/// Pause between two, in seconds.
const EVERY: f64 = 5.0;

pub(crate) async fn go_on(soak: &Soak) {
    let mut draw = Draw(5);
    while soak.pause(EVERY).await {
        let member = &soak.steady[draw.below(soak.steady.len())];
        let text = format!(
            "P2P_RATE_BURST={}\nP2P_MAX_CONNECTIONS={}\n",
            200 + draw.below(100),
            300 + draw.below(100)
        );
        std::fs::write(member.dir().join(ENV_FILE), text).unwrap();
        let mut client = member.client().await;
        match client.reload().await {
            Ok(told) => {
                soak.tally
                    .note("reloads", told.map_err(|e| format!("{e:?}")));
            }
            Err(e) => soak.tally.fail(format!("reload: {e}")),
        }
        soak.tally.note("looks", client.status().await);
        soak.tally.note("looks", client.peers().await);
        soak.tally.note("looks", client.bans().await);
        soak.tally.note("looks", client.diag().await);
    }
}
