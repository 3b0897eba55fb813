//! Ids of an attacker lie around the key of some content: is its provider still found?

use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::{KBucketKey, RecordKey};
use p2p_node::content::address::{Codec, address};

use crate::Result;
use crate::sybil::{Place, Sybils};
use crate::world::World;

/// Keys that are attacked one after another, so that the figures do not hang on one.
const KEYS: usize = 3;

/// Bytes of the content: one block.
const BYTES: usize = 1000;

/// How long the ids make themselves known before the content comes.
const KNOWN: Duration = Duration::from_secs(10);

/// Honest nodes that the ids dial: those closest to the key, where the records will lie.
const VISITED: usize = 40;

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Look-ups that found the provider.
    pub(crate) found: usize,
    pub(crate) asked: usize,
    pub(crate) failures: Vec<String>,
}

/// Content is put behind `ids` of an attacker at `place`, and `count` nodes look for its
/// provider.
pub(crate) async fn behind(
    world: &mut World,
    ids: usize,
    place: Place,
    count: usize,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let nodes = world.ordinary();
    for _ in 0..KEYS {
        let bytes = world.chance.bytes(BYTES);
        let cid = address(&bytes, Codec::Raw);
        let key = RecordKey::new(&cid.hash().to_bytes());
        let target = KBucketKey::new(key.clone());
        let mut nearest = world.live();
        nearest.sort_by_cached_key(|n| KBucketKey::from(world.site(*n).peer()).distance(&target));
        nearest.truncate(VISITED);
        let honest: Vec<_> = nearest.iter().map(|n| world.site(*n).address()).collect();
        let among = world.live().len();
        let sybils = world.besiege(place, ids, &key, among, &honest)?;
        async_io::Timer::after(KNOWN).await;
        let putter = world.chance.one(&nodes);
        // That it is told to enough nodes may fail under attack; what counts is whether
        // others find it.
        if let Err(e) = world.peer(putter)?.door().put(&bytes).await {
            outcome.failures.push(e.to_string());
        }
        let provider = world.site(putter).peer();
        for _ in 0..count.div_ceil(KEYS) {
            let asker = world.chance.one(&nodes);
            if asker == putter {
                continue;
            }
            outcome.asked += 1;
            let handle = world.peer(asker)?.handle();
            let mut named = handle.find_providers(key.to_vec()).await?;
            while let Some(peer) = named.next().await {
                if peer == provider {
                    outcome.found += 1;
                    break;
                }
            }
        }
        Sybils::end(sybils).await;
    }
    Ok(outcome)
}
