//! Well-behaved peers: daemons that know only the victim. One publishes at a
//! fixed rate, another counts what arrives through the victim, and fetches files
//! that the victim has, again and again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_std::task::{JoinHandle, block_on, spawn};
use bytes::Bytes;
use cid::Cid;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use p2p_node::control::Client;
use p2p_node::control::client::{Event, PutOptions};

use crate::common::{Daemon, Start, eventually};
use crate::victim::{TOPIC, Victim};

/// Messages a second: well inside what one peer may send.
const RATE: u64 = 20;

/// Size of a message, and of a file.
const MESSAGE: usize = 256;
const FILE: usize = 1 << 20;

/// Files in turn, and the time from the start of one transfer to the next: a
/// pace that leaves the machine idle between, so that what is lost under attack
/// was taken by the attack.
const FILES: usize = 4;
const PACE: Duration = Duration::from_millis(250);

/// After this long without progress a transfer counts as failed.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);

/// How long messages on their way are waited for at the end of a phase.
const GRACE: Duration = Duration::from_secs(2);

/// Where a daemon runs.
pub(crate) struct Place<'a> {
    pub(crate) namespace: Option<&'a str>,
    pub(crate) listen: String,
}

impl<'a> Place<'a> {
    /// On loopback, on an address of its own.
    pub(crate) fn loopback(n: usize) -> Self {
        Place {
            namespace: None,
            listen: format!("/ip4/127.0.0.{}/tcp/0", n + 1),
        }
    }

    /// Host `n` of a network.
    pub(crate) fn host(lan: &'a crate::lan::Lan, n: usize) -> Self {
        Place {
            namespace: Some(lan.host(n)),
            listen: format!("/ip4/192.0.2.{n}/tcp/4001"),
        }
    }

    /// Starts a daemon there that knows the victim and lets nobody else in.
    pub(crate) fn start(&self, dir: &Path, victim: &Multiaddr) -> Daemon {
        let known = victim.to_string();
        self.start_with(dir, victim, &[("P2P_BOOTSTRAP_PEERS", &known)])
    }

    /// The same, of a daemon that knows nobody.
    pub(crate) fn start_alone(&self, dir: &Path, victim: &Multiaddr) -> Daemon {
        self.start_with(dir, victim, &[])
    }

    fn start_with(&self, dir: &Path, victim: &Multiaddr, more: &[(&str, &str)]) -> Daemon {
        let Some(Protocol::Ip4(victim)) = victim.iter().next() else {
            panic!("the victim is at {victim}")
        };
        // On loopback the kernel may also give what the victim dials this source.
        let allow = match self.namespace {
            Some(_) => format!("{victim}/32"),
            None => format!("{victim}/32,127.0.0.1/32"),
        };
        let mut variables = vec![
            ("P2P_LISTEN_ADDRS", self.listen.as_str()),
            // In the mesh, or its connection would be closed as idle.
            ("P2P_TOPICS", TOPIC),
            ("P2P_ALLOW_CIDRS", &allow),
        ];
        variables.extend_from_slice(more);
        Start::new(dir)
            .with(&variables)
            .on_host(self.namespace)
            .spawn()
            .wait_ready()
    }
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    sent: AtomicU64,
    refused: AtomicU64,
    arrived: Mutex<BTreeSet<u64>>,
    twice: AtomicU64,
    foreign: AtomicU64,
    witnessed: Mutex<BTreeSet<u64>>,
    transfers: AtomicU64,
    failed: AtomicU64,
}

/// Honest traffic that goes on until this is dropped.
pub(crate) struct Honest {
    pub(crate) publisher: Daemon,
    pub(crate) subscriber: Daemon,
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
}

/// A moment to measure from.
pub(crate) struct Mark {
    at: Instant,
    sent: u64,
    transfers: u64,
    failed: u64,
}

/// What honest traffic did in a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Messages published, and how many of them arrived.
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    /// Transfers completed and failed, and how many a second were completed.
    pub(crate) transfers: u64,
    pub(crate) failed: u64,
    pub(crate) transfers_a_second: f64,
}

impl Figures {
    /// Part of the messages that arrived.
    pub(crate) fn delivered(&self) -> f64 {
        self.arrived as f64 / (self.sent as f64).max(1.0)
    }
}

impl Honest {
    /// Starts two daemons beside `victim`, gives it the files, and waits until
    /// messages and files go through.
    pub(crate) fn start(dir: &Path, victim: &Victim, places: [Place<'_>; 2]) -> Honest {
        let address = victim.address();
        let [publisher, subscriber] = places;
        let publisher = publisher.start(&dir.join("publisher"), &address);
        let subscriber = subscriber.start(&dir.join("subscriber"), &address);
        let files = block_on(async {
            let mut client = Client::connect(victim.daemon.socket()).await.unwrap();
            let mut files = Vec::new();
            for seed in 1..=FILES as u64 {
                let content = noise(FILE, seed);
                let put = client
                    .put(&content[..], PutOptions::default(), |_| {})
                    .await;
                files.push(put.unwrap().cid);
            }
            files
        });
        let counts = Arc::new(Counts::default());
        let tasks = vec![
            spawn(listen(subscriber.socket(), counts.clone(), false)),
            spawn(listen(victim.daemon.socket(), counts.clone(), true)),
            spawn(speak(publisher.socket(), counts.clone())),
            spawn(fetch(subscriber.socket(), files, counts.clone())),
        ];
        let honest = Honest {
            publisher,
            subscriber,
            counts,
            tasks,
        };
        eventually("honest messages and files go through", || {
            let heard = !honest.counts.arrived.lock().unwrap().is_empty();
            (heard && honest.counts.transfers.load(Ordering::Relaxed) > 0).then_some(())
        });
        honest
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            sent: self.counts.sent.load(Ordering::Relaxed),
            transfers: self.counts.transfers.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
        }
    }

