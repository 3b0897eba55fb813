//! The redb file: opening it, setting a damaged one aside, transactions, and
//! opening it again after the disk failed.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use redb::{Durability, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::{Error, index};
use crate::text::unix_time::unix_millis;

/// Bytes of database pages kept in memory. The index of 100,000 blocks is
/// some 30 MB; its hot part (inner pages) fits, and an idle node stays under
/// its 20 MiB.
const CACHE_BYTES: usize = 4 << 20;

/// Name of the database file in the data folder.
const FILE: &str = "store.redb";

/// How the name of a database begins that is still being made. A process that is
/// killed leaves such a file behind; [`super::Store::scrub`] deletes it.
pub(super) const NEW_PREFIX: &str = "store.redb.new-";

/// Name of the folder of block payloads in the data folder.
pub(super) const BLOCKS: &str = "blocks";

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Fail {
    Db(redb::Error),
    Store(Error),
}

impl From<Error> for Fail {
    fn from(e: Error) -> Self {
        Fail::Store(e)
    }
}

macro_rules! fail_from {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Fail {
            fn from(e: redb::$error) -> Self {
                Fail::Db(e.into())
            }
        }
    )*};
}
fail_from!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    SetDurabilityError
);

/// The database, which is opened again after an I/O error: until then redb refuses
/// everything.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    dir: PathBuf,
    inner: RwLock<Option<redb::Database>>,
    failed: AtomicBool,
}

enum Opened {
    Good(redb::Database),
    /// It is damaged, or of another program: the reason.
    Foreign(String),
}

