//! A daemon that starts, publishes, fetches, and ends: sometimes after a signal to
//! stop, sometimes killed, and sometimes with the loss of all its data.

use nix::sys::signal::Signal;

use crate::crowd::{Draw, Ear, Member};
use crate::{Soak, TOPIC};

/// It stays for up to so many seconds.
const STAY: usize = 20;

/// A file that it fetches each time from one that stays; not the first, which bans
/// those that come and go.
const FILE_BYTES: usize = 100_000;

pub(crate) async fn go_on(soak: &Soak, mut member: Member, seed: u64) {
    let mut draw = Draw(100 + seed);
    while soak.pause(draw.below(3) as f64).await {
        member.start().await;
        member.knows_somebody().await;
        let ear = Ear::at(&member, TOPIC).await;
        // Others hear it or not: they may have banned it.
        let _ = member.publish(TOPIC, "here").await;
        let owner = &soak.steady[1 + draw.below(soak.steady.len() - 1)];
        let bytes = crate::common::noise(FILE_BYTES, draw.below(usize::MAX) as u64);
        if let Some(cid) = soak.tally.note("puts", owner.put(&bytes).await) {
            let got = member.get(&cid).await;
            soak.tally.note("gets of those who come", got);
            let removed = owner.client().await.remove_block(&cid).await;
            soak.tally.note("removals", removed);
        }
        soak.pause((1 + draw.below(STAY)) as f64).await;
        drop(ear);
        match draw.below(2) {
            0 => member.kill(),
            _ => {
                member.daemon().signal(Signal::SIGTERM);
                if member.wait().await != Some(0) {
                    soak.tally.fail(format!("a bad end:\n{}", member.log()));
                }
                member.kill();
            }
        }
        if draw.below(4) == 0 {
            std::fs::remove_dir_all(member.dir().join("data")).unwrap();
        }
        soak.tally.did("comings and goings");
    }
}
