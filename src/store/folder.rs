//! Folders of the store, which only this user can enter.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::Error;

/// Makes a folder that only this user can enter, and closes one that others can.
pub(super) fn make_private(dir: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Error::io("create", dir, e))?;
    let mode = fs::metadata(dir)
        .map_err(|e| Error::io("look at", dir, e))?
        .permissions()
        .mode();
    if mode & 0o077 != 0
        && let Err(error) = fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
    {
        log::warn!(path:% = dir.display(), error:% = error; "other users can enter the data folder, and its mode cannot be changed to 0700");
    }
    Ok(())
}
