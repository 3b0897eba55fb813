//! Streams: as many as yamux has ids for.

use std::time::Duration;

use async_std::task::sleep;
use futures::future::select;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::Keypair;

use crate::bout::Bout;
use crate::peer::{drain, line, raw_yamux};
use crate::process::{Order, Tally};

/// Streams that one attack opens at most.
const MILLION: u64 = 1_000_000;

/// A yamux frame's header:
/// <https://github.com/hashicorp/yamux/blob/master/spec.md>.
pub(super) fn yamux(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; 12] {
    let mut out = [0; 12];
    out[1] = kind;
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..8].copy_from_slice(&stream.to_be_bytes());
    out[8..].copy_from_slice(&length.to_be_bytes());
    out
}

pub(super) const DATA: u8 = 0;
pub(super) const WINDOW: u8 = 1;
pub(super) const SYN: u16 = 1;
pub(super) const FIN: u16 = 4;
pub(super) const RST: u16 = 8;

/// Opens streams and resets them at once, without waiting for anything; every
/// fourth proposes a protocol first. Connects again when it is hung up on.
pub(crate) async fn resets(order: Order, tally: Tally) {
    let key = Keypair::generate_ed25519();
    let mut proposal = line("/multistream/1.0.0");
    proposal.extend(line("/ipfs/ping/1.0.0"));
    let mut opened = 0;
    while opened < MILLION {
        let Ok(channel) = raw_yamux(&order.target, None, &key).await else {
            tally.add("refused connections", 1);
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        tally.add("connections", 1);
        let (mut reader, mut writer) = channel.split();
        let reading = async { drain(&mut reader).await };
        let writing = async {
            let mut id = 1;
            while opened < MILLION {
                let mut batch = Vec::new();
                for _ in 0..250 {
                    if id % 8 == 1 {
                        batch.extend(yamux(DATA, SYN, id, proposal.len() as u32));
                        batch.extend(&proposal);
                    } else {
                        batch.extend(yamux(WINDOW, SYN, id, 0));
                    }
                    batch.extend(yamux(DATA, if id % 16 == 1 { FIN } else { RST }, id, 0));
                    id += 2;
                }
                let sent = async {
                    writer.write_all(&batch).await?;
                    writer.flush().await
                };
                if sent.await.is_err() {
                    return;
                }
                opened += 250;
                tally.add("streams", 250);
            }
        };
        select(Box::pin(reading), Box::pin(writing)).await;
        // Whichever half noticed first.
        if opened < MILLION {
            tally.add("times cut off", 1);
        }
    }
}

#[test]
fn a_million_streams() {
    let mut bout = Bout::loopback("a million streams");
    let order = bout.order("stream resets", 12, 1);
    let outcome = bout.fight(&[order], |_| {});
    let bans = bout.victim.metric("p2p_blacklist_total");
    let defence = format!(
        "paced {} times, {} times cut off, {bans} bans",
        bout.victim.metric("p2p_streams_paced_total"),
        outcome.tally.get("times cut off")
    );
    bout.report(&outcome, 16 << 20, &defence).unwrap();
    // An attacker that gets no processor on a busy machine stays within what is
    // allowed, a thousand a second.
    let streams = outcome.tally.get("streams");
    if streams > 100_000 {
        let cut_off = outcome.tally.get("times cut off");
        assert!(cut_off > 0, "nobody was cut off for {streams} streams");
        // Twenty such offences are a ban; it takes a quick attacker to get there.
        assert!(
            bans > 0.0 || cut_off < 25,
            "it may come again: {}",
            outcome.tally
        );
    }
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}
