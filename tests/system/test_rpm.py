"""The .rpm and its scriptlets, as far as a Debian with rpm can run them."""

import shutil

from machine import expect
from node import ENV_FILE, STATE, UNIT, configure, identity, main_pid, wait_active
import packages


def test_rpm(lab):
    """rpm -i, -U and -e: user, unit and state as on a Fedora host"""
    node = lab.machine("fedora")
    shutil.copy(lab.packages.rpm, node.path("/srv/p2p-node.rpm"))
    node.run("rpm", "-i", "--nodeps", "/srv/p2p-node.rpm")
    node.run("getent", "passwd", "p2p-node")
    expect(node.out("rpm", "-V", "--nodeps", "p2p-node") == "", "rpm -V complains")
    # There the presets say what is enabled, and nothing starts by itself.
    expect(node.show("ActiveState") == "inactive", "installation has started it")
    node.systemctl("enable", "--now", UNIT)
    wait_active(node)
    who, pid = identity(node), main_pid(node)
    configure(node, P2P_MAX_CONNECTIONS="123")

    newer = lab.packages.newer_rpm()
    shutil.copy(newer, node.path("/srv/newer.rpm"))
    node.run("rpm", "-U", "--nodeps", "/srv/newer.rpm")
    wait_active(node)
    expect(main_pid(node) not in (0, pid), "the upgrade has not restarted it")
    expect(identity(node) == who, "another identity after the upgrade")
    expect("P2P_MAX_CONNECTIONS=123" in node.read(ENV_FILE), "the edited env file is gone")
    expect(packages.NEWER in node.out("rpm", "-q", "p2p-node"), "not upgraded")

    pid = main_pid(node)
    node.run("rpm", "-e", "--nodeps", "p2p-node")
    for path in (f"/proc/{pid}", "/usr/bin/p2p-node",
                 f"/etc/systemd/system/multi-user.target.wants/{UNIT}"):
        expect(node.run("test", "-e", path, check=False).status != 0, f"removal leaves {path}")
    expect(node.run("test", "-e", f"{STATE}/identity.key", check=False).status == 0,
           "removal has taken the identity")
    expect("P2P_MAX_CONNECTIONS=123" in node.read(ENV_FILE + ".rpmsave"),
           "the edited env file is not saved")
