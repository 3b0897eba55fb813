"""kill -9, again and again: what must survive it does."""

import os
import select

from machine import eventually, expect
from node import (UNIT, asked, cli, digest, door, get, identity, main_pid, noise, put, wait_active,
                  wait_new_process)

TOPIC = "/p2p-node/news"
ROUNDS = 4


def kill_and_return(machine):
    """Kills the daemon; returns when systemd has brought it back."""
    old = main_pid(machine)
    machine.run("kill", "-9", str(old))
    wait_new_process(machine, old)


def test_state(lab):
    """kill -9 loops: identity, blocks and bans are the same each time"""
    node = lab.node(before=quick_restarts)
    wait_active(node)
    who = identity(node)
    cli(node, "ban", "198.51.100.0/24", "--for", "24h", "--reason", "test")
    kept = {}
    for round_ in range(ROUNDS):
        film = f"/root/film{round_}"
        noise(node, film, 2)
        kept[put(node, film)] = digest(node, film)
        # Another is on its way into the store when the daemon dies.
        noise(node, "/root/torn", 24)
        before = asked(node, "status")["store"]["blocks"]
        torn = node.spawn("p2p-node", "put", "-q", "/root/torn")
        eventually("some of the second file is stored", lambda: (
            torn.poll() is not None or asked(node, "status")["store"]["blocks"] > before))
        kill_and_return(node)
        torn.communicate()
        expect(identity(node) == who, f"another identity after kill {round_ + 1}")
        bans = asked(node, "bans")
        expect([b["network"] for b in bans] == ["198.51.100.0/24"], f"the bans are {bans}")
        for cid, sum_ in kept.items():
            get(node, cid, "/root/copy")
            expect(digest(node, "/root/copy") == sum_, f"{cid}: other bytes after kill {round_ + 1}")
    expect(int(node.show("NRestarts")) == ROUNDS, "systemd has counted other restarts")


def test_sequence(lab):
    """kill -9 of a publisher and of a subscriber: nothing is taken for a replay, no replay is taken"""
    first, second = lab.node("publisher", before=quick_restarts), lab.node("subscriber",
                                                                           before=quick_restarts)
    wait_active(first)
    wait_active(second)
    for here, there in ((first, second), (second, first)):
        here.shell(f"echo P2P_BOOTSTRAP_PEERS={door(there)} >> /etc/p2p-node/p2p-node.env; "
                   f"echo P2P_TOPICS={TOPIC} >> /etc/p2p-node/p2p-node.env")
    for here in (first, second):
        here.systemctl("restart", UNIT)
    for round_ in range(2 * ROUNDS):
        heard = second.spawn("p2p-node", "--json", "subscribe", TOPIC)
        try:
            text = f"message {round_}"

            def arrives():
                # Published until it arrives: the mesh may still be growing.
                first.run("p2p-node", "publish", TOPIC, text, check=False)
                return second.show("ActiveState") == "active" and lines_with(heard, 0.3)
            eventually("a message arrives", arrives)
        finally:
            heard.kill()
            heard.communicate()
        kill_and_return(first if round_ % 2 == 0 else second)


def lines_with(process, patience):
    """Whether the process has printed something within some seconds."""
    readable, _, _ = select.select([process.stdout], [], [], patience)
    return bool(readable) and process.stdout.readline() != ""


def quick_restarts(machine):
    """A drop-in, written before the boot, that spares the tests the pause before
    a restart, which is there for hosts and not for them."""
    folder = machine.path(f"/etc/systemd/system/{UNIT}.d")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "quick.conf"), "w", encoding="ascii") as file:
        file.write("[Service]\nRestartSec=100ms\n")
