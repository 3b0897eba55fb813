//! `ls`: lists the files in the local store.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::context::Context;
use super::error::Error;
use crate::api::Entry;
use crate::text::{duration, foreign, size, unix_time};

pub(crate) fn run(context: &Context) -> Result<(), Error> {
    let mut entries = context.ask("ls", async |client| client.list_blocks().await)?;
    entries.sort_by_key(|e| (e.added, e.cid));
    let mut out = context.output();
    if out.is_json() {
        out.value(&entries.iter().map(to_json).collect())?;
    } else if context.global.quiet {
        for e in &entries {
            out.line(e.cid)?;
        }
    } else {
        let now = SystemTime::now();
        let rows: Vec<_> = entries
            .iter()
            .map(|e| {
                [
                    e.cid.to_string(),
                    size::show(e.size),
                    format!("{}/{}", e.blocks_here, e.blocks),
                    if e.pinned { "yes" } else { "no" }.into(),
                    e.expires
                        .map_or_else(|| "never".into(), |t| duration::until(t, now)),
                    foreign::printable(e.name.as_deref().unwrap_or("-")),
                ]
            })
            .collect();
        out.table(
            ["CID", "SIZE", "BLOCKS", "PINNED", "EXPIRES", "NAME"],
            &rows,
        )?;
    }
    out.finish()
}

/// Returns a file of the store as JSON.
pub(crate) fn to_json(e: &Entry) -> Value {
    json!({
        "cid": e.cid.to_string(),
        "name": e.name,
        "size": e.size,
        "blocks": e.blocks,
        "blocks_here": e.blocks_here,
        "pinned": e.pinned,
        "added_unix_ms": e.added.map(unix_time::unix_millis),
        "expires_unix_ms": e.expires.map(unix_time::unix_millis),
    })
}
