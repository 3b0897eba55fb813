//! The files that hold the payloads of blocks.
//!
//! A segment is a file `blocks/<id as 8 hex digits>.seg` that only grows.
//! Every record in it begins at a multiple of 4 KiB (`ALIGN`): magic (4 bytes),
//! payload length (u32, little endian), multihash length (u16), multihash,
//! payload. The header identifies the record, so that bytes read at a
//! wrong offset are never taken for a block.
//!
//! Space is given back by punching holes and, when a segment holds no block any more,
//! by deleting it. Because of the alignment every record takes whole blocks of the file
//! system, so a hole always frees all of it.

mod location;
mod writer;

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use nix::{errno::Errno, fcntl::FallocateFlags};

use super::Error;
use crate::system::pool::Pool;
use location::FIXED_HEADER;
pub(super) use location::{Location, footprint};
pub(super) use writer::Writer;

/// A segment that reached this size takes no more records. Large enough that
/// a full store of 10 GiB is some 160 files, small enough that deleted content
/// gives back whole files and that a flush of one does not take seconds.
pub(super) const SEGMENT_BYTES: u64 = 64 << 20;

/// Open files kept for reading; each costs one descriptor.
const READERS: usize = 64;

/// Unused buffers of reads that are kept, each of a block's size: those of a
/// few peers that are served at once. At the default limit of 2 MiB a block they
/// are 8 MiB at most.
const SPARE_BUFFERS: usize = 4;

/// Partly filled segments kept for the next batch.
const SPARE_WRITERS: usize = 8;

const MAGIC: [u8; 4] = *b"p2pb";
/// Why a record could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The file is missing or too short, or the header is that of another record.
    Damaged(&'static str),
    /// Anything else.
    Io(io::Error),
}

