//! What peers that are of no use cost a fetch in time.
//!
//! A file of one block and a file of many are fetched from one honest provider,
//! with nobody else around and among a crowd, in turn, each time into an empty
//! store. The honest provider is the last of those that the search names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::os::unix::net::UnixStream;
use async_std::task::spawn;
use cid::Cid;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use p2p_node::block::content::{Announce, Content, ContentOptions, ImportOptions};
use p2p_node::block::exchange::MAX_REQUEST_FRAME;
use p2p_node::block::exchange::frame::FrameReader;
use p2p_node::block::network::{
    Confirmation, Fault, Lead, Network, OpenError, ProvideError, Provided,
};
use p2p_node::content::fetch::{Obstacle, Unreachable};
use p2p_node::store::{Options, Store};
use p2p_node::web::metrics::Metrics;
use prost::Message;

type Error = Box<dyn std::error::Error>;

/// `p2p.exchange.Request`, as far as it is read here.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    wants: Vec<Want>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Want {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bool, tag = "3")]
    have_only: bool,
}

/// `p2p.exchange.Response`, as far as it is sent here.
#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int32, tag = "2")]
    status: i32,
    #[prost(message, optional, tag = "3")]
    block: Option<Block>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Block {
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

const BLOCK: i32 = 0;
const DONT_HAVE: i32 = 1;
const HAVE: i32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Does not have it.
    Bystander,
    /// Accepts the stream and never answers.
    Mute,
    /// Its dial never ends.
    Unreachable,
    /// Has it, and sends 20 kB a second.
    Slow,
    /// Has it, and sends 200 kB a second.
    Trickle,
    /// Says yes, and sends wrong blocks.
    Forger,
    /// Says yes, and then nothing.
    Tease,
}

/// One end of a stream to a peer of that kind.
async fn useless(kind: Kind, stream: UnixStream) -> Result<(), Error> {
    let (reader, mut writer) = stream.split();
    let mut reader = FrameReader::new(reader, MAX_REQUEST_FRAME);
    while let Some(frame) = reader.next().await? {
        for want in Request::decode(frame)?.wants {
            let status = match kind {
                Kind::Mute | Kind::Unreachable => continue,
                Kind::Bystander => DONT_HAVE,
                _ if want.have_only => HAVE,
                Kind::Tease => continue,
                Kind::Slow | Kind::Trickle | Kind::Forger => BLOCK,
            };
            let mut response = Response {
                id: want.id,
                status,
                block: None,
            };
            if status == BLOCK {
                let data = vec![1; 300_000];
                response.block = Some(Block { data });
            }
            let wire = response.encode_length_delimited_to_vec();
            let step = match kind {
                Kind::Slow => 2_000,
                Kind::Trickle => 20_000,
                _ => wire.len(),
            };
            for some in wire.chunks(step) {
                if step < wire.len() {
                    async_std::task::sleep(Duration::from_millis(100)).await;
                }
                writer.write_all(some).await?;
            }
        }
    }
    Ok(())
}

/// Pipes to a crowd and to one honest provider.
#[derive(Clone)]
struct Crowd {
    leads: Arc<Vec<Lead>>,
    kinds: Arc<HashMap<PeerId, Kind>>,
    honest: Option<Arc<Content<Crowd>>>,
}

impl Network for Crowd {
    type Stream = UnixStream;

    fn find_providers(&self, _: &Cid) -> BoxStream<'static, Lead> {
        futures::stream::iter(self.leads.to_vec()).boxed()
    }

    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<UnixStream, OpenError>> {
        let (kind, honest) = (self.kinds.get(&peer).copied(), self.honest.clone());
        async move {
            let lost =
                |reason: &str| OpenError::Unreachable(Unreachable::new(Obstacle::Other, reason));
            if kind == Some(Kind::Unreachable) {
                std::future::pending::<()>().await;
            }
            let (ours, theirs) = UnixStream::pair().map_err(|e| lost(&e.to_string()))?;
            match (kind, honest) {
                (Some(kind), _) => drop(spawn(async move { drop(useless(kind, theirs).await) })),
                (None, Some(honest)) => {
                    spawn(async move { drop(honest.serve(peer, theirs).await) });
                }
                (None, None) => return Err(lost("nobody there")),
            }
            Ok(ours)
        }
        .boxed()
    }

    fn report(&self, _: PeerId, _: Fault) {}

    fn delivered(&self, _: &PeerId) {}

    fn provide(&self, _: &Cid, _: bool) -> BoxFuture<'static, Result<Provided, ProvideError>> {
        let confirmation = Confirmation {
            holders: 1,
            enough: true,
        };
        let confirmation = futures::future::ready(confirmation).boxed();
        async move { Ok(Provided { confirmation }) }.boxed()
    }

    fn stop_providing(&self, _: &Cid) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

