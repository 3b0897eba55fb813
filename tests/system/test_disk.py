"""A disk that is full."""

import os

from machine import eventually, expect
from node import (STATE, UNIT, asked, digest, get, http_get, identity, main_pid, noise, put,
                  restarts, wait_active)

MOUNT = "var-lib-p2p\\x2dnode.mount"


def small_disk(machine):
    """A disk of 48 MiB for the state, mounted at boot."""
    folder = machine.path("/etc/systemd/system")
    with open(os.path.join(folder, MOUNT), "w", encoding="ascii") as file:
        file.write(f"[Mount]\nWhat=tmpfs\nWhere={STATE}\nType=tmpfs\nOptions=size=48M,mode=0700\n")
    wants = os.path.join(folder, "local-fs.target.wants")
    os.makedirs(wants, exist_ok=True)
    os.symlink(f"../{MOUNT}", os.path.join(wants, MOUNT))


def test_full(lab):
    """a full disk: the node stays up, refuses puts in plain words, and recovers"""
    node = lab.node(before=small_disk)
    wait_active(node)
    who, pid = identity(node), main_pid(node)
    noise(node, "/root/small", 4)
    first = put(node, "/root/small")

    # Somebody else fills it.
    node.run("dd", "if=/dev/zero", f"of={STATE}/filler", "bs=64K", check=False)
    noise(node, "/root/large", 8)
    refused = node.run("p2p-node", "put", "-q", "/root/large", check=False)
    expect(refused.status == 1, f"a put on a full disk: {refused}")
    expect("space" in refused.err and len(refused.err.strip().splitlines()) == 1,
           f"not one line that speaks of space: {refused.err}")
    expect(main_pid(node) == pid and restarts(node) == 0, "the node did not stay up")
    expect(http_get(node, "/health/live")[0] == 200, "not live on a full disk")
    get(node, first, "/root/copy")
    expect(digest(node, "/root/copy") == digest(node, "/root/small"), "other bytes on a full disk")

    # A restart on the full disk: whatever it does, it must not lose the state.
    node.systemctl("restart", UNIT, check=False)
    node.run("rm", f"{STATE}/filler")
    wait_active(node)
    expect(identity(node) == who, "another identity after the disk was full")

    def works():
        done = node.run("p2p-node", "put", "-q", "/root/large", check=False)
        return done.status == 0 and done.out.strip()
    second = eventually("puts work again", works)
    get(node, second, "/root/copy")
    expect(digest(node, "/root/copy") == digest(node, "/root/large"), "other bytes after it")
    expect(asked(node, "ls"), "nothing is listed")
