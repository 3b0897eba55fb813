"""Daemons as a user runs them, for the tests and benches that are written in Python:
real processes, in folders of their own, that end with the test. `mod.rs` beside this
is the same for those in Rust."""

import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

# Far above what any step takes; only a hang reaches it.
DEADLINE = float(os.environ.get("DEADLINE", "300"))

# One sample of /metrics: its name with labels, and its value.
SAMPLE = re.compile(r"^([a-z_0-9]+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)

_next = itertools.count()


def die_with_parent():
    # PR_SET_PDEATHSIG: nothing outlives a test that was killed.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def own_socket():
    """An IP address and a port that nobody else uses, for a program that must be told
    where to listen; see `address.rs`. A port that was found to be free may be taken
    before the program gets it."""
    block, last = divmod(next(_next), 254)
    pid = os.getpid()
    address = f"127.{pid >> 8 & 0xff}.{pid & 0xff}.{last + 1}"
    port = 10_000 + 64 * block + (pid >> 16)
    assert port < 32_768, "no addresses are left"
    return address, port


def own_address():
    """The same as a multiaddr of TCP."""
    return "/ip4/{}/tcp/{}".format(*own_socket())


def eventually(what, ask, deadline=None):
    """Asks until the answer is true, and gives it."""
    deadline = DEADLINE if deadline is None else deadline
    end = time.monotonic() + deadline
    pause = threading.Event()
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"still not after {deadline:.0f} s: {what}")
        pause.wait(0.05)


def get(url, timeout=60):
    """The body of a page."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


# What the environment says to a node beside its P2P_ variables: by a service manager,
# and about its log. `daemon.rs` has the same list; `tests/cli/environment.rs` compares
# the two.
FOR_A_NODE = {
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "RUST_LOG",
    "STATE_DIRECTORY",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
}


def is_for_a_node(variable):
    return variable.startswith("P2P_") or variable in FOR_A_NODE


class Program:
    """A process in a folder of its own, with its log there."""

    def __init__(self, folder, name):
        self.name = name
        # Absolute, since the process runs in it.
        self.folder = pathlib.Path(folder).resolve() / name
        self.folder.mkdir(parents=True)
        self.log = self.folder / "log"
        self.process = None

    def launch(self, command, env):
        """Starts it and does not wait."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                # A variable of the caller must not change what is tested.
                env={k: v for k, v in os.environ.items() if not is_for_a_node(k)} | env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        return self

    def must_run(self):
        """Fails when it has ended."""
        if self.process.poll() is not None:
            self.fail(f"ended with {self.process.returncode} at its start")

    def fail(self, why):
        tail = self.log.read_text(errors="replace")[-3000:]
        raise AssertionError(f"{self.name} {why}; its log ends with:\n{tail}")

    def stop(self):
        """Ends it as systemd would."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
                self.fail("did not stop when asked to")

    def kill(self):
        """Ends it as a power cut would."""
        if self.process:
            self.process.kill()
            self.process.wait()


class ControlledProgram(Program):
    """A program that is asked over a control socket."""

    def __init__(self, folder, name):
        super().__init__(folder, name)
        self.socket = str(self.folder / "control.sock")

    def start(self, command, env):
        """Starts it and waits until it takes connections at its control socket."""
        return self.launch(command, env).wait_for_socket()

    def wait_for_socket(self):
        def answers():
            self.must_run()
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
                with contextlib.suppress(OSError):
                    s.connect(self.socket)
                    return True
            return False

        eventually(f"{self.name} opens its control socket", answers)
        return self


class Node(ControlledProgram):
    """A p2p-node on loopback."""

    def __init__(self, binary, folder, name, **variables):
        super().__init__(folder, name)
        self.binary = os.path.abspath(binary)
        self.variables = {
            "P2P_DATA_DIR": str(self.folder / "data"),
            "P2P_CONTROL_SOCKET": self.socket,
            "P2P_LISTEN_ADDRS": "/ip4/127.0.0.1/tcp/0",
            "P2P_METRICS_PORT": "0",
            "P2P_DHT_MODE": "server",
            "P2P_LOG_FORMAT": "json",
            "RUST_LOG": os.environ.get("RUST_LOG", "info"),
            **variables,
        }

    def run(self):
        """Starts it and does not wait."""
        return self.launch([self.binary, "run"], self.variables)

    def wait_ready(self):
        """Waits until it says in its log that it is ready, and where: nothing else
        tells an HTTP port that the kernel has chosen."""

        def ready():
            self.must_run()
            for line in self.log.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if entry.get("msg") == "ready":
                        return entry["metrics"]
            return None

        self.http = eventually(f"{self.name} says that it is ready", ready)
        self.id = json.loads(self.cli("--json", "id"))
        return self

    def address(self):
        """An address of TCP, with its peer id."""
        return next(a for a in self.id["addresses"] if "/tcp/" in a)

    def metrics(self):
        """Its metrics by name and labels."""
        text = get(f"http://{self.http}/metrics")
        return {name: float(value) for name, value in SAMPLE.findall(text)}

    def command(self, *args):
        return [self.binary, "--socket", self.socket, *args]

    def cli(self, *args, check=True, data=None):
        """What a command prints, without the space around it."""
        done = subprocess.run(
            self.command(*args), input=data, capture_output=True, timeout=DEADLINE, check=False
        )
        if check and done.returncode != 0:
            self.fail(f"refuses {args}: {done.stderr.decode()}")
        return done.stdout.decode().strip()


@contextlib.contextmanager
def stopped_at_the_end():
    """A list of programs; what is in it at the end is stopped, the last one first. It
    is asked to end without care for how, so that every one is."""
    programs = []
    try:
        yield programs
    finally:
        failures = []
        for program in reversed(programs):
            try:
                program.stop()
            except AssertionError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