impl Database {
    /// Opens the database of the data folder `dir`, or makes one. A damaged or
    /// foreign one is moved aside together with the blocks, which are of no use
    /// without it. Its new name contains the time `now`.
    pub(super) fn open(dir: &Path, now: SystemTime) -> Result<Self, Error> {
        #[cfg(feature = "fault-injection")]
        crate::system::faults::disk();
        let path = dir.join(FILE);
        let db = if path
            .try_exists()
            .map_err(|e| Error::io("look for", &path, e))?
        {
            match open_existing(&path, dir)? {
                Opened::Good(db) => db,
                Opened::Foreign(reason) => {
                    set_aside(dir, &path, &reason, now)?;
                    create(dir, &path, now)?
                }
            }
        } else {
            create(dir, &path, now)?
        };
        Ok(Database {
            path,
            dir: dir.to_owned(),
            inner: RwLock::new(Some(db)),
            failed: AtomicBool::new(false),
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file again if the last use of it ended in an I/O error.
    fn heal(&self) -> Result<(), Error> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        // The old handle holds the lock of the file.
        *inner = None;
        match open_existing(&self.path, &self.dir)? {
            Opened::Good(db) => {
                *inner = Some(db);
                self.failed.store(false, Ordering::Release);
                log::info!(path:% = self.path.display(); "opened the database again after an I/O error");
                Ok(())
            }
            // It is not set aside while running: the next start does that and logs it.
            Opened::Foreign(reason) => {
                Err(Error::database(&self.path, redb::Error::Corrupted(reason)))
            }
        }
    }

    fn handle(&self) -> Result<RwLockReadGuard<'_, Option<redb::Database>>, Error> {
        self.heal()?;
        Ok(self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn sort(&self, fail: Fail) -> Error {
        match fail {
            Fail::Store(e) => e,
            Fail::Db(e) => {
                if matches!(e, redb::Error::Io(_) | redb::Error::PreviousIo) {
                    self.failed.store(true, Ordering::Release);
                }
                Error::database(&self.path, e)
            }
        }
    }

    /// Runs `f` in a write transaction and commits it, durable when this returns.
    pub(super) fn write<T>(
        &self,
        f: impl FnOnce(&WriteTransaction) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        self.write_with(Durability::Immediate, f)
    }

    /// As [`Self::write`], but a crash may undo it until the next durable
    /// commit: for work that is done again after a crash without harm.
    pub(super) fn write_lazily<T>(
        &self,
        f: impl FnOnce(&WriteTransaction) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        self.write_with(Durability::None, f)
    }

    fn write_with<T>(
        &self,
        durability: Durability,
        f: impl FnOnce(&WriteTransaction) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        #[cfg(feature = "fault-injection")]
        crate::system::faults::disk();
        let handle = self.handle()?;
        let Some(db) = handle.as_ref() else {
            return Err(Error::database(&self.path, redb::Error::DatabaseClosed));
        };
        let run = || -> Result<T, Fail> {
            let mut tx = db.begin_write()?;
            tx.set_durability(durability)?;
            // Without it, opening after a kill walks the whole database.
            tx.set_quick_repair(matches!(durability, Durability::Immediate));
            let value = f(&tx)?;
            tx.commit()?;
            Ok(value)
        };
        run().map_err(|e| self.sort(e))
    }

    /// Runs `f` over a snapshot.
    pub(super) fn read<T>(
        &self,
        f: impl FnOnce(&ReadTransaction) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        #[cfg(feature = "fault-injection")]
        crate::system::faults::disk();
        let handle = self.handle()?;
        let Some(db) = handle.as_ref() else {
            return Err(Error::database(&self.path, redb::Error::DatabaseClosed));
        };
        let run = || -> Result<T, Fail> { f(&db.begin_read()?) };
        run().map_err(|e| self.sort(e))
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes the database under a name of its own and links it to the real one,
/// so that a kill in between never leaves a file that the next start takes for a
/// damaged one, and of two first starts at once only one succeeds.
fn create(dir: &Path, path: &Path, now: SystemTime) -> Result<redb::Database, Error> {
    let new = dir.join(format!(
        "{NEW_PREFIX}{}-{}",
        std::process::id(),
        unix_millis(now)
    ));
    let run = || -> Result<redb::Database, Fail> {
        let db = builder().create(&new).map_err(|e| Fail::Db(e.into()))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))
            .map_err(|e| Error::io("change the mode of", &new, e))?;
        let tx = db.begin_write()?;
        index::create(&tx)?;
        tx.commit()?;
        Ok(db)
    };
    let made = run().map_err(|fail| match fail {
        Fail::Db(e) => Error::database(&new, e),
        Fail::Store(e) => e,
    });
    let linked = made.and_then(|db| match fs::hard_link(&new, path) {
        Ok(()) => Ok(db),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Error::Locked {
            dir: dir.to_owned(),
        }),
        Err(e) => Err(Error::io("create", path, e)),
    });
    let _ = fs::remove_file(&new);
    fs::File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| Error::io("sync", dir, e))?;
    linked
}

fn open_existing(path: &Path, dir: &Path) -> Result<Opened, Error> {
    // According to redb's documentation, opening a file that something else altered may
    // panic; a damaged disk must not keep the daemon from reporting it.
    let attempt = std::panic::catch_unwind(AssertUnwindSafe(|| -> Result<_, Fail> {
        let db = builder().open(path).map_err(|e| Fail::Db(e.into()))?;
        let format = index::format(&db.begin_read()?)?;
        Ok((db, format))
    }));
    match attempt {
        Ok(Ok((db, Some(index::FORMAT)))) => Ok(Opened::Good(db)),
        Ok(Ok((_, Some(found)))) => Err(Error::Newer {
            path: path.to_owned(),
            found,
            known: index::FORMAT,
        }),
        Ok(Ok((_, None))) => Ok(Opened::Foreign(
            "it is the database of another program".into(),
        )),
        Ok(Err(Fail::Store(e))) => Err(e),
        Ok(Err(Fail::Db(e))) => match e {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Err(Error::Locked {
                    dir: dir.to_owned(),
                })
            }
            redb::Error::Io(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Err(Error::io("open the database", path, e))
            }
            e => Ok(Opened::Foreign(e.to_string())),
        },
        Err(_) => Ok(Opened::Foreign("reading it ended in a panic".into())),
    }
}

/// Moves the database and the blocks to names that nothing else uses.
fn set_aside(dir: &Path, path: &Path, reason: &str, now: SystemTime) -> Result<(), Error> {
    let stamp = unix_millis(now);
    let aside = path.with_extension(format!("redb.damaged-{stamp}"));
    let blocks = dir.join(BLOCKS);
    let blocks_aside = dir.join(format!("{BLOCKS}.damaged-{stamp}"));
    // The blocks first: a kill in between leaves the damaged database in
    // place, and the next start comes here again.
    match fs::rename(&blocks, &blocks_aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("set aside", blocks, e));
        }
        _ => {}
    }
    fs::rename(path, &aside).map_err(|e| Error::io("set aside", path, e))?;
    log::error!(
        path:% = path.display(), aside:% = aside.display(), blocks:% = blocks_aside.display(), reason:% = reason;
        "the database is damaged or foreign; it was set aside with its blocks and an empty one is begun; delete the two when nothing in them is needed"
    );
    Ok(())
}
