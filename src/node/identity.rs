//! The key that determines the peer id.
//!
//! It is stored in `identity.key` in the data folder, as libp2p's protobuf message
//! `PrivateKey` (the peer-ids specification), readable only by its owner. It is
//! an ed25519 key that is created once and never written again. A file that is empty,
//! damaged or readable by others is an error that names the file, since a new key would
//! silently turn the node into a stranger to its peers.
//!
//! A key that the service manager provides (`LoadCredential=identity.key:…`,
//! systemd.exec(5)) takes precedence over a key in the data folder, because an
//! operator who writes that line means it. In that case no key is created, and one
//! in the data folder stays as it is; when the two differ, the log says so.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::Keypair;

/// The name of the file with the key, in the data folder.
pub const KEY_FILE: &str = "identity.key";

/// The largest key that is read. An RSA key of 16384 bits takes about 9 KiB; a larger
/// file is not a key.
const LARGEST: u64 = 64 * 1024;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder could not be used.
    #[error("cannot {what} {}: {cause}{}", .path.display(), crate::system::advice::for_data(cause))]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// There already is a key, and keys are never overwritten.
    #[error(
        "{} exists and is never overwritten; move it away first to get a new identity",
        .0.display()
    )]
    Exists(PathBuf),
    /// There is no key.
    #[error(
        "{} does not exist; `p2p-node key generate` makes it, and so does the daemon's first start",
        .0.display()
    )]
    Missing(PathBuf),
    /// Users other than the owner may read or write the key.
    #[error(
        "{} may be used by others than its owner (mode {mode:04o}); `chmod 600` it, and make a new \
         identity if somebody may have read it",
        .path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not contain a key.
    #[error(
        "{} holds no usable key: {why}; restore it from a backup, or move it away to get a new \
         identity",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Io { what, path, cause }
}

/// The key's file in the data folder `dir`.
pub fn key_file(dir: &Path) -> PathBuf {
    dir.join(KEY_FILE)
}

/// Returns the key in the data folder `dir`, and creates one on the first start.
/// Blocks on the disk.
///
/// # Errors
/// See [`Error`]; never [`Error::Exists`] or [`Error::Missing`].
pub fn load_or_create(dir: &Path) -> Result<Keypair, Error> {
    match load(dir) {
        Err(Error::Missing(_)) => {}
        result => return result,
    }
    match create(dir) {
        // Another process was first. Its key is complete, since it appeared by one link.
        Err(Error::Exists(_)) => load(dir),
        result => result,
    }
}

/// The path of a key that the service manager provided for this process, if it did:
/// the file `identity.key` in `$CREDENTIALS_DIRECTORY`.
pub fn credential() -> Option<PathBuf> {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty())?;
    let path = Path::new(&dir).join(KEY_FILE);
    path.symlink_metadata().is_ok().then_some(path)
}

/// Returns the key in `credential`, or else the one in the data folder `dir`, which is
/// created if there is none. Blocks on the disk.
///
/// # Errors
/// See [`Error`]. A credential that cannot be used is an error, because nobody asked
/// for another identity in its place.
pub fn obtain(dir: &Path, credential: Option<&Path>) -> Result<Keypair, Error> {
    let Some(path) = credential else {
        return load_or_create(dir);
    };
    let keypair = load_credential(path)?;
    let peer = keypair.public().to_peer_id();
    match load(dir) {
        Ok(other) if other.public().to_peer_id() != peer => log::warn!(
            credential:% = path.display(), peer:% = peer,
            file:% = key_file(dir).display(), unused:% = other.public().to_peer_id();
            "the identity is that of the credential; the other one in the data folder is not used; \
             move it away, or take LoadCredential out of the unit"
        ),
        _ => log::info!(credential:% = path.display(); "the identity is that of the credential"),
    }
    Ok(keypair)
}

/// Returns the key in a credential. Its file belongs to root or to this user. If it
/// belongs to root, an access list allows this user to read it, which appears as a
/// permission of the group.
///
/// # Errors
/// See [`Error`].
pub fn load_credential(path: &Path) -> Result<Keypair, Error> {
    load_file(path, 0o037, |owner| {
        owner == 0 || owner == nix::unistd::geteuid().as_raw()
    })
}

