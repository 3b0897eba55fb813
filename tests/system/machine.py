"""Machines: a booted systemd each, on an overlay over one common root.

A machine is a container of systemd-nspawn with a network namespace of its own,
joined with the others by a bridge. What it writes goes to a tmpfs, so that each
begins fresh and costs nothing. The whole suite lives in namespaces of its own
(see run), so that nothing here has to be undone for the host's sake; machines
are ended early only to give back memory.
"""

import contextlib
import itertools
import os
import select
import shutil
import socket
import subprocess
import threading
import time

# Far beyond what anything takes, for machines that do other things as well.
DEADLINE = int(os.environ.get("SYSTEM_TESTS_DEADLINE", "120"))

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}

NETWORK = "192.0.2"
_numbers = itertools.count(1)
_network = threading.Lock()


class Failure(AssertionError):
    """What a test expected did not come."""


def expect(condition, message):
    """Fails with `message` unless `condition`; unlike assert it is never left out."""
    if not condition:
        raise Failure(message)


def eventually(what, look, deadline=DEADLINE, every=0.05):
    """The first true answer of `look`; fails when `deadline` seconds pass before.

    A `Failure` raised by `look` counts as no answer, and is told at the end.
    """
    end = time.monotonic() + deadline
    last = None
    while True:
        try:
            answer = look()
            if answer:
                return answer
            last = answer
        except Failure as failure:
            last = failure
        if time.monotonic() > end:
            raise Failure(f"not within {deadline} s: {what}; the last answer was: {last}")
        time.sleep(every)


