//! `stat CID`: describes a file in the local store.

use std::time::SystemTime;

use cid::Cid;
use serde_json::json;

use super::context::Context;
use super::error::Error;
use super::{ls, parse};
use crate::text::{duration, foreign, size, unix_time};

#[derive(Debug, clap::Args)]
pub(crate) struct StatArgs {
    /// The CID of the file to describe
    #[arg(value_parser = parse::cid)]
    cid: Cid,
}

pub(crate) fn run(context: &Context, args: &StatArgs) -> Result<(), Error> {
    let doing = format!("stat {}", args.cid);
    let e = context.ask(&doing, async |client| client.stat_block(&args.cid).await)?;
    let mut out = context.output();
    if out.is_json() {
        let mut value = ls::to_json(&e);
        let said = e.publication.as_ref();
        value["publisher"] = json!(said.map(|p| p.publisher.to_string()));
        value["published_unix_ms"] = json!(said.map(|p| unix_time::unix_millis(p.at)));
        value["published_until_unix_ms"] = json!(said.map(|p| unix_time::unix_millis(p.until)));
        out.value(&value)?;
        return out.finish();
    }
    let now = SystemTime::now();
    let ago = |t: SystemTime| duration::show(now.duration_since(t).unwrap_or_default());
    out.line(format!("cid      {}", e.cid))?;
    if let Some(name) = &e.name {
        out.line(format!("name     {}", foreign::printable(name)))?;
    }
    out.line(format!(
        "size     {} ({} bytes)",
        size::show(e.size),
        e.size
    ))?;
    out.line(format!(
        "blocks   {} of {} are here",
        e.blocks_here, e.blocks
    ))?;
    out.line(format!("pinned   {}", if e.pinned { "yes" } else { "no" }))?;
    if let Some(added) = e.added {
        out.line(format!("added    {} ago", ago(added)))?;
    }
    let expires = e
        .expires
        .map_or_else(|| "never".into(), |t| duration::until(t, now));
    out.line(format!("expires  {expires}"))?;
    if let Some(said) = &e.publication {
        out.line(format!(
            "signed   {} ago by {}, to be served until {}",
            ago(said.at),
            said.publisher,
            match said.until.duration_since(now) {
                Ok(ahead) => format!("{} from now", duration::show(ahead)),
                Err(_) => "now; it has expired".into(),
            }
        ))?;
    }
    out.finish()
}
