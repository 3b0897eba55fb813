//! `dht find-peer|find-providers|provide|get|put`: queries to the DHT.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use cid::Cid;
use clap::{Args, Subcommand};
use libp2p::PeerId;
use serde_json::{Map, json};

use super::context::Context;
use super::error::{Doing, Error};
use super::{human, parse};
use crate::control::Client;
use crate::text::foreign;

#[derive(Debug, Subcommand)]
pub(crate) enum DhtCommand {
    /// Find the addresses of a peer
    FindPeer {
        /// The peer
        #[arg(value_parser = parse::peer)]
        peer: PeerId,
        #[command(flatten)]
        limit: Limit,
    },
    /// Find the providers of a CID and print them as they are found, one per line
    FindProviders {
        /// The CID to look for
        #[arg(value_parser = parse::cid)]
        cid: Cid,
        /// Stop after this many providers
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        #[command(flatten)]
        limit: Limit,
    },
    /// Announce that this node provides a CID
    Provide {
        /// The CID to announce
        #[arg(value_parser = parse::cid)]
        cid: Cid,
        #[command(flatten)]
        limit: Limit,
    },
    /// Print the value of a key
    Get {
        /// The key, taken as its bytes
        key: OsString,
        #[command(flatten)]
        limit: Limit,
    },
    /// Store a value under a key
    Put {
        /// The key, taken as its bytes
        key: OsString,
        /// The value; - is standard input
        value: OsString,
        #[command(flatten)]
        limit: Limit,
    },
}

/// How long a query may take.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// Give up after this time [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    timeout: Option<Duration>,
}

/// The largest value that is read from standard input. The DHT itself accepts far less,
/// and reports it when a value is too large.
const LARGEST_VALUE: u64 = 1 << 20;

pub(crate) fn run(context: &Context, command: &DhtCommand) -> Result<(), Error> {
    async_std::task::block_on(async {
        let mut client = context.connect().await?;
        match command {
            DhtCommand::FindPeer { peer, limit } => {
                find_peer(context, &mut client, *peer, limit.timeout).await
            }
            DhtCommand::FindProviders { cid, count, limit } => {
                find_providers(context, &mut client, cid, *count, limit.timeout).await
            }
            DhtCommand::Provide { cid, limit } => {
                client
                    .provide(cid, limit.timeout)
                    .await
                    .doing(format!("dht provide {cid}"))?;
                done(context, &json!({ "cid": cid.to_string() }))
            }
            DhtCommand::Get { key, limit } => get(context, &mut client, key, limit.timeout).await,
            DhtCommand::Put { key, value, limit } => {
                let value = value_of(value)?;
                let doing = format!("dht put {}", key.to_string_lossy());
                client
                    .put_value(key.as_bytes(), &value, limit.timeout)
                    .await
                    .doing(doing)?;
                done(
                    context,
                    &json!({ "key": key.to_string_lossy(), "size": value.len() }),
                )
            }
        }
    })
}

fn done(context: &Context, value: &serde_json::Value) -> Result<(), Error> {
    let mut out = context.output();
    if out.is_json() {
        out.value(value)?;
    }
    out.finish()
}

async fn find_peer(
    context: &Context,
    client: &mut Client,
    peer: PeerId,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let found = client
        .find_peer(peer, timeout)
        .await
        .doing(format!("dht find-peer {peer}"))?;
    let addrs: Vec<_> = found.addrs.iter().map(ToString::to_string).collect();
    let mut out = context.output();
    if out.is_json() {
        out.value(&json!({ "peer_id": peer.to_string(), "addresses": addrs }))?;
    } else {
        for addr in &found.addrs {
            out.line(foreign::address(addr))?;
        }
    }
    out.finish()
}

async fn find_providers(
    context: &Context,
    client: &mut Client,
    cid: &Cid,
    count: u32,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let doing = format!("dht find-providers {cid}");
    let mut out = context.output();
    let mut results = client
        .find_providers(cid, Some(count), timeout)
        .await
        .doing(&doing)?;
    let mut found = false;
    while let Some(provider) = results.next().await.doing(&doing)? {
        found = true;
        if out.is_json() {
            let addrs: Vec<_> = provider.addrs.iter().map(ToString::to_string).collect();
            out.value(&json!({ "peer_id": provider.id.to_string(), "addresses": addrs }))?;
        } else {
            out.line(provider.id)?;
        }
        out.flush()?;
    }
    out.finish()?;
    if found {
        Ok(())
    } else {
        Err(Error::failed(format!("{doing}: no providers were found")))
    }
}

async fn get(
    context: &Context,
    client: &mut Client,
    key: &OsString,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let name = key.to_string_lossy();
    let value = client
        .get_value(key.as_bytes(), timeout)
        .await
        .doing(format!("dht get {name}"))?;
    let mut out = context.output();
    if out.is_json() {
        let mut object = Map::new();
        object.insert("key".into(), name.into());
        human::bytes_to_json(&mut object, "value", &value);
        out.value(&object.into())?;
    } else if out.is_terminal() {
        out.line(foreign::printable(&String::from_utf8_lossy(&value)))?;
    } else {
        out.bytes(&value)?;
    }
    out.finish()
}

fn value_of(given: &OsString) -> Result<Vec<u8>, Error> {
    if given != "-" {
        return Ok(given.clone().into_vec());
    }
    let mut value = Vec::new();
    std::io::stdin()
        .take(LARGEST_VALUE + 1)
        .read_to_end(&mut value)
        .map_err(|e| Error::failed(format!("dht put: cannot read standard input: {e}")))?;
    if value.len() as u64 > LARGEST_VALUE {
        return Err(Error::failed(format!(
            "dht put: the value on standard input is larger than {LARGEST_VALUE} bytes; put files \
             with `p2p-node put`"
        )));
    }
    Ok(value)
}
