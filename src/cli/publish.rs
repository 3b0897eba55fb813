//! `publish TOPIC [DATA]`: one message, or one for each line of standard input.

use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use serde_json::json;

use super::context::Context;
use super::error::{Doing, Error};

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The topic
    topic: String,
    /// The message; without it, every line of standard input is one
    data: Option<OsString>,
}

/// The longest line taken from standard input. Gossip refuses messages that are
/// far shorter; this keeps a file without line ends from filling the memory.
const LONGEST_LINE: u64 = 4 << 20;

pub(crate) fn run(context: &Context, args: &PublishArgs) -> Result<(), Error> {
    let doing = format!("publish on {}", args.topic);
    let mut count = 0u64;
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        if let Some(data) = &args.data {
            let data = Bytes::from(data.clone().into_vec());
            client.publish(&args.topic, data).await.doing(&doing)?;
            count += 1;
            return Ok(());
        }
        // One message after the other, and nothing else to do meanwhile: reading
        // may block.
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = std::io::Read::take(&mut input, LONGEST_LINE).read_until(b'\n', &mut line);
            match read {
                Ok(0) => return Ok(()),
                Ok(n) if n as u64 == LONGEST_LINE && line.last() != Some(&b'\n') => {
                    return Err(Error::failed(format!(
                        "{doing}: line {} is longer than {} bytes; a message is one line",
                        count + 1,
                        LONGEST_LINE
                    )));
                }
                Ok(_) => {}
                Err(e) => return Err(Error::failed(format!("{doing}: cannot read input: {e}"))),
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            client
                .publish(&args.topic, line.into())
                .await
                .doing(&doing)?;
            count += 1;
        }
    })?;
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({ "topic": args.topic, "messages": count }))?;
    }
    out.finish()
}
