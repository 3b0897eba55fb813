"""Runs the tests: finds them, gives each its machines, reports, clears away.

Runs in namespaces that the script `run` makes.
"""

import argparse
import concurrent.futures
import contextlib
import glob
import importlib
import os
import shutil
import sys
import threading
import time
import traceback

import base
import packages
from machine import Failure, Machine, host, prepare_network

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ["SYSTEM_TESTS_CACHE"]
SCRATCH = os.path.join(CACHE, "scratch")

_printing = threading.Lock()


class Skipped(Exception):
    """A test that cannot run as the suite was called."""


class Suite:
    """What all tests share."""

    def __init__(self, delivered):
        self.packages = delivered
        self.installed = None
        self.figures = []
        self.logs = os.path.join(CACHE, "logs")
        self._lock = threading.Lock()

    def installed_layer(self):
        """A folder to lay over the root: the package installed, nothing started
        ever. Made once, the way a person would, by the first test that wants it."""
        with self._lock:
            if self.installed is None:
                machine = Machine(SCRATCH, "installed", [base.path()])
                machine.start(binds=[(self.packages.repository, packages.REPOSITORY)])
                packages.use_repository(machine)
                # Fresh machines have no identity yet; so the daemon must not run.
                machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
                machine.run("apt-get", "install", "-q", "-y", "p2p-node")
                machine.run("rm", "/usr/sbin/policy-rc.d")
                machine.poweroff()
                host("umount", machine.root)
                for name in ("etc/machine-id", "var/lib/systemd/random-seed"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(machine.upper, name))
                self.installed = machine.upper
            return self.installed


class Lab:
    """The machines of one test."""

    def __init__(self, suite, name):
        self.suite = suite
        self.name = name
        self.packages = suite.packages
        self.machines = []

    def machine(self, name="bare", lowers=(), binds=()):
        """A booted machine without the package."""
        machine = Machine(SCRATCH, name, [*lowers, base.path()])
        self.machines.append(machine)
        return machine.start(binds)

    def node(self, name="node", before=None, binds=()):
        """A booted machine with the package installed and its service started at
        boot, as after a reboot. `before` gets the machine before its boot."""
        machine = Machine(SCRATCH, name, [self.suite.installed_layer(), base.path()])
        self.machines.append(machine)
        if before is not None:
            before(machine)
        return machine.start(binds)

    def with_repository(self, name="bare"):
        """A booted machine without the package that can `apt install` it."""
        machine = self.machine(name, binds=[(self.packages.repository, packages.REPOSITORY)])
        packages.use_repository(machine)
        return machine

    def figure(self, what, value):
        """Reports something measured."""
        self.suite.figures.append((self.name, what, value))

    def skip(self, why):
        """Ends the test without a verdict."""
        raise Skipped(why)

    def collect(self):
        """Saves the journals of a failed test."""
        os.makedirs(self.suite.logs, exist_ok=True)
        for machine in self.machines:
            with contextlib.suppress(Exception):
                path = os.path.join(self.suite.logs, f"{self.name}.{machine.name}.log")
                with open(path, "w", encoding="utf-8") as file:
                    if machine.leader is not None:
                        machine.run("journalctl", "--sync", deadline=20)
                        file.write(machine.run("journalctl", "--no-pager", "-o",
                                               "short-precise", deadline=60).out)
                        file.write(machine.run("systemctl", "--no-pager", "-l", "status",
                                               "p2p-node.service", check=False,
                                               deadline=20).out)
                    file.write("\n-- console --\n" + machine.console_text())
                print(f"  journal of {machine.name}: {path}")

    def close(self):
        """Ends its machines."""
        for machine in self.machines:
            machine.destroy()


def find(names):
    """The tests, in the order of their files: (name, title, function)."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        subject = os.path.basename(path)[len("test_"):-len(".py")]
        module = importlib.import_module(f"test_{subject}")
        for key, value in vars(module).items():
            if key.startswith("test_") and callable(value):
                name = f"{subject}.{key[len('test_'):]}"
                if not names or any(wanted in name for wanted in names):
                    title = " ".join((value.__doc__ or name).split()).rstrip(".")
                    found.append((name, title, value))
    return found


def perform(suite, name, title, test):
    """Runs one test; true when it passed."""
    began = time.monotonic()
    lab = Lab(suite, name)
    trouble, skipped = None, None
    try:
        test(lab)
    except Skipped as why:
        skipped = why
    except Failure as failure:
        where = traceback.extract_tb(failure.__traceback__)
        line = next((f for f in reversed(where) if "test_" in os.path.basename(f.filename)),
                    where[-1])
        trouble = f"{os.path.basename(line.filename)}:{line.lineno}: {failure}"
    except SystemExit as end:
        trouble = f"a tool of the suite failed: {end}"
    except Exception:  # pylint: disable=broad-except
        trouble = traceback.format_exc()
    with _printing:
        word = "FAILED" if trouble else "passed over" if skipped else "ok    "
        print(f"{word} {time.monotonic() - began:6.1f} s  {name}: {title}")
        if skipped:
            print(f"  {skipped}")
        if trouble is not None:
            print("  " + trouble.strip().replace("\n", "\n  "))
            lab.collect()
        sys.stdout.flush()
    lab.close()
    return "skipped" if skipped else "failed" if trouble else "passed"


def main():
    parser = argparse.ArgumentParser(prog="tests/system/run", description=__doc__)
    parser.add_argument("names", nargs="*", help="run the tests whose names contain one of these")
    parser.add_argument("--packages", metavar="DIR",
                        help="where packaging/build has put the packages (default: target/packages)")
    parser.add_argument("--binary", metavar="FILE",
                        help="make packages of this binary first, for example target/debug/p2p-node")
    parser.add_argument("--faulty", metavar="FILE",
                        help="a binary with the feature fault-injection, for the stuck loop")
    parser.add_argument("--jobs", type=int, default=3, help="tests at once (default: 3; most wait)")
    parser.add_argument("--whole", action="store_true",
                        help="a test that is passed over is a failure")
    parser.add_argument("--list", action="store_true", help="name the tests and end")
    options = parser.parse_args()

    sys.path.insert(0, HERE)
    tests = find(options.names)
    if options.list or not tests:
        for name, title, _ in tests:
            print(f"{name}: {title}")
        return 0 if tests else 2

    os.makedirs(SCRATCH, exist_ok=True)
    host("mount", "-t", "tmpfs", "-o", "size=6g,mode=0755", "tmpfs", SCRATCH)
    prepare_network()
    shutil.rmtree(os.path.join(CACHE, "logs"), ignore_errors=True)
    delivered = packages.deliver(options, SCRATCH)
    suite = Suite(delivered)
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        results = list(pool.map(lambda test: perform(suite, *test), tests))
    failed = results.count("failed")
    if suite.figures:
        print("\nMeasured:")
        for name, what, value in suite.figures:
            print(f"  {name}: {what}: {value}")
    print(f"\n{results.count('passed')} passed, {failed} failed, "
          f"{results.count('skipped')} passed over, {time.monotonic() - began:.0f} s")
    return 1 if failed or (options.whole and "skipped" in results) else 0


if __name__ == "__main__":
    sys.exit(main())