    /// What happened since `mark`; waits a moment for messages on their way.
    pub(crate) fn since(&self, mark: &Mark) -> Figures {
        let end = self.mark();
        let seconds = (end.at - mark.at).as_secs_f64();
        let arrived = || {
            let arrived = self.counts.arrived.lock().unwrap();
            arrived.range(mark.sent..end.sent).count() as u64
        };
        while arrived() < end.sent - mark.sent && end.at.elapsed() < GRACE {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let transfers = end.transfers - mark.transfers;
        Figures {
            sent: end.sent - mark.sent,
            arrived: arrived(),
            transfers,
            failed: end.failed - mark.failed,
            transfers_a_second: transfers as f64 / seconds,
        }
    }

    /// Stretches since `mark` in which at least two seconds' messages in a row
    /// did not arrive, in seconds from it.
    pub(crate) fn gaps(&self, mark: &Mark) -> Vec<(u64, u64)> {
        let arrived = self.counts.arrived.lock().unwrap();
        let end = self.counts.sent.load(Ordering::Relaxed);
        let mut gaps = Vec::new();
        let mut last = mark.sent;
        for n in arrived.range(mark.sent..end).copied().chain([end]) {
            if n > last + 2 * RATE {
                gaps.push(((last - mark.sent) / RATE, (n - mark.sent) / RATE));
            }
            last = n;
        }
        gaps
    }

    /// Honest messages that were delivered a second time, at the subscriber and
    /// at a program of the victim's own host.
    pub(crate) fn twice(&self) -> u64 {
        self.counts.twice.load(Ordering::Relaxed)
    }

    /// Messages delivered at either that no honest peer sent.
    pub(crate) fn foreign(&self) -> u64 {
        self.counts.foreign.load(Ordering::Relaxed)
    }

    /// Waits until messages and files go through again, as after a restart of
    /// the victim.
    pub(crate) fn wait_again(&self) {
        let mark = self.mark();
        eventually("honest messages and files go through again", || {
            let heard = self
                .counts
                .arrived
                .lock()
                .unwrap()
                .range(mark.sent..)
                .count()
                > 0;
            (heard && self.counts.transfers.load(Ordering::Relaxed) > mark.transfers).then_some(())
        });
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            block_on(task.cancel());
        }
    }
}

async fn speak(socket: std::path::PathBuf, counts: Arc<Counts>) {
    let mut client = Client::connect(&socket).await.unwrap();
    let mut ticks = async_io::Timer::interval(Duration::from_millis(1000 / RATE));
    while !counts.stop.load(Ordering::Relaxed) {
        futures::StreamExt::next(&mut ticks).await;
        let n = counts.sent.load(Ordering::Relaxed);
        let mut data = n.to_be_bytes().to_vec();
        data.resize(MESSAGE, 0x5a);
        if client.publish(TOPIC, data.into()).await.is_err() {
            // Nobody in the mesh: at the start, or while the victim restarts.
            counts.refused.fetch_add(1, Ordering::Relaxed);
        }
        counts.sent.store(n + 1, Ordering::Relaxed);
    }
}

/// Hears everything on the topic, again after the daemon has been restarted.
/// The subscriber's tally is what counts as arrived; the other is a witness.
async fn listen(socket: std::path::PathBuf, counts: Arc<Counts>, witness: bool) {
    let seen = match witness {
        true => &counts.witnessed,
        false => &counts.arrived,
    };
    loop {
        let Ok(client) = Client::connect(&socket).await else {
            async_std::task::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(mut subscription) = client.subscribe(&[TOPIC]).await else {
            continue;
        };
        while let Ok(message) = subscription.next().await {
            if message.data.len() != MESSAGE || message.data[8..].iter().any(|b| *b != 0x5a) {
                counts.foreign.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let n = u64::from_be_bytes(message.data[..8].try_into().unwrap());
            if !seen.lock().unwrap().insert(n) {
                counts.twice.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn fetch(socket: std::path::PathBuf, files: Vec<Cid>, counts: Arc<Counts>) {
    let mut ticks = async_io::Timer::interval(PACE);
    for cid in files.iter().cycle() {
        futures::StreamExt::next(&mut ticks).await;
        if counts.stop.load(Ordering::Relaxed) {
            return;
        }
        match transfer(&socket, cid).await {
            Ok(()) => counts.transfers.fetch_add(1, Ordering::Relaxed),
            Err(()) => counts.failed.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// One file from the network to this process; its blocks are forgotten after.
pub(crate) async fn transfer(socket: &Path, cid: &Cid) -> Result<(), ()> {
    let mut client = Client::connect(socket).await.map_err(drop)?;
    let mut len = 0;
    {
        let mut get = client
            .get(cid, Some(TRANSFER_PATIENCE))
            .await
            .map_err(drop)?;
        while let Some(event) = get.next().await.map_err(drop)? {
            if let Event::Data(data) = event {
                len += data.len();
            }
        }
    }
    client.remove_block(cid).await.map_err(drop)?;
    (len == FILE).then_some(()).ok_or(())
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(len);
    out.into()
}