/// Returns the key in the data folder `dir`, which may be ed25519, secp256k1, ECDSA or
/// RSA. Blocks on the disk.
///
/// # Errors
/// See [`Error`].
pub fn load(dir: &Path) -> Result<Keypair, Error> {
    load_file(&key_file(dir), 0o077, |_| true)
}

/// `forbidden` are the permission bits that must not be set.
fn load_file(path: &Path, forbidden: u32, owner: impl Fn(u32) -> bool) -> Result<Keypair, Error> {
    let path = path.to_owned();
    // O_NONBLOCK, because opening a FIFO of that name must fail below and not wait here.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => match path.symlink_metadata() {
            Err(_) => return Err(Error::Missing(path)),
            // A dangling link is a mistake, and no reason to create a new key.
            Ok(there) if there.is_symlink() => return Err(io_error("open", &path)(e)),
            // Another process has created it since. The file of a key is complete from
            // the moment it exists, and nobody removes it, so this recursion ends.
            Ok(_) => return load_file(&path, forbidden, owner),
        },
        Err(cause) => return Err(io_error("open", &path)(cause)),
    };
    let metadata = file.metadata().map_err(io_error("look at", &path))?;
    let damaged = |why: String| Error::Damaged {
        path: path.clone(),
        why,
    };
    if !metadata.is_file() {
        return Err(damaged("it is not a regular file".into()));
    }
    let mode = metadata.mode() & 0o7777;
    if !owner(metadata.uid()) {
        let why = format!(
            "it belongs to user {}, neither root nor this one",
            metadata.uid()
        );
        return Err(damaged(why));
    }
    if mode & forbidden != 0 {
        return Err(Error::TooOpen { path, mode });
    }
    if metadata.len() > LARGEST {
        return Err(damaged(format!("{} bytes are too many", metadata.len())));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", &path))?;
    if bytes.is_empty() {
        return Err(damaged("it is empty".into()));
    }
    Keypair::from_protobuf_encoding(&bytes).map_err(|e| damaged(e.to_string()))
}

