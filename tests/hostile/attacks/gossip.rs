//! Gossip: more messages than a peer may send, and forged, repeated and swollen ones.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_std::channel::{Sender, bounded};
use async_std::task::{sleep, spawn};
use futures::future::{BoxFuture, join_all};
use futures::{AsyncWriteExt, StreamExt};
use libp2p::core::muxing::SubstreamBox;
use libp2p::identity::Keypair;
use prost::Message;

use crate::bout::Bout;
use crate::peer::{GOSSIP, Manners, Peer, Polite, read_frame, within};
use crate::process::{Order, Tally};
use crate::victim::TOPIC;
use crate::wire::{SignedMessage, frame, gossip, varint};

/// Publishers behind one attacker: message authors are free.
const AUTHORS: usize = 50;

/// Messages in one frame.
const BATCH: u64 = 10;

/// A gossip stream to the victim, with the topic joined.
async fn join(
    order: &Order,
    key: &Keypair,
    manners: Arc<dyn Manners>,
) -> std::io::Result<(Peer, SubstreamBox)> {
    let peer = Peer::connect(&order.target, None, key, manners).await?;
    let mut stream = peer.open(GOSSIP).await?;
    stream.write_all(&frame(&gossip::join(TOPIC))).await?;
    stream.flush().await?;
    Ok((peer, stream))
}

/// Sends what `next` makes, `rate` messages a second; connects again when it is
/// hung up on, under a new name when `again_as_new`.
async fn publish(
    order: Order,
    tally: Tally,
    rate: u64,
    again_as_new: bool,
    mut next: impl FnMut(&Keypair, u64) -> Vec<gossip::Publish>,
) {
    let mut key = Keypair::generate_ed25519();
    let mut n = 0;
    loop {
        if again_as_new {
            key = Keypair::generate_ed25519();
        }
        let manners = Arc::new(Polite::new(&key));
        let Ok((peer, mut stream)) = join(&order, &key, manners).await else {
            tally.add("refused connections", 1);
            sleep(Duration::from_millis(300)).await;
            continue;
        };
        let mut ticks = async_io::Timer::interval(Duration::from_millis(1000 * BATCH / rate));
        while !peer.is_gone() {
            futures::StreamExt::next(&mut ticks).await;
            let batch: Vec<_> = (0..BATCH).flat_map(|i| next(&key, n + i)).collect();
            n += BATCH;
            let count = batch.len() as u64;
            let mut bytes = Vec::new();
            // One frame each, so that a large one does not spoil the others.
            for message in batch {
                bytes.extend(frame(&gossip::publish(vec![message])));
            }
            let sent = within("gossip", async {
                stream.write_all(&bytes).await?;
                stream.flush().await
            });
            if sent.await.is_err() {
                break;
            }
            tally.add("messages", count);
        }
        tally.add("times cut off", 1);
    }
}

/// Sequence numbers as honest publishers have them: from the clock, upwards.
fn number(n: u64) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_micros() as u64 + n
}

/// A message that is right in every way.
fn valid(author: &Keypair, n: u64) -> gossip::Publish {
    let number = number(n);
    let envelope = SignedMessage::signed(author, TOPIC, number, vec![0x11; 300], 0);
    gossip::Publish::signed(author, TOPIC, number, envelope.encode_to_vec())
}

