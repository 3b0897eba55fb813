"""The unit's sandbox: its score, and that it really denies."""

import os
import re
import shutil

from machine import expect
from node import UNIT, main_pid, wait_active

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = f"/usr/lib/systemd/system/{UNIT}"

# Exposure as systemd-analyze scores it, times ten: kubo-hardened has 18,
# chronyd-restricted 21.
THRESHOLD = 11

# What of the unit belongs to the daemon's life and not to its sandbox.
LIFE = re.compile(r"(?m)^(Type|NotifyAccess|ExecStart|ExecReload|ExecStartPre|ExecStop|WatchdogSec|"
                  r"Restart\w*|StartLimit\w*|FileDescriptorStoreMax|Timeout\w+|Sockets)=.*$")


def test_score(lab):
    """systemd-analyze scores the unit 1.1 or better, and finds nothing to say against it"""
    node = lab.node()
    wait_active(node)
    said = node.run("systemd-analyze", "security", "--no-pager", f"--threshold={THRESHOLD}", UNIT,
                    check=False)
    last = said.out.strip().splitlines()[-1]
    points = [line for line in said.out.splitlines() if line.startswith("✗")]
    lab.figure("systemd-analyze security", last)
    expect(said.status == 0, f"over {THRESHOLD / 10}:\n{last}\n" + "\n".join(points))
    # The machine has no man; that the pages are there is tested with the packages.
    verified = node.run("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", FILE,
                        check=False)
    expect(verified.status == 0 and not (verified.out + verified.err).strip(), repr(verified))


def results(text):
    """The probe's lines: {name: (kind, verdict, how)}."""
    found = {}
    for line in text.splitlines():
        kind, name, verdict, *how = line.split(" ", 3)
        found[name] = (kind, verdict, " ".join(how))
    return found


def probed(machine, unit, text):
    """Runs the probe as a unit of its own; returns its results."""
    machine.write(f"/etc/systemd/system/{unit}.service", text)
    machine.systemctl("daemon-reload")
    done = machine.systemctl("start", f"{unit}.service", check=False)
    said = machine.journal("-t", "probe", unit=f"{unit}.service")
    expect(done.status == 0, f"the probe did not run: {machine.journal(unit=f'{unit}.service')}")
    return results(said)


def test_denies(lab):
    """what the daemon has no need of is denied in its sandbox, and possible without"""
    node = lab.node()
    wait_active(node)
    shutil.copy(os.path.join(HERE, "probe.py"), node.path("/usr/lib/p2p-node-probe.py"))
    node.run("useradd", "-m", "somebody")
    node.run("systemd-run", "--unit=victim", "--uid=p2p-node", "sh", "-c", "exec tail -f /dev/null")
    victim = node.show("MainPID", "victim.service")
    expect(victim != "0", "the process to attach to does not run")

    start = (f"ExecStart=/usr/bin/python3 -B /usr/lib/p2p-node-probe.py {victim}\n"
             "Type=oneshot\nSyslogIdentifier=probe\n")
    unit = node.read(FILE)
    expect("ExecStart=" in unit, "the unit is not where it is looked for")
    # Folders of its own, or the end of the probe would remove the daemon's.
    sandboxed = LIFE.sub("", unit).replace("[Service]", "[Service]\n" + start)
    sandboxed = re.sub(r"(?m)^RuntimeDirectory=.*$", "RuntimeDirectory=probe", sandboxed)
    if "NoExecPaths=" in sandboxed:
        # The probe is no program of the daemon's: python and what it loads.
        sandboxed += "\n[Service]\nExecPaths=/usr/bin/python3 /usr/bin/python3.11 /usr/lib\n"
    # As root, so that what is denied is denied by the sandbox and not for want
    # of being root: that would be no more than an ordinary user gets.
    as_root = re.sub(r"(?m)^(User|Group)=.*$", "", sandboxed)
    free = probed(node, "free", "[Service]\nStateDirectory=p2p-node\nRuntimeDirectory=probe\n" + start)
    own = probed(node, "sandboxed", sandboxed)
    root = probed(node, "sandboxed-root", as_root)
    expect(set(free) == set(own) == set(root) and len(free) > 25,
           f"the probe was cut short: {sorted(set(free) ^ set(own))}")
    wrong = []
    for name, (kind, verdict, how) in own.items():
        _, without, why = free[name]
        # vsock is not in every kernel; everything else has to be possible at all.
        if without != "allowed" and name != "vsock":
            wrong.append(f"{name} does not work without the sandbox either: {why}")
        wanted = "allowed" if kind == "must" else "denied"
        if verdict != wanted:
            wrong.append(f"{name} is {verdict} to the daemon's user: {how}")
        if kind == "must-not" and root[name][1] != wanted and name not in ROOT_MAY:
            wrong.append(f"{name} is {root[name][1]} to root in the sandbox: {root[name][2]}")
    expect(not wrong, "\n".join(wrong))
    denied = [name for name, (kind, _, _) in own.items() if kind == "must-not"]
    lab.figure("denied in the sandbox", f"{len(denied)}: {', '.join(denied)}")
    expect(main_pid(node), "the daemon is gone")


# What root can do without a capability: the files are root's own, also those of
# ConfigurationDirectory=, and ProtectProc= does not hide processes from root.
ROOT_MAY = {"read-shadow", "become-root", "write-own-configuration", "see-other-processes"}
