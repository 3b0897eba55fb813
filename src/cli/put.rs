//! `put FILE…`: imports files, announces them and prints their CIDs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::context::Context;
use super::error::{self, Doing, Error};
use super::feed::feed;
use super::output::Output;
use super::parse;
use super::progress::Progress;
use crate::api::Entry;
use crate::control::client::{Client, PutOptions};
use crate::text::{duration, foreign, size, unix_time};

#[derive(Debug, clap::Args)]
pub(crate) struct PutArgs {
    /// Files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Time to live in the store [default: P2P_BLOCK_TTL of the daemon]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    ttl: Option<Duration>,
}

pub(crate) fn run(context: &Context, args: &PutArgs) -> Result<(), Error> {
    if args.files.iter().filter(|f| is_stdin(f)).count() > 1 {
        return Err(Error::usage(
            "put: standard input (-) can be read only once",
        ));
    }
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        let mut out = context.output();
        let several = args.files.len() > 1;
        let mut failed = 0;
        let mut announcing = 0;
        for path in &args.files {
            // As with cp, a file that fails does not keep the others from being imported.
            match put(context, &mut client, path, args.ttl, several).await {
                Ok(entry) => {
                    // The reason why it is not announced yet was reported with the file.
                    announcing = match entry.announce_error {
                        None => entry.announcing,
                        Some(_) => 0,
                    };
                    print(context, &mut out, path, &entry, several)?;
                }
                Err(e) if !several || e.is_fatal() => return Err(e),
                Err(e) => {
                    error::report(&e);
                    failed += 1;
                    // An answer may still be on its way on the old connection.
                    client = context.connect().await?;
                }
            }
        }
        out.finish()?;
        if announcing > 0 && !context.global.quiet {
            error::say(&format!(
                "put: files not yet announced to the DHT: {announcing}; this continues in the \
                 background, and `p2p-node status` shows how far it is"
            ));
        }
        if failed > 0 {
            Err(Error::told())
        } else {
            Ok(())
        }
    })
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

async fn put(
    context: &Context,
    client: &mut Client,
    path: &Path,
    ttl: Option<Duration>,
    several: bool,
) -> Result<Entry, Error> {
    let name = path.display().to_string();
    let cannot = |why: &dyn std::fmt::Display| Error::failed(format!("put {name}: {why}"));
    let progress = Progress::new(context, &name);
    let begun = Instant::now();
    let file_name = path.file_name().filter(|_| !is_stdin(path));
    let options = PutOptions {
        ttl,
        name: file_name.map(|n| n.to_string_lossy().into_owned()),
        // With several files, the next one does not wait until this one is announced in
        // the DHT.
        background: several,
    };
    let sent = |n| progress.done(n);
    let entry = if is_stdin(path) {
        let input = feed(std::io::stdin()).map_err(|e| cannot(&e))?;
        client.put(input, options, sent).await
    } else {
        let file = File::open(path).map_err(|e| cannot(&e))?;
        let metadata = file.metadata().map_err(|e| cannot(&e))?;
        if metadata.is_dir() {
            return Err(cannot(&format_args!(
                "it is a folder, and put takes files; pack it first, such as with \
                 `tar c {name} | p2p-node put -`"
            )));
        }
        if metadata.is_file() {
            progress.total(metadata.len());
        }
        client
            .put(feed(file).map_err(|e| cannot(&e))?, options, sent)
            .await
    };
    progress.clear();
    let entry = entry.doing(format!("put {name}"))?;
    if progress.is_visible() {
        error::say(&format!(
            "put {name}: {}",
            rate(entry.size, begun.elapsed())
        ));
    }
    if let (Some(why), false) = (&entry.announce_error, context.global.quiet) {
        error::say(&format!(
            "put {name}: stored, but not announced yet; the node goes on trying: {why}"
        ));
    }
    Ok(entry)
}

/// Returns a rate for the summary, such as `300.0 MiB in 2s (150.0 MiB/s)`.
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    let a_second = bytes as f64 / time.as_secs_f64().max(1e-6);
    format!(
        "{} in {} ({})",
        size::show(bytes),
        duration::show(time),
        size::show_rate(a_second as u64)
    )
}

fn print(
    context: &Context,
    out: &mut Output,
    path: &Path,
    entry: &Entry,
    several: bool,
) -> Result<(), Error> {
    if out.is_json() {
        out.value(&json!({
            "file": path.to_string_lossy(),
            "cid": entry.cid.to_string(),
            "size": entry.size,
            "blocks": entry.blocks,
            "expires_unix_ms": entry.expires.map(unix_time::unix_millis),
            "announce_error": entry.announce_error,
            "files_unannounced": entry.announcing,
        }))?;
    } else if several && !context.global.quiet {
        out.line(format!(
            "{}  {}",
            entry.cid,
            foreign::printable(&path.to_string_lossy())
        ))?;
    } else {
        out.line(entry.cid)?;
    }
    // The reader learns at once what has been stored, whatever happens to the next file.
    out.flush()
}
