//! The checks of a running node: figures in, findings out.

use std::time::Duration;

use super::figures::{Figures, P99, Quantile, Reach};
use super::finding::{Finding, Severity};
use super::thresholds as at;
use crate::api::{Reachability, State};
use crate::text::{count::counted, duration, foreign, size};

/// Every check, in the order that people read them in.
pub fn all(f: &Figures) -> Vec<Finding> {
    vec![
        version(f),
        ready(f),
        event_loop(f),
        reload(f),
        clock(f),
        listening(f),
        reachability(f),
        bootstrap(f),
        neighbours(f),
        dht(f),
        announcements(f),
        gossip(f),
        latency(f),
        connections(f),
        refusals(f),
        dials(f),
        relay(f),
        bans(f),
        memory(f),
        cpu(f),
        descriptors(f),
        store(f),
        disk(f),
        records(f),
    ]
}

fn version(f: &Figures) -> Finding {
    const CHECK: &str = "version";
    if !f.answers || f.agent == f.own_agent {
        return Finding::ok(CHECK, f.own_agent.clone());
    }
    Finding::new(
        CHECK,
        Severity::Note,
        format!(
            "the daemon is {}, this program is {}",
            foreign::printable(&f.agent),
            f.own_agent
        ),
        "restart the daemon if it was upgraded: systemctl restart p2p-node",
    )
}

fn ready(f: &Figures) -> Finding {
    const CHECK: &str = "ready";
    match f.not_ready.as_deref() {
        None => Finding::ok(
            CHECK,
            format!("up {}, {} peers", duration::show(f.uptime), f.peers),
        ),
        Some(reason) => match State::of(reason) {
            State::Starting | State::Draining => Finding::new(
                CHECK,
                Severity::Warning,
                format!("not ready: {reason}"),
                "wait until it has finished; `p2p-node status --watch` shows when",
            ),
            State::Running | State::Unknown => Finding::new(
                CHECK,
                Severity::Problem,
                format!("not ready: {}", foreign::printable(reason)),
                "read its log: journalctl -u p2p-node -p warning",
            ),
        },
    }
}

fn event_loop(f: &Figures) -> Finding {
    const CHECK: &str = "event-loop";
    let lag = duration::show(f.loop_lag);
    if !f.answers || f.loop_lag >= crate::node::pulse::STUCK_AFTER {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!("the event loop is stuck: it turned {lag} ago, and did not answer"),
            "keep a bundle for a bug report (`p2p-node diag --bundle FILE`), then restart it; under \
             systemd the watchdog does",
        );
    }
    if f.loop_lag > at::LOOP_LAG {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("the event loop lags: it turned {lag} ago, and should each second"),
            "see who else uses the processor; give the node more of it (CPUWeight=)",
        );
    }
    Finding::ok(CHECK, format!("turned {lag} ago"))
}

fn reload(f: &Figures) -> Finding {
    const CHECK: &str = "reload";
    if f.reload_failed {
        return Finding::new(
            CHECK,
            Severity::Warning,
            "the last reload failed; the configuration from before it is in force",
            "`p2p-node reload` says which line is wrong; correct it and reload again",
        );
    }
    Finding::ok(
        CHECK,
        "the configuration in force is the last that was loaded",
    )
}

fn clock(f: &Figures) -> Finding {
    const CHECK: &str = "clock";
    let advice = "let a time server keep the clock: timedatectl set-ntp true; blocks are signed \
                  with their time, and refused when clocks differ by five minutes";
    if f.refused_for_time > 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{} blocks of others were dated more than five minutes ahead of this host's clock \
                 in the last {}",
                f.refused_for_time,
                duration::show(f.span)
            ),
            advice,
        );
    }
    if f.clock_synchronised == Some(false) {
        return Finding::new(
            CHECK,
            Severity::Warning,
            "the system says that no time server keeps its clock",
            advice,
        );
    }
    let step = Duration::from_millis(f.clock_step_ms.unsigned_abs());
    if step > at::CLOCK_STEP {
        let way = if f.clock_step_ms > 0 {
            "forwards"
        } else {
            "back"
        };
        return Finding::new(
            CHECK,
            Severity::Note,
            format!(
                "the clock was set {way} by {} since the start, or the machine slept",
                duration::show(step)
            ),
            "check that it is right now: timedatectl",
        );
    }
    Finding::ok(
        CHECK,
        match f.clock_synchronised {
            Some(_) => "a time server keeps it",
            None => "steady since the start; whether a time server keeps it is not known",
        },
    )
}

