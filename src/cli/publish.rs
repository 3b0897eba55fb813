//! `publish TOPIC [DATA]`: one message, or one for each line of standard input.

use std::ffi::OsString;
use std::io::{BufRead, Read};
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use serde_json::json;

use super::context::Context;
use super::error::{self, Doing, Error};
use crate::control::client::{self, Client};

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
    let done = async_std::task::block_on(async {
        let mut client = context.connect().await?;
        if let Some(data) = &args.data {
            let data = Bytes::from(data.clone().into_vec());
            client.publish(&args.topic, data).await.doing(&doing)?;
            return Ok(Done {
                sent: 1,
                refused: 0,
            });
        }
        publish_lines(&mut client, &args.topic, &doing).await
    })?;
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({
            "topic": args.topic,
            "messages": done.sent,
            "refused": done.refused,
        }))?;
    }
    out.finish()?;
    if done.refused > 0 {
        return Err(Error::told());
    }
    Ok(())
}

/// Messages, by what became of them.
#[derive(Debug, Default)]
struct Done {
    sent: u64,
    refused: u64,
}

/// Publishes every line of standard input. One that is refused is reported and
/// keeps no other from being published.
async fn publish_lines(client: &mut Client, topic: &str, doing: &str) -> Result<Done, Error> {
    // One message after the other, and nothing else to do meanwhile: reading
    // may block.
    let mut input = std::io::stdin().lock();
    let mut done = Done::default();
    loop {
        let number = done.sent + done.refused + 1;
        let mut line = Vec::new();
        let read = (&mut input)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::failed(format!("{doing}: cannot read input: {e}")))?;
        if read == 0 {
            return Ok(done);
        }
        let ended = line.pop_if(|byte| *byte == b'\n').is_some();
        if !ended && read as u64 == LONGEST_LINE {
            skip_line(&mut input)
                .map_err(|e| Error::failed(format!("{doing}: cannot read input: {e}")))?;
            error::report(&Error::failed(format!(
                "{doing}: line {number} is longer than {LONGEST_LINE} bytes; a message is one line"
            )));
            done.refused += 1;
            continue;
        }
        match client.publish(topic, line.into()).await {
            Ok(()) => done.sent += 1,
            Err(e @ client::Error::Refused(_)) => {
                error::report(&Error::client(format!("{doing}: line {number}"), e));
                done.refused += 1;
            }
            // The daemon is gone. What was taken from the input and what is still
            // in it was not published, which the number tells.
            Err(e) => return Err(Error::client(format!("{doing}: line {number}"), e)),
        }
    }
}

/// Reads up to the end of a line and keeps nothing of it.
fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_skipped_to_its_end_and_no_further() {
        let text = [vec![b'x'; 40], b"\nnext\nlast".to_vec()].concat();
        let mut input = std::io::BufReader::with_capacity(7, &text[..]);
        skip_line(&mut input).unwrap();
        let mut rest = String::new();
        input.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "next\nlast");
        let mut input = &b"no end"[..];
        skip_line(&mut input).unwrap();
        assert!(input.is_empty());
    }
}