fn content(network: Crowd, dir: &std::path::Path) -> Result<Content<Crowd>, Error> {
    let limits = Options {
        max_bytes: 8 << 30,
        max_block_bytes: 2 << 20,
    };
    let metrics = Metrics::new()?;
    let store = Store::open(dir, limits, metrics.store.clone())?;
    let identity = Keypair::generate_ed25519();
    let options = ContentOptions::default();
    Ok(Content::new(
        store,
        network,
        identity,
        metrics.block.clone(),
        options,
    ))
}

/// Seconds of one fetch.
async fn fetch(
    honest: &Arc<Content<Crowd>>,
    cid: &Cid,
    connected: &[(Kind, usize)],
    named: &[(Kind, usize)],
) -> Result<f64, Error> {
    let mut kinds = HashMap::new();
    let mut all = |crowds: &[(Kind, usize)]| -> Vec<PeerId> {
        let each = crowds.iter();
        let each = each.flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
        let each = each.map(|kind| {
            let peer = PeerId::random();
            kinds.insert(peer, kind);
            peer
        });
        each.collect()
    };
    let near = all(connected).into_iter().map(Lead::Connected);
    let far = all(named).into_iter().map(Lead::Named);
    let last = Lead::Named(PeerId::random());
    let network = Crowd {
        leads: Arc::new(near.chain(far).chain([last]).collect()),
        kinds: Arc::new(kinds),
        honest: Some(Arc::clone(honest)),
    };
    let dir = tempfile::tempdir()?;
    let sink = content(network, dir.path())?;
    let start = Instant::now();
    let mut fetch = sink.fetch(cid, sink.fetch_options())?;
    while let Some(event) = fetch.next().await {
        event?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn spread(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let ms = |seconds: f64| (seconds * 1e3).round();
    format!(
        "{:>6} {:>6} {:>6}",
        ms(times[0]),
        ms(times[times.len() / 2]),
        ms(times[times.len() - 1])
    )
}

/// Prints a table; each row is `rounds` pairs.
pub(crate) async fn run(data: &[u8], rounds: usize) -> Result<(), Error> {
    use Kind::*;
    let nobody = Crowd {
        leads: Arc::default(),
        kinds: Arc::default(),
        honest: None,
    };
    let dir = tempfile::tempdir()?;
    let honest = Arc::new(content(nobody, dir.path())?);
    let all = [
        (Mute, 8),
        (Unreachable, 8),
        (Slow, 8),
        (Trickle, 8),
        (Forger, 8),
        (Tease, 8),
    ];
    type Row = (&'static str, Vec<(Kind, usize)>, Vec<(Kind, usize)>);
    let rows: [Row; 10] = [
        ("30 bystanders", vec![(Bystander, 30)], vec![]),
        ("400 bystanders", vec![(Bystander, 400)], vec![]),
        ("8 that never answer", vec![], vec![(Mute, 8)]),
        ("8 unreachable", vec![], vec![(Unreachable, 8)]),
        ("8 very slow", vec![], vec![(Slow, 8)]),
        ("8 that trickle", vec![], vec![(Trickle, 8)]),
        ("8 that send wrong blocks", vec![], vec![(Forger, 8)]),
        ("8 that say yes, then nothing", vec![], vec![(Tease, 8)]),
        ("8 that are named and say no", vec![], vec![(Bystander, 8)]),
        (
            "all of these, and connected ones",
            vec![(Bystander, 30), (Mute, 8), (Tease, 8)],
            all.to_vec(),
        ),
    ];
    for size in [300_000, data.len()] {
        let options = ImportOptions {
            announce: Announce::No,
            ..ImportOptions::default()
        };
        let cid = honest.import(&data[..size], options).await?.cid;
        println!("\n{size} bytes; milliseconds of {rounds} fetches, in pairs");
        println!(
            "{:>34}   {:>20}   {:>20}",
            "", "alone: min, med, max", "among: min, med, max"
        );
        for (name, connected, named) in &rows {
            let (mut alone, mut among) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                alone.push(fetch(&honest, &cid, &[], &[]).await?);
                among.push(fetch(&honest, &cid, connected, named).await?);
            }
            println!(
                "{name:>34}   {}   {}",
                spread(&mut alone),
                spread(&mut among)
            );
        }
    }
    Ok(())
}
