//! DIAG: what the node knows about itself, for a diagnosis.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_std::task::spawn_blocking;

use super::pb;
use super::session::{Failure, Session, ok};
use super::wire::InvalidField;
use crate::api::{Setting, Snapshot, State, Status};
use crate::config;
use crate::system::{rlimits, usage};
use crate::telemetry::Registry;
use crate::telemetry::history::Earlier;
use crate::telemetry::history::History;
use crate::text::duration::millis;
use crate::text::unix_time::{from_unix_millis, unix_millis};

/// How long the event loop may take to report its status, which is longer than its
/// longest turn. A diagnosis without this status is better than a late one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The configuration in force, which a reload may change.
pub type Settings = Arc<dyn Fn() -> Vec<config::Setting> + Send + Sync>;

/// What a diagnosis needs in addition to the rest of the backend.
#[derive(Clone)]
pub struct Source {
    /// All metrics.
    pub registry: Registry,
    /// The same metrics in the last minutes.
    pub history: History,
    /// The configuration in force.
    pub settings: Settings,
    /// Bytes of memory above which new connections are refused.
    pub memory_limit: Option<u64>,
    /// The data folder, whose disk is examined.
    pub data_dir: PathBuf,
    /// The wall clock and the monotonic clock at the daemon's start.
    pub started: (SystemTime, Instant),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Answers a DIAG request. When the event loop is stuck, the answer has no `status`.
    pub(super) async fn diag(&self) -> Result<pb::Response, Failure> {
        let node = &self.shared.node;
        let from = &node.diag;
        let status = async_std::future::timeout(PATIENCE, self.status_now()).await;
        let status = status.ok().and_then(Result::ok);
        let draining = status.as_ref().is_some_and(|s| s.state == State::Draining);
        let not_ready = match (node.readiness)() {
            _ if draining => Some(State::Draining.as_str().to_owned()),
            Ok(()) if status.is_none() => Some("the event loop does not answer".to_owned()),
            Ok(()) => None,
            Err(reason) => Some(reason),
        };
        let registry = from.registry.clone();
        let data_dir = from.data_dir.clone();
        let (text, open, cpu, disk) = spawn_blocking(move || {
            (
                registry.render(),
                rlimits::open_descriptors(),
                usage::cpu_time(),
                usage::disk(&data_dir),
            )
        })
        .await;
        let text = text.map_err(|e| Failure(format!("cannot gather the metrics: {e}")))?;
        let (now, instant) = (SystemTime::now(), Instant::now());
        let snapshot = Snapshot {
            status,
            not_ready,
            loop_lag: node.pulse.age(instant),
            metrics: text,
            earlier: from.history.all(instant),
            uptime: node.pulse.uptime(),
            pid: std::process::id(),
            cpu: cpu.unwrap_or_default(),
            clock: Some(now),
            clock_step_ms: step(from.started, (now, instant)),
            descriptors: (
                open.unwrap_or_default(),
                rlimits::descriptors().unwrap_or_default(),
            ),
            memory_limit: from.memory_limit,
            disk: disk.ok().map(|d| (d.free, d.total)),
            settings: (from.settings)()
                .into_iter()
                .map(|s| Setting {
                    name: s.variable.name.to_owned(),
                    value: s.value,
                    source: s.source.to_string(),
                })
                .collect(),
        };
        Ok(pb::Response {
            diag: Some(to_pb(snapshot)),
            ..ok()
        })
    }
}

/// Returns by how many milliseconds the wall clock advanced more than the monotonic
/// clock.
fn step(start: (SystemTime, Instant), now: (SystemTime, Instant)) -> i64 {
    let passed = now.1.saturating_duration_since(start.1);
    let expected = start.0 + passed;
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    match now.0.duration_since(expected) {
        Ok(ahead) => ms(ahead),
        Err(behind) => -ms(behind.duration()),
    }
}

