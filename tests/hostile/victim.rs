//! The daemon that is attacked, and what it reports about itself in the meantime.

use std::path::Path;
use std::time::Duration;

use libp2p::Multiaddr;

use crate::common::{Daemon, Start, own_address};

/// The topic that everything goes over: of this network, so its messages travel
/// in signed envelopes.
pub(crate) const TOPIC: &str = "/p2p-node/hostile";

/// A daemon with default limits.
pub(crate) struct Victim {
    pub(crate) daemon: Daemon,
    start: Start,
    listen: String,
    websocket: String,
}

impl Victim {
    /// Starts one in `dir`; on loopback, or as host 1 of a network.
    pub(crate) fn start(dir: &Path, namespace: Option<&str>) -> Victim {
        // On loopback too it keeps its address when it is started again.
        let listen = match namespace {
            Some(_) => "/ip4/192.0.2.1/tcp/4001".to_owned(),
            None => own_address(),
        };
        let websocket = match namespace {
            Some(_) => "/ip4/192.0.2.1/tcp/4002/ws".to_owned(),
            None => format!("{}/ws", own_address()),
        };
        let both = format!("{listen},{websocket}");
        let start = Start::new(dir).on_host(namespace).with(&[
            ("P2P_LISTEN_ADDRS", &both),
            ("P2P_TOPICS", TOPIC),
            // Without it a node that nobody has dialled back serves no records,
            // and there would be nothing to attack.
            ("P2P_DHT_MODE", "server"),
        ]);
        Victim {
            daemon: start.spawn().wait_ready(),
            start,
            listen,
            websocket,
        }
    }

    /// Ends it as `end` does and starts it again with the same data and address.
    pub(crate) fn restart(&mut self, end: impl FnOnce(&mut Daemon)) {
        end(&mut self.daemon);
        self.daemon = self.start.spawn().wait_ready();
    }

    /// Where it listens, with its peer id.
    pub(crate) fn address(&self) -> Multiaddr {
        let peer = self.daemon.id();
        format!("{}/p2p/{peer}", self.listen).parse().unwrap()
    }

    /// The same over WebSocket.
    pub(crate) fn websocket(&self) -> Multiaddr {
        let peer = self.daemon.id();
        format!("{}/p2p/{peer}", self.websocket).parse().unwrap()
    }

    fn bytes(&self, line: &str) -> u64 {
        (self.daemon.memory(line) * 1024.0) as u64
    }

    /// Resident bytes now.
    pub(crate) fn resident(&self) -> u64 {
        self.bytes("VmRSS")
    }

    /// The most resident bytes since [`Victim::forget_peak`]: the kernel's own
    /// mark, which misses nothing between two looks.
    pub(crate) fn peak(&self) -> u64 {
        self.bytes("VmHWM")
    }

    pub(crate) fn forget_peak(&self) {
        // See proc(5): 5 sets the mark to the present size.
        std::fs::write(format!("/proc/{}/clear_refs", self.daemon.pid()), "5").unwrap();
    }

    /// Seconds of processor time that it has used.
    pub(crate) fn cpu(&self) -> f64 {
        self.daemon.cpu()
    }

    /// Sum of the samples whose name, with labels, begins with `sample`.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        self.daemon.metric_sum(sample)
    }

    /// What must hold at every moment: it lives, answers, and has not panicked.
    pub(crate) fn assert_well(&mut self) {
        if let Some(status) = self.daemon.ended() {
            panic!("the daemon ended ({status}):\n{}", self.daemon.log());
        }
        let (live, _) = self.daemon.get("/health/live");
        assert!(live.starts_with("HTTP/1.1 200"), "not live: {live}");
        let log = self.daemon.log();
        let panicked = log.lines().find(|l| l.contains("panicked"));
        assert_eq!(panicked, None, "{log}");
    }

    /// Connections from addresses that begin with `prefix`.
    pub(crate) fn connections_from(&self, prefix: &str) -> usize {
        let peers = self.daemon.json(&["peers"]);
        let of = |p: &serde_json::Value| p["connections"].as_array().unwrap().clone();
        let all = peers.as_array().unwrap().iter().flat_map(of);
        all.filter(|c| c["address"].as_str().unwrap().starts_with(prefix))
            .count()
    }
}

/// Bytes as MiB with one digit.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// How long memory may take to come back, and offenders to be dealt with.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
