"""The packages under test, and repositories that apt can install them from."""

import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Where a machine sees the repository that packaging/build has made.
REPOSITORY = "/srv/repository"

# A version above all that will be.
NEWER = "9.0.0"


class Packages:
    """A folder as packaging/build leaves it: a .deb, an .rpm, and apt/."""

    def __init__(self, folder, scratch):
        self.folder = folder
        self.repository = os.path.join(folder, "apt")
        self.deb = self._one("p2p-node_*.deb")
        self.rpm = self._one("p2p-node-*.rpm")
        self.version = command("dpkg-deb", "-f", self.deb, "Version").strip()
        self.faulty = None
        self.scratch = scratch

    def _one(self, pattern):
        found = glob.glob(os.path.join(self.folder, pattern))
        if len(found) != 1:
            sys.exit(f"{self.folder} holds {len(found)} files {pattern}, not one: make them "
                     f"with packaging/build {self.folder}, or give --binary FILE")
        return found[0]


    def newer_rpm(self):
        """The .rpm made again with a higher version, of the same program."""
        work = os.path.join(self.scratch, "newer-rpm")
        os.makedirs(work, exist_ok=True)
        command("dpkg-deb", "-x", self.deb, f"{work}/root")
        command(os.path.join(TOP, "packaging", "build"), "--quick", "--only", "rpm", "--version", f"{NEWER}-1",
                "--binary", f"{work}/root/usr/bin/p2p-node", work)
        found = glob.glob(f"{work}/p2p-node-{NEWER}-1.*.rpm")
        if len(found) != 1:
            sys.exit(f"packaging/build has made {found}")
        return found[0]


def command(*argv, **more):
    """Runs a tool of the host; ends the suite when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def deliver(options, scratch):
    """The packages that the command line asks for."""
    if options.binary:
        folder = packed(options.binary)
    else:
        folder = options.packages or os.path.join(TOP, "target", "packages")
    packages = Packages(os.path.abspath(folder), scratch)
    packages.faulty = options.faulty and os.path.abspath(options.faulty)
    return packages


def packed(binary):
    """Packages of a binary, made again only when it or its packaging has changed."""
    seen = hashlib.sha256()
    files = [binary]
    for folder in ("packaging", "systemd", "man"):
        files += sorted(glob.glob(os.path.join(TOP, folder, "**"), recursive=True))
    for name in files:
        stat = os.stat(name)
        seen.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    folder = os.path.join(os.environ["SYSTEM_TESTS_CACHE"], "packages")
    mark = os.path.join(folder, "made-of")
    if os.path.exists(mark):
        with open(mark, encoding="ascii") as file:
            if file.read() == seen.hexdigest():
                return folder
    shutil.rmtree(folder, ignore_errors=True)
    print(f"making packages of {binary}", flush=True)
    command(os.path.join(TOP, "packaging", "build"), "--quick", "--binary", binary, folder)
    with open(mark, "w", encoding="ascii") as file:
        file.write(seen.hexdigest())
    return folder


def use_repository(machine):
    """Lets the machine's apt know the repository, as an operator would."""
    machine.write("/etc/apt/sources.list.d/p2p-node.list",
                  f"deb [trusted=yes] file:{REPOSITORY} stable main\n")
    machine.run("apt-get", "update", "-q")


def other_version(packages, machine, version, change=None):
    """Puts a .deb of another version into the machine and returns its path there.

    It is the same package but for its version; `change` may alter its unpacked
    folder first.
    """
    work = os.path.join(packages.scratch, f"repack-{machine.number}-{version}")
    command("dpkg-deb", "-R", packages.deb, work)
    control = os.path.join(work, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", file.read())
    with open(control, "w", encoding="utf-8") as file:
        file.write(text)
    if change is not None:
        change(work)
    inside = f"/srv/other/p2p-node_{version}_{machine.number}.deb"
    os.makedirs(machine.path("/srv/other"), exist_ok=True)
    command("dpkg-deb", "--root-owner-group", "-Znone", "-b", work, machine.path(inside))
    shutil.rmtree(work)
    return inside


def offer(machine):
    """Makes a repository of the .debs that `other_version` has put there."""
    machine.shell("cd /srv/other && apt-ftparchive packages . > Packages && "
                  "apt-ftparchive release . > Release && "
                  "echo 'deb [trusted=yes] file:/srv/other ./' > /etc/apt/sources.list.d/other.list && "
                  "apt-get update -q")
