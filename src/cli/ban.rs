//! `ban PEER|CIDR…`: refuses peers and networks.

use std::time::{Duration, SystemTime};

use super::context::{Context, prompt};
use super::error::{self, Error};
use super::{bans, parse};
use crate::control::client::BanOptions;
use crate::peers::Target;
use crate::peers::bans::MAX_REASON;
use crate::text::duration;

#[derive(Debug, clap::Args)]
pub(crate) struct BanArgs {
    /// A peer id, an address, or a range such as 192.0.2.0/24
    #[arg(required = true, value_name = "PEER|CIDR", value_parser = named)]
    targets: Vec<Named>,
    /// Lift the ban after this time; without this option it stays until `unban` lifts it
    #[arg(long = "for", value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    length: Option<Duration>,
    /// Why, for people who read the list later; at most 256 bytes
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Allow a range that contains a large part of all addresses
    #[arg(long)]
    force: bool,
}

/// A target, and the text that it was written as.
#[derive(Debug, Clone)]
struct Named {
    target: Target,
    text: String,
}

fn named(text: &str) -> Result<Named, String> {
    let target = parse::target(text)?;
    let text = text.to_owned();
    Ok(Named { target, text })
}

/// Returns the reason unchanged when it is short enough. A longer one is refused rather
/// than cut off, since half a reason is of no use.
fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        0..=MAX_REASON => Ok(text.to_owned()),
        bytes => Err(format!(
            "{bytes} bytes are too long; accepted: at most {MAX_REASON}"
        )),
    }
}

impl Named {
    /// Returns a note that shows the range as the user wrote it, when the ban's target is
    /// written differently; otherwise an empty text.
    fn explained(&self) -> String {
        match self.text.contains('/') && self.text != self.target.to_string() {
            true if !self.text.starts_with('/') => format!(" (which {} lies in)", self.text),
            _ => String::new(),
        }
    }
}

pub(crate) fn run(context: &Context, args: &BanArgs) -> Result<(), Error> {
    let options = BanOptions {
        length: args.length,
        reason: args.reason.clone(),
        force: args.force,
    };
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        let mut out = context.output();
        let (mut done, mut failed) = (Vec::new(), false);
        for named in &args.targets {
            let target = &named.target;
            let answer = prompt(&format!("ban {target}"), client.ban(target, &options)).await;
            match answer {
                Ok(ban) if out.is_json() => done.push(bans::to_json(&ban)),
                Ok(_) if context.global.quiet => {}
                Ok(ban) => {
                    let end = ban.ban.until.map_or_else(
                        || "until unbanned".into(),
                        |until| format!("for {}", length(until, ban.ban.since)),
                    );
                    out.line(format!("banned {target}{} {end}", named.explained()))?;
                }
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

fn length(until: SystemTime, since: SystemTime) -> String {
    duration::show(until.duration_since(since).unwrap_or_default())
}