/// All segments of a store.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    /// The first id of this run: files with a lower one have no writer.
    first: u32,
    next: AtomicU32,
    spare: Mutex<Vec<Writer>>,
    /// Ids that have a writer; these files are never deleted.
    owned: Mutex<HashSet<u32>>,
    readers: Mutex<HashMap<u32, Arc<File>>>,
    punch_unsupported: AtomicBool,
    buffers: Pool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is valid between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Segments {
    /// Prepares for appending from segment `next` on.
    pub(super) fn new(dir: PathBuf, next: u32) -> Self {
        Segments {
            dir,
            first: next,
            next: AtomicU32::new(next),
            spare: Mutex::default(),
            owned: Mutex::default(),
            readers: Mutex::default(),
            punch_unsupported: AtomicBool::new(false),
            buffers: Pool::new(SPARE_BUFFERS),
        }
    }

    /// The folder of the segments.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of segment `id`.
    pub(super) fn path(&self, id: u32) -> PathBuf {
        self.dir.join(format!("{id:08x}.seg"))
    }

    /// Whether a writer of this process may append to segment `id`.
    pub(super) fn is_owned(&self, id: u32) -> bool {
        lock(&self.owned).contains(&id)
    }

    /// Whether segment `id` was begun by an earlier run of the daemon.
    pub(super) fn is_old(&self, id: u32) -> bool {
        id < self.first
    }

    /// A writer with room: a spare one, else a new file. The flag is true for
    /// a new file, whose folder must be synced before it is durable.
    pub(super) fn writer(&self) -> Result<(Writer, bool), Error> {
        if let Some(writer) = lock(&self.spare).pop() {
            return Ok((writer, false));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path(id);
        // A file of this name can only be what a killed run left behind: the
        // database, which this process has locked, does not know this id.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("create", path, e))?;
        lock(&self.owned).insert(id);
        Ok((
            Writer {
                id,
                file: Arc::new(file),
                end: 0,
                committed: 0,
            },
            true,
        ))
    }

    /// Takes a writer back: cuts off what was not committed, and keeps the writer for
    /// the next batch when its segment has room.
    pub(super) fn put_back(&self, mut writer: Writer) {
        if writer.committed == 0 {
            let _ = std::fs::remove_file(self.path(writer.id));
            self.release(writer.id);
            return;
        }
        if writer.is_dirty() {
            if writer.file.set_len(writer.committed).is_err() {
                // The tail is garbage, which the next start cuts off.
                self.release(writer.id);
                return;
            }
            writer.end = writer.committed;
        }
        let mut spare = lock(&self.spare);
        if writer.end < SEGMENT_BYTES && spare.len() < SPARE_WRITERS {
            spare.push(writer);
        } else {
            drop(spare);
            self.release(writer.id);
        }
    }

    /// Forgets a writer and leaves its file as it is.
    pub(super) fn release(&self, id: u32) {
        lock(&self.owned).remove(&id);
    }

    /// Appends a record; it is not durable before the file is synced.
    pub(super) fn append(
        &self,
        writer: &mut Writer,
        key: &[u8],
        payload: &[u8],
    ) -> Result<Location, Error> {
        let (Ok(len), Ok(key_len)) = (u32::try_from(payload.len()), u16::try_from(key.len()))
        else {
            return Err(Error::io(
                "append to",
                self.path(writer.id),
                io::Error::new(io::ErrorKind::InvalidInput, "the record is too long"),
            ));
        };
        let mut head = Vec::with_capacity(FIXED_HEADER + key.len());
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&len.to_le_bytes());
        head.extend_from_slice(&key_len.to_le_bytes());
        head.extend_from_slice(key);
        let offset = writer.end;
        writer
            .file
            .write_all_at(&head, offset)
            .and_then(|()| {
                writer
                    .file
                    .write_all_at(payload, offset + head.len() as u64)
            })
            .map_err(|e| {
                // Give back the space of what was written in part.
                let _ = writer.file.set_len(offset);
                Error::io("append to", self.path(writer.id), e)
            })?;
        writer.end = offset + footprint(key, payload.len());
        Ok(Location {
            segment: writer.id,
            offset,
            len,
        })
    }

    /// Makes the names of new segments durable.
    pub(super) fn sync_dir(&self) -> Result<(), Error> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| Error::io("sync", &self.dir, e))
    }

    fn reader(&self, id: u32) -> io::Result<Arc<File>> {
        if let Some(file) = lock(&self.readers).get(&id) {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(self.path(id))?);
        let mut readers = lock(&self.readers);
        if readers.len() >= READERS {
            // Which ones are closed hardly matters: opening one again takes microseconds.
            readers.clear();
        }
        readers.insert(id, file.clone());
        Ok(file)
    }

    /// Reads the payload of the record at `at`, which must be that of `key`.
    pub(super) fn read(&self, key: &[u8], at: Location) -> Result<Bytes, ReadError> {
        let head = FIXED_HEADER + key.len();
        let mut buffer = self.buffers.take(head + at.len as usize);
        let record = buffer.bytes_mut();
        let file = self.reader(at.segment).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => ReadError::Damaged("the file is missing"),
            _ => ReadError::Io(e),
        })?;
        file.read_exact_at(record, at.offset)
            .map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => ReadError::Damaged("the file is too short"),
                _ => ReadError::Io(e),
            })?;
        let same = record[..4] == MAGIC
            && record[4..8] == at.len.to_le_bytes()
            && record[8..10] == (key.len() as u16).to_le_bytes()
            && record[FIXED_HEADER..head] == *key;
        if !same {
            return Err(ReadError::Damaged("its header does not match"));
        }
        Ok(buffer.freeze().slice(head..))
    }

    /// Gives the disk space of a range back; what was there reads as zeros.
    pub(super) fn punch(&self, id: u32, offset: u64, len: u64) -> Result<(), Error> {
        if self.punch_unsupported.load(Ordering::Relaxed) {
            return Ok(());
        }
        let path = self.path(id);
        let file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match nix::fcntl::fallocate(&file, mode, offset as i64, len as i64) {
            Ok(()) => Ok(()),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                self.punch_unsupported.store(true, Ordering::Relaxed);
                log::warn!(
                    path:% = path.display();
                    "this file system cannot punch holes: space of removed blocks comes back only when a whole file of {} MiB is unused",
                    SEGMENT_BYTES >> 20
                );
                Ok(())
            }
            Err(e) => Err(Error::io("punch a hole in", path, e.into())),
        }
    }

    /// Deletes a segment that holds no block.
    pub(super) fn delete(&self, id: u32) -> Result<(), Error> {
        lock(&self.readers).remove(&id);
        let path = self.path(id);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("delete", path, e)),
            _ => Ok(()),
        }
    }

    /// Ids and lengths of the segment files of earlier runs.
    pub(super) fn old_files(&self) -> Result<Vec<(u32, u64)>, Error> {
        let failed = |e| Error::io("list", &self.dir, e);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_suffix(".seg"))
                .and_then(|hex| u32::from_str_radix(hex, 16).ok());
            if let (Some(id), Ok(meta)) = (id, entry.metadata())
                && self.is_old(id)
            {
                found.push((id, meta.len()));
            }
        }
        Ok(found)
    }

    /// Whether the file of a segment can be opened for reading and writing.
    pub(super) fn usable(&self, id: u32) -> Result<(), Error> {
        let path = self.path(id);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::io("open", path, e)),
        }
    }

    /// Cuts off what a killed run appended to an old segment without committing it.
    pub(super) fn truncate(&self, id: u32, len: u64) -> Result<(), Error> {
        let path = self.path(id);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(len))
            .map_err(|e| Error::io("truncate", path, e))
    }
}
