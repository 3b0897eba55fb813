//! `diag`: says in words what is wrong with the node and what to do about it.
//!
//! | file | holds |
//! |---|---|
//! | `bundle` | one file for a bug report |
//! | `gather` | facts from the daemon: two snapshots, which bootstrap peers answer |
//! | `offline` | facts from the host: socket, configuration, folder, unit, ports |
//! | `tool` | runs a program of the system for a limited time and returns its output |
//!
//! [`crate::diag`] decides what the facts mean.

mod bundle;
mod gather;
mod offline;
mod tool;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::context::Context;
use super::error::Error;
use super::output::{Output, Tone};
use crate::api::Snapshot;
use crate::diag::figures::P99;
use crate::diag::finding::worst;
use crate::diag::{Figures, Finding, Severity, checks};

#[derive(Debug, clap::Args)]
pub(crate) struct DiagArgs {
    /// The environment file to check; else that of the daemon, or of the packages
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Do not dial the bootstrap peers to see whether they answer
    #[arg(long)]
    no_dial: bool,
    /// Write one text file for a bug report, or - for standard output; it holds no secret
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// In the bundle, keep peer ids and addresses, which are replaced by numbers else
    #[arg(long, requires = "bundle")]
    with_peers: bool,
}

/// Whether there is a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Running,
    /// The daemon accepts connections but does not answer, or this user may not connect
    /// to it.
    Silent,
    Absent,
}

/// Everything that was found.
#[derive(Debug)]
struct Report {
    presence: Presence,
    snapshot: Option<Snapshot>,
    figures: Option<Figures>,
    findings: Vec<Finding>,
}

pub(crate) fn run(context: &Context, args: &DiagArgs) -> Result<(), Error> {
    let bundle = args.bundle.as_deref();
    if let Some(path) = bundle.filter(|p| p.as_os_str() != "-") {
        // This is checked before anything else is done. The file itself is written last,
        // so that nothing of it is left behind when the user interrupts the rest.
        bundle::may_write(path)?;
    }
    let report = async_std::task::block_on(examine(context, args));
    if let Some(path) = bundle {
        let text = bundle::render(&report, args.with_peers);
        return bundle::write(context, path, &text);
    }
    let mut out = context.output();
    if out.is_json() {
        out.value(&to_json(&report))?;
    } else {
        print(&mut out, &report, context.global.quiet)?;
    }
    out.finish()?;
    match (report.presence, worst(&report.findings)) {
        // The findings have already reported that there is no daemon.
        (Presence::Absent, _) => Err(Error::no_daemon("").already_told()),
        (_, Severity::Problem) => Err(Error::told()),
        _ => Ok(()),
    }
}

/// Runs all checks. This never fails: anything that cannot be examined becomes a finding.
async fn examine(context: &Context, args: &DiagArgs) -> Report {
    let seen = gather::gather(context, args).await;
    let mut findings = vec![crate::diag::host::daemon(&seen.sockets)];
    match &seen.figures {
        Some(figures) => {
            findings.extend(offline::beside_a_daemon(args, seen.snapshot.as_ref()));
            findings.extend(checks::all(figures));
        }
        None => findings.extend(offline::without_a_daemon(context, args)),
    }
    Report {
        presence: seen.presence,
        snapshot: seen.snapshot,
        figures: seen.figures,
        findings,
    }
}

/// Prints the findings. With `-q`, those less severe than a warning are left out.
fn print(out: &mut Output, report: &Report, quiet: bool) -> Result<(), Error> {
    for f in &report.findings {
        if quiet && f.severity < Severity::Warning {
            continue;
        }
        let word = format!("{:<8}", f.severity.name());
        let word = match f.severity {
            Severity::Ok => out.tone(Tone::Good, word),
            Severity::Note => word,
            Severity::Warning => out.tone(Tone::Heading, word),
            Severity::Problem => out.tone(Tone::Bad, word),
        };
        out.line(format!("{word} {:<13} {}", f.check, f.finding))?;
        if !f.advice.is_empty() {
            out.line(format!("{:<8} {:<13} do: {}", "", "", f.advice))?;
        }
    }
    if quiet {
        return Ok(());
    }
    let count = |severity| {
        let n = report
            .findings
            .iter()
            .filter(|f| f.severity == severity)
            .count();
        let plural = if n == 1 { "" } else { "s" };
        format!("{n} {}{plural}", severity.name())
    };
    out.line(format!(
        "{}, {}, {} in {} checks",
        count(Severity::Problem),
        count(Severity::Warning),
        count(Severity::Note),
        report.findings.len()
    ))
}

fn to_json(report: &Report) -> Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|f| {
            json!({
                "check": f.check,
                "verdict": f.severity.name(),
                "finding": f.finding,
                "do": f.advice,
            })
        })
        .collect();
    json!({
        "daemon": match report.presence {
            Presence::Running => "running",
            Presence::Silent => "silent",
            Presence::Absent => "absent",
        },
        "verdict": worst(&report.findings).name(),
        "version": env!("CARGO_PKG_VERSION"),
        "findings": findings,
        "figures": report.figures.as_ref().map(figures_to_json),
    })
}

/// Returns, for scripts, the figures on which the findings are based.
fn figures_to_json(f: &Figures) -> Value {
    let p99 = |p: &P99| {
        json!({
            "lately_seconds": p.lately.map(|q| q.seconds),
            "lately_count": p.lately.map_or(0, |q| q.count),
            "since_start_seconds": p.since_start.map(|q| q.seconds),
            "since_start_count": p.since_start.map_or(0, |q| q.count),
        })
    };
    json!({
        "uptime_seconds": f.uptime.as_secs_f64(),
        "lately_covers_seconds": f.span.as_secs_f64(),
        "event_loop_lag_seconds": f.loop_lag.as_secs_f64(),
        "clock_step_seconds": f.clock_step_ms as f64 / 1000.0,
        "peers": f.peers,
        "routing_table_size": f.table,
        "dht_query_p99": p99(&f.dht),
        "message_processing_p99": p99(&f.processing),
        "gossip_mesh_peers": f.mesh,
        "dial_failures_a_minute": f.dial_failures_a_minute,
        "connections_refused_lately": f.refused,
        "resident_bytes": f.resident,
        "memory_limit_bytes": f.memory_limit,
        "cpu_cores_now": f.cpu_now,
        "cpu_cores_since_start": f.cpu_since_start,
        "descriptors_open": f.descriptors.0,
        "descriptors_allowed": f.descriptors.1,
        "store_bytes": f.store.0,
        "store_max_bytes": f.store.1,
        "disk_free_bytes": f.disk.map(|d| d.0),
        "disk_total_bytes": f.disk.map(|d| d.1),
        "dht_records": f.records.0,
        "bans": f.bans,
    })
}