fn to_pb(s: Snapshot) -> pb::DiagResponse {
    pb::DiagResponse {
        status: s.status.map(|s| s.to_pb()),
        not_ready: s.not_ready,
        loop_lag_ms: Some(millis(s.loop_lag)),
        metrics: Some(s.metrics),
        earlier: s
            .earlier
            .into_iter()
            .map(|e| pb::DiagEarlier {
                age_ms: Some(millis(e.age)),
                metrics: Some(e.metrics),
            })
            .collect(),
        uptime_ms: Some(millis(s.uptime)),
        pid: Some(s.pid),
        cpu_ms: Some(millis(s.cpu)),
        clock_unix_ms: s.clock.map(unix_millis),
        clock_step_ms: Some(s.clock_step_ms),
        descriptors_open: Some(s.descriptors.0),
        descriptors_allowed: Some(s.descriptors.1),
        memory_limit: s.memory_limit,
        disk_free: s.disk.map(|d| d.0),
        disk_total: s.disk.map(|d| d.1),
        settings: s
            .settings
            .into_iter()
            .map(|s| pb::DiagSetting {
                name: Some(s.name),
                value: Some(s.value),
                source: Some(s.source),
            })
            .collect(),
    }
}

pub(super) fn from_pb(p: pb::DiagResponse) -> Result<Snapshot, InvalidField> {
    Ok(Snapshot {
        status: p.status.map(Status::from_pb).transpose()?,
        not_ready: p.not_ready,
        loop_lag: Duration::from_millis(p.loop_lag_ms.unwrap_or(0)),
        metrics: p.metrics.unwrap_or_default(),
        earlier: p
            .earlier
            .into_iter()
            .map(|e| Earlier {
                age: Duration::from_millis(e.age_ms.unwrap_or(0)),
                metrics: e.metrics.unwrap_or_default(),
            })
            .collect(),
        uptime: Duration::from_millis(p.uptime_ms.unwrap_or(0)),
        pid: p.pid.unwrap_or(0),
        cpu: Duration::from_millis(p.cpu_ms.unwrap_or(0)),
        clock: p.clock_unix_ms.map(from_unix_millis),
        clock_step_ms: p.clock_step_ms.unwrap_or(0),
        descriptors: (
            p.descriptors_open.unwrap_or(0),
            p.descriptors_allowed.unwrap_or(0),
        ),
        memory_limit: p.memory_limit,
        disk: p.disk_free.zip(p.disk_total),
        settings: p
            .settings
            .into_iter()
            .map(|s| Setting {
                name: s.name.unwrap_or_default(),
                value: s.value.unwrap_or_default(),
                source: s.source.unwrap_or_default(),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_seen_either_way() {
        let (wall, mono) = (
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            Instant::now(),
        );
        let secs = Duration::from_secs;
        let at = |wall_after, mono_after| {
            step(
                (wall, mono),
                (wall + secs(wall_after), mono + secs(mono_after)),
            )
        };
        assert_eq!(at(60, 60), 0);
        assert_eq!(at(660, 60), 600_000);
        assert_eq!(at(0, 60), -60_000);
    }

    #[test]
    fn what_is_sent_arrives() {
        let snapshot = Snapshot {
            status: Some(Status::default()),
            not_ready: Some("starting".into()),
            loop_lag: Duration::from_millis(7),
            metrics: "a 1\n".into(),
            earlier: vec![Earlier {
                age: Duration::from_secs(60),
                metrics: "a 0\n".into(),
            }],
            uptime: Duration::from_secs(61),
            pid: 7,
            cpu: Duration::from_millis(1500),
            clock: Some(from_unix_millis(1_700_000_000_000)),
            clock_step_ms: -5,
            descriptors: (10, 1024),
            memory_limit: Some(1 << 30),
            disk: Some((1, 2)),
            settings: vec![Setting {
                name: "P2P_MDNS".into(),
                value: "false".into(),
                source: "default".into(),
            }],
        };
        assert_eq!(from_pb(to_pb(snapshot.clone())).unwrap(), snapshot);
        assert!(from_pb(pb::DiagResponse::default()).is_ok());
    }
}
