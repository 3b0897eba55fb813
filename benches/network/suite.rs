//! The scenarios one after another on one network, and their figures.

use std::time::{Duration, Instant};

use crate::Result;
use crate::report::{Report, Row};
use crate::scenario::content::{self, Plan};
use crate::scenario::gossip::{self, Members};
use crate::scenario::{churn, join, kill, lookup, orphan, partition, quiet, restart};
use crate::world::{Settings, World};

/// What to measure.
pub(crate) struct Options {
    pub(crate) scenarios: Vec<String>,
    pub(crate) gets: usize,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) at_once: usize,
    pub(crate) quiet: Duration,
    pub(crate) churn: Duration,
    pub(crate) part: Duration,
    pub(crate) settings: Settings,
}

/// Nodes that come one after another; the others come together.
const IN_TURN: usize = 20;

/// Nodes that come at the same time, at most; more come in several crowds. Each makes
/// some fifty connections in its first seconds, at three milliseconds of the host's
/// two processors each: a thousand at once would only wait for them.
const AT_ONCE: usize = 300;

/// Between two messages: at least so long, and longer the more nodes there are. All
/// of them share the processors of one host, and a message costs each of them some
/// two milliseconds of it; the delay of messages that wait for each other would say
/// nothing of a network of hosts.
const MESSAGE_EVERY: Duration = Duration::from_millis(100);
const MESSAGE_EVERY_NODE: Duration = Duration::from_millis(3);

/// Between two gets while nodes come and go; the same is true of them.
const GET_EVERY: Duration = Duration::from_millis(500);
const GET_EVERY_NODE: Duration = Duration::from_millis(1);

/// How long members of a topic may take to find each other.
const FORM: Duration = Duration::from_secs(60);

