//! `unban PEER|CIDR…`: lifts bans.

use super::context::{Context, prompt};
use super::error::{self, Error};
use super::{bans, parse};
use crate::peers::Target;

#[derive(Debug, clap::Args)]
pub(crate) struct UnbanArgs {
    /// The ban to lift: a peer id, an address or a range
    #[arg(required = true, value_name = "PEER|CIDR", value_parser = parse::target)]
    targets: Vec<Target>,
}

pub(crate) fn run(context: &Context, args: &UnbanArgs) -> Result<(), Error> {
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        let mut out = context.output();
        let (mut done, mut failed) = (Vec::new(), false);
        for target in &args.targets {
            match prompt(&format!("unban {target}"), client.unban(target)).await {
                Ok(ban) if out.is_json() => done.push(bans::to_json(&ban)),
                Ok(_) if context.global.quiet => {}
                Ok(_) => out.line(format!("lifted the ban of {target}"))?,
                Err(e) if args.targets.len() == 1 || e.is_fatal() => return Err(e),
                Err(e) => {
                    error::report(&e);
                    failed = true;
                }
            }
        }
        if out.is_json() {
            out.value(&done.into())?;
        }
        out.finish()?;
        if failed { Err(Error::told()) } else { Ok(()) }
    })
}