fn listening(f: &Figures) -> Finding {
    const CHECK: &str = "listening";
    if !f.answers {
        return Finding::ok(CHECK, "not known while the event loop does not answer");
    }
    if f.listening.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Problem,
            "it listens on no address: nobody can connect",
            "set P2P_LISTEN_ADDRS to addresses that this host has, and restart",
        );
    }
    let list: Vec<_> = f.listening.iter().map(foreign::address).collect();
    let list = list.join(", ");
    if f.only_loopback() {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("it listens on loopback alone ({list}): only this host can connect"),
            "for others, set P2P_LISTEN_ADDRS=/ip4/0.0.0.0/tcp/4001 and restart",
        );
    }
    Finding::ok(CHECK, list)
}

/// "Node unreachable".
fn reachability(f: &Figures) -> Finding {
    const CHECK: &str = "reachable";
    let attempts: Vec<_> = f
        .traversal
        .iter()
        .filter(|(_, a)| a.ok + a.failed > 0)
        .map(|(method, a)| format!("{method} {} ok and {} failed", a.ok, a.failed))
        .collect();
    let attempts = match attempts.is_empty() {
        true => "no attempt at NAT traversal yet".to_owned(),
        false => attempts.join(", "),
    };
    let external: Vec<_> = f.external.iter().map(foreign::address).collect();
    match f.nat {
        Reachability::Private if f.relays == 0 => Finding::new(
            CHECK,
            Severity::Warning,
            format!("behind a NAT or firewall, and no relay holds a place ({attempts})"),
            if f.relays_configured {
                "none of P2P_RELAYS gives a reservation: see that they run and are reachable; or \
                 forward TCP and UDP 4001 to this host and set P2P_EXTERNAL_ADDRS"
            } else {
                "forward TCP and UDP 4001 to this host and set P2P_EXTERNAL_ADDRS, or set P2P_RELAYS: \
                 others then connect through a relay and punch a hole (DCUtR)"
            },
        ),
        Reachability::Private => Finding::ok(
            CHECK,
            format!(
                "behind a NAT, reachable through {} relays ({attempts})",
                f.relays
            ),
        ),
        Reachability::Public => {
            Finding::ok(CHECK, format!("from outside, at {}", external.join(", ")))
        }
        Reachability::Unknown if !external.is_empty() => Finding::ok(
            CHECK,
            format!(
                "said to be at {}; no peer has tested it",
                external.join(", ")
            ),
        ),
        Reachability::Unknown => Finding::new(
            CHECK,
            Severity::Note,
            format!("not known whether strangers can connect ({attempts})"),
            "a bootstrap node tests it once this node is connected to one; if the address is known, \
             set P2P_EXTERNAL_ADDRS",
        ),
    }
}

