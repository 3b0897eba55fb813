//! `get CID [-o FILE]`: fetches a file from the peers that have it, and writes it.

mod writer;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cid::Cid;
use serde_json::json;

use super::context::Context;
use super::error::{self, Error};
use super::interrupt::Interrupt;
use super::new_file::NewFile;
use super::progress::Progress;
use super::{output, parse, put};
use crate::control::client::{self, Event};
use writer::Writer;

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The CID of the file to fetch
    #[arg(value_parser = parse::cid)]
    cid: Cid,
    /// The file to write, which appears when it is complete; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Give up after this time without progress, or after a sixth of it when all peers that
    /// were found were asked and do not have the file [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    timeout: Option<Duration>,
}

/// Where the bytes are written.
#[derive(Debug)]
enum Target {
    Stdout(File),
    New(NewFile),
}

pub(crate) fn run(context: &Context, args: &GetArgs) -> Result<(), Error> {
    let doing = format!("get {}", args.cid);
    let path = args.output.as_deref().filter(|p| *p != Path::new("-"));
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Error::usage(
            "get: the file would be printed on the terminal; name a file with -o FILE, or use -o - to \
             print it anyway",
        ));
    }
    if path.is_none() && context.global.json {
        return Err(Error::usage(
            "get: --json describes the file that is written; name it with -o FILE",
        ));
    }
    // This must be called before any other thread is started; see [`Interrupt::watch`].
    let interrupt = Interrupt::watch().map_err(|e| Error::failed(format!("{doing}: {e}")))?;
    let begun = Instant::now();
    let size = async_std::task::block_on(async {
        match interrupt.or(fetch(context, args, path, &doing)).await {
            Ok(done) => done,
            Err(signal) => Err(Error::interrupted(
                signal,
                match path {
                    Some(path) => format!(
                        "{doing}: interrupted; {} is unchanged, and the blocks that arrived stay in the store",
                        path.display()
                    ),
                    None => format!("{doing}: interrupted"),
                },
            )),
        }
    })?;
    if let (Some(path), true) = (path, context.global.json) {
        let mut out = context.output();
        out.value(&json!({
            "cid": args.cid.to_string(),
            "file": path.to_string_lossy(),
            "size": size,
            "seconds": begun.elapsed().as_secs_f64(),
        }))?;
        return out.finish();
    }
    Ok(())
}

/// Fetches the file, writes it and returns its length. When the future is dropped,
/// nothing is left under the final name.
async fn fetch(
    context: &Context,
    args: &GetArgs,
    path: Option<&Path>,
    doing: &str,
) -> Result<u64, Error> {
    let cannot_write = |e: io::Error| match path {
        Some(path) => Error::failed(format!("{doing}: cannot write {}: {e}", path.display())),
        None => output::written(e),
    };
    let mut client = context.connect().await?;
    let target = match path {
        Some(path) => Target::New(NewFile::create(path).map_err(cannot_write)?),
        None => Target::Stdout(output::stdout().map_err(cannot_write)?),
    };
    let handle = match &target {
        Target::New(new) => new.handle(),
        Target::Stdout(file) => file.try_clone(),
    };
    let writer = Writer::start(handle.map_err(cannot_write)?).map_err(cannot_write)?;
    let progress = Progress::new(context, &args.cid.to_string());
    progress.note(|| "looking for providers".into());
    let begun = Instant::now();
    let mut size = None;
    let mut came = 0;
    let failed = |e| failed(&args.cid, e);
    let mut download = client.get(&args.cid, args.timeout).await.map_err(failed)?;
    while let Some(event) = download.next().await.map_err(failed)? {
        match event {
            Event::Begin { size: bytes } => {
                size = Some(bytes);
                progress.total(bytes);
                if let Target::New(new) = &target {
                    new.reserve(bytes).map_err(cannot_write)?;
                }
            }
            Event::Data(bytes) => {
                came += bytes.len() as u64;
                progress.done(came);
                if writer.chunks.send(bytes).await.is_err() {
                    // The writer has stopped; its error is reported below.
                    break;
                }
            }
            Event::Progress(p) => progress.note(|| match p.providers {
                0 => "looking for providers".into(),
                1 => "from 1 peer".into(),
                n => format!("from {n} peers"),
            }),
        }
    }
    progress.note(|| "writing".into());
    // The disk may take a while. Ctrl-C still works in the meantime.
    let written = async_std::task::spawn_blocking(move || {
        writer.finish()?;
        Ok(target)
    });
    let target = written.await.map_err(cannot_write)?;
    if size != Some(came) {
        return Err(Error::failed(format!(
            "{doing}: the daemon gave {came} of {} bytes; daemon and command may be of different \
             versions",
            size.unwrap_or(0)
        )));
    }
    if let Target::New(new) = target {
        async_std::task::spawn_blocking(move || new.publish())
            .await
            .map_err(cannot_write)?;
    }
    progress.clear();
    if progress.is_visible() {
        error::say(&format!("{doing}: {}", put::rate(came, begun.elapsed())));
    }
    Ok(came)
}

/// Returns the error for a file that the daemon could not fetch. Most of its reasons
/// already name the CID, which is too long to be printed twice.
fn failed(cid: &Cid, error: client::Error) -> Error {
    let doing = format!("get {cid}");
    let client::Error::Refused(why) = &error else {
        return Error::client(doing, error);
    };
    if let Some(why) = why.strip_prefix(&format!("cannot {doing}: ")) {
        return Error::failed(format!("{doing}: {why}"));
    }
    match why.contains(&cid.to_string()) {
        true => Error::failed(format!("get: {why}")),
        false => Error::client(doing, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_cid_once() {
        let text = "bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe";
        let cid: Cid = text.parse().unwrap();
        let said = |why: String| {
            let error = failed(&cid, client::Error::Refused(why));
            error.line().unwrap().to_owned()
        };
        assert_eq!(
            said(format!("cannot get {text}: nobody announces it")),
            format!("get {text}: nobody announces it")
        );
        assert_eq!(
            said(format!("{text} has 9 bytes, over the limit of 3")),
            format!("get: {text} has 9 bytes, over the limit of 3")
        );
        assert_eq!(
            said("the fetch was stopped".into()),
            format!("get {text}: the fetch was stopped")
        );
    }
}
