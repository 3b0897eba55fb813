//! A daemon with scripted answers, which dies, hangs or refuses at exactly the
//! wrong moment.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};

use crate::common::{Process, until};
use crate::support::{CID, finish, names, node, p2p, run};

/// Serves one connection at `home/s` after its first request has come.
fn serve(home: &Path, script: impl FnOnce(&mut UnixStream) + Send + 'static) -> JoinHandle<()> {
    let listener = UnixListener::bind(home.join("s")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // A request of a command is shorter than 128 bytes: its length is a byte.
        let mut length = [0];
        stream.read_exact(&mut length).unwrap();
        let mut request = vec![0; usize::from(length[0])];
        stream.read_exact(&mut request).unwrap();
        script(&mut stream);
    })
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A length-delimited field.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [
        varint(number << 3 | 2),
        varint(content.len() as u64),
        content.to_vec(),
    ]
    .concat()
}

/// `Response { type: OK, block }`, framed; see proto/p2pd.proto.
fn block(content: &[u8]) -> Vec<u8> {
    let response = [vec![8, 0], field(102, content)].concat();
    [varint(response.len() as u64), response].concat()
}

fn begin(size: u64) -> Vec<u8> {
    block(&[vec![8, 0, 16], varint(size)].concat())
}

fn data(bytes: &[u8]) -> Vec<u8> {
    block(&[vec![8, 1], field(3, bytes)].concat())
}

fn end() -> Vec<u8> {
    block(&[8, 4])
}

/// `Response { type: ERROR, error: { msg } }`, framed.
fn refusal(message: &str) -> Vec<u8> {
    let response = [vec![8, 1], field(2, &field(1, message.as_bytes()))].concat();
    [varint(response.len() as u64), response].concat()
}

/// Reads a request: its length, then that many bytes.
fn request(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut request = vec![0; length];
    stream.read_exact(&mut request).ok()?;
    Some(request)
}

#[test]
fn publish_goes_on_after_a_refused_line() {
    let home = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(home.path().join("s")).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        while let Some(request) = request(&mut stream) {
            let text = String::from_utf8_lossy(&request).into_owned();
            let answer = match text.contains("bad") {
                true => refusal("the message is too large"),
                false => vec![2, 8, 0],
            };
            stream.write_all(&answer).unwrap();
            heard.push(text);
        }
        heard
    });
    let mut command = node(home.path(), &["publish", "t", "--socket", "s", "--json"]);
    let mut child = Process::spawn(command.stdin(std::process::Stdio::piped()));
    let mut stdin = child.take_stdin();
    stdin.write_all(b"one\nbad\n").unwrap();
    // Longer than any line may be.
    stdin.write_all(&vec![b'x'; 5 * MIB]).unwrap();
    stdin.write_all(b"\nbad again\nlast").unwrap();
    drop(stdin);
    let said = finish(child);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.json()["messages"], 2);
    assert_eq!(said.json()["refused"], 3);
    let told: Vec<_> = said.stderr.lines().collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].contains("line 2: the message is too large"),
        "{told:?}"
    );
    assert!(told[1].contains("line 3 is longer than"), "{told:?}");
    assert!(told[2].contains("line 4: the message"), "{told:?}");
    let heard = daemon.join().unwrap();
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert!(
        heard[0].contains("one") && heard[3].contains("last"),
        "{heard:?}"
    );
}

const MIB: usize = 1 << 20;

fn content() -> Vec<u8> {
    (0..MIB).map(|i| (i % 251) as u8).collect()
}

#[test]
fn get_writes_the_whole_file_and_replaces_what_was_there() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("f"), "old").unwrap();
    let daemon = serve(home.path(), |s| {
        s.write_all(&begin(2 * MIB as u64)).unwrap();
        s.write_all(&data(&content())).unwrap();
        s.write_all(&data(&content())).unwrap();
        s.write_all(&end()).unwrap();
    });
    let said = p2p(
        home.path(),
        &["get", CID, "-o", "out/f", "--socket", "s", "--json"],
    )
    .succeeds();
    assert_eq!(said.json()["size"], 2 * MIB);
    assert!(fs::read(out.join("f")).unwrap() == [content(), content()].concat());
    assert_eq!(names(&out), ["f"]);
    daemon.join().unwrap();
}