fn bootstrap(f: &Figures) -> Finding {
    const CHECK: &str = "bootstrap";
    let all = f.bootstrap.len();
    if all == 0 {
        if f.is_bootstrap || f.table > 0 {
            return Finding::ok(
                CHECK,
                format!("none configured; {} peers in the routing table", f.table),
            );
        }
        return Finding::new(
            CHECK,
            Severity::Warning,
            "no bootstrap peer is configured and the routing table is empty: it waits to be found",
            "set P2P_BOOTSTRAP_PEERS to 3 to 5 stable peers",
        );
    }
    let bad: Vec<String> = f
        .bootstrap
        .iter()
        .filter_map(|b| {
            let why = match &b.reach {
                // The reason names the address once more, on the way to itself.
                Reach::Failed(why) => {
                    let address = format!("{}: ", b.address);
                    let last = why
                        .rsplit_once(&address)
                        .map_or(why.as_str(), |(_, last)| last);
                    foreign::printable(last)
                }
                Reach::Banned => "banned by this node".into(),
                _ => return None,
            };
            Some(format!("{}: {why}", foreign::address(&b.address)))
        })
        .collect();
    let unknown = f
        .bootstrap
        .iter()
        .filter(|b| b.reach == Reach::Unknown)
        .count();
    if bad.len() == all {
        // The routing table may hold nothing but those that are gone.
        let severity = if f.peers > 0 {
            Severity::Warning
        } else {
            Severity::Problem
        };
        return Finding::new(
            CHECK,
            severity,
            format!("none of {all} bootstrap peers answers ({})", bad.join("; ")),
            "correct P2P_BOOTSTRAP_PEERS, see that they run, and that nothing on the way blocks \
             their port; name 3 to 5 in different places",
        );
    }
    if !bad.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{} of {all} bootstrap peers do not answer ({})",
                bad.len(),
                bad.join("; ")
            ),
            "replace those that are gone in P2P_BOOTSTRAP_PEERS",
        );
    }
    if unknown > 0 {
        return Finding::ok(CHECK, format!("{all} configured; {unknown} were not tried"));
    }
    if all < at::BOOTSTRAP_LEAST {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("all of {all} answer, which is few: there is no way in when they are down"),
            "name 3 to 5 stable peers in P2P_BOOTSTRAP_PEERS",
        );
    }
    Finding::ok(CHECK, format!("all of {all} answer"))
}

/// Whether it has the connections that make it part of its network.
fn neighbours(f: &Figures) -> Finding {
    const CHECK: &str = "neighbours";
    let (kept, floor) = f.kept;
    let (missing, least) = f.missing;
    let wanted = floor.map_or_else(String::new, |n| format!(" (P2P_MIN_PEERS is {n})"));
    let said = format!("{kept} connections are kept although nothing may use them{wanted}");
    if missing == 0 {
        return Finding::ok(CHECK, said);
    }
    match least {
        Some(least) if least > 0 && f.peers > 0 => Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{said}, {missing} too few, and for minutes: it knows more peers, but they cannot \
                 be reached or refuse to keep a connection"
            ),
            "see the findings on dials and on reachable; `p2p-node peers` shows why connections \
             are kept; where the other nodes are full, raise their P2P_MAX_CONNECTIONS or run \
             more of them",
        ),
        _ => Finding::ok(CHECK, format!("{said}; it looks for {missing} more")),
    }
}

/// "Slow DHT queries".
fn dht(f: &Figures) -> Finding {
    const CHECK: &str = "dht";
    let table = format!("{} peers in the routing table", f.table);
    let slow =
        |seconds: f64, bound: f64, queries: u64| seconds > bound && queries >= at::DHT_SLOW_QUERIES;
    let severity = judged(&f.dht, f.span).and_then(|(q, said)| {
        let severity = if slow(q.seconds, at::DHT_P99_SECONDS, f.dht_too_slow) {
            Severity::Problem
        } else if slow(q.seconds, at::DHT_P99_SLOW, f.dht_slow) {
            Severity::Warning
        } else {
            return None;
        };
        Some((severity, said))
    });
    if let Some((severity, said)) = severity {
        return Finding::new(
            CHECK,
            severity,
            format!("DHT queries are slow: {said}; {table}"),
            "add bootstrap peers that are near and stable to P2P_BOOTSTRAP_PEERS, 3 to 5 in all",
        );
    }
    if f.answers && f.table == 0 && !f.bootstrap.is_empty() {
        return Finding::new(
            CHECK,
            Severity::Warning,
            "the routing table is empty: content and peers cannot be found",
            "see the finding on bootstrap peers; peers of another P2P_NETWORK or P2P_KAD_PROTOCOL \
             do not count",
        );
    }
    Finding::ok(
        CHECK,
        match told(&f.dht, f.span) {
            Some(said) => format!("{said}; {table}"),
            None => format!("no query yet; {table}"),
        },
    )
}