/// Runs the scenarios on a network of `size` nodes.
pub(crate) async fn measure(size: usize, options: &Options) -> Result<Vec<Row>> {
    let base = tempfile::Builder::new()
        .prefix("p2p-network-")
        .tempdir_in(&options.settings.dir)?;
    let settings = Settings {
        dir: base.path().to_owned(),
        bootstraps: options.settings.bootstraps.min(size),
        ..options.settings.clone()
    };
    let mut report = Report::new(size);
    let nodes = u32::try_from(size)?;
    let message_every = MESSAGE_EVERY.max(MESSAGE_EVERY_NODE * nodes);
    let wanted = |name: &str| options.scenarios.iter().any(|s| s == name);
    let plan = Plan {
        gets: options.gets,
        bytes: options.bytes,
        at_once: options.at_once,
    };
    let transfer = match wanted("content") {
        true => Some(transfer(&settings, options).await?),
        false => None,
    };
    let mut world = World::new(settings).await?;
    let rest = size - world.live().len();
    let turn = IN_TURN.min(rest / 2);
    let times = join::in_turn(&mut world, turn).await?;
    let at_once = (rest - turn).min(AT_ONCE);
    let all = join::at_once(&mut world, at_once).await?;
    while world.live().len() < size {
        let left = size - world.live().len();
        join::at_once(&mut world, left.min(AT_ONCE)).await?;
    }
    if wanted("join") {
        report.times("join", "one after another", &times);
        report.add("join", "nodes that come at once", at_once as f64, "");
        report.add(
            "join",
            "until all of these have their place",
            all.as_secs_f64(),
            "s",
        );
        let dials = world.traffic().1 as f64 / size as f64;
        report.add("join", "dials of a node", dials, "");
    }
    if wanted("quiet") {
        // First what is left of the join ends: connections that nothing uses.
        async_io::Timer::after(options.quiet).await;
        let seen = quiet::watch(&world, options.quiet).await?;
        report.add("quiet", "handshakes a node and minute", seen.handshakes, "");
        report.add("quiet", "bytes a node and second", seen.bytes, "B");
        report.add("quiet", "CPU a node and second", seen.cpu, "ms");
        report.add("quiet", "memory a node", seen.memory / 1024.0, "KiB");
        report.add("quiet", "peers of a node", seen.peers, "");
        report.add("quiet", "fewest peers of a node", seen.fewest as f64, "");
        let most = seen.most_of_bootstrap as f64;
        report.add("quiet", "most peers of a bootstrap node", most, "");
        let one = Plan { gets: 1, ..plan };
        let nodes = world.ordinary();
        let first = content::exchange(&mut world, one, &nodes, &nodes).await?;
        got(&mut report, "quiet", "first get", &first);
    }
    if wanted("lookup") {
        let found = lookup::search(&mut world, options.gets).await?;
        report.times("lookup", "time", &found.times);
        report.add("lookup", "requests", found.requests, "");
        report.add("lookup", "hops", found.hops, "");
        report.add("lookup", "log2 of the nodes", (size as f64).log2(), "");
        let recall = 100.0 * found.recall;
        report.add("lookup", "of the 20 nearest found", recall, "%");
        report.failures("lookup", &found.failures);
    }
    if let Some(transfer) = transfer {
        let nodes = world.ordinary();
        let seen = content::exchange(&mut world, plan, &nodes, &nodes).await?;
        got(&mut report, "content", "get", &seen);
        report.times("content", "put", &seen.puts);
        let beyond: Vec<Duration> = seen
            .gets
            .iter()
            .map(|t| t.saturating_sub(transfer))
            .collect();
        report.times("content", "beyond the transfer itself", &beyond);
    }
    if wanted("gossip") {
        let mut members = Members::default();
        let all = world.live();
        members.join(&world, &all).await?;
        let begun = Instant::now();
        let lonely = members.form(&world, FORM).await;
        report.add(
            "gossip",
            "until the mesh stands",
            begun.elapsed().as_secs_f64(),
            "s",
        );
        report.add(
            "gossip",
            "members without enough neighbours",
            lonely as f64,
            "",
        );
        let seen = gossip::talk(&mut world, &members, options.messages, message_every).await?;
        heard(&mut report, "gossip", &seen);
        members.leave().await;
    }
    if wanted("kill") {
        let before = world.live();
        let seen = kill::and_exchange(&mut world, 0.3, plan).await?;
        got(&mut report, "kill", "get", &seen);
        let gone: Vec<usize> = before.into_iter().filter(|n| !world.runs(*n)).collect();
        world.start(&gone).await?;
        world.settle().await?;
    }
    if wanted("restart") {
        let took = restart::of_all(&mut world).await?;
        report.add(
            "restart",
            "until all have their place",
            took.as_secs_f64(),
            "s",
        );
        let nodes = world.ordinary();
        let seen = content::exchange(&mut world, plan, &nodes, &nodes).await?;
        got(&mut report, "restart", "get", &seen);
    }
    if wanted("partition") {
        let mut members = Members::default();
        let all = world.live();
        members.join(&world, &all).await?;
        members.form(&world, FORM).await;
        let seen = partition::and_heal(&mut world, &members, options.part, plan).await?;
        let took = seen.gossip.as_secs_f64();
        report.add("partition", "until messages come to all", took, "s");
        got(&mut report, "partition", "get across", &seen.content);
        members.leave().await;
    }
    if wanted("churn") {
        let mut members = Members::default();
        let all = world.live();
        members.join(&world, &all).await?;
        members.form(&world, FORM).await;
        let plan = churn::Plan {
            time: options.churn,
            share: 0.1,
            get_every: GET_EVERY.max(GET_EVERY_NODE * nodes),
            bytes: options.bytes,
            message_every: GET_EVERY.max(message_every),
        };
        let seen = churn::go_on(&mut world, &mut members, plan).await?;
        report.add("churn", "nodes replaced", seen.replaced as f64, "");
        got(&mut report, "churn", "get", &seen.content);
        heard(&mut report, "churn", &seen.gossip);
        members.leave().await;
    }
    if wanted("orphan") && world.ordinary().len() > 1 {
        let seen = orphan::and_exchange(&mut world, plan).await?;
        got(&mut report, "orphan", "get", &seen);
    }
    world.end().await;
    Ok(report.rows)
}

/// The median time of a get between two nodes that know only each other: what the
/// transfer itself takes.
async fn transfer(settings: &Settings, options: &Options) -> Result<Duration> {
    let settings = Settings {
        dir: settings.dir.join("pair"),
        bootstraps: 1,
        ..settings.clone()
    };
    let mut world = World::new(settings).await?;
    join::at_once(&mut world, 1).await?;
    let plan = Plan {
        gets: options.gets.min(100),
        bytes: options.bytes,
        at_once: 1,
    };
    let seen = content::exchange(&mut world, plan, &[0], &[1]).await?;
    world.end().await;
    let mut times = seen.gets;
    times.sort_unstable();
    let middle = times.get(times.len() / 2);
    Ok(*middle.ok_or("no get between two nodes succeeded")?)
}

fn got(report: &mut Report, scenario: &str, what: &str, seen: &content::Outcome) {
    let all = seen.gets.len() + seen.failures.len();
    report.share(scenario, &format!("{what} succeeds"), seen.gets.len(), all);
    report.times(scenario, what, &seen.gets);
    report.failures(scenario, &seen.failures);
}

fn heard(report: &mut Report, scenario: &str, seen: &gossip::Outcome) {
    report.share(
        scenario,
        "messages delivered",
        seen.delays.len(),
        seen.expected,
    );
    report.times(scenario, "delay of a message", &seen.delays);
    report.add(
        scenario,
        "messages refused to their publisher",
        seen.refused.len() as f64,
        "",
    );
    report.failures(scenario, &seen.refused);
    report.failures(scenario, &seen.lost);
}
