//! `diag --bundle`: writes everything that was found to one file for a bug report.
//!
//! The bundle is a single plain-text file: the user must be able to read it before
//! sending it, an issue tracker shows it without unpacking, and no library is needed to
//! write it. Nothing in it is read from a file that holds a secret. Of the environment,
//! only the variables in the table are shown.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::{Report, figures_to_json, tool};
use crate::cli::context::Context;
use crate::cli::error::{self, Error};
use crate::cli::new_file::NewFile;
use crate::cli::status;
use crate::diag::redact::Redactor;
use crate::text::{duration, foreign, size};

/// The maximum number of lines of the log.
const LOG_LINES: &str = "500";

/// Fails when a file already exists at `path`.
pub(super) fn may_write(path: &Path) -> Result<(), Error> {
    match NewFile::create_private(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(cannot(path, &e)),
    }
}

fn cannot(path: &Path, e: &std::io::Error) -> Error {
    let hint = match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            "; a bundle does not overwrite files, name another one"
        }
        _ => "",
    };
    Error::failed(format!("diag --bundle {}: {e}{hint}", path.display()))
}

/// Writes the text to a new file, or to standard output for `-`.
pub(super) fn write(context: &Context, path: &Path, text: &str) -> Result<(), Error> {
    if path.as_os_str() == "-" {
        let mut out = context.output();
        out.bytes(text.as_bytes())?;
        return out.finish();
    }
    let written = NewFile::create_private(path).and_then(|file| {
        file.handle()?.write_all(text.as_bytes())?;
        file.publish()
    });
    written.map_err(|e| cannot(path, &e))?;
    if !context.global.quiet {
        error::say(&format!(
            "wrote {} ({}); read it before you send it",
            path.display(),
            size::show(text.len() as u64)
        ));
    }
    Ok(())
}

/// Returns the whole text.
pub(super) fn render(report: &Report, with_peers: bool) -> String {
    let status = report.snapshot.as_ref().and_then(|s| s.status.as_ref());
    let mut redactor = Redactor::new(status.and_then(|s| s.peer_id), with_peers);
    let mut out = String::from("p2p-node diagnostic bundle\n");
    out.push_str(match with_peers {
        true => "Peer ids and addresses are kept (--with-peers).\n",
        false => {
            "Peer ids, addresses and host names are replaced: <peer-1> is the same peer \
             throughout.\n"
        }
    });
    let mut section = |title: &str, text: &str| {
        let text = redactor.text(text);
        let _ = write!(out, "\n==== {title}\n{}\n", text.trim_end());
    };
    // This section comes first because the redactor learns the host names from it.
    section("configuration in force", &settings(report));
    section("versions", &versions(report));
    section("findings", &findings(report));
    section(
        "figures",
        &match &report.figures {
            Some(f) => pretty(&figures_to_json(f)),
            None => "none: no daemon has answered".into(),
        },
    );
    section(
        "status",
        &match status {
            Some(s) => pretty(&status::to_json(s)),
            None => "none: the event loop has not answered".into(),
        },
    );
    section("platform", &platform());
    section("limits of the process", &limits(report));
    section("unit", &unit());
    section("log", &log());
    if let Some(s) = &report.snapshot {
        section("metrics", &s.metrics);
        if let Some(e) = s.earlier.first() {
            let title = format!("metrics {} before", duration::show(e.age));
            let values: Vec<_> = e.metrics.lines().filter(|l| !l.starts_with('#')).collect();
            section(&title, &values.join("\n"));
        }
    }
    out
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn settings(report: &Report) -> String {
    let Some(s) = &report.snapshot else {
        return "none: no daemon has answered".into();
    };
    let lines = s.settings.iter().map(|s| {
        let value = if s.value.is_empty() { "-" } else { &s.value };
        format!(
            "{}={}  ({})",
            s.name,
            foreign::printable(value),
            foreign::printable(&s.source)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn versions(report: &Report) -> String {
    let daemon = report.figures.as_ref().map_or("-", |f| f.agent.as_str());
    format!(
        "program p2p-node/{}\ndaemon {}\nrun as user id {}",
        env!("CARGO_PKG_VERSION"),
        foreign::printable(daemon),
        nix::unistd::geteuid()
    )
}

fn findings(report: &Report) -> String {
    let mut text = String::new();
    for f in &report.findings {
        let _ = writeln!(
            text,
            "{:<8} {:<13} {}",
            f.severity.name(),
            f.check,
            f.finding
        );
    }
    text
}

fn platform() -> String {
    let mut text = String::new();
    // The output of uname(2) is not used as a whole because it contains the host's name.
    for file in [
        "/proc/sys/kernel/osrelease",
        "/proc/sys/kernel/version",
        "/proc/sys/kernel/arch",
        "/proc/uptime",
        "/proc/loadavg",
    ] {
        if let Ok(value) = std::fs::read_to_string(file) {
            let _ = writeln!(text, "{file}: {}", value.trim());
        }
    }
    if let Ok(release) = std::fs::read_to_string("/etc/os-release") {
        let wanted = |l: &&str| l.starts_with("PRETTY_NAME=") || l.starts_with("VERSION_ID=");
        for line in release.lines().filter(wanted) {
            let _ = writeln!(text, "{line}");
        }
    }
    if let Ok(memory) = crate::system::memory::limit() {
        let _ = writeln!(text, "memory: {} ({:?})", memory.bytes, memory.source);
    }
    if let Ok(cores) = std::thread::available_parallelism() {
        let _ = writeln!(text, "processors: {cores}");
    }
    text
}

fn limits(report: &Report) -> String {
    let Some(s) = &report.snapshot else {
        return "none: no daemon has answered".into();
    };
    // In another PID namespace, such as in a container, the number may belong to a
    // different process.
    let name = std::fs::read_to_string(format!("/proc/{}/comm", s.pid)).unwrap_or_default();
    match std::fs::read_to_string(format!("/proc/{}/limits", s.pid)) {
        Ok(limits) if name.trim() == "p2p-node" => limits,
        _ => format!(
            "cannot be read; the daemon reports {} of {} descriptors open",
            s.descriptors.0, s.descriptors.1
        ),
    }
}

fn unit() -> String {
    tool::ask(
        "systemctl",
        &[
            "show",
            "p2p-node.service",
            "-p",
            "LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts,MemoryCurrent,MemoryMax,\
             LimitNOFILE,TasksMax,WatchdogUSec,ActiveEnterTimestamp",
        ],
    )
    .unwrap_or_else(|| "no systemd answers here".into())
}

fn log() -> String {
    let lines = tool::ask(
        "journalctl",
        &[
            "-u",
            "p2p-node.service",
            "-n",
            LOG_LINES,
            "--no-pager",
            "--no-hostname",
            "-o",
            "short-iso",
        ],
    );
    match lines {
        Some(lines) if !lines.trim().is_empty() => lines,
        _ => "this user cannot read the journal, or there is none; add the log yourself".into(),
    }
}