/// Whether others can find what is stored here.
fn announcements(f: &Figures) -> Finding {
    const CHECK: &str = "announcements";
    let (waiting, lateness) = f.announcements;
    if waiting == 0 {
        return Finding::ok(CHECK, "no file waits to be announced");
    }
    let said = format!(
        "{} to be announced, the oldest for {}",
        counted(waiting, "file waits", "files wait"),
        duration::show(lateness)
    );
    if lateness <= at::ANNOUNCEMENT_LATE {
        return Finding::ok(CHECK, said);
    }
    let (said, advice) = if f.table == 0 {
        (
            format!("{said}: no DHT peer is known"),
            "see the findings on bootstrap and dht; announcing goes on by itself when a DHT server \
             is there",
        )
    } else if f.announcements_failed > 0 {
        (
            format!(
                "{said}; {} announcements failed in the last {}",
                f.announcements_failed,
                duration::show(f.span)
            ),
            "the peers closest to the files do not take their records: raise P2P_DHT_MAX_RECORDS \
             there, or name this node in their P2P_TRUSTED_PEERS",
        )
    } else {
        (
            format!("{said}: announcing is slower than files become due"),
            "if you have just put very many files, wait: nothing is lost; otherwise see the \
             findings on dht and cpu, or remove with `p2p-node rm` what others need not find",
        )
    };
    Finding::new(CHECK, Severity::Warning, said, advice)
}

/// "Message loss".
fn gossip(f: &Figures) -> Finding {
    const CHECK: &str = "gossip";
    if f.topics.is_empty() {
        return Finding::ok(CHECK, "no topic joined");
    }
    let topics = f.topics.len();
    if f.gossip_dropped > 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{} messages were lost in the last {} because they came faster than they are checked",
                f.gossip_dropped,
                duration::show(f.span)
            ),
            "lower P2P_RATE_FILL and P2P_RATE_BURST, so that no one peer sends so much, or give the \
             node more processor time",
        );
    }
    // Everybody there is in the mesh already: no setting makes it larger.
    let all_in = f.topics.iter().all(|t| t.mesh_peers >= t.peers);
    if f.topics.iter().all(|t| t.peers == 0) {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("no connected peer subscribes to any of the topics joined ({topics})"),
            "connect to peers of the topics: p2p-node connect MULTIADDR, or P2P_BOOTSTRAP_PEERS",
        );
    }
    let said = format!("{} peers in the meshes (topics: {topics})", f.mesh);
    let degree = "set P2P_GOSSIP_D to 6 to 8";
    if f.mesh < at::MESH_THIN && all_in {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{said}, which is every connected peer that subscribes"),
            "connect to more peers of the topics if there are any; one peer that leaves is felt",
        );
    }
    if f.mesh < at::MESH_LEAST {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: too few, messages get lost when one of them leaves"),
            format!("{degree}; when peers come and go all the time, raise P2P_GOSSIP_HEARTBEAT"),
        );
    }
    if f.mesh < at::MESH_THIN {
        return Finding::new(CHECK, Severity::Note, format!("{said}: thin"), degree);
    }
    // Each topic has a mesh of its own: many topics have many peers.
    let widest = f.topics.iter().map(|t| t.mesh_peers).max().unwrap_or(0);
    if f.mesh > at::MESH_MOST && widest > at::MESH_MOST {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: every message is sent more often than needed"),
            degree,
        );
    }
    Finding::ok(CHECK, said)
}

/// "Latency spikes".
fn latency(f: &Figures) -> Finding {
    const CHECK: &str = "latency";
    if let Some((q, said)) = judged(&f.processing, f.span)
        && q.seconds > at::PROCESSING_P99_SECONDS
    {
        return Finding::new(
            CHECK,
            if q.seconds >= at::PROCESSING_P99_STUCK {
                Severity::Problem
            } else {
                Severity::Warning
            },
            format!("messages are processed slowly: {said}"),
            "lower P2P_RATE_FILL and P2P_RATE_BURST so that peers send less, or \
             P2P_MAX_CONNECTIONS; see the findings on cpu and disk",
        );
    }
    Finding::ok(
        CHECK,
        match told(&f.processing, f.span) {
            Some(said) => format!("message processing: {said}"),
            None => "no message processed yet".into(),
        },
    )
}

