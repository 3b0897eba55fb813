//! A file that appears under its name complete and durable, or not at all.
//!
//! Data is written to a temporary file in the same folder, which takes the final name
//! when all of it is on the disk. When anything interrupts this earlier (a full disk,
//! Ctrl-C, the end of the daemon, a power cut), the file under the final name is
//! unchanged.
//!
//! The crate `tempfile` is not used for this, because its `persist` neither syncs the
//! file and its folder to the disk nor keeps the mode of the file that is replaced. The
//! steps that matter here would still have to be written, and `NamedTempFile` does not
//! keep `/dev/null` from being replaced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// The file that is being written.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    /// The final name.
    path: PathBuf,
    /// The name that it has until then; `None` for anything but a regular file, such as
    /// `/dev/null`, which is written to and never replaced.
    temporary: Option<PathBuf>,
    /// Whether an existing file must not be replaced.
    fresh: bool,
}

impl NewFile {
    /// Opens a new file that is going to become `path`.
    pub(crate) fn create(path: &Path) -> io::Result<NewFile> {
        // A link is followed, so that the file it points to is replaced and not the link
        // itself.
        let path = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(e) => return Err(e),
        };
        let existing = match fs::metadata(&path) {
            Ok(m) if m.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(m) if !m.is_file() => {
                let file = OpenOptions::new().write(true).open(&path)?;
                return Ok(NewFile {
                    file,
                    path,
                    temporary: None,
                    fresh: false,
                });
            }
            Ok(m) => Some(m),
            Err(_) => None,
        };
        let (temporary, file) = open_temporary(&path, 0o666)?;
        let new = NewFile {
            file,
            path,
            temporary: Some(temporary),
            fresh: false,
        };
        if let Some(existing) = existing {
            new.file.set_permissions(existing.permissions())?;
        }
        Ok(new)
    }

    /// Opens a new file that is going to become `path` and that only its owner may read.
    /// An existing file is not replaced: then this fails, and so does
    /// [`NewFile::publish`] when one has been created in the meantime.
    pub(crate) fn create_private(path: &Path) -> io::Result<NewFile> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (temporary, file) = open_temporary(path, 0o600)?;
        Ok(NewFile {
            file,
            path: path.to_owned(),
            temporary: Some(temporary),
            fresh: true,
        })
    }

    /// Asks the file system to reserve `size` bytes, so that a disk which is too small is
    /// noticed before anything has been fetched.
    pub(crate) fn reserve(&self, size: u64) -> io::Result<()> {
        let Ok(length) = i64::try_from(size) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        if length == 0 || self.temporary.is_none() {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
            Err(e @ (Errno::ENOSPC | Errno::EFBIG | Errno::EDQUOT)) => Err(e.into()),
            // Not every file system can reserve space; if it runs out, the writes will
            // fail.
            _ => Ok(()),
        }
    }

    /// Returns a second handle to write through.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Makes the data durable and gives the file its final name. This blocks on the disk.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        self.file.sync_all()?;
        if self.fresh {
            // This takes the name only when there is no file of this name yet. The rename
            // then replaces nothing but the empty file that is created here.
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&self.path)?;
        }
        fs::rename(temporary, &self.path)?;
        self.temporary = None;
        File::open(folder_of(&self.path))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn open_temporary(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // File names are limited to 255 bytes, including what is added here.
    let start = String::from_utf8_lossy(&name.as_bytes()[..name.len().min(200)]).into_owned();
    let pid = std::process::id();
    for attempt in 0..1000 {
        let temporary = folder_of(path).join(format!(".{start}.{pid}-{attempt}.part"));
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
        {
            Ok(file) => return Ok((temporary, file)),
            // It was left behind by a killed process that had the same process number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_name_shows_the_whole_file_or_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let new = NewFile::create(&path).unwrap();
        new.handle().unwrap().write_all(b"half").unwrap();
        drop(new);
        assert!(names(dir.path()).is_empty());

        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let new = NewFile::create(&path).unwrap();
        new.reserve(1 << 20).unwrap();
        new.handle().unwrap().write_all(b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        new.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn a_private_file_replaces_nothing_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let new = NewFile::create_private(&path).unwrap();
        new.handle().unwrap().write_all(b"x").unwrap();
        new.publish().unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = NewFile::create_private(&path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);

        let late = dir.path().join("late");
        let new = NewFile::create_private(&late).unwrap();
        symlink("nowhere", &late).unwrap();
        assert!(new.publish().is_err());
        assert!(late.is_symlink());
        assert_eq!(names(dir.path()), ["f", "late"]);
    }

    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("real"), "old").unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        let new = NewFile::create(&dir.path().join("link")).unwrap();
        new.handle().unwrap().write_all(b"new").unwrap();
        new.publish().unwrap();
        assert_eq!(fs::read(dir.path().join("real")).unwrap(), b"new");
        assert!(dir.path().join("link").is_symlink());
    }

    #[test]
    fn devices_are_written_and_never_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let new = NewFile::create(Path::new("/dev/null")).unwrap();
        new.reserve(u64::MAX >> 2).unwrap();
        new.handle().unwrap().write_all(b"x").unwrap();
        new.publish().unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }

    #[test]
    fn folders_and_absurd_sizes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(NewFile::create(dir.path()).is_err());
        assert!(NewFile::create(&dir.path().join("missing/f")).is_err());
        let long = dir.path().join("n".repeat(255));
        let new = NewFile::create(&long).unwrap();
        assert!(new.reserve(u64::MAX).is_err());
        drop(new);
        assert!(names(dir.path()).is_empty());
    }
}
