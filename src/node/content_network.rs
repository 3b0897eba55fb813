//! The network as the block exchange sees it, over the node's handle.
//!
//! A CID is found in the DHT under its multihash, as the IPFS specifications
//! have it, so that the codec in the CID does not matter to who provides it.
//! What a peer does well or badly in the exchange goes to its reputation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_std::task::spawn;
use cid::Cid;
use futures::channel::mpsc;
use futures::future::{BoxFuture, Either, FutureExt, OptionFuture, select};
use futures::stream::{self, BoxStream, StreamExt};
use ipnet::IpNet;
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::error::{Error, at_found_addresses, here_and_there};
use super::handle::Handle;
use super::permits::{DialPermit, Permits};
use super::streams::PeerStream;
use crate::block::network::{
    Confirmation, Fault, Lead, NO_DHT_PEER, Network, OpenError, ProvideError, Provided,
};
use crate::content::fetch::{Obstacle, Unreachable};
use crate::content::refusal::Refusal;
use crate::peers::reputation::BEST;
use crate::peers::{Conduct, Policy};
use crate::system::moment::Moment;

/// The largest block that any node of this program may be set to take: the upper
/// end of `P2P_MAX_BLOCK_BYTES`.
const LARGEST_BLOCK: u64 = 16 << 20;

/// Connected peers that are asked whether they have the content: all of them under
/// the default limits. The question costs a peer a look into its index, once in
/// some seconds, and two hosts that know each other need no DHT.
const CONNECTED: usize = 512;

/// Providers that the DHT names at about the same time and that are put into
/// the order of their reputation: one answer of a DHT peer holds up to twenty.
const SORTED_TOGETHER: usize = 20;

/// Keys of content that the event loop is told at once: less than a millisecond of
/// its time.
const KEPT_AT_ONCE: usize = 1_000;

/// How long a peer that sent a wrong block, or broke the protocol, is not asked.
const SHUN: Duration = Duration::from_secs(3600);

/// Peers remembered for their faults. Ids are free, so the memory of them is
/// bounded; the oldest makes room.
const MAX_SHUNNED: usize = 1024;

/// See the module's documentation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ContentNetwork {
    handle: Handle,
    protocol: StreamProtocol,
    policy: Policy,
    shunned: Arc<Mutex<HashMap<PeerId, Instant>>>,
    permits: Permits,
}

impl ContentNetwork {
    /// The exchange over `handle`, with the protocol id made from the network's name.
    /// What peers do is told to `policy`.
    pub fn new(handle: Handle, protocol: StreamProtocol, policy: Policy) -> Self {
        ContentNetwork {
            handle,
            protocol,
            policy,
            shunned: Arc::default(),
            permits: Permits::default(),
        }
    }

    async fn stream(&self, peer: PeerId) -> Result<PeerStream, OpenError> {
        let protocols = std::slice::from_ref(&self.protocol);
        match self.handle.open_stream(peer, protocols).await {
            Ok((stream, _)) => Ok(stream),
            Err(Error::UnsupportedProtocol { .. }) => {
                let speaks = Vec::new();
                Err(OpenError::Unsupported { speaks })
            }
            Err(e) => Err(unreachable(e)),
        }
    }

    /// A stream to a peer that is connected and was named for what it has.
    async fn stream_of_named(&self, peer: PeerId) -> Result<PeerStream, OpenError> {
        let mut opened = self.stream(peer).await;
        if let Err(OpenError::Unsupported { speaks }) = &mut opened {
            // Rare: whoever announces content exchanges it somehow.
            let peers = self.handle.peers().await.unwrap_or_default();
            let told = peers.into_iter().find(|p| p.id == peer);
            *speaks = told.map_or_else(Vec::new, |p| p.exchanges);
        }
        opened
    }