class Result:
    """What a command said."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __repr__(self):
        return (f"{' '.join(self.argv)}: exit {self.status}\n"
                f"stdout: {self.out.strip()}\nstderr: {self.err.strip()}")


def host(*argv):
    """Runs a command of the suite itself."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def prepare_network():
    """The bridge that joins the machines."""
    os.makedirs("/run/netns", exist_ok=True)
    host("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    host("ip", "link", "set", "lo", "up")
    host("ip", "link", "add", "machines", "type", "bridge")
    host("ip", "link", "set", "machines", "up")


class Machine:
    """One machine. `start` boots it; `run` runs a command inside of it."""

    def __init__(self, scratch, name, lowers):
        self.name = name
        self.number = next(_numbers)
        self.address = f"{NETWORK}.{self.number}"
        self.folder = os.path.join(scratch, f"{self.number}-{name}")
        self.root = os.path.join(self.folder, "root")
        self.upper = os.path.join(self.folder, "upper")
        self.namespace = f"machine{self.number}"
        self.group = f"{os.environ['SYSTEM_TESTS_GROUP']}/{self.number}"
        self.console = os.path.join(self.folder, "console")
        self.nspawn = None
        self.leader = None
        for part in ("root", "upper", "work"):
            os.makedirs(os.path.join(self.folder, part))
        work = os.path.join(self.folder, "work")
        host("mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir={':'.join(lowers)},upperdir={self.upper},workdir={work}", self.root)
        with _network:
            self._connect()

    def _connect(self):
        space, inner, outer = self.namespace, f"in{self.number}", f"out{self.number}"
        host("ip", "netns", "add", space)
        host("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        host("ip", "link", "set", outer, "master", "machines", "up")
        host("ip", "link", "set", inner, "netns", space, "name", "eth0")
        host("ip", "-n", space, "link", "set", "lo", "up")
        host("ip", "-n", space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        host("ip", "-n", space, "link", "set", "eth0", "up")
        host("ip", "-n", space, "route", "add", "default", "via", f"{NETWORK}.254")

    # -- life ---------------------------------------------------------------

    def start(self, binds=()):
        """Boots it; returns when systemd says that the boot is over."""
        notify = os.path.join(self.folder, "notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(notify)
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Its name may be longer than a socket's address; the folder's is not.
        here = os.open(self.folder, os.O_PATH)
        heard.bind(f"/proc/self/fd/{here}/notify")
        os.close(here)
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
                   f"--machine=m{self.number}", "-D", self.root,
                   f"--network-namespace-path=/run/netns/{self.namespace}",
                   "--capability=CAP_NET_ADMIN", "--console=pipe", "--notify-ready=yes",
                   "--kill-signal=SIGRTMIN+3", "--hostname", self.name]
        command += [f"--bind-ro={source}:{target}" for source, target in binds]
        with open(self.console, "ab") as console:
            self.nspawn = subprocess.Popen(
                ["sh", "-euc", self._enter_groups(), "sh", *command],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env={**ENVIRONMENT, "NOTIFY_SOCKET": notify,
                     "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        try:
            self._wait_for_boot(heard)
        finally:
            heard.close()
        return self

    def _enter_groups(self):
        """Shell that moves itself into a control group of its own and goes on as
        its arguments. Where the host has the old hierarchies beside the new one,
        the machine gets to see the new one alone."""
        tops = [top for top in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")
                if os.path.isdir(top)]
        hybrid = bool(tops)
        script = ""
        for top in tops or ["/sys/fs/cgroup"]:
            group = os.path.join(top, self.group)
            script += f"mkdir -p {group}; echo 0 > {group}/cgroup.procs; "
        if not hybrid:
            return script + 'exec "$@"'
        return script + ("exec unshare -m --propagation private sh -euc '"
                         "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; "
                         "exec \"$@\"' sh \"$@\"")

    def _wait_for_boot(self, heard):
        end = time.monotonic() + DEADLINE
        while True:
            readable, _, _ = select.select([heard], [], [], 0.2)
            if readable:
                message = heard.recv(65536).decode()
                for line in message.splitlines():
                    if line.startswith("X_NSPAWN_LEADER_PID="):
                        self.leader = int(line.partition("=")[2])
                    if line == "READY=1":
                        return
            elif self.nspawn.poll() is not None or time.monotonic() > end:
                raise Failure(f"{self.name} did not boot:\n{self.console_text()}")

    def console_text(self):
        """What the boot and nspawn itself said."""
        with open(self.console, encoding="utf-8", errors="replace") as file:
            return file.read()[-8000:]

    def poweroff(self):
        """Shuts it down in order."""
        self.run("systemctl", "poweroff", check=False)
        try:
            self.nspawn.wait(DEADLINE)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name} did not shut down:\n{self.console_text()}") from error
        self.nspawn = self.leader = None

    def kill(self):
        """As if the power had gone; harmless when it is off."""
        if self.nspawn is not None:
            if self.leader is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.leader, 9)
            else:
                self.nspawn.kill()
            self.nspawn.wait(DEADLINE)
        self.nspawn = self.leader = None

    def destroy(self):
        """Ends it and gives its memory back. Never fails."""
        with contextlib.suppress(Exception):
            self.kill()
        with contextlib.suppress(Exception):
            host("umount", "-R", "-l", self.root)
        with contextlib.suppress(Exception), _network:
            host("ip", "netns", "del", self.namespace)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- commands -----------------------------------------------------------

    def command(self, *argv, user=None):
        """The arguments that run `argv` inside of it."""
        expect(self.leader is not None, f"{self.name} is off")
        # nsenter waits for a child; without this the child would outlive it when it
        # is killed, and hold the pipes that its output is read from.
        inner = ["setpriv", "--pdeathsig", "KILL", *argv]
        if user:
            inner = ["runuser", "-u", user, "--", *inner]
        return ["nsenter", "-t", str(self.leader), "-a", "--", *inner]

    def spawn(self, *argv, user=None, **more):
        """Starts a command inside of it; the caller waits for it."""
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE, "text": True, **more}
        return subprocess.Popen(self.command(*argv, user=user), env=ENVIRONMENT, **more)

    def run(self, *argv, check=True, user=None, data=None, deadline=DEADLINE):
        """Runs a command inside of it. Fails when it fails, unless `check` is false."""
        try:
            done = subprocess.run(self.command(*argv, user=user), env=ENVIRONMENT, input=data,
                                  stdin=None if data is not None else subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=deadline, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{' '.join(argv)} did not end within {deadline} s") from error
        result = Result(argv, done.returncode, done.stdout, done.stderr)
        if check and result.status:
            raise Failure(repr(result))
        return result

    def out(self, *argv, **more):
        """What a command that must succeed prints, without white space around it."""
        return self.run(*argv, **more).out.strip()

    def shell(self, script, **more):
        """Runs a script of the shell inside of it."""
        return self.run("sh", "-euc", script, **more)

    # -- files --------------------------------------------------------------

    def path(self, inside):
        """Where a file of it is seen from outside. Good for the root's own files,
        not for what is mounted inside (/run, /tmp)."""
        return os.path.join(self.root, inside.lstrip("/"))

    def write(self, inside, text, mode=0o644):
        """Writes a file inside of it, as its systemd sees it."""
        self.run("sh", "-euc", 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"',
                 "sh", inside, f"{mode:o}", data=text)

    def read(self, inside):
        """Reads a file inside of it, as its systemd sees it."""
        return self.run("cat", inside).out

    # -- systemd ------------------------------------------------------------

    def systemctl(self, *argv, **more):
        """Runs systemctl inside of it."""
        return self.run("systemctl", *argv, **more)

    def show(self, name, unit="p2p-node.service"):
        """A property of a unit."""
        return self.out("systemctl", "show", "--value", "-p", name, unit)

    def journal(self, *argv, unit="p2p-node.service"):
        """Lines of the journal of a unit, oldest first."""
        # What journald has been given but has not written yet counts as well.
        self.run("journalctl", "--sync")
        return self.out("journalctl", "--no-pager", "-q", "-o", "cat", "-u", unit, *argv)
