//! Bans of peers and networks.

use std::time::Duration;

use super::{Client, Error, Kind, request};
use crate::control::wire::Ban;
use crate::control::{pb, wire};
use crate::peers::Target;

/// Options of [`Client::ban`].
#[derive(Clone, Debug, Default)]
pub struct BanOptions {
    /// How long the ban lasts, in whole seconds; without end when `None`.
    pub length: Option<Duration>,
    /// The reason, for people; at most 256 bytes are kept.
    pub reason: Option<String>,
    /// Also accept a range that is wider than that of any single holder.
    pub force: bool,
}

impl Client {
    /// Bans a peer or a network, for ever when `length` is `None`. The ban is in force
    /// and saved when this returns.
    pub async fn ban(&mut self, target: &Target, options: &BanOptions) -> Result<Ban, Error> {
        let ask = pb::BanRequest {
            seconds: options.length.map(|l| l.as_secs()),
            reason: options.reason.clone(),
            force: Some(options.force),
            ..ban_request(target)
        };
        self.ask_ban(Kind::Ban, ask).await
    }

    /// Lifts a ban and returns it.
    pub async fn unban(&mut self, target: &Target) -> Result<Ban, Error> {
        self.ask_ban(Kind::Unban, ban_request(target)).await
    }

    /// Returns the bans in force, the latest first.
    pub async fn bans(&mut self) -> Result<Vec<Ban>, Error> {
        let answer = self.ask(request(Kind::Bans)).await?;
        Ok(answer
            .bans
            .into_iter()
            .map(Ban::from_pb)
            .collect::<Result<_, _>>()?)
    }

    async fn ask_ban(&mut self, kind: Kind, ask: pb::BanRequest) -> Result<Ban, Error> {
        let request = pb::Request {
            ban: Some(ask),
            ..request(kind)
        };
        let answer = self.ask(request).await?;
        let ban = answer.bans.into_iter().next();
        Ok(Ban::from_pb(ban.ok_or(Error::Unexpected("bans"))?)?)
    }
}

fn ban_request(target: &Target) -> pb::BanRequest {
    let mut request = pb::BanRequest::default();
    match target {
        Target::Peer(peer) => request.peer = Some(wire::id_bytes(peer)),
        Target::Net(net) => request.network = Some(net.to_string()),
    }
    request
}
