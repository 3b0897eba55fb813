"""Installation, as an operator does it."""

from machine import expect
from node import UNIT, asked, http_get


def started_in(machine):
    """Seconds from the start of the process until systemd took the unit for active."""
    began = int(machine.show("ExecMainStartTimestampMonotonic"))
    ready = int(machine.show("ActiveEnterTimestampMonotonic"))
    return (ready - began) / 1e6


def test_apt_install(lab):
    """apt install p2p-node: the service is enabled, started and ready"""
    machine = lab.with_repository()
    done = machine.run("apt-get", "install", "-q", "-y", "p2p-node")
    # Started by the time that apt returns: nothing is waited for here.
    expect(machine.show("ActiveState") == "active", f"not active after:\n{done}")
    expect(machine.out("systemctl", "is-enabled", UNIT) == "enabled", "not enabled")
    expect(machine.show("Type") == "notify", "the unit is not of Type=notify")
    expect("could not" not in done.err.lower(), done.err)
    status, body = http_get(machine, "/health/live")
    expect(status == 200 and '"ok"' in body, f"/health/live: {status} {body}")
    peers = asked(machine, "status")
    expect(peers, "status says nothing")
    seconds = started_in(machine)
    lab.figure("from start to READY=1", f"{seconds * 1000:.0f} ms")
    expect(seconds < 20, f"{seconds} s from start to ready")
    machine.run("dpkg", "--verify", "p2p-node")
    expect(machine.run("dpkg", "--audit").out == "", "dpkg --audit complains")
