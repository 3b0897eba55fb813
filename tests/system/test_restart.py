"""Restarts under load: sockets outlive them, and nobody is refused."""

import http.client
import socket
import threading
import time

from machine import eventually, expect
from node import (CONTROL, UNIT, drop_in, in_network, main_pid, wait_active, wait_new_process)

RESTARTS = 4
KILLS = 2


class Knocker(threading.Thread):
    """A client that connects again and again until it is told to end."""

    def __init__(self, name, connect):
        super().__init__()
        self.name, self.connect = name, connect
        self.enough = threading.Event()
        self.count = 0
        self.refused = []

    def run(self):
        while not self.enough.is_set():
            try:
                self.connect()
                self.count += 1
            except OSError as error:
                self.refused.append(f"{type(error).__name__}: {error}")
            # A look for the event, which also leaves the processor to others.
            self.enough.wait(0.005)

    def end(self):
        """Ends it and waits for that."""
        self.enough.set()
        self.join()


def knockers(machine):
    """One client for each socket that the daemon listens on."""
    def tcp(port):
        def connect():
            with socket.create_connection(("127.0.0.1", port), timeout=60):
                pass
        return connect

    control = f"/proc/{machine.leader}/root{CONTROL}"

    def unix():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(control)

    made = [Knocker("tcp 4001", tcp(4001)), Knocker("http 9100", tcp(9100)),
            Knocker("control", unix)]

    # A thread has the network of the thread that starts it.
    def start():
        for one in made:
            one.start()
    in_network(machine, start)
    return made


def inodes(machine):
    """The sockets that listen, by name: what stays the same when they are kept."""
    found = {}
    for line in machine.out("ss", "-Hlnetu").splitlines():
        words = line.split()
        inode = next(w for w in words if w.startswith("ino:"))
        if words[4].endswith((":4001", ":9100")):
            found[f"{words[0]} {words[4]}"] = inode
    return found


def test_nobody_is_refused(lab):
    """systemctl restart and kill -9 under load: not one connection is refused"""
    node = lab.node()
    wait_active(node)
    drop_in(node, "[Service]\nRestartSec=100ms\n")
    node.systemctl("restart", UNIT)
    before = inodes(node)
    clients = knockers(node)
    try:
        eventually("every client has connected", lambda: all(c.count > 20 for c in clients))
        for _ in range(RESTARTS):
            pid, counts = main_pid(node), [c.count for c in clients]
            node.systemctl("restart", UNIT)
            expect(main_pid(node) != pid, "not restarted")
            eventually("every client goes on",
                       lambda: all(c.count > n + 20 for c, n in zip(clients, counts)))
        for _ in range(KILLS):
            pid, counts = main_pid(node), [c.count for c in clients]
            node.run("kill", "-9", str(pid))
            wait_new_process(node, pid)
            eventually("every client goes on",
                       lambda: all(c.count > n + 20 for c, n in zip(clients, counts)))
    finally:
        for client in clients:
            client.end()
    lab.figure(f"connections over {RESTARTS} restarts and {KILLS} kills",
               ", ".join(f"{c.name}: {c.count} made, {len(c.refused)} refused" for c in clients))
    for client in clients:
        expect(not client.refused, f"{client.name}: {len(client.refused)} refused of "
               f"{client.count}, such as {sorted(set(client.refused))[:3]}")
    expect(inodes(node) == before, f"other sockets: {before} became {inodes(node)}")
    expect(len(before) >= 3, f"TCP, QUIC and HTTP are not all there: {before}")


def test_served_after_the_gap(lab):
    """a client that connects while the service is down for a restart waits and is served"""
    node = lab.node()
    wait_active(node)
    # A gap long enough to be sure to be in it.
    drop_in(node, "[Service]\nRestartSec=4s\n")
    node.systemctl("restart", UNIT)
    pid = main_pid(node)
    node.run("kill", "-9", str(pid))
    eventually("the daemon is down", lambda: main_pid(node) == 0)

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", 9100, timeout=120)
        connection.request("GET", "/health/live")
        return connection.getresponse().status
    began = time.monotonic()
    status = in_network(node, ask)
    expect(status == 200, f"status {status}")
    expect(time.monotonic() - began > 0.5, "it was not in the gap")
    lab.figure("a request in the gap of a restart after 4 s was answered after",
               f"{time.monotonic() - began:.1f} s")