#[test]
fn get_gives_the_bytes_to_a_pipe() {
    let home = tempfile::tempdir().unwrap();
    let daemon = serve(home.path(), |s| {
        s.write_all(&[begin(MIB as u64), data(&content()), end()].concat())
            .unwrap();
    });
    let said = p2p(home.path(), &["get", CID, "--socket", "s"]).succeeds();
    assert!(said.stdout == content());
    daemon.join().unwrap();
}

#[test]
fn get_ends_quietly_when_its_reader_goes() {
    let home = tempfile::tempdir().unwrap();
    let daemon = serve(home.path(), |s| {
        s.write_all(&begin(64 * MIB as u64)).unwrap();
        // The command closes the connection somewhere on the way.
        for _ in 0..64 {
            if s.write_all(&data(&content())).is_err() {
                return;
            }
        }
        panic!("the command read to the end");
    });
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = node(home.path(), &["get", CID, "--socket", "s"]);
    command.stdout(writer);
    let child = Process::spawn(&mut command);
    drop(command);
    let mut first = [0; 10];
    (&reader).read_exact(&mut first).unwrap();
    drop(reader);
    let said = finish(child);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    daemon.join().unwrap();
}

#[test]
fn a_daemon_that_goes_half_way_leaves_no_file() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    // Between answers, in the middle of one, and with a wrong length at the end.
    let half = data(&content())[..MIB / 2].to_vec();
    let scripts = [
        (
            [begin(3 * MIB as u64), data(&content())].concat(),
            "hung up",
        ),
        (
            [begin(3 * MIB as u64), half].concat(),
            "lost the connection",
        ),
        (
            [begin(3 * MIB as u64), data(&content()), end()].concat(),
            "1048576 of 3145728 bytes",
        ),
        (end(), "gave 0 of 0 bytes"),
        (vec![], "hung up"),
        (vec![3, 8, 0, 0xff], "daemon"),
    ];
    for (answers, told) in scripts {
        let daemon = serve(home.path(), move |s| s.write_all(&answers).unwrap());
        let said = p2p(home.path(), &["get", CID, "-o", "out/f", "--socket", "s"]);
        said.fails(1, &["get bafk", told]);
        assert!(names(&out).is_empty(), "{told}");
        daemon.join().unwrap();
        fs::remove_file(home.path().join("s")).unwrap();
    }
}

#[test]
fn a_refusal_is_passed_on_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let daemon = serve(home.path(), |s| {
        s.write_all(&refusal("nobody has it\u{1b}[2J\nnor will"))
            .unwrap();
    });
    p2p(home.path(), &["get", CID, "-o", "f", "--socket", "s"])
        .fails(1, &["nobody has it\\u{1b}[2J\\nnor will"]);
    assert_eq!(names(home.path()), ["s"]);
    daemon.join().unwrap();
}

/// Starts a `get` that has written 1 MiB and waits for more that never comes.
fn half_way(home: &Path) -> (Process, JoinHandle<()>) {
    let out = home.join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("f"), "old").unwrap();
    let daemon = serve(home, |s| {
        s.write_all(&[begin(3 * MIB as u64), data(&content())].concat())
            .unwrap();
        // This lasts until the command closes the connection.
        let _ = s.read(&mut [0]);
    });
    let mut get = node(home, &["get", CID, "-o", "out/f", "--socket", "s"]);
    let child = Process::spawn(&mut get);
    until("a megabyte is written", || {
        fs::read_dir(&out).unwrap().any(|e| {
            let e = e.unwrap();
            e.file_name() != "f" && e.metadata().is_ok_and(|m| m.len() == MIB as u64)
        })
    });
    (child, daemon)
}