    /// Connects to a peer at `addrs` and where else it is known to be. One that is
    /// not connected waits for a permit to dial.
    async fn connect(&self, peer: PeerId, addrs: Vec<Multiaddr>) -> Result<(), Undialed> {
        if self.policy.is_connected(&peer) {
            return Ok(());
        }
        let mut dial = Dial {
            handle: self.handle.clone(),
            peer,
            permit: Some(self.permits.to_dial().await),
        };
        let connect = self.handle.connect(peer, addrs);
        let over = dial.permit.as_mut().map(DialPermit::over);
        let over = OptionFuture::from(over);
        let ended = match select(Box::pin(connect), Box::pin(over)).await {
            Either::Left((ended, _)) => ended,
            // The dial ends with `dial`, and after that its permit is free.
            Either::Right(_) => return Err(Undialed::Over),
        };
        dial.permit = None;
        ended.map_err(Undialed::Failed)
    }

    /// As [`ContentNetwork::connect`], and at the addresses that the DHT knows if
    /// that fails.
    async fn connect_anyhow(&self, peer: PeerId) -> Result<(), OpenError> {
        let here = match self.connect(peer, Vec::new()).await {
            Ok(()) => return Ok(()),
            Err(Undialed::Failed(Error::Dial { reason, .. })) => reason,
            // The DHT was not asked: it may be at the retry.
            Err(Undialed::Over) => return Err(OpenError::Busy(over())),
            Err(other) => return Err(other.into()),
        };
        let failed = |there: &Unreachable| here_and_there(&here, there);
        let Some(walk) = self.permits.to_walk() else {
            let busy = "the DHT was not asked, as others are being looked for there";
            let busy = Unreachable::new(Obstacle::GivenUp, busy);
            return Err(OpenError::Busy(failed(&busy)));
        };
        // Dropped before its end, the event loop ends the walk at its next tick.
        let found = self.handle.look_up(peer).await;
        drop(walk);
        let addrs = found.map_err(|there| OpenError::Unreachable(failed(&there)))?;
        self.connect(peer, addrs).await.map_err(|e| {
            let there = match e {
                Undialed::Failed(Error::Dial { reason, .. }) => reason,
                Undialed::Failed(e) => return unreachable(e),
                Undialed::Over => over(),
            };
            OpenError::Unreachable(failed(&at_found_addresses(&there)))
        })
    }

    fn is_shunned(&self, peer: &PeerId) -> bool {
        let mut map = self.shunned.lock().unwrap_or_else(PoisonError::into_inner);
        match map.get(peer) {
            Some(since) if since.elapsed() < SHUN => true,
            Some(_) => {
                map.remove(peer);
                false
            }
            None => false,
        }
    }

    fn shun(&self, peer: PeerId) {
        let mut map = self.shunned.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_SHUNNED
            && let Some(oldest) = map.iter().min_by_key(|(_, t)| **t).map(|(p, _)| *p)
        {
            map.remove(&oldest);
        }
        map.insert(peer, Instant::now());
    }
}

/// Why a peer cannot be reached, without its name, which is said beside it.
fn unreachable(error: Error) -> OpenError {
    OpenError::Unreachable(match error {
        Error::Dial { reason, .. } => reason,
        Error::OpenStream { ref reason, .. } => {
            Unreachable::new(reason.obstacle, error.to_string())
        }
        other => Unreachable::new(Obstacle::Other, other.to_string()),
    })
}

/// Why a peer is not connected.
enum Undialed {
    Failed(Error),
    /// Its dial took long, and others waited for its permit.
    Over,
}

impl From<Undialed> for OpenError {
    fn from(why: Undialed) -> Self {
        match why {
            Undialed::Failed(e) => unreachable(e),
            Undialed::Over => OpenError::Unreachable(over()),
        }
    }
}

/// Why a peer is not reached whose place to be dialed others needed.
fn over() -> Unreachable {
    let words = "it did not answer for some seconds, and others were to be dialed";
    Unreachable::new(Obstacle::NoAnswer, words)
}

/// A dial and its permit, which it gives back when it has ended: also when nobody
/// waits for it any more.
struct Dial {
    handle: Handle,
    peer: PeerId,
    permit: Option<DialPermit>,
}

impl Drop for Dial {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let (handle, peer) = (self.handle.clone(), self.peer);
            spawn(async move {
                handle.abandon(peer).await;
                drop(permit);
            });
        }
    }
}

