//! Ids of an attacker: peers that speak the DHT as it is published, lie as close to a key as
//! they were made to, and know only each other. So whoever asks one of them is told of the
//! others, and never of a provider.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use async_std::task::JoinHandle;
use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{KBucketKey, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, NetworkBehaviour, Swarm};
use libp2p::{Multiaddr, PeerId, StreamProtocol, identify, kad};
use p2p_node::transport;

use crate::Result;
use crate::chance::Chance;
use crate::plain::Plain;
use crate::wire::{Wire, multiaddr};

const KAD: StreamProtocol = StreamProtocol::new("/p2p-node/kad/1.0.0");

/// Fellows that each of them knows: more than an answer names.
const FELLOWS: usize = 64;

/// Honest nodes that each of them makes itself known to.
const VISITS: usize = 8;

/// Where the ids of an attacker are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Host,
    Block,
    Subnets,
}

impl Place {
    pub(crate) const ALL: [Place; 3] = [Place::Host, Place::Block, Place::Subnets];

    /// In the words of the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Place::Host => "one host",
            Place::Block => "one /24",
            Place::Subnets => "16 subnets",
        }
    }

    /// The address of the nth id; no honest host has one of these.
    fn address(self, n: usize) -> SocketAddrV4 {
        let (ip, port) = match self {
            Place::Host => (Ipv4Addr::new(198, 18, 0, 1), n),
            Place::Block => (Ipv4Addr::new(198, 18, 1, (n % 256) as u8), n / 256),
            Place::Subnets => (Ipv4Addr::new(198, 18, 16 + (n % 16) as u8, 1), n / 16),
        };
        SocketAddrV4::new(ip, 4001 + port as u16)
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

/// The ids, which run until this is dropped.
pub(crate) struct Sybils {
    tasks: Vec<JoinHandle<()>>,
}

impl Sybils {
    /// `count` ids around `key`, closer to it than one in `among` would be by chance,
    /// which dial `honest` nodes.
    pub(crate) fn start(
        wire: &Wire,
        place: Place,
        count: usize,
        key: &RecordKey,
        among: usize,
        honest: &[Multiaddr],
        chance: &mut Chance,
    ) -> Result<Sybils> {
        let target = KBucketKey::new(key.clone());
        let bits = among.max(2).ilog2() + 1;
        let near = |key: &Keypair| {
            let peer = KBucketKey::from(key.public().to_peer_id());
            let bucket = peer.distance(&target).ilog2().unwrap_or(0);
            bucket < 256 - bits
        };
        let keys: Vec<Keypair> = std::iter::repeat_with(Keypair::generate_ed25519)
            .filter(near)
            .take(count)
            .collect();
        let all = keys.iter().enumerate();
        let all: Vec<(PeerId, Multiaddr)> = all
            .map(|(n, key)| (key.public().to_peer_id(), multiaddr(place.address(n))))
            .collect();
        let all = Arc::new(all);
        let mut tasks = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            let mut swarm = swarm(wire, place.address(n), key)?;
            for _ in 0..FELLOWS.min(count) {
                let (peer, address) = &all[chance.below(count)];
                if *peer != *swarm.local_peer_id() {
                    swarm.behaviour_mut().kad.add_address(peer, address.clone());
                }
            }
            for _ in 0..VISITS {
                // One that refuses it is one that it does not get to.
                let _ = swarm.dial(honest[chance.below(honest.len())].clone());
            }
            tasks.push(async_std::task::spawn(async move {
                loop {
                    swarm.select_next_some().await;
                }
            }));
        }
        Ok(Sybils { tasks })
    }

    /// Ends them.
    pub(crate) async fn end(self) {
        for task in self.tasks {
            task.cancel().await;
        }
    }
}

fn swarm(wire: &Wire, at: SocketAddrV4, key: &Keypair) -> Result<Swarm<Behaviour>> {
    let local = key.public().to_peer_id();
    let direct = wire.transport(wire.host(*at.ip()));
    let transport = transport::over(direct, Plain(local), &transport::Options::default());
    let mut config = kad::Config::new(KAD);
    // They believe nobody and hold nothing.
    config.set_kbucket_inserts(kad::BucketInserts::Manual);
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    config.set_periodic_bootstrap_interval(None);
    let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
    kad.set_mode(Some(kad::Mode::Server));
    let identify = identify::Config::new("p2p-node/1.0.0".into(), key.public());
    let behaviour = Behaviour {
        identify: identify::Behaviour::new(identify),
        kad,
    };
    let config = swarm::Config::with_executor(|task| {
        async_std::task::spawn(task);
    })
    .with_idle_connection_timeout(crate::DEADLINE);
    let mut swarm = Swarm::new(transport, behaviour, local, config);
    let listens_on = multiaddr(at);
    swarm.listen_on(listens_on.clone())?;
    swarm.add_external_address(listens_on.with(Protocol::P2p(local)));
    Ok(swarm)
}