#[test]
fn ctrl_c_removes_the_temporary_file() {
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let home = tempfile::tempdir().unwrap();
        let (child, daemon) = half_way(home.path());
        child.signal(signal);
        finish(child).fails(code, &["interrupted", "out/f is unchanged"]);
        assert_eq!(names(&home.path().join("out")), ["f"]);
        assert_eq!(fs::read(home.path().join("out/f")).unwrap(), b"old");
        daemon.join().unwrap();
    }
}

#[test]
fn kill_9_leaves_the_final_name_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let (child, daemon) = half_way(home.path());
    child.signal(SIGKILL);
    assert_eq!(finish(child).code, None);
    assert_eq!(fs::read(home.path().join("out/f")).unwrap(), b"old");
    let names = names(&home.path().join("out"));
    assert_eq!(names.len(), 2);
    assert!(
        names[0].starts_with(".f.") && names[0].ends_with(".part"),
        "{names:?}"
    );
    daemon.join().unwrap();
}

/// A file system of 1 MiB, which is unmounted when this is dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// `None` when this user may not mount.
    fn mount(path: std::path::PathBuf) -> Option<SmallDisk> {
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|o| o.status.success());
        mounted.then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_no_file() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(home.path().join("disk")) else {
        eprintln!("skipped: this user may not mount a small tmpfs");
        return;
    };
    // The first is told the size before anything arrives. The second finds out while it
    // writes, because the daemon announces less than it sends.
    for size in [8 * MIB, 1000] {
        let daemon = serve(home.path(), move |s| {
            let _ = s.write_all(&begin(size as u64));
            for _ in 0..8 {
                if s.write_all(&data(&content())).is_err() {
                    return;
                }
            }
            let _ = s.write_all(&end());
        });
        p2p(home.path(), &["get", CID, "-o", "disk/f", "--socket", "s"])
            .fails(1, &["cannot write disk/f", "No space left on device"]);
        assert!(names(&disk.0).is_empty());
        daemon.join().unwrap();
        fs::remove_file(home.path().join("s")).unwrap();
    }
}

#[test]
fn outputs_that_cannot_be_written_are_told() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("folder")).unwrap();
    let listener = UnixListener::bind(home.path().join("s")).unwrap();
    let get = |o: &str| p2p(home.path(), &["get", CID, "-o", o, "--socket", "s"]);
    get("folder").fails(1, &["cannot write folder", "directory"]);
    get("missing/f").fails(1, &["cannot write missing/f", "No such file"]);
    get("s").fails(1, &["cannot write s"]);
    assert_eq!(names(home.path()), ["folder", "s"]);
    drop(listener);
}

#[test]
fn inputs_that_cannot_be_read_are_told() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("folder")).unwrap();
    let listener = UnixListener::bind(home.path().join("s")).unwrap();
    p2p(home.path(), &["put", "folder", "--socket", "s"]).fails(
        1,
        &[
            "put folder: it is a folder",
            "tar c folder | p2p-node put -",
        ],
    );
    p2p(home.path(), &["put", "none", "--socket", "s"]).fails(1, &["put none: No such file"]);
    let said = p2p(home.path(), &["put", "none", "folder", "--socket", "s"]);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.stderr.lines().count(), 2, "{said:?}");
    drop(listener);
}

#[test]
fn a_daemon_that_denies_and_one_that_babbles() {
    let home = tempfile::tempdir().unwrap();
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 32], &[0]] {
        let daemon = serve(home.path(), move |s| s.write_all(answer).unwrap());
        p2p(home.path(), &["id", "--socket", "s"]).fails(1, &["id: "]);
        daemon.join().unwrap();
        fs::remove_file(home.path().join("s")).unwrap();
    }
    let mut command = node(home.path(), &["health", "--json"]);
    command.env("P2P_CONTROL_SOCKET", "s");
    let daemon = serve(home.path(), |s| {
        // HealthResponse { live: true, ready: false, reason: "starting" }
        let health = [vec![8, 1, 16, 0], field(3, b"starting")].concat();
        let response = [vec![8, 0], field(103, &health)].concat();
        s.write_all(&[varint(response.len() as u64), response].concat())
            .unwrap();
    });
    let said = run(command);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.json()["ready"], false);
    said.tells(&["health: not ready: starting"]);
    daemon.join().unwrap();
}
