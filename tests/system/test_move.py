"""Back up, restore and move a node, with the very commands of p2p-node.service(8)."""

import shutil

from machine import expect
from node import asked, cli, digest, get, identity, noise, put, wait_active

PAGE = "/usr/share/man/man8/p2p-node.service.8.gz"
BACKUP = "/root/p2p-node-backup.tar.gz"


def commands(machine, after):
    """The commands of root in the first example of the page after some words."""
    text = machine.out("zcat", PAGE)
    expect(after in text, f"the page does not say {after!r}")
    example = text.split(after, 1)[1].split(".Bd", 1)[1].split(".Ed", 1)[0]
    found = [line[2:].replace("\\-", "-") for line in example.splitlines()
             if line.startswith("# ")]
    expect(found, f"no command after {after!r}")
    return "cd /root\n" + "\n".join(found) + "\n"


def test_move(lab):
    """a backup restored on another host, by the commands of the manual, is the same node"""
    first, second = lab.node("first"), lab.node("second")
    wait_active(first)
    wait_active(second)
    noise(first, "/root/film", 3)
    who, cid = identity(first), put(first, "/root/film")
    cli(first, "ban", "198.51.100.0/24")
    expect(identity(second) != who, "two machines with one identity")
    first.shell(commands(first, "To back up everything while the service is stopped:"))
    wait_active(first)
    first.shell(commands(first, "Disable the old service:"))
    expect(first.show("ActiveState") == "inactive", "the old one still runs")
    shutil.copy(first.path(BACKUP), second.path(BACKUP))
    second.shell(commands(second, "To restore a backup:"))
    wait_active(second)
    expect(identity(second) == who, "another identity on the other host")
    get(second, cid, "/root/copy")
    expect(digest(second, "/root/copy") == digest(first, "/root/film"), "other bytes")
    expect(len(asked(second, "bans")) == 1, "the ban is gone")
