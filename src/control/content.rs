//! BLOCK: files in and out.
pub(super) const MAX_TRANSFERS: usize = 64;
use super::pb;
use super::session::*;
use super::types::StoreStatus;
impl Session {
    pub(super) async fn block(&mut self, _: pb::BlockRequest) -> Result<(), End> {
        self.reply(Err("content is not served by this build yet".into()))
            .await
    }
    pub(super) async fn store_status(&self) -> Result<StoreStatus, Failure> {
        Ok(StoreStatus::default())
    }
}
