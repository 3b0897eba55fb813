//! RELOAD: reads the configuration again.

use super::pb;
use super::session::{Failure, Session, ok};
use crate::api::ReloadError;

impl Session {
    /// Answers when the new configuration is in force, or has been refused.
    pub(super) async fn reload(&self) -> Result<pb::Response, Failure> {
        let reload = match (self.shared.node.reload)().await {
            Ok(reload) => reload.to_pb(),
            Err(ReloadError::Refused(why)) => pb::ReloadResponse {
                refused: Some(why),
                ..Default::default()
            },
            Err(ReloadError::Failed(why)) => return Err(Failure(why)),
        };
        Ok(pb::Response {
            reload: Some(reload),
            ..ok()
        })
    }
}
