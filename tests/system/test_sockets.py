"""Sockets and secrets that systemd hands over."""

import http.client

from machine import expect
from node import STATE, UNIT, drop_in, identity, in_network, main_pid, wait_active

SOCKET = "p2p-node.socket"


def test_activation(lab):
    """a .socket unit: the first connection starts the node, which takes the sockets it is given"""
    node = lab.node()
    wait_active(node)
    node.systemctl("disable", "--now", UNIT)
    node.write(f"/etc/systemd/system/{SOCKET}",
               "[Socket]\nListenStream=0.0.0.0:4001\nListenStream=127.0.0.1:9100\n"
               f"Service={UNIT}\n")
    node.systemctl("daemon-reload")
    node.systemctl("start", SOCKET)
    expect(main_pid(node) == 0, "it runs already")

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", 9100, timeout=120)
        connection.request("GET", "/health/live")
        return connection.getresponse().status
    status = in_network(node, ask)
    expect(status == 200, f"status {status}")
    wait_active(node)
    pid = main_pid(node)
    holders = node.out("ss", "-Hltnp")
    for port in (":4001", ":9100"):
        line = next(x for x in holders.splitlines() if port in x.split()[3])
        expect(f"pid={pid}," in line and "systemd" in line,
               f"not the socket that systemd opened: {line}")


def test_credential(lab):
    """the identity from LoadCredential: root's file, and no key in the state folder"""
    node = lab.node()
    wait_active(node)
    usual = identity(node)
    node.systemctl("stop", UNIT)
    made = node.run("p2p-node", "key", "generate", "--data-dir", "/etc/p2p-secrets")
    node.run("rm", "-rf", STATE)
    drop_in(node, "[Service]\nLoadCredential=identity.key:/etc/p2p-secrets/identity.key\n")
    node.systemctl("start", UNIT)
    who = identity(node)
    expect(who != usual and who in made.out, f"{who} is not the identity of the credential: {made}")
    expect(node.run("test", "-e", f"{STATE}/identity.key", check=False).status != 0,
           "the key is in the state folder all the same")
