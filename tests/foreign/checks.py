"""What the foreign tests share: daemons of ours and of go-libp2p, started as a
user starts them, and a list of named checks with one line of result each."""

import asyncio
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

DEADLINE = float(os.environ.get("DEADLINE", "30"))


def die_with_parent():
    # PR_SET_PDEATHSIG: no daemon outlives a test that was killed.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Daemon:
    """A daemon in a folder of its own, with its control socket."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir()
        self.name = name
        self.socket = str(self.folder / "control.sock")
        self.log = open(self.folder / "log", "wb")
        self.process = None

    def start(self, command, env):
        self.process = subprocess.Popen(
            command,
            # A variable of the caller must not change what is tested.
            env={k: v for k, v in os.environ.items() if not k.startswith("P2P_")} | env,
            cwd=self.folder,
            stdout=self.log,
            stderr=self.log,
            preexec_fn=die_with_parent,
        )
        end = time.monotonic() + DEADLINE
        while True:
            if self.process.poll() is not None:
                self.fail(f"ended with {self.process.returncode} at its start")
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
                try:
                    s.connect(self.socket)
                    return self
                except OSError:
                    if time.monotonic() > end:
                        self.fail("does not open its control socket")
            time.sleep(0.02)

    def fail(self, why):
        tail = (self.folder / "log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{self.name} {why}; its log ends with:\n{tail}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                self.fail("did not stop when asked to")


def ours(folder, name, **more):
    """A p2p-node on loopback."""
    binary = os.environ["NODE_UNDER_TEST"]
    daemon = Daemon(folder, name)
    env = {
        "P2P_DATA_DIR": str(daemon.folder / "data"),
        "P2P_CONTROL_SOCKET": daemon.socket,
        "P2P_LISTEN_ADDRS": "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1",
        "P2P_METRICS_PORT": "0",
        "P2P_DHT_MODE": "server",
        "P2P_NETWORK": "foreign-test",
        "RUST_LOG": os.environ.get("RUST_LOG", "info"),
    }
    env.update(more)
    return daemon.start([binary, "run"], env)


@contextlib.contextmanager
def running(*starters):
    """Daemons in a temporary folder, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="p2p-foreign-") as folder:
        daemons = []
        try:
            for starter in starters:
                daemons.append(starter(folder))
            yield daemons
        finally:
            for daemon in daemons:
                daemon.stop()


async def eventually(question, what):
    """Asks until the answer is true, and gives it."""
    end = time.monotonic() + DEADLINE
    while True:
        answer = await question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"still not after {DEADLINE:.0f} s: {what}")
        await asyncio.sleep(0.1)


async def run(checks, *arguments):
    """Runs the checks in order. A failed one does not stop those after it."""
    passed = failed = 0
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(check(*arguments), 2 * DEADLINE)
            passed += 1
            print(f"ok      {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {error!r}", flush=True)
            traceback.print_exc(limit=4, file=sys.stdout)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
