"""The package's life after installation: upgrade, downgrade, removal, purge."""

import os

from machine import expect
from node import (ENV_FILE, STATE, UNIT, cli, configure, digest, get, identity, main_pid,
                  noise, put, wait_active)
import packages
from packages import offer, other_version

NEWER = f"{packages.NEWER}-1"



def exists(machine, path):
    """Whether a path is there, inside."""
    return machine.run("test", "-e", path, check=False).status == 0


def version(machine):
    """The installed version."""
    return machine.out("dpkg-query", "-W", "-f", "${Version}", "p2p-node")


def test_upgrade(lab):
    """upgrade: restarted into the new version with its state; an edited env file is kept"""
    node = lab.with_repository()
    node.run("apt-get", "install", "-q", "-y", "p2p-node")
    configure(node, P2P_MAX_CONNECTIONS="123")
    node.systemctl("restart", UNIT)
    who, pid = identity(node), main_pid(node)
    noise(node, "/root/film", 3)
    cid = put(node, "/root/film")

    # The new version brings another default file, the usual cause of a question.
    def change(folder):
        with open(os.path.join(folder, ENV_FILE.lstrip("/")), "a", encoding="utf-8") as file:
            file.write("# a line of the new version\n")
    other_version(lab.packages, node, NEWER, change)
    offer(node)
    # Nobody is there to be asked, and there is nothing to ask.
    done = node.run("apt-get", "upgrade", "-q", "-y", "-o", "Dpkg::Options::=--force-confold")
    expect(version(node) == NEWER, f"not upgraded:\n{done}")
    wait_active(node)
    expect(main_pid(node) not in (0, pid), "the old process still runs after the upgrade")
    expect("P2P_MAX_CONNECTIONS=123" in node.read(ENV_FILE), "the edited env file is gone")
    expect(exists(node, ENV_FILE + ".dpkg-dist"), "the new default is not beside the edited file")
    expect(identity(node) == who, "another identity after the upgrade")
    get(node, cid, "/root/copy")
    expect(digest(node, "/root/copy") == digest(node, "/root/film"), "other bytes after the upgrade")

    pid = main_pid(node)
    done = node.run("apt-get", "install", "-q", "-y", "--allow-downgrades",
                    "-o", "Dpkg::Options::=--force-confold",
                    f"p2p-node={lab.packages.version}")
    expect(version(node) == lab.packages.version, f"not downgraded:\n{done}")
    wait_active(node)
    expect(main_pid(node) not in (0, pid), "the newer process still runs after the downgrade")
    expect(identity(node) == who, "another identity after the downgrade")
    expect(cid in cli(node, "ls"), "the content is gone after the downgrade")


def test_upgrade_leaves_alone(lab):
    """upgrade of a service that an operator has stopped and disabled changes neither"""
    node = lab.node()
    wait_active(node)
    node.systemctl("disable", "--now", UNIT)
    node.run("dpkg", "-i", other_version(lab.packages, node, NEWER))
    expect(version(node) == NEWER, "not upgraded")
    expect(node.show("ActiveState") == "inactive", "the upgrade has started it")
    state = node.run("systemctl", "is-enabled", UNIT, check=False).out.strip()
    expect(state == "disabled", f"the upgrade has made it {state}")


def test_remove_and_purge(lab):
    """removal stops and keeps the state, a return finds it, a purge takes it away"""
    node = lab.with_repository()
    node.run("apt-get", "install", "-q", "-y", "p2p-node")
    who = identity(node)
    configure(node, P2P_MAX_CONNECTIONS="123")
    pid = main_pid(node)

    node.run("apt-get", "remove", "-q", "-y", "p2p-node")
    expect(not exists(node, f"/proc/{pid}"), "the daemon still runs after the removal")
    expect(exists(node, f"{STATE}/identity.key"), "the removal has taken the identity")
    expect(exists(node, ENV_FILE), "the removal has taken the env file")
    expect(not exists(node, "/usr/bin/p2p-node"), "the program is still there")
    expect(node.run("systemctl", "cat", UNIT, check=False).status != 0, "the unit is still there")

    node.run("apt-get", "install", "-q", "-y", "p2p-node")
    expect(node.show("ActiveState") == "active", "a return does not start what the removal stopped")
    expect(identity(node) == who, "another identity after the return")
    expect("P2P_MAX_CONNECTIONS=123" in node.read(ENV_FILE), "the edited env file is gone")

    node.run("apt-get", "purge", "-q", "-y", "p2p-node")
    for path in (STATE, "/etc/p2p-node", "/run/p2p-node",
                 f"/etc/systemd/system/multi-user.target.wants/{UNIT}"):
        expect(not exists(node, path), f"the purge leaves {path}")
    # Kept on purpose: its number must not go to somebody else.
    expect(node.run("getent", "passwd", "p2p-node").out.strip().endswith("/nologin"),
           "the user is gone or can log in")
    failed = node.out("systemctl", "--failed", "--plain", "--no-legend")
    expect("p2p-node" not in failed, f"systemd still knows it: {failed}")

    node.run("apt-get", "install", "-q", "-y", "p2p-node")
    wait_active(node)
    expect(identity(node) != who, "the purge had not taken the identity")
