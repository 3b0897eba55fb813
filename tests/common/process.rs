//! A process that a test has started.

use std::io::Read;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{DEADLINE, eventually, pause};

/// The most that is kept of what a process prints, and more than any test needs.
const MOST: usize = 256 << 20;

/// A process that is killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Process {
        Process(command.spawn().unwrap())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its standard input, which was piped and not taken yet.
    #[track_caller]
    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.0.stdin.as_mut().unwrap()
    }

    /// Takes its standard input, which was piped and not taken yet.
    #[track_caller]
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().unwrap()
    }

    /// Takes its standard output, which was piped and not taken yet.
    #[track_caller]
    pub(crate) fn take_stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }

    /// Takes its standard error, which was piped and not taken yet.
    #[track_caller]
    pub(crate) fn take_stderr(&mut self) -> ChildStderr {
        self.0.stderr.take().unwrap()
    }

    /// Sends a signal to it.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Waits for its end; the exit code, which one that a signal has killed lacks.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the process ends", || self.ended()).code()
    }

    /// Waits for its end, and gathers what it prints where that is piped. Its standard
    /// input ends.
    #[track_caller]
    pub(crate) fn output(mut self) -> Output {
        drop(self.0.stdin.take());
        let stdout = gather(self.0.stdout.take());
        let stderr = gather(self.0.stderr.take());
        let end = Instant::now() + DEADLINE;
        let mut status = self.ended();
        while status.is_none() && Instant::now() < end {
            pause();
            status = self.ended();
        }
        drop(self);
        let [stdout, stderr] = [stdout, stderr].map(|bytes| bytes.join().unwrap());
        let Some(status) = status else {
            let said = String::from_utf8_lossy(&stderr);
            panic!("the process did not end; on its standard error is:\n{said}")
        };
        assert!(
            stdout.len().max(stderr.len()) <= MOST,
            "it prints without end"
        );
        Output {
            status,
            stdout,
            stderr,
        }
    }

    /// Kills it, as a power cut would, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.wait();
    }
}

/// Reads to the end, or somewhat more than [`MOST`].
fn gather(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            let mut stream = stream.take(MOST as u64 + 1);
            stream.read_to_end(&mut bytes).unwrap();
        }
        bytes
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
