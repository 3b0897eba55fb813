//! A network: hosts on one wire, and the peers that run on them now.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use libp2p::Multiaddr;
use libp2p::kad::RecordKey;

use crate::chance::Chance;
use crate::peer::{Peer, Site};
use crate::sybil::{Place, Sybils};
use crate::wire::Wire;
use crate::{DEADLINE, Result};

/// Peers that are opened or ended at the same moment; what they do afterwards
/// overlaps without a bound. Each takes a thread for its disk meanwhile.
const AT_ONCE: usize = 16;

/// Peers in the routing table of a node that has found its place, if there are
/// so many.
const PLACE: i64 = 8;

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(100);

/// What a network is made of.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Nodes that all others enter through, with `P2P_BOOTSTRAP=true`.
    pub(crate) bootstraps: usize,
    /// Real Noise in place of mere names.
    pub(crate) noise: bool,
    /// How long a byte is under way.
    pub(crate) latency: Duration,
    /// Where the stores lie. A folder in memory, or the disk is what is measured.
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    /// Further lines of every node's environment file.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// See the module's page.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) chance: Chance,
    wire: Wire,
    sites: Vec<Site>,
    peers: Vec<Option<Peer>>,
}

impl World {
    /// The bootstrap nodes, running.
    pub(crate) async fn new(settings: Settings) -> Result<World> {
        let mut world = World {
            chance: Chance::new(settings.seed),
            wire: Wire::new(settings.latency),
            sites: Vec::new(),
            peers: Vec::new(),
            settings,
        };
        for _ in 0..world.settings.bootstraps {
            let n = world.add();
            world.start(&[n]).await?;
        }
        Ok(world)
    }

    /// A further host; nothing runs on it yet.
    pub(crate) fn add(&mut self) -> usize {
        let n = self.sites.len();
        let first = self.sites.iter().take(self.settings.bootstraps);
        let known: Vec<String> = first.map(|site| site.address().to_string()).collect();
        let mut variables = Vec::new();
        if n < self.settings.bootstraps {
            variables.push(("P2P_BOOTSTRAP", "true".to_owned()));
        }
        if !known.is_empty() {
            variables.push(("P2P_BOOTSTRAP_PEERS", known.join(",")));
        }
        variables.extend(self.settings.variables.iter().cloned());
        let dir = self.settings.dir.join(n.to_string());
        self.sites.push(Site::new(&self.wire, n, dir, variables));
        self.peers.push(None);
        n
    }

    /// Starts the peers of these hosts all at once.
    pub(crate) async fn start(&mut self, which: &[usize]) -> Result<()> {
        let (wire, sites, noise) = (&self.wire, &self.sites, self.settings.noise);
        let started: Vec<_> = stream::iter(which)
            .map(|n| async move { (*n, sites[*n].start(wire, noise).await) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (n, peer) in started {
            self.peers[n] = Some(peer?);
        }
        Ok(())
    }

    /// Ends these without a word.
    pub(crate) async fn kill(&mut self, which: &[usize]) {
        let peers: Vec<Peer> = which.iter().filter_map(|n| self.peers[*n].take()).collect();
        // The wire is cut for all of them before the first takes its time to end.
        for n in which {
            self.sites[*n].host.reset();
        }
        stream::iter(peers)
            .for_each_concurrent(None, Peer::kill)
            .await;
    }

    /// Ends one of them without waiting for the end of its tasks.
    pub(crate) fn drop_dead(&mut self, n: usize) {
        if let Some(peer) = self.peers[n].take() {
            self.sites[n].host.reset();
            async_std::task::spawn(peer.kill());
        }
    }

    /// Stops these as a service manager does.
    pub(crate) async fn stop(&mut self, which: &[usize]) {
        let peers: Vec<Peer> = which.iter().filter_map(|n| self.peers[*n].take()).collect();
        stream::iter(peers)
            .for_each_concurrent(None, Peer::stop)
            .await;
    }

    /// Starts `count` ids of an attacker around a key; see [`Sybils::start`].
    pub(crate) fn besiege(
        &mut self,
        place: Place,
        count: usize,
        key: &RecordKey,
        among: usize,
        honest: &[Multiaddr],
    ) -> Result<Sybils> {
        let chance = &mut self.chance;
        Sybils::start(&self.wire, place, count, key, among, honest, chance)
    }

    /// Parts the network: these on one side, all others on the other one.
    pub(crate) fn part(&self, these: &[usize]) {
        for n in these {
            self.sites[*n].host.stand_on(1);
        }
    }

    /// Ends every partition.
    pub(crate) fn heal(&self) {
        for site in &self.sites {
            site.host.stand_on(0);
        }
    }

    /// Those that run.
    pub(crate) fn live(&self) -> Vec<usize> {
        let all = self.peers.iter().enumerate();
        all.filter(|(_, peer)| peer.is_some())
            .map(|(n, _)| n)
            .collect()
    }

    /// Those that run and are no bootstrap nodes.
    pub(crate) fn ordinary(&self) -> Vec<usize> {
        let mut live = self.live();
        live.retain(|n| *n >= self.settings.bootstraps);
        live
    }

    /// A peer that runs.
    pub(crate) fn peer(&self, n: usize) -> Result<&Peer> {
        let peer = self.peers.get(n).and_then(Option::as_ref);
        peer.ok_or_else(|| format!("node {n} does not run").into())
    }

    pub(crate) fn runs(&self, n: usize) -> bool {
        self.peers[n].is_some()
    }

    /// All that run.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (usize, &Peer)> {
        let all = self.peers.iter().enumerate();
        all.filter_map(|(n, peer)| Some((n, peer.as_ref()?)))
    }

    pub(crate) fn site(&self, n: usize) -> &Site {
        &self.sites[n]
    }

    /// Bytes sent and connections made since the beginning, by all hosts.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let hosts = self.sites.iter().map(|site| &site.host);
        hosts.fold((0, 0), |(bytes, dials), host| {
            (bytes + host.bytes_sent(), dials + host.dials())
        })
    }

    /// Ordinary nodes that have found their place.
    pub(crate) fn settled(&self) -> Vec<usize> {
        let enough = self.place();
        let mut ordinary = self.ordinary();
        ordinary.retain(|n| {
            self.peer(*n)
                .is_ok_and(|peer| peer.metrics.node.dht_routing_table_peers.get() >= enough)
        });
        ordinary
    }

    /// Peers that the routing table of a node with a place has.
    fn place(&self) -> i64 {
        let live = self.live().len();
        PLACE.min(i64::try_from(live).unwrap_or(i64::MAX) - 1)
    }

    /// How many have not found their place: the routing table is still small.
    pub(crate) fn unsettled(&self) -> usize {
        let enough = self.place();
        self.peers()
            .filter(|(_, peer)| peer.metrics.node.dht_routing_table_peers.get() < enough)
            .count()
    }

    /// Waits until every node has its place.
    pub(crate) async fn settle(&self) -> Result<Duration> {
        self.wait("every node has its place in the DHT", || {
            self.unsettled() == 0
        })
        .await
    }

    /// Waits until something is so; says how long it took.
    pub(crate) async fn wait(&self, what: &str, so: impl Fn() -> bool) -> Result<Duration> {
        let begun = Instant::now();
        while !so() {
            if begun.elapsed() > DEADLINE {
                return Err(format!("never happened: {what}").into());
            }
            async_io::Timer::after(LOOK).await;
        }
        Ok(begun.elapsed())
    }

    /// Ends all of it, without a word.
    pub(crate) async fn end(mut self) {
        let live = self.live();
        self.kill(&live).await;
    }
}
