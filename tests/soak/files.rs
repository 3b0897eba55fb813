//! Files from one daemon that stays to another, removed again at both.

use crate::Soak;
use crate::common::noise;
use crate::crowd::Draw;

/// Pause between two files, in seconds.
const EVERY: f64 = 2.0;

/// A file has up to so many bytes: some are one block, some are several.
const MOST_BYTES: usize = 3 << 20;

pub(crate) async fn go_on(soak: &Soak) {
    let mut draw = Draw(3);
    while soak.pause(EVERY).await {
        let from = draw.below(soak.steady.len());
        let to = (from + 1 + draw.below(soak.steady.len() - 1)) % soak.steady.len();
        let (from, to) = (&soak.steady[from], &soak.steady[to]);
        let bytes = noise(1 + draw.below(MOST_BYTES), draw.below(usize::MAX) as u64);
        let Some(cid) = soak.tally.note("puts", from.put(&bytes).await) else {
            continue;
        };
        if let Some(got) = soak.tally.note("gets", to.get(&cid).await)
            && got != bytes
        {
            soak.tally.fail(format!("{cid} came with other bytes"));
        }
        for member in [from, to] {
            let removed = member.client().await.remove_block(&cid).await;
            soak.tally.note("removals", removed);
        }
    }
}