fn connections(f: &Figures) -> Finding {
    const CHECK: &str = "connections";
    let limit = |name: &str| f.limits.iter().find(|l| l.variable == name);
    if let (Some(wanted), Some(l)) = (f.connections_configured, limit("P2P_MAX_CONNECTIONS"))
        && l.allowed < wanted
    {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "P2P_MAX_CONNECTIONS is {wanted}, but there are descriptors for {} connections only",
                l.allowed
            ),
            "raise LimitNOFILE= of the unit (systemctl edit p2p-node), or lower the variable",
        );
    }
    // The first of equals, which is the total. Memory, descriptors, the store and
    // records have checks of their own.
    let fullest = f
        .limits
        .iter()
        .rev()
        .filter(|l| l.allowed > 0 && l.variable.contains("CONNECTIONS"))
        .map(|l| (l.used as f64 / l.allowed as f64, l))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((share, l)) = fullest else {
        return Finding::ok(CHECK, "not known while the event loop does not answer");
    };
    let said = format!(
        "{} of {} that {} allows",
        l.used,
        l.allowed,
        foreign::printable(&l.variable)
    );
    if share > at::LIMIT_SHARE {
        return Finding::new(
            CHECK,
            scarce(share),
            format!("{said}: soon full"),
            format!(
                "raise {}; name peers that must always come in as P2P_TRUSTED_PEERS",
                foreign::printable(&l.variable)
            ),
        );
    }
    Finding::ok(CHECK, said)
}

fn refusals(f: &Figures) -> Finding {
    const CHECK: &str = "refusals";
    if f.refused.is_empty() {
        return Finding::ok(
            CHECK,
            format!(
                "no connection refused in the last {}",
                duration::show(f.span)
            ),
        );
    }
    let mut list: Vec<_> = f.refused.iter().collect();
    list.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let said: Vec<_> = list
        .iter()
        .map(|(limit, n)| format!("{n} by {}", foreign::printable(limit)))
        .collect();
    let finding = format!(
        "connections refused in the last {}: {}",
        duration::show(f.span),
        said.join(", ")
    );
    let scarce = ["LimitNOFILE", "P2P_MAX_MEMORY"]
        .into_iter()
        .find(|name| f.refused.contains_key(*name));
    if let Some(name) = scarce {
        return Finding::new(
            CHECK,
            Severity::Warning,
            finding,
            format!("the node runs short: raise {name}, or lower P2P_MAX_CONNECTIONS"),
        );
    }
    let caps: Vec<_> = list
        .iter()
        .map(|(limit, _)| limit.as_str())
        .filter(|l| l.starts_with("P2P_MAX_"))
        .map(foreign::printable)
        .collect();
    let advice = match caps.is_empty() {
        true => {
            "as it was told to: by bans, address lists, or bounds that nothing raises".to_owned()
        }
        false => format!(
            "if they should come in, raise {}, or name them in P2P_TRUSTED_PEERS",
            caps.join(", ")
        ),
    };
    Finding::new(CHECK, Severity::Note, finding, advice)
}

fn dials(f: &Figures) -> Finding {
    const CHECK: &str = "dials";
    let rate = f.dial_failures_a_minute;
    let said = format!("{rate:.1} dials failed a minute");
    if rate > at::DIAL_FAILURES_A_MINUTE {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said} in the last {}", duration::show(f.span)),
            "see that this host's way out is open (firewall, DNS, routes, IPv6), and that \
             P2P_BOOTSTRAP_PEERS and P2P_RELAYS are right",
        );
    }
    Finding::ok(CHECK, said)
}