/// What a fault is to the peer's reputation; nothing when it is only newer than
/// this program.
fn conduct(fault: &Fault) -> Option<Conduct> {
    Some(match fault {
        Fault::Block { why, .. } => match why {
            Refusal::WrongHash => Conduct::WrongBlock,
            Refusal::Unsigned | Refusal::WrongSignature => Conduct::InvalidSignature,
            Refusal::Malformed(_) => Conduct::Malformed,
            // An honest node with a higher P2P_MAX_BLOCK_BYTES has such blocks.
            Refusal::Oversized { len, .. } if *len <= LARGEST_BLOCK => return None,
            Refusal::Bomb { declared, .. } if *declared as u64 <= LARGEST_BLOCK => return None,
            Refusal::Oversized { .. } => Conduct::Oversized,
            Refusal::Bomb { .. } => Conduct::Bomb,
            // It may be this host's clock that is wrong, and then every provider
            // would be blamed; and a publisher can date its blocks at the edge of
            // what is allowed, to set nodes a second apart against each other.
            Refusal::Expired(_) | Refusal::Future(_) | Refusal::Version(_) => return None,
        },
        Fault::Oversized { len, .. } if *len <= 2 * LARGEST_BLOCK => return None,
        Fault::Oversized { .. } => Conduct::Oversized,
        Fault::Protocol(_) => Conduct::Malformed,
    })
}

/// Those that may be asked, the better reputation first.
fn best_first(policy: &Policy, peers: Vec<PeerId>) -> Vec<PeerId> {
    let now = Instant::now();
    let mut scored: Vec<(f64, PeerId)> = peers
        .into_iter()
        .filter(|peer| !policy.is_banned(peer, now))
        .map(|peer| (policy.score_of(&peer, now), peer))
        .collect();
    // Strangers among themselves stay in the order that they came in.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, peer)| peer).collect()
}

/// What a peer's place in the queue of the exchange goes by: one that is trusted
/// is not turned away as long as others can be.
fn score(policy: &Policy, peer: &PeerId) -> f64 {
    match policy.is_trusted(peer) {
        true => f64::from(BEST),
        false => policy.score_of(peer, Instant::now()),
    }
}

/// The DHT key of a CID: its multihash.
pub fn dht_key(cid: &Cid) -> Vec<u8> {
    cid.hash().to_bytes()
}

impl Network for ContentNetwork {
    type Stream = PeerStream;