/// Creates a new ed25519 key in the data folder `dir`, which is created (0700) if it is
/// missing. The file appears under its name complete and durable, or not at all. Blocks
/// on the disk.
///
/// # Errors
/// [`Error::Exists`] if there is a file of that name, whatever it contains.
pub fn create(dir: &Path) -> Result<Keypair, Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error("make", dir))?;
    let path = key_file(dir);
    // The link below decides; this check only saves the work.
    if path.symlink_metadata().is_ok() {
        return Err(Error::Exists(path));
    }
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(|e| Error::Damaged {
        path: path.clone(),
        why: e.to_string(),
    })?;

    // The peer id makes the name unique, because two processes make different keys.
    let unique = keypair.public().to_peer_id();
    let temporary = dir.join(format!(".{KEY_FILE}.{unique}"));
    let written = write_new(&temporary, &bytes)
        .map_err(io_error("write", &temporary))
        // Unlike a rename, a link never replaces an existing file.
        .and_then(|()| match fs::hard_link(&temporary, &path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(path.clone())),
            Err(e) => Err(io_error("make", &path)(e)),
        });
    // The temporary name is no longer needed, whatever happened. If it cannot be
    // removed, it is as private as the key.
    let _ = fs::remove_file(&temporary);
    written?;
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(io_error("sync", dir))?;
    Ok(keypair)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(dir: &Path, bytes: &[u8], mode: u32) {
        fs::write(key_file(dir), bytes).unwrap();
        fs::set_permissions(key_file(dir), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn a_credential_wins_over_the_data_folder_and_makes_no_key_there() {
        let dir = tempfile::tempdir().unwrap();
        let (data, given) = (dir.path().join("data"), dir.path().join("given"));
        let wanted = create(&given).unwrap();
        let path = key_file(&given);
        // As systemd provides it: only for this user, or with an access list.
        for mode in [0o400, 0o440] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let got = obtain(&data, Some(&path)).unwrap();
            assert_eq!(got.public(), wanted.public());
            assert!(!data.exists());
        }
        let own = create(&data).unwrap();
        let got = obtain(&data, Some(&path)).unwrap();
        assert_eq!(got.public(), wanted.public());
        assert_eq!(obtain(&data, None).unwrap().public(), own.public());
        // A credential that cannot be used is no reason to use another identity.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert!(matches!(
            obtain(&data, Some(&path)),
            Err(Error::TooOpen { mode: 0o444, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "no key").unwrap();
        assert!(matches!(
            obtain(&data, Some(&path)),
            Err(Error::Damaged { .. })
        ));
    }

    #[test]
    fn the_first_start_makes_a_key_and_later_ones_load_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        let made = load_or_create(&dir).unwrap();
        assert_eq!(names(&dir), [KEY_FILE]);
        let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&key_file(&dir))), (0o700, 0o600));
        let loaded = load_or_create(&dir).unwrap();
        assert_eq!(made.public(), loaded.public());
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        for content in [&b"precious"[..], b""] {
            write(temp.path(), content, 0o600);
            assert!(matches!(create(temp.path()), Err(Error::Exists(_))));
            assert!(matches!(
                load_or_create(temp.path()),
                Err(Error::Damaged { .. })
            ));
            assert_eq!(fs::read(key_file(temp.path())).unwrap(), content);
            assert_eq!(names(temp.path()), [KEY_FILE]);
        }
    }

    #[test]
    fn a_link_to_nowhere_is_not_replaced() {
        let temp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/nowhere/key", key_file(temp.path())).unwrap();
        assert!(matches!(load_or_create(temp.path()), Err(Error::Io { .. })));
        assert!(matches!(create(temp.path()), Err(Error::Exists(_))));
    }

    #[test]
    fn many_first_starts_at_once_agree_on_one_key() {
        // There are many rounds, because the race is between two system calls.
        for _ in 0..64 {
            let temp = tempfile::tempdir().unwrap();
            let dir = temp.path();
            let together = std::sync::Barrier::new(16);
            let ids: std::collections::BTreeSet<_> = std::thread::scope(|s| {
                let start = || {
                    together.wait();
                    load_or_create(dir).unwrap().public().to_peer_id()
                };
                let threads: Vec<_> = (0..16).map(|_| s.spawn(start)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(ids.len(), 1);
            assert_eq!(names(dir), [KEY_FILE]);
        }
    }

    #[test]
    fn a_key_that_others_may_use_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let key = Keypair::generate_ed25519().to_protobuf_encoding().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            write(temp.path(), &key, mode);
            let error = load(temp.path()).unwrap_err();
            assert!(matches!(error, Error::TooOpen { .. }), "{mode:o}: {error}");
            assert!(
                error.to_string().contains(&format!("{mode:04o}")),
                "{error}"
            );
        }
        write(temp.path(), &key, 0o400);
        load(temp.path()).unwrap();
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let temp = tempfile::tempdir().unwrap();
        let key = Keypair::generate_ed25519().to_protobuf_encoding().unwrap();
        let large = vec![0; LARGEST as usize + 1];
        for bytes in [&b""[..], b"junk", &key[..key.len() - 1], &large] {
            write(temp.path(), bytes, 0o600);
            let error = load(temp.path()).unwrap_err().to_string();
            assert!(
                error.contains(KEY_FILE) && error.contains("no usable key"),
                "{error}"
            );
        }
        fs::remove_file(key_file(temp.path())).unwrap();
        fs::create_dir(key_file(temp.path())).unwrap();
        assert!(matches!(load(temp.path()), Err(Error::Damaged { .. })));
    }

    /// The vectors of the peer-ids specification.
    #[test]
    fn other_types_of_key_are_understood() {
        use libp2p::identity::KeyType;
        let temp = tempfile::tempdir().unwrap();
        for (hex, kind) in [
            (
                "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d\
                 1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
                KeyType::Ed25519,
            ),
            (
                "0802122053dadf1d5a164d6b4acdb15e24aa4c5b1d3461bdbd42abedb0a4404d56ced8fb",
                KeyType::Secp256k1,
            ),
            (
                "08031279307702010104203e5b1fe9712e6c314942a750bd67485de3c1efe85b1bfb520ae8\
                 f9ae3dfa4a4ca00a06082a8648ce3d030107a14403420004de3d300fa36ae0e8f5d530899d\
                 83abab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c6\
                 46a597fb4dcec034e9f77c409e62",
                KeyType::Ecdsa,
            ),
        ] {
            write(temp.path(), &unhex(hex), 0o600);
            assert_eq!(load(temp.path()).unwrap().key_type(), kind);
        }
    }
}
