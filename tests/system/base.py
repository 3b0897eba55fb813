"""Makes the root folder that every machine of these tests stands on.

A minimal Debian with systemd, kept in a folder that is named by what went into
it, so that it is made once. A machine never writes to it: see machine.py.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys

SUITE = "bookworm"

# systemd and what the tests ask it with; python3 for the clients and the probe
# of the sandbox; rpm for the .rpm's scriptlets; fail2ban for its filter.
PACKAGES = [
    "systemd", "systemd-sysv", "dbus", "procps", "iproute2", "init-system-helpers",
    "apt-utils", "python3", "rpm", "fail2ban", "python3-systemd",
]

# What would wait for a network that is not there, or start by the clock and
# disturb what is measured.
MASKED = [
    "systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer",
    "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "dpkg-db-backup.timer",
    "systemd-tmpfiles-clean.timer", "console-getty.service", "fail2ban.service",
]

# mmdebstrap's own variants of what a package brings that no test reads.
WITHOUT = ["/usr/share/locale/*", "/usr/share/doc/*"]


def path():
    """The folder of the root; it exists when it is complete."""
    recipe = repr((SUITE, PACKAGES, MASKED, WITHOUT, 3))
    name = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    return os.path.join(os.environ["SYSTEM_TESTS_CACHE"], f"base-{SUITE}-{name}")


def sources():
    """Where this machine gets its packages from: no mirror is named here."""
    found = sorted(glob.glob("/etc/apt/sources.list.d/*.sources"))
    if os.path.exists("/etc/apt/sources.list") and os.path.getsize("/etc/apt/sources.list"):
        found.append("/etc/apt/sources.list")
    return found


def make(target):
    """Makes the root at `target`."""
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
               "--quiet", f"--include={','.join(PACKAGES)}",
               "--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Retries \"3\""]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT]
    command += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    subprocess.run(command + [SUITE, target] + sources(), check=True)
    for unit in MASKED:
        link = os.path.join(target, "etc/systemd/system", unit)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink("/dev/null", link)
    # The machines have no way to the outside; a look at a mirror would only wait.
    for name in glob.glob(os.path.join(target, "etc/apt/sources.list*/*")):
        os.unlink(name)
    with open(os.path.join(target, "etc/apt/sources.list"), "w", encoding="ascii"):
        pass
    # The name of each machine comes from nspawn.
    os.unlink(os.path.join(target, "etc/hostname"))
    # Each machine gets an identity of its own at its first boot.
    with open(os.path.join(target, "etc/machine-id"), "w", encoding="ascii"):
        pass
    # What the excluded paths would hide again when our own package is installed.
    for name in glob.glob(os.path.join(target, "etc/dpkg/dpkg.cfg.d/*mmdebstrap*")):
        os.unlink(name)


def main():
    target = path()
    if os.path.isdir(target):
        return
    parent = os.path.dirname(target)
    for old in glob.glob(os.path.join(parent, "base-*")):
        shutil.rmtree(old)
    print(f"making the root of the machines in {target}", flush=True)
    growing = f"{target}.new"
    if os.path.isdir(growing):
        shutil.rmtree(growing)
    try:
        make(growing)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"cannot make the root of the machines: {error}")
    os.rename(growing, target)


if __name__ == "__main__":
    main()