fn relay(f: &Figures) -> Finding {
    const CHECK: &str = "relay";
    let (used, allowed) = f.circuits;
    let Some(allowed) = allowed.filter(|n| *n > 0) else {
        return Finding::ok(CHECK, format!("{used} circuits relayed for others"));
    };
    let said = format!("{used} of {allowed} circuits relayed for others");
    if used as f64 > at::LIMIT_SHARE * allowed as f64 {
        return Finding::new(
            CHECK,
            scarce(used as f64 / allowed as f64),
            format!("{said}: soon full"),
            "run a further relay, and name it in the P2P_RELAYS of some of the peers",
        );
    }
    Finding::ok(CHECK, said)
}

fn bans(f: &Figures) -> Finding {
    const CHECK: &str = "bans";
    if !f.banned_but_wanted.is_empty() {
        let list: Vec<_> = f
            .banned_but_wanted
            .iter()
            .map(|w| foreign::printable(w))
            .collect();
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "banned although the configuration names them: {}",
                list.join(", ")
            ),
            "p2p-node unban PEER, or take them out of the configuration",
        );
    }
    if f.bans_a_minute > at::BANS_A_MINUTE {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!(
                "{:.0} bans within a minute, {} in force: somebody attacks, and is refused",
                f.bans_a_minute, f.bans
            ),
            "see who: p2p-node bans; packaging/fail2ban lets the firewall refuse them",
        );
    }
    match f.bans {
        0 => Finding::ok(CHECK, "none in force"),
        n => Finding::new(
            CHECK,
            Severity::Note,
            format!("{n} in force"),
            "p2p-node bans lists them, p2p-node unban lifts one",
        ),
    }
}

/// "Memory leak".
fn memory(f: &Figures) -> Finding {
    const CHECK: &str = "memory";
    let Some(limit) = f.memory_limit.filter(|n| *n > 0) else {
        return Finding::ok(
            CHECK,
            format!("{} resident; no limit is known", size::show(f.resident)),
        );
    };
    let said = format!(
        "{} resident of {} that P2P_MAX_MEMORY allows",
        size::show(f.resident),
        size::show(limit)
    );
    if f.resident as f64 > at::MEMORY_SHARE * limit as f64 {
        return Finding::new(
            CHECK,
            if f.resident as f64 > at::MEMORY_HIGH * limit as f64 {
                Severity::Problem
            } else {
                Severity::Warning
            },
            format!("{said}: above it new connections are refused"),
            "lower P2P_MAX_CONNECTIONS or P2P_CONNECTION_IDLE_TIMEOUT, or raise P2P_MAX_MEMORY (and \
             MemoryMax= of the unit); when it grows with a steady number of peers, report it with \
             a bundle",
        );
    }
    Finding::ok(CHECK, said)
}

/// "High CPU".
fn cpu(f: &Figures) -> Finding {
    const CHECK: &str = "cpu";
    let percent = |cores: f64| format!("{:.0}%", cores * 100.0);
    let now = f.cpu_now.unwrap_or(f.cpu_since_start);
    let said = format!(
        "{} of a core now, {} on average since the start",
        percent(now),
        percent(f.cpu_since_start)
    );
    let frequent = f.heartbeat.filter(|h| *h < at::HEARTBEAT_LEAST);
    if now > at::CPU_CORES {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("busy: {said}"),
            match frequent {
                Some(h) => format!(
                    "raise P2P_GOSSIP_HEARTBEAT from {} to 1s or more",
                    duration::show(h)
                ),
                None => "if no large transfer is under way, lower P2P_RATE_FILL or \
                         P2P_MAX_INBOUND_RATE; `perf top` shows what it does"
                    .to_owned(),
            },
        );
    }
    if let Some(h) = frequent {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{said}; the gossip heartbeat is {}", duration::show(h)),
            "P2P_GOSSIP_HEARTBEAT below 1s costs processor time for little",
        );
    }
    Finding::ok(CHECK, said)
}

/// "File descriptor exhaustion".
fn descriptors(f: &Figures) -> Finding {
    const CHECK: &str = "descriptors";
    let (open, allowed) = f.descriptors;
    let said = format!("{open} of {allowed} open");
    if allowed > 0 && open as f64 > at::LIMIT_SHARE * allowed as f64 {
        return Finding::new(
            CHECK,
            scarce(open as f64 / allowed as f64),
            format!("{said}: new connections are soon refused"),
            "raise LimitNOFILE= of the unit (systemctl edit p2p-node), or lower P2P_MAX_CONNECTIONS",
        );
    }
    Finding::ok(CHECK, said)
}

