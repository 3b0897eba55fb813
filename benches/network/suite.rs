//! The scenarios one after another on one network, and their figures.

use std::time::{Duration, Instant};

use crate::Result;
use crate::report::{Report, Row};
use crate::scenario::content::{self, Plan};
use crate::scenario::gossip::{self, Members};
use crate::scenario::{churn, eclipse, join, kill, lookup, orphan, partition, quiet, restart};
use crate::sybil::Place;
use crate::usage;
use crate::world::{Settings, World};

/// What to measure.
pub(crate) struct Options {
    pub(crate) scenarios: Vec<String>,
    pub(crate) gets: usize,
    pub(crate) messages: usize,
    pub(crate) members: Option<usize>,
    pub(crate) ids: Vec<usize>,
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
/// 40 to 130 connections in its first minute, at three milliseconds of the host's two
/// processors each: a thousand at once would only wait for them.
const AT_ONCE: usize = 300;

/// Between two messages: at least so long, and longer the more nodes there are. All
/// of them share the processors of one host, and a message costs each of them two
/// to four milliseconds of it; the delay of messages that wait for each other would say
/// nothing of a network of hosts.
const MESSAGE_EVERY: Duration = Duration::from_millis(100);
const MESSAGE_EVERY_NODE: Duration = Duration::from_millis(5);

/// The same while nodes come and go, of gets and of messages. Each node that comes
/// costs the host's processors half a second, and each get a fifth of one.
const CHURN_EVERY: Duration = Duration::from_millis(500);
const GET_EVERY_NODE: Duration = Duration::from_millis(5);
const CHURN_MESSAGE_EVERY_NODE: Duration = Duration::from_millis(10);

/// How often it is looked whether nodes still dial each other, and how long they may.
const LOOK: Duration = Duration::from_secs(3);
const RESTLESS: Duration = Duration::from_secs(900);

/// When connections that nothing uses are closed (`P2P_CONNECTION_IDLE_TIMEOUT`), and
/// some time for it.
const IDLE: Duration = Duration::from_secs(40);

/// When members of a topic have announced themselves once more: after a minute, with
/// some time for it. The next time is four minutes later.
const AGAIN: Duration = Duration::from_secs(75);

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
    let on_topic = options.members.unwrap_or(size).min(size);
    let hearers = u32::try_from(on_topic)?;
    let message_every = MESSAGE_EVERY.max(MESSAGE_EVERY_NODE * hearers);
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
    }
    let rest = calm(&world).await;
    if wanted("join") {
        rested(&mut report, "join", "and until it rests", rest);
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
        let all = first.gets.len() + first.failures.len();
        report.share("quiet", "first get succeeds", first.gets.len(), all);
        for time in &first.gets {
            report.add("quiet", "first get", time.as_secs_f64() * 1e3, "ms");
        }
        report.failures("quiet", &first.failures);
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
    if wanted("eclipse") {
        for ids in &options.ids {
            for place in Place::ALL {
                let seen = eclipse::behind(&mut world, *ids, place, options.gets).await?;
                let what = format!("provider found behind {ids} ids of {}", place.name());
                report.share("eclipse", &what, seen.found, seen.asked);
                report.failures("eclipse", &seen.failures);
            }
        }
    }
    let mut members = Members::default();
    if ["gossip", "partition", "churn"].into_iter().any(wanted) {
        let live = world.live();
        let chosen = world.chance.some(on_topic, &live);
        members.join(&world, &chosen).await?;
        let begun = Instant::now();
        let lonely = members.form(&world, FORM).await;
        let formed = begun.elapsed();
        async_io::Timer::after(AGAIN).await;
        let rest = calm(&world).await.map(|rest| AGAIN + rest);
        if wanted("gossip") {
            let formed = formed.as_secs_f64();
            report.add("gossip", "until the mesh stands", formed, "s");
            let what = "members without enough neighbours";
            report.add("gossip", what, lonely as f64, "");
            rested(&mut report, "gossip", "and until the network rests", rest);
        }
    }
    if wanted("gossip") {
        let living = members.living(&world);
        let peers = world.peers().filter(|(n, _)| living.contains(n));
        let peers = peers.map(|(_, p)| p.metrics.node.connected_peers.get());
        let peers = peers.sum::<i64>() as f64 / living.len() as f64;
        report.add("gossip", "peers of a member", peers, "");
        let used = usage::cpu()?;
        let seen = gossip::talk(&mut world, &members, options.messages, message_every).await?;
        let used = usage::cpu()?.saturating_sub(used).as_secs_f64() * 1_000.0;
        heard(&mut report, "gossip", &seen);
        let each = used / (on_topic * options.messages) as f64;
        report.add("gossip", "CPU of a member for a message", each, "ms");
    }
    if wanted("partition") {
        let seen = partition::and_heal(&mut world, &members, options.part, plan).await?;
        let took = seen.gossip.as_secs_f64();
        report.add("partition", "until messages come to all", took, "s");
        got(&mut report, "partition", "get across", &seen.content);
    }
    if wanted("churn") {
        let plan = churn::Plan {
            time: options.churn,
            share: 0.1,
            get_every: CHURN_EVERY.max(GET_EVERY_NODE * nodes),
            bytes: options.bytes,
            message_every: CHURN_EVERY.max(CHURN_MESSAGE_EVERY_NODE * hearers),
        };
        let seen = churn::go_on(&mut world, &mut members, plan).await?;
        report.add("churn", "nodes replaced", seen.replaced as f64, "");
        got(&mut report, "churn", "get", &seen.content);
        heard(&mut report, "churn", &seen.gossip);
    }
    members.leave().await;
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
        let rest = calm(&world).await;
        rested(&mut report, "restart", "and until it rests", rest);
    }
    if wanted("orphan") && world.ordinary().len() > 1 {
        let seen = orphan::and_exchange(&mut world, plan).await?;
        got(&mut report, "orphan", "get", &seen);
    }
    world.end().await;
    Ok(report.rows)
}

/// Waits until the network has come to rest: walks through the DHT and searches for
/// neighbours are over, but for one dial of a node a minute (and one in three seconds
/// of all of them, in a small network), and what they connected has been closed. Says
/// how long it took until the last of these dials; `None` after [`RESTLESS`]. On hosts
/// of their own nodes are done with that in seconds; here they wait for each other's
/// processors, and what is measured meanwhile says nothing of a network.
async fn calm(world: &World) -> Option<Duration> {
    let begun = Instant::now();
    let mut dialed = begun;
    let mut before = world.traffic().1;
    while dialed.elapsed() < IDLE {
        async_io::Timer::after(LOOK).await;
        let dials = world.traffic().1;
        let few = world.live().len() as f64 * LOOK.as_secs_f64() / 60.0;
        if (dials - before) as f64 > few.max(1.0) {
            dialed = Instant::now();
        }
        before = dials;
        if begun.elapsed() > RESTLESS {
            return None;
        }
    }
    Some(dialed.duration_since(begun))
}

/// How long [`calm`] took, or that it was not to be had: then what follows was measured
/// on a busy network.
fn rested(report: &mut Report, scenario: &str, measure: &str, rest: Option<Duration>) {
    match rest {
        Some(rest) => report.add(scenario, measure, rest.as_secs_f64(), "s"),
        None => eprintln!("{scenario}: the network did not come to rest"),
    }
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