/// `count` peers that publish what is valid in everything but its amount:
/// `more[0]` messages a second each, of many authors.
pub(crate) async fn flood(order: Order, tally: Tally) {
    let rate: u64 = order.more[0].parse().unwrap();
    let peers = (0..order.count).map(|_| {
        let authors: Vec<_> = (0..AUTHORS).map(|_| Keypair::generate_ed25519()).collect();
        let next = move |_: &Keypair, n: u64| vec![valid(&authors[n as usize % AUTHORS], n)];
        spawn(publish(order.clone(), tally.clone(), rate, false, next))
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

/// `count` peers that publish what must not be delivered; `more[0]` says of
/// which kind: `forged`, `malformed` or `bombs`.
pub(crate) async fn bad(order: Order, tally: Tally) {
    let make: fn(&Keypair, u64) -> gossip::Publish = match order.more[0].as_str() {
        "forged" => forged,
        "malformed" => malformed,
        "bombs" => bomb,
        other => panic!("no such kind: {other}"),
    };
    // Every other one comes back as the same peer, until it is banned.
    let peers = (0..order.count).map(|i| {
        let next = move |key: &Keypair, n: u64| vec![make(key, n)];
        spawn(publish(order.clone(), tally.clone(), 60, i % 2 == 0, next))
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

/// Signatures that are not right, outside and inside.
fn forged(key: &Keypair, n: u64) -> gossip::Publish {
    let number = number(n);
    let victim = Keypair::generate_ed25519();
    let mut envelope = SignedMessage::signed(key, TOPIC, number, vec![0x22; 300], 0);
    let outer = |envelope: &SignedMessage| {
        gossip::Publish::signed(key, TOPIC, number, envelope.encode_to_vec())
    };
    match n % 5 {
        // The outer signature is broken.
        0 => {
            let mut message = outer(&envelope);
            message.signature.as_mut().unwrap()[5] ^= 1;
            message
        }
        // The outer one is right, the envelope's is broken.
        1 => {
            envelope.signature[5] ^= 1;
            outer(&envelope)
        }
        // Signed for another topic.
        2 => outer(&SignedMessage::signed(
            key,
            "/p2p-node/other",
            number,
            vec![0x22; 300],
            0,
        )),
        // In another's name.
        3 => {
            envelope.key = victim.public().encode_protobuf();
            outer(&envelope)
        }
        // Another number than the one that was signed.
        _ => {
            envelope.seq_no += 1;
            outer(&envelope)
        }
    }
}

/// What is no envelope, or not as envelopes are written.
fn malformed(key: &Keypair, n: u64) -> gossip::Publish {
    let number = number(n);
    let good = SignedMessage::signed(key, TOPIC, number, vec![0x33; 300], 0);
    let bytes = good.encode_to_vec();
    let data = match n % 8 {
        0 => rand::random_iter().take(400).collect(),
        1 => bytes[..bytes.len() / 2].to_vec(),
        2 => [&bytes[..], &[0xff; 20]].concat(),
        // A field that there is not, which changes nothing that is signed.
        3 => [&bytes[..], &[0x78, 1]].concat(),
        4 => Vec::new(),
        // A length of 2^60.
        5 => [&[10][..], &varint(1 << 60), &bytes[..]].concat(),
        6 => SignedMessage {
            compression: 77,
            ..good
        }
        .encode_to_vec(),
        // Longer than any message may be, in the key and not in the payload.
        _ => SignedMessage {
            key: vec![0x33; 700_000],
            ..good
        }
        .encode_to_vec(),
    };
    gossip::Publish::signed(key, TOPIC, number, data)
}

/// Small when packed, huge when unpacked; rightly signed.
fn bomb(key: &Keypair, n: u64) -> gossip::Publish {
    let number = number(n);
    let payload = match n % 3 {
        // Says 4 GiB and holds nothing.
        0 => [&varint((1 << 32) - 1)[..], &[0; 40]].concat(),
        // Truly unpacks to 8 MiB.
        1 => snap::raw::Encoder::new()
            .compress_vec(&vec![0; 8 << 20])
            .unwrap(),
        // Says one byte more than there is.
        _ => {
            let packed = snap::raw::Encoder::new().compress_vec(&[0; 2000]).unwrap();
            [&varint(2001)[..], &packed[2..]].concat()
        }
    };
    let envelope = SignedMessage::signed(key, TOPIC, number, payload, 1);
    gossip::Publish::signed(key, TOPIC, number, envelope.encode_to_vec())
}

/// Listens in on the topic and keeps what it hears.
struct Ears {
    polite: Polite,
    heard: Sender<gossip::Publish>,
}

impl Manners for Ears {
    fn speaks(&self, protocol: &str) -> bool {
        self.polite.speaks(protocol)
    }

    fn serve(&self, protocol: String, mut stream: SubstreamBox) -> BoxFuture<'static, ()> {
        if protocol != GOSSIP {
            return self.polite.serve(protocol, stream);
        }
        let heard = self.heard.clone();
        Box::pin(async move {
            while let Ok(bytes) = read_frame(&mut stream).await {
                let rpc = gossip::Rpc::decode(&bytes[..]).unwrap_or_default();
                for message in rpc.publish {
                    // Nobody listens any more once enough was heard.
                    let _ = heard.try_send(message);
                }
            }
        })
    }
}

/// How many heard messages are kept to be replayed.
const KEPT: usize = 60;

/// How long they are listened for at most: it is to have heard some by then, not all.
const LISTENS: Duration = Duration::from_secs(10);

/// One peer listens for a while; then `count` peers say again what it heard, as
/// it was and in wrappers of their own, under new names each time.
pub(crate) async fn replay(order: Order, tally: Tally) {
    let key = Keypair::generate_ed25519();
    let (heard, messages) = bounded(KEPT);
    let ears = Arc::new(Ears {
        polite: Polite::new(&key),
        heard,
    });
    let (_peer, _stream) = join(&order, &key, ears).await.unwrap();
    let enough = async_io::Timer::after(LISTENS);
    let kept: Vec<gossip::Publish> = messages.take(KEPT).take_until(enough).collect().await;
    let distinct: HashSet<_> = kept.iter().map(|m| m.data.clone()).collect();
    tally.add("heard", distinct.len() as u64);
    assert!(!kept.is_empty(), "nothing was heard");
    let peers = (0..order.count).map(|_| {
        let kept = kept.clone();
        let next = move |key: &Keypair, n: u64| {
            let old = &kept[n as usize % kept.len()];
            let data = old.data.clone().unwrap_or_default();
            let wrapped = gossip::Publish::signed(key, TOPIC, number(n), data);
            vec![old.clone(), wrapped]
        };
        spawn(publish(order.clone(), tally.clone(), 40, true, next))
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

/// What a node takes of a peer, the defaults of `P2P_RATE_BURST` and
/// `P2P_RATE_FILL`; of all together it takes ten times as much.
const RATE_BURST: f64 = 200.0;
const RATE_FILL: f64 = 100.0;
const PEERS_AT_FULL_RATE: usize = 10;

/// What so many peers may say in `seconds`.
fn allowed(peers: usize, seconds: f64) -> f64 {
    (RATE_BURST + RATE_FILL * seconds) * peers.min(PEERS_AT_FULL_RATE) as f64
}

/// What is sent may still be under way when the attack ends, so that a flood is
/// known to be above what passes only when it is so by a part of it.
const SURELY_ABOVE: f64 = 1.2;

fn flooded(name: &'static str, seconds: u64, peers: usize, rate: u64) -> Result<(), String> {
    const ACCEPTED: &str = r#"p2p_gossip_validation_total{result="accepted"}"#;
    let mut bout = Bout::loopback(name);
    let mut order = bout.order("gossip flood", seconds, peers);
    order.more = vec![rate.to_string()];
    let (before, begun) = (bout.victim.metric(ACCEPTED), Instant::now());
    let outcome = bout.fight(&[order], |_| {});
    let accepted = bout.victim.metric(ACCEPTED) - before;
    let took = begun.elapsed().as_secs_f64();
    let dropped = bout.victim.metric("p2p_gossip_dropped_total");
    let complaints = complaints(&bout.honest.subscriber) + complaints(&bout.honest.publisher);
    let defence = format!(
        "{dropped} dropped, {} times cut off, {} bans; neighbours held {complaints} offences against the victim",
        outcome.tally.get("times cut off"),
        bout.victim.metric("p2p_blacklist_total"),
    );
    bout.report(&outcome, 32 << 20, &defence).unwrap();
    // Whoever is of the best reputation has twice the budget; the honest publisher is
    // one more.
    let most = allowed(2 * (peers + 1), took);
    assert!(
        accepted <= most,
        "{accepted} were taken, where {most} may pass"
    );
    // Where the machine is so slow that the attackers send less than that, there is
    // nothing to drop.
    let sent = outcome.tally.get("messages") as f64;
    let taken = allowed(peers, seconds as f64);
    if sent > SURELY_ABOVE * taken {
        assert!(dropped > 0.0, "nothing of {sent} messages was dropped");
    } else {
        println!("the flood was slow: {sent} messages, where {taken} pass");
    }
    outcome.grew_at_most(96 << 20).unwrap();
    if complaints > 0 {
        return Err(format!(
            "the victim's neighbours held {complaints} offences against it for what it forwarded, and honest messages kept {:.2}",
            outcome.messages
        ));
    }
    // On a quiet machine all of them arrive; on one that runs other tests beside,
    // the attackers take the processor from the honest too.
    outcome.honest_kept(0.5, 0.2)
}

/// Offences that a daemon has logged of the only peer that it has.
fn complaints(daemon: &crate::common::Daemon) -> usize {
    let log = daemon.log();
    log.lines()
        .filter(|l| l.contains("misbehaving peer") || l.contains("offence noted"))
        .count()
}

/// Long enough that persistent excess has its consequences.
#[test]
fn gossip_flood_above_the_bucket() {
    flooded("gossip flood, 4 peers at 1,000/s", 24, 4, 1000).unwrap();
}

#[test]
fn gossip_flood_of_many_within_theirs() {
    flooded("gossip flood, 30 peers at 50/s", 18, 30, 50).unwrap();
}

/// What must never be delivered, from 4 peers at 60 messages a second each.
fn refused(name: &'static str, kind: &str) {
    let mut bout = Bout::loopback(name);
    let mut order = bout.order("bad gossip", 8, 4);
    order.more = vec![kind.to_owned()];
    let foreign = bout.honest.foreign();
    let outcome = bout.fight(&[order], |_| {});
    let delivered = bout.honest.foreign() - foreign;
    let cut = outcome.tally.get("times cut off");
    let bans = bout.victim.metric("p2p_blacklist_total");
    let defence = format!("{delivered} delivered, {cut} times cut off, {bans} bans");
    bout.report(&outcome, 24 << 20, &defence).unwrap();
    assert!(delivered == 0, "{delivered} {kind} messages were delivered");
    assert!(bans > 0.0, "nobody was banned for {kind} messages");
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.5).unwrap();
}

#[test]
fn forged_messages() {
    refused("invalid signatures of messages", "forged");
}

#[test]
fn malformed_envelopes() {
    refused("malformed and oversized envelopes", "malformed");
}

#[test]
fn envelope_bombs() {
    refused("decompression bombs in envelopes", "bombs");
}

#[test]
fn replays_at_once_and_after_restarts() {
    let mut bout = Bout::loopback("replays, over kill -9 and a stop");
    let order = bout.order("replay", 26, 3);
    let outcome = bout.fight(&[order], |bout| {
        let begun = Instant::now();
        let wait = |bout: &mut Bout, seconds| {
            while begun.elapsed() < Duration::from_secs(seconds) {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            bout.victim.assert_well();
        };
        wait(bout, 8);
        bout.victim.restart(|daemon| {
            daemon.kill();
        });
        bout.honest.wait_again();
        wait(bout, 16);
        bout.victim.restart(|daemon| {
            daemon.signal(nix::sys::signal::Signal::SIGTERM);
            assert_eq!(daemon.wait(), Some(0));
        });
        bout.honest.wait_again();
    });
    let twice = bout.honest.twice();
    let cut = outcome.tally.get("times cut off");
    let bans = bout.victim.metric("p2p_blacklist_total");
    let defence =
        format!("{twice} delivered again, {cut} times cut off, {bans} bans since the last start");
    bout.report(&outcome, 32 << 20, &defence).unwrap();
    assert!(twice == 0, "{twice} messages were delivered again");
    assert!(cut > 6, "replayers are not cut off");
    outcome.honest_kept(0.2, 0.1).unwrap();
}