/// "Disk usage explosion", of blocks.
fn store(f: &Figures) -> Finding {
    const CHECK: &str = "store";
    let (used, cap) = f.store;
    let said = format!(
        "{} of {} taken by blocks",
        size::show(used),
        size::show(cap)
    );
    if f.store_refused > 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!(
                "{said}; {} blocks were refused in the last {}: all is pinned or in use, or the disk \
                 is full",
                f.store_refused,
                duration::show(f.span)
            ),
            "raise P2P_STORE_MAX_BYTES, free the disk, or remove files: p2p-node ls, p2p-node rm CID",
        );
    }
    if cap > 0 && used as f64 > at::STORE_SHARE * cap as f64 {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{said}: full; what was fetched longest ago makes room"),
            "to keep more, raise P2P_STORE_MAX_BYTES; what must stay is pinned by `p2p-node put`",
        );
    }
    Finding::ok(CHECK, said)
}

/// "Disk usage explosion", of the disk.
fn disk(f: &Figures) -> Finding {
    const CHECK: &str = "disk";
    let Some((free, total)) = f.disk.filter(|d| d.1 > 0) else {
        return Finding::ok(CHECK, "not known how much is free");
    };
    let said = format!("{} of {} free", size::show(free), size::show(total));
    if free < at::DISK_LEAST {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!("{said}: writes begin to fail"),
            "free space on the disk of P2P_DATA_DIR: p2p-node rm CID, journalctl --vacuum-size=500M, \
             du -xh / | sort -h",
        );
    }
    if (free as f64) < at::DISK_SHARE * total as f64 && free < at::DISK_PLENTY {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: nearly full"),
            "make room on the disk of P2P_DATA_DIR, or lower P2P_STORE_MAX_BYTES",
        );
    }
    let growth = f.store.1.saturating_sub(f.store.0);
    if free < growth {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}, but the store may grow by {}", size::show(growth)),
            format!(
                "lower P2P_STORE_MAX_BYTES to {} or less, or make room",
                size::show(f.store.0.saturating_add(free))
            ),
        );
    }
    Finding::ok(CHECK, said)
}

/// "Disk usage explosion", of DHT records.
fn records(f: &Figures) -> Finding {
    const CHECK: &str = "records";
    let (held, allowed) = f.records;
    let Some(allowed) = allowed.filter(|n| *n > 0) else {
        return Finding::ok(CHECK, format!("{held} DHT records held"));
    };
    let said = format!("{held} of {allowed} DHT records held");
    if held as f64 > at::LIMIT_SHARE * allowed as f64 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{said}: soon full, then those of others are refused"),
            "raise P2P_DHT_MAX_RECORDS if there is memory for them",
        );
    }
    Finding::ok(CHECK, said)
}

/// How bad it is that so much of a limit is used.
fn scarce(share: f64) -> Severity {
    if share > at::LIMIT_USED_UP {
        Severity::Problem
    } else {
        Severity::Warning
    }
}

/// The percentile that decides: of lately, as the alerts have it. Nothing that is
/// long over is held against a node.
fn judged(p99: &P99, span: Duration) -> Option<(Quantile, String)> {
    let lately = p99.lately?;
    Some((lately, told(p99, span)?))
}

/// The percentile in words.
fn told(p99: &P99, span: Duration) -> Option<String> {
    let words = |q: &Quantile| {
        let seconds = Duration::try_from_secs_f64(q.seconds).unwrap_or_default();
        format!("99% of {} within {}", q.count, duration::show(seconds))
    };
    Some(match (&p99.lately, &p99.since_start) {
        (Some(q), _) => format!("{} in the last {}", words(q), duration::show(span)),
        (None, Some(q)) => format!("none lately; {} since the start", words(q)),
        (None, None) => return None,
    })
}

#[cfg(test)]
mod tests;
