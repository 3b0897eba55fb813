//! The journal of accepted messages: those that the table of replay windows does not
//! have yet.
//!
//! A mark is written before its message is delivered and without a flush, which
//! costs microseconds. It survives when the process is killed, since the kernel has it;
//! flushes and the table of windows follow in the background, so that a crash of the
//! machine loses only the last seconds.
//!
//! # Format
//!
//! Files `windows/<number as 16 hex digits>.journal`; each is [`MAGIC`], then
//! records of [`RECORD_BYTES`]: publisher's id (16), number (8), second (4),
//! lane (1), zero (3), and the first 8 bytes of the SHA-256 of these 32; numbers
//! little endian. Each record is independent and means the same however often and in whatever
//! order it is read: one that is torn or damaged is left out and the others count. A new file is begun whenever the windows are stored; the
//! files before it are deleted once they are.

mod record;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Error, Store, folder};
use crate::message::windows::Mark;
pub use record::RECORD_BYTES;
use record::decode;
pub(super) use record::encode;

/// How a file begins.
const MAGIC: [u8; 8] = *b"p2pseen1";

/// The largest size of a file. The windows are stored long before, at an eighth of it;
/// only when they cannot be stored does a journal become this large.
pub const MAX_BYTES: u64 = 8 << 20;

/// The most files, read and written: a node that is killed again and again before it
/// stores its windows leaves one each time. No more are written then.
const MAX_FILES: usize = 32;

const FOLDER: &str = "windows";
const EXTENSION: &str = "journal";

/// What was found in the files at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Marks read.
    pub marks: u64,
    /// Records left out because their check was wrong or they were cut short.
    pub damaged: u64,
    /// Files that were read.
    pub files: usize,
}

/// The journal. Every call may wait for the disk.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// The file being written; made with its first record.
    current: Option<Arc<File>>,
    path: PathBuf,
    number: u64,
    len: u64,
    /// The files before it, whose marks may not be in the stored windows.
    older: Vec<PathBuf>,
}

impl Store {
    /// Opens the journal of this data folder and gives every mark in it to
    /// `take`.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn open_journal(&self, take: impl FnMut(Mark)) -> Result<(Journal, Found), Error> {
        Journal::open(&self.inner.dir.join(FOLDER), take)
    }
}

impl Journal {
    fn open(dir: &Path, mut take: impl FnMut(Mark)) -> Result<(Self, Found), Error> {
        folder::make_private(dir)?;
        let io = |e| Error::io("read the folder", dir, e);
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            files.extend(number_of(&path).map(|number| (number, path)));
        }
        files.sort_unstable();
        let number = files.last().map_or(0, |(number, _)| *number);
        let mut found = Found::default();
        for (_, path) in &files {
            read(path, &mut found, &mut take)?;
        }
        let journal = Journal {
            dir: dir.to_owned(),
            current: None,
            path: PathBuf::new(),
            number,
            len: 0,
            older: files.into_iter().map(|(_, path)| path).collect(),
        };
        Ok((journal, found))
    }

    /// Bytes in the file being written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written since [`Self::rotate`].
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Files from before this run or before the last [`Self::rotate`].
    pub fn older(&self) -> usize {
        self.older.len()
    }

    /// Writes marks. They survive when the process is killed after this returned.
    ///
    /// # Errors
    /// When they cannot be written, or the journal is full because the windows could not
    /// be stored for a long time. None of them is written then.
    pub fn append(&mut self, marks: &[Mark]) -> Result<(), Error> {
        #[cfg(feature = "fault-injection")]
        crate::system::faults::disk();
        let mut bytes = Vec::with_capacity(MAGIC.len() + marks.len() * RECORD_BYTES);
        if self.len == 0 {
            bytes.extend_from_slice(&MAGIC);
        }
        for mark in marks {
            bytes.extend_from_slice(&encode(mark));
        }
        let file = self.file()?;
        if self.len + bytes.len() as u64 > MAX_BYTES {
            return Err(self.full());
        }
        // At the end of the last complete record: what a failed write left behind is
        // overwritten.
        file.write_all_at(&bytes, self.len)
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The file being written, to flush it from another thread.
    pub fn to_flush(&self) -> Option<Arc<File>> {
        self.current.clone()
    }

    /// Begins a new file. The ones before it may be deleted
    /// ([`delete`]) once all their marks are in the stored windows.
    pub fn rotate(&mut self) -> Vec<PathBuf> {
        if self.current.take().is_some() {
            self.older.push(std::mem::take(&mut self.path));
        }
        self.len = 0;
        std::mem::take(&mut self.older)
    }

    /// Takes back the files that [`Self::rotate`] returned, when the windows could not be
    /// stored.
    pub fn keep(&mut self, files: Vec<PathBuf>) {
        self.older.extend(files);
    }

    fn full(&self) -> Error {
        Error::io(
            "write",
            &self.dir,
            io::Error::other(
                "the journal is full, because the windows could not be stored for a long time",
            ),
        )
    }

    fn file(&mut self) -> Result<Arc<File>, Error> {
        if let Some(file) = &self.current {
            return Ok(file.clone());
        }
        if self.older.len() >= MAX_FILES {
            return Err(self.full());
        }
        let number = self.number + 1;
        let path = self.dir.join(format!("{number:016x}.{EXTENSION}"));
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("create", &path, e))?;
        let file = Arc::new(file);
        self.number = number;
        self.path = path;
        self.current = Some(file.clone());
        Ok(file)
    }
}

