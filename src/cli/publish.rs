//! `publish TOPIC [DATA]`: publishes one message, or one for each line of standard input.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use async_std::channel::{Receiver, bounded};
use bytes::Bytes;
use serde_json::json;

use super::context::Context;
use super::error::{self, Doing, Error};
use super::interrupt::Interrupt;
use crate::api::Published;
use crate::control::client::{self, Client};

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The topic
    topic: String,
    /// The message; without it, every line of standard input is a message
    data: Option<OsString>,
}

/// The longest line that is read from standard input. Gossip refuses far shorter messages
/// already; this limit keeps a file without line ends from filling the memory.
const LONGEST_LINE: u64 = 4 << 20;

/// The number of lines read ahead of the one that is being published. There is almost no
/// buffer, so that the program that writes the lines is slowed down to the speed of this
/// command.
const AHEAD: usize = 1;

pub(crate) fn run(context: &Context, args: &PublishArgs) -> Result<(), Error> {
    let doing = format!("publish on {}", args.topic);
    // This must be called before any other thread is started; see [`Interrupt::watch`].
    let interrupt = Interrupt::watch().map_err(|e| Error::failed(format!("{doing}: {e}")))?;
    let begun = Instant::now();
    let mut done = Done::default();
    let work = async {
        let mut client = context.connect().await?;
        match &args.data {
            Some(data) => {
                let data = Bytes::from(data.clone().into_vec());
                done.went(client.publish(&args.topic, data).await.doing(&doing)?);
                Ok(())
            }
            None => publish_lines(&mut client, &args.topic, &doing, &mut done).await,
        }
    };
    let end = async_std::task::block_on(interrupt.or(work));
    let took = begun.elapsed();
    let failed = match end {
        Ok(Ok(())) => {
            done.tell(context, &args.topic, took)?;
            return match done.refused {
                0 => Ok(()),
                _ => Err(Error::told()),
            };
        }
        // The error also says what was published before it.
        Ok(Err(e)) if done.sent == 0 => return Err(e),
        Ok(Err(e)) => e.with(format_args!("; {done} before that")),
        Err(signal) => {
            Error::interrupted(signal, format!("{doing}: interrupted; {done} before that"))
        }
    };
    if context.output().is_json() {
        done.tell(context, &args.topic, took)?;
    }
    Err(failed)
}

/// The number of messages by what happened to them.
#[derive(Debug, Default)]
struct Done {
    sent: u64,
    refused: u64,
    /// Messages that reached only programs on this host.
    local: u64,
    /// How many peers received the messages: the sum over all messages, and the fewest
    /// and most for a single message. `None` while the daemon has not reported it.
    peers: Option<(u64, u64, u64)>,
    /// The largest number of programs on this host that received one of the messages.
    listeners: u64,
}

impl Done {
    fn went(&mut self, to: Option<Published>) {
        self.sent += 1;
        let Some(Published { peers, listeners }) = to else {
            return;
        };
        let (all, fewest, most) = self.peers.unwrap_or((0, u64::MAX, 0));
        self.peers = Some((
            all.saturating_add(peers),
            fewest.min(peers),
            most.max(peers),
        ));
        self.listeners = self.listeners.max(listeners);
        self.local += u64::from(peers == 0);
    }

    /// Prints the summary: as JSON when that was asked for, otherwise as a sentence.
    fn tell(&self, context: &Context, topic: &str, took: Duration) -> Result<(), Error> {
        let mut out = context.output();
        if out.is_json() {
            out.value(&json!({
                "topic": topic,
                "messages": self.sent,
                "refused": self.refused,
                "peers": self.peers.map(|(_, _, most)| most),
                "peers_fewest": self.peers.map(|(_, fewest, _)| fewest),
                "deliveries": self.peers.map(|(all, _, _)| all),
                "local_only": self.local,
                "listeners": self.listeners,
                "seconds": took.as_secs_f64(),
            }))?;
        } else if out.is_terminal() && !context.global.quiet {
            let seconds = took.as_secs();
            match seconds {
                0 => out.line(self)?,
                _ => out.line(format_args!("{self} in {seconds} s"))?,
            }
        }
        out.finish()
    }
}

