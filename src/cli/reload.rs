//! `reload`: makes the daemon read its configuration again.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::Context;
use super::error::{Doing, Error};
use crate::api::{Change, ReloadError};
use crate::text::foreign;

/// How long a reload may take. It normally takes milliseconds; the limit is for a daemon
/// whose disk hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(context: &Context) -> Result<(), Error> {
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        let asked = async_std::future::timeout(PATIENCE, client.reload()).await;
        let asked = asked.map_err(|_| {
            Error::failed(format!(
                "reload: the daemon did not answer within {} s",
                PATIENCE.as_secs()
            ))
        })?;
        let reload = match asked.doing("reload")? {
            Ok(reload) => reload,
            Err(ReloadError::Refused(why)) => {
                return Err(Error::configuration(format!(
                    "not reloaded, the previous configuration stays in force: {why}"
                )));
            }
            Err(ReloadError::Failed(why)) => {
                return Err(Error::failed(format!("reload: {why}")));
            }
        };
        let mut out = context.output();
        if out.is_json() {
            let list = |changes: &[Change]| changes.iter().map(to_json).collect::<Vec<_>>();
            out.value(&json!({
                "changed": list(&reload.changed),
                "restart": list(&reload.restart),
            }))?;
            return out.finish();
        }
        if context.global.quiet {
            return out.finish();
        }
        for change in &reload.changed {
            out.line(in_words(change))?;
        }
        for change in &reload.restart {
            out.line(format!("{}; needs a restart", in_words(change)))?;
        }
        if reload.changed.is_empty() && reload.restart.is_empty() {
            out.line("nothing has changed")?;
        }
        out.finish()
    })
}

fn to_json(change: &Change) -> Value {
    json!({
        "variable": change.variable,
        "before": change.before,
        "after": change.after,
    })
}

fn in_words(change: &Change) -> String {
    let shown = |value: &str| match value {
        "" => "none".into(),
        value => foreign::printable(value),
    };
    format!(
        "{}: {}, was {}",
        foreign::printable(&change.variable),
        shown(&change.after),
        shown(&change.before)
    )
}
