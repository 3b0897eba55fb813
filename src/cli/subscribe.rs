//! `subscribe TOPIC…`: prints messages as they arrive, one per line.

use serde_json::{Map, Value};

use super::context::Context;
use super::error::{Doing, Error};
use super::human;
use super::output::Output;
use crate::api::Message;
use crate::text::foreign;

#[derive(Debug, clap::Args)]
pub(crate) struct SubscribeArgs {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &SubscribeArgs) -> Result<(), Error> {
    let topics: Vec<&str> = args.topics.iter().map(String::as_str).collect();
    let doing = format!("subscribe {}", topics.join(" "));
    async_std::task::block_on(async {
        let client = context.connect().await?;
        let mut out = context.output();
        let mut subscription = client.subscribe(&topics).await.doing(&doing)?;
        loop {
            let message = subscription.next().await.doing(&doing)?;
            print(&mut out, &message)?;
            out.flush()?;
        }
    })
}

fn print(out: &mut Output, message: &Message) -> Result<(), Error> {
    if out.is_json() {
        let mut object = Map::new();
        object.insert("from".into(), message.from.map(|p| p.to_string()).into());
        object.insert("topic".into(), message.topic.clone().into());
        object.insert("seqno".into(), seqno(message.seqno));
        human::bytes_to_json(&mut object, "data", &message.data);
        return out.value(&object.into());
    }
    if out.is_terminal() {
        return out.line(foreign::printable(&String::from_utf8_lossy(&message.data)));
    }
    out.bytes(&message.data)?;
    out.bytes(b"\n")
}

/// Returns a sequence number as decimal text. JavaScript and jq would round a number this
/// large, which is often a time in nanoseconds.
fn seqno(number: Option<u64>) -> Value {
    number.map(|number| number.to_string()).into()
}