/// Returns a number and what it counts.
fn some(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = some(self.sent, "message", "messages");
        write!(f, "{messages} published")?;
        let listeners = || some(self.listeners, "program", "programs");
        match self.peers {
            Some((_, _, 0)) => write!(f, " to no peer and {} on this host", listeners())?,
            Some((_, fewest, most)) => {
                if fewest == most {
                    write!(f, " to {}", some(most, "peer", "peers"))?;
                } else {
                    write!(f, " to {fewest} to {most} peers each")?;
                }
                if self.listeners > 0 {
                    write!(f, " and {} on this host", listeners())?;
                }
            }
            None => {}
        }
        match self.refused {
            0 => Ok(()),
            n => write!(f, ", {n} refused"),
        }
    }
}

/// Publishes every line of standard input. A line that is refused is reported, and the
/// others are still published.
async fn publish_lines(
    client: &mut Client,
    topic: &str,
    doing: &str,
    done: &mut Done,
) -> Result<(), Error> {
    let cannot_read = |e: io::Error| Error::failed(format!("{doing}: cannot read input: {e}"));
    let lines = lines().map_err(cannot_read)?;
    while let Ok(line) = lines.recv().await {
        let number = done.sent + done.refused + 1;
        let Some(line) = line.map_err(cannot_read)? else {
            error::report(&Error::failed(format!(
                "{doing}: line {number} is longer than {LONGEST_LINE} bytes; a message is one line"
            )));
            done.refused += 1;
            continue;
        };
        match client.publish(topic, line).await {
            Ok(to) => done.went(to),
            Err(e @ client::Error::Refused(_)) => {
                error::report(&Error::client(format!("{doing}: line {number}"), e));
                done.refused += 1;
            }
            // The daemon has gone. What was read from the input, and what is still in it,
            // was not published. The line number in the error shows this.
            Err(e) => return Err(Error::client(format!("{doing}: line {number}"), e)),
        }
    }
    Ok(())
}

/// Reads the lines of standard input on a separate thread, since reading may block and
/// signals must be handled in the meantime. A line that is too long is `None`.
fn lines() -> io::Result<Receiver<io::Result<Option<Bytes>>>> {
    let (sender, receiver) = bounded(AHEAD);
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let line = next_line(&mut input);
                let last = line.is_err();
                let Some(line) = line.transpose() else {
                    return;
                };
                if sender.send_blocking(line).is_err() || last {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// Returns the next line without its line end. It is `None` at the end of the input, and
/// `Some(None)` for a line that is too long, which is skipped.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Option<Bytes>>> {
    let mut line = Vec::new();
    let read = input
        .by_ref()
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    let ended = line.pop_if(|byte| *byte == b'\n').is_some();
    if !ended && read as u64 == LONGEST_LINE {
        skip_line(input)?;
        return Ok(Some(None));
    }
    Ok(Some(Some(line.into())))
}

/// Reads up to the end of a line and discards what is read.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
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
        let mut input = io::BufReader::with_capacity(7, &text[..]);
        skip_line(&mut input).unwrap();
        let mut rest = String::new();
        input.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "next\nlast");
        let mut input = &b"no end"[..];
        skip_line(&mut input).unwrap();
        assert!(input.is_empty());
    }

    #[test]
    fn lines_come_without_their_ends_and_one_that_is_too_long_as_nothing() {
        let long = vec![b'x'; LONGEST_LINE as usize + 5];
        let text = [b"a\n\n".to_vec(), long, b"\nlast".to_vec()].concat();
        let mut input = io::BufReader::new(&text[..]);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        let line = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        assert_eq!(lines, [line("a"), line(""), None, line("last")]);
    }

    #[test]
    fn the_summary_says_whom_the_messages_went_to() {
        let mut done = Done::default();
        assert_eq!(done.to_string(), "0 messages published");
        let to = |peers, listeners| Some(Published { peers, listeners });
        done.went(to(0, 1));
        assert_eq!(
            done.to_string(),
            "1 message published to no peer and 1 program on this host"
        );
        let mut done = Done::default();
        done.went(to(3, 0));
        done.went(to(3, 0));
        assert_eq!(done.to_string(), "2 messages published to 3 peers");
        done.went(to(1, 2));
        done.refused = 4;
        assert_eq!(
            done.to_string(),
            "3 messages published to 1 to 3 peers each and 2 programs on this host, 4 refused"
        );
        assert_eq!(done.peers, Some((7, 1, 3)));
        // This is what is known of a daemon whose version does not report it.
        let mut done = Done::default();
        done.went(None);
        assert_eq!(done.to_string(), "1 message published");
    }
}
