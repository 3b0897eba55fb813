//! Requests about the node itself: its identity, its state and its configuration.

use super::{Client, Error, Kind, request};
use crate::api::{Health, PeerInfo, Reload, ReloadError, Snapshot, Status};
use crate::control::{diag, wire};

impl Client {
    /// Returns this node's peer id and addresses.
    ///
    /// # Errors
    /// See [`Error`], here and in every method below.
    pub async fn identify(&mut self) -> Result<PeerInfo, Error> {
        let answer = self.ask(request(Kind::Identify)).await?;
        let id = answer.identify.ok_or(Error::Unexpected("identify"))?;
        Ok(PeerInfo {
            id: wire::peer_id("id", &id.id)?,
            addrs: wire::multiaddrs("addrs", &id.addrs)?,
        })
    }

    /// Returns the complete status of the node.
    pub async fn status(&mut self) -> Result<Status, Error> {
        let answer = self.ask(request(Kind::Status)).await?;
        Ok(Status::from_pb(
            answer.status.ok_or(Error::Unexpected("status"))?,
        )?)
    }

    /// Returns whether the node is live and ready.
    pub async fn health(&mut self) -> Result<Health, Error> {
        let answer = self.ask(request(Kind::Health)).await?;
        Ok(Health::from_pb(
            answer.health.ok_or(Error::Unexpected("health"))?,
        ))
    }

    /// Returns the state of the daemon at this moment, for a diagnosis.
    pub async fn diag(&mut self) -> Result<Snapshot, Error> {
        let answer = self.ask(request(Kind::Diag)).await?;
        Ok(diag::from_pb(
            answer.diag.ok_or(Error::Unexpected("diag"))?,
        )?)
    }

    /// Makes the daemon read its configuration again, and returns the outcome.
    pub async fn reload(&mut self) -> Result<Result<Reload, ReloadError>, Error> {
        let answer = self.ask(request(Kind::Reload)).await?;
        let reload = answer.reload.ok_or(Error::Unexpected("reload"))?;
        Ok(Reload::from_pb(reload))
    }
}
