"""A node's state is one folder: back up, restore, move to another host."""

import os
import shutil

from machine import expect
from node import STATE, UNIT, asked, cli, digest, get, identity, noise, put, wait_active


def test_move(lab):
    """the state folder, copied to another host, is the same node there"""
    first, second = lab.node("first"), lab.node("second")
    wait_active(first)
    wait_active(second)
    noise(first, "/root/film", 3)
    who, cid = identity(first), put(first, "/root/film")
    cli(first, "ban", "198.51.100.0/24")
    expect(identity(second) != who, "two machines with one identity")
    first.systemctl("stop", UNIT)
    second.systemctl("stop", UNIT)
    first.run("tar", "-C", "/var/lib", "-cpf", "/srv/backup.tar", "p2p-node")
    shutil.copy(first.path("/srv/backup.tar"), second.path("/srv/backup.tar"))
    second.shell(f"rm -rf {STATE}; tar -C /var/lib -xpf /srv/backup.tar; "
                 f"chown -R p2p-node:p2p-node {STATE}")
    second.systemctl("start", UNIT)
    expect(identity(second) == who, "another identity on the other host")
    get(second, cid, "/root/copy")
    expect(digest(second, "/root/copy") == digest(first, "/root/film"), "other bytes")
    expect(len(asked(second, "bans")) == 1, "the ban is gone")
    os.unlink(second.path("/srv/backup.tar"))