/// Deletes files that [`Journal::rotate`] returned.
pub fn delete(files: &[PathBuf]) {
    for path in files {
        if let Err(error) = fs::remove_file(path) {
            // It is read once more at the next start, which has no effect.
            log::warn!(path:% = path.display(), error:% = error; "cannot delete an old journal of message numbers");
        }
    }
}

fn number_of(path: &Path) -> Option<u64> {
    if path.extension()? != EXTENSION {
        return None;
    }
    u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()
}

/// Reads the marks of one file, as far as they go.
fn read(path: &Path, found: &mut Found, take: &mut impl FnMut(Mark)) -> Result<(), Error> {
    let io = |e| Error::io("read", path, e);
    let file = File::open(path).map_err(io)?;
    found.files += 1;
    scan(io::BufReader::with_capacity(64 << 10, file), found, take).map_err(io)
}

/// Reads the marks of a file's bytes.
pub(super) fn scan(
    file: impl Read,
    found: &mut Found,
    take: &mut impl FnMut(Mark),
) -> io::Result<()> {
    let mut file = file.take(MAX_BYTES);
    let mut magic = Vec::with_capacity(MAGIC.len());
    file.by_ref()
        .take(MAGIC.len() as u64)
        .read_to_end(&mut magic)?;
    if magic != MAGIC {
        // The process was killed before the first write, or the beginning is damaged.
        // Records have fixed offsets, so what follows is read all the same.
        found.damaged += u64::from(!magic.is_empty());
    }
    loop {
        let mut record = Vec::with_capacity(RECORD_BYTES);
        file.by_ref()
            .take(RECORD_BYTES as u64)
            .read_to_end(&mut record)?;
        if record.is_empty() {
            return Ok(());
        }
        match decode(&record) {
            Some(mark) => {
                found.marks += 1;
                take(mark);
            }
            None => found.damaged += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn mark(number: u64) -> Mark {
        Mark {
            id: [7; 16],
            number,
            at: 1_700_000_000,
            lane: 200,
        }
    }

    fn open(dir: &Path) -> (Journal, Vec<u64>, Found) {
        let mut marks = Vec::new();
        let (journal, found) = Journal::open(dir, |m| {
            assert_eq!(m, mark(m.number));
            marks.push(m.number);
        })
        .unwrap();
        (journal, marks, found)
    }

    fn file(dir: &Path) -> PathBuf {
        dir.join("0000000000000001.journal")
    }

    /// Three records in the first file.
    fn written() -> TempDir {
        let dir = TempDir::new().unwrap();
        let (mut journal, marks, _) = open(dir.path());
        assert!(marks.is_empty() && journal.is_empty());
        journal.append(&[mark(1), mark(2)]).unwrap();
        journal.append(&[mark(3)]).unwrap();
        assert_eq!(journal.len(), 8 + 3 * RECORD_BYTES as u64);
        dir
    }

    #[test]
    fn what_was_written_is_read_at_the_next_start() {
        let dir = written();
        let (mut journal, marks, found) = open(dir.path());
        assert_eq!(marks, [1, 2, 3]);
        assert_eq!((found.damaged, found.files), (0, 1));
        // The old file is never written again.
        journal.append(&[mark(4)]).unwrap();
        let (_, marks, found) = open(dir.path());
        assert_eq!((&marks[..], found.files), (&[1, 2, 3, 4][..], 2));
    }

    #[test]
    fn nothing_is_made_before_the_first_mark() {
        let dir = TempDir::new().unwrap();
        let (mut journal, ..) = open(dir.path());
        assert!(journal.rotate().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_tail_costs_the_record_that_it_is_of() {
        let dir = written();
        let whole = fs::read(file(dir.path())).unwrap();
        for len in 0..whole.len() {
            fs::write(file(dir.path()), &whole[..len]).unwrap();
            let (_, marks, found) = open(dir.path());
            let records = len.saturating_sub(8) / RECORD_BYTES;
            assert_eq!(marks, &[1, 2, 3][..records], "{len}");
            let torn = len != 0 && (len < 8 || !(len - 8).is_multiple_of(RECORD_BYTES));
            assert_eq!(found.damaged, u64::from(torn), "{len}");
        }
    }

    #[test]
    fn a_damaged_byte_costs_the_record_that_it_is_in() {
        let dir = written();
        let whole = fs::read(file(dir.path())).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(file(dir.path()), &bytes).unwrap();
            let (_, marks, found) = open(dir.path());
            assert_eq!(found.damaged, 1, "{at}");
            let lost = at.checked_sub(8).map(|at| at / RECORD_BYTES);
            let left: Vec<u64> = (0..3)
                .filter(|n| Some(*n) != lost)
                .map(|n| n as u64 + 1)
                .collect();
            assert_eq!(marks, left, "{at}");
        }
        // A page of zeros, as a crash of the machine may leave it.
        fs::write(file(dir.path()), [&whole[..], &[0; 4096]].concat()).unwrap();
        assert_eq!(open(dir.path()).1, [1, 2, 3]);
    }

    #[test]
    fn what_lies_there_beside_the_journal_is_left_alone() {
        let dir = written();
        fs::write(dir.path().join("notes.txt"), b"x").unwrap();
        fs::write(dir.path().join("x.journal"), b"x").unwrap();
        let (mut journal, marks, _) = open(dir.path());
        assert_eq!(marks, [1, 2, 3]);
        delete(&journal.rotate());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn files_are_deleted_once_the_windows_are_stored_and_kept_when_they_are_not() {
        let dir = written();
        let (mut journal, ..) = open(dir.path());
        journal.append(&[mark(4)]).unwrap();
        let files = journal.rotate();
        assert_eq!((files.len(), journal.len()), (2, 0));
        journal.keep(files);
        journal.append(&[mark(5)]).unwrap();
        assert_eq!(open(dir.path()).1, [1, 2, 3, 4, 5]);
        let files = journal.rotate();
        assert_eq!(files.len(), 3);
        delete(&files);
        journal.append(&[mark(6)]).unwrap();
        assert_eq!(open(dir.path()).1, [6]);
    }

    #[test]
    fn the_journal_stops_at_its_bounds() {
        let dir = TempDir::new().unwrap();
        let (mut journal, ..) = open(dir.path());
        let many: Vec<Mark> = (0..MAX_BYTES / RECORD_BYTES as u64).map(mark).collect();
        journal.append(&many[1..]).unwrap();
        let error = journal.append(&many[..1000]).unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        assert!(fs::metadata(file(dir.path())).unwrap().len() <= MAX_BYTES);

        let dir = TempDir::new().unwrap();
        for _ in 0..MAX_FILES {
            open(dir.path()).0.append(&[mark(1)]).unwrap();
        }
        open(dir.path()).0.append(&[mark(1)]).unwrap_err();
    }
}
