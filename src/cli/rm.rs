//! `rm CID…`: removes files from the local store.

use cid::Cid;
use serde_json::json;

use super::context::{Context, prompt};
use super::error::{self, Error};
use super::parse;
use crate::text::size;

#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// The CIDs of the files to remove
    #[arg(required = true, value_name = "CID", value_parser = parse::cid)]
    cids: Vec<Cid>,
}

pub(crate) fn run(context: &Context, args: &RmArgs) -> Result<(), Error> {
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        let mut out = context.output();
        let mut removed = Vec::new();
        let mut failed = false;
        for cid in &args.cids {
            match prompt(&format!("rm {cid}"), client.remove_block(cid)).await {
                Ok(freed) if out.is_json() => {
                    removed.push(json!({ "cid": cid.to_string(), "freed": freed }));
                }
                Ok(_) if context.global.quiet => {}
                Ok(freed) => out.line(format!("removed {cid} ({})", size::show(freed)))?,
                Err(e) if args.cids.len() == 1 || e.is_fatal() => return Err(e),
                Err(e) => {
                    error::report(&e);
                    failed = true;
                }
            }
        }
        if out.is_json() {
            out.value(&removed.into())?;
        }
        out.finish()?;
        if failed { Err(Error::told()) } else { Ok(()) }
    })
}