    fn find_providers(&self, cid: &Cid) -> BoxStream<'static, Lead> {
        let this = self.clone();
        let key = dht_key(cid);
        async move {
            let local = this.handle.local_peer_id();
            let mut connected = best_first(&this.policy, this.policy.connected());
            connected.truncate(CONNECTED);
            let found = match this.handle.find_providers(key).await {
                // What has come together goes on in the order of reputation.
                Ok(found) => {
                    let this = this.clone();
                    found
                        .ready_chunks(SORTED_TOGETHER)
                        .flat_map(move |some| stream::iter(best_first(&this.policy, some)))
                        .map(Lead::Named)
                        .boxed()
                }
                Err(e) => stream::iter([Lead::Unsearched(e.to_string())]).boxed(),
            };
            let connected = stream::iter(connected).map(Lead::Connected);
            connected.chain(found).filter(move |lead| {
                let wanted = match lead {
                    Lead::Connected(peer) | Lead::Named(peer) => {
                        *peer != local && !this.is_shunned(peer)
                    }
                    Lead::Unsearched(_) => true,
                };
                std::future::ready(wanted)
            })
        }
        .flatten_stream()
        .boxed()
    }

    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>> {
        let this = self.clone();
        async move {
            // Dials with what is known, and with what the DHT says if that fails.
            this.connect_anyhow(peer).await?;
            this.stream_of_named(peer).await
        }
        .boxed()
    }

    fn open_again(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>> {
        let this = self.clone();
        async move {
            this.connect(peer, Vec::new()).await?;
            this.stream_of_named(peer).await
        }
        .boxed()
    }

    fn open_near(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>> {
        let this = self.clone();
        async move {
            this.connect(peer, Vec::new()).await?;
            this.stream(peer).await
        }
        .boxed()
    }

    fn report(&self, peer: PeerId, fault: Fault) {
        if let Some(conduct) = conduct(&fault) {
            self.policy.report(&peer, conduct, Moment::now());
        }
        if matches!(&fault, Fault::Block { why, .. } if !why.is_fault()) {
            return;
        }
        // The fetch has said it where a fetch is concerned; a stranger that sends
        // nonsense is told of by its reputation.
        log::debug!(peer:% = peer, error:% = fault; "peer misbehaved in the exchange; not asking it for an hour");
        self.shun(peer);
    }

    fn pace(&self, peer: &PeerId, requests: u32) -> Option<Duration> {
        self.policy.charge(peer, requests, Instant::now())
    }

    fn delivered(&self, peer: &PeerId) {
        self.policy
            .report(peer, Conduct::BlockDelivered, Moment::now());
    }

    fn score(&self, peer: &PeerId) -> f64 {
        score(&self.policy, peer)
    }

    fn subnet(&self, peer: &PeerId) -> Option<IpNet> {
        self.policy.subnet_of(peer)
    }

    fn provide(
        &self,
        cid: &Cid,
        verify: bool,
    ) -> BoxFuture<'static, Result<Provided, ProvideError>> {
        let this = self.clone();
        let cid = *cid;
        async move {
            match this.handle.announce(dht_key(&cid), verify).await {
                Ok(placed) => {
                    let confirmation = placed.outcome().map(|outcome| Confirmation {
                        holders: outcome.confirmed,
                        enough: outcome.enough,
                    });
                    Ok(Provided {
                        confirmation: confirmation.boxed(),
                    })
                }
                Err(e) => Err(ProvideError {
                    cid,
                    alone: matches!(e, Error::NoDhtPeer { .. }),
                    // The key is the CID in another form, which tells nobody anything.
                    reason: match e {
                        Error::NoDhtPeer { .. } => NO_DHT_PEER.into(),
                        Error::Dht { reason, .. } => reason,
                        other => other.to_string(),
                    },
                }),
            }
        }
        .boxed()
    }

    fn entered(&self) -> BoxStream<'static, ()> {
        let handle = self.handle.clone();
        async move {
            // In a node that has stopped nobody enters.
            handle
                .watch_table()
                .await
                .unwrap_or_else(|_| mpsc::channel(0).1)
        }
        .flatten_stream()
        .boxed()
    }

    fn keep(&self, cids: Vec<Cid>) -> BoxFuture<'static, ()> {
        let handle = self.handle.clone();
        async move {
            for some in cids.chunks(KEPT_AT_ONCE) {
                // A node that has stopped answers nobody.
                let _ = handle
                    .keep_content(some.iter().map(dht_key).collect())
                    .await;
            }
        }
        .boxed()
    }

    fn stop_providing(&self, cid: &Cid) -> BoxFuture<'static, ()> {
        let (handle, key) = (self.handle.clone(), dht_key(cid));
        async move {
            // A node that has stopped provides nothing.
            let _ = handle.stop_providing(key).await;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use async_std::future::timeout;
    use async_std::net::TcpListener;
    use async_std::task::block_on;
    use futures::AsyncReadExt;
    use libp2p::identity::Keypair;

    use super::*;
    use crate::message::provenance::Flaw;
    use crate::node::Metrics;
    use crate::node::Node;
    use crate::telemetry::Register as _;
    use crate::transport;

    /// A host that accepts connections and never says anything.
    #[test]
    fn an_opening_that_is_dropped_leaves_no_dial_and_no_permit_taken() {
        const DEADLINE: Duration = Duration::from_secs(30);
        block_on(async {
            let identity = Keypair::generate_ed25519();
            let options = transport::Options {
                // The dial does not end by itself before the test fails.
                handshake_timeout: DEADLINE * 4,
                ..transport::Options::default()
            };
            let (stack, relay) = transport::build(&identity, &options).unwrap();
            let options = crate::node::Options::default();
            let policy = options.policy.clone();
            let metrics = Metrics::new().unwrap();
            let node = Node::start(&identity, stack, relay, options, metrics).unwrap();
            let protocol = StreamProtocol::new("/test/exchange/1");
            let network = ContentNetwork::new(node.handle(), protocol, policy);

            let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = host.local_addr().unwrap().port();
            let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
            let peer = PeerId::random();
            node.handle().add_addrs(peer, vec![address]).await.unwrap();

            let opening = network.open(peer);
            let accepting = Box::pin(host.accept());
            let Either::Right((Ok((mut silent, _)), opening)) = select(opening, accepting).await
            else {
                panic!("it was not dialed");
            };
            assert_eq!(network.permits.dialing(), 1);
            drop(opening);
            let mut all = Vec::new();
            let end = timeout(DEADLINE, silent.read_to_end(&mut all)).await;
            let _ = end.expect("the dial goes on");
            // One more is dialed, whose permit is the only one taken.
            let again = network.open_near(peer);
            let accepting = Box::pin(host.accept());
            let Either::Right((Ok(_silent), _again)) = select(again, accepting).await else {
                panic!("it was not dialed again");
            };
            assert_eq!(network.permits.dialing(), 1);
        });
    }

    #[test]
    fn a_trusted_peer_stands_above_everybody() {
        let (friend, stranger) = (PeerId::random(), PeerId::random());
        let policy = Policy::new(crate::peers::Settings {
            trusted: vec![friend],
            ..Default::default()
        });
        for peer in [&friend, &stranger] {
            policy.report(peer, Conduct::WrongBlock, Moment::now());
        }
        assert_eq!(score(&policy, &friend), f64::from(BEST));
        assert!(score(&policy, &stranger) < 0.0);
    }

    #[test]
    fn the_better_reputation_is_asked_first_and_the_banned_never() {
        let policy = Policy::default();
        let peers: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
        policy.report(&peers[0], Conduct::WrongBlock, Moment::now());
        for _ in 0..20 {
            policy.report(&peers[3], Conduct::BlockDelivered, Moment::now());
        }
        let target = crate::peers::Target::Peer(peers[4]);
        policy.ban(target, None, "", Moment::now()).unwrap();
        let order = best_first(&policy, peers.clone());
        assert_eq!(order, [peers[3], peers[1], peers[2], peers[0]]);
    }

    #[test]
    fn why_a_peer_cannot_be_reached_does_not_name_it_again() {
        let refused = Error::Dial {
            target: PeerId::random().to_string(),
            reason: Unreachable::new(Obstacle::Refused, "connection refused"),
        };
        assert_eq!(unreachable(refused).to_string(), "connection refused");
    }

    #[test]
    fn what_a_wrong_block_costs_follows_from_what_is_wrong_with_it() {
        let cid = crate::content::address::address(b"x", crate::content::address::Codec::Raw);
        let block = |why| conduct(&Fault::Block { cid, why });
        let flaw = Flaw::Unsigned;
        let oversized = |len| Refusal::Oversized { len, max: 1 };
        let bomb = |declared: u64| Refusal::Bomb {
            len: 1,
            declared: declared as usize,
            max: 5,
        };
        for (why, expected) in [
            (Refusal::WrongHash, Conduct::WrongBlock),
            (Refusal::Unsigned, Conduct::InvalidSignature),
            (Refusal::WrongSignature, Conduct::InvalidSignature),
            (Refusal::Malformed(String::new()), Conduct::Malformed),
            (oversized(LARGEST_BLOCK + 1), Conduct::Oversized),
            (bomb(LARGEST_BLOCK + 1), Conduct::Bomb),
        ] {
            assert_eq!(block(why), Some(expected));
        }
        for why in [
            Refusal::Version(2),
            Refusal::Expired(flaw.clone()),
            Refusal::Future(flaw),
            oversized(LARGEST_BLOCK),
            bomb(LARGEST_BLOCK),
        ] {
            assert_eq!(block(why), None);
        }
        let large = |len| Fault::Oversized { len, max: 1 };
        assert_eq!(conduct(&large(4 * LARGEST_BLOCK)), Some(Conduct::Oversized));
        assert_eq!(conduct(&large(LARGEST_BLOCK)), None);
        let broken = Fault::Protocol(String::new());
        assert_eq!(conduct(&broken), Some(Conduct::Malformed));
    }
}
