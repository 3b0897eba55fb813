"""The daemon on a machine, as the tests see it."""

import ctypes
import http.client
import json
import os
import threading

from machine import DEADLINE, Failure, eventually, expect

UNIT = "p2p-node.service"
ENV_FILE = "/etc/p2p-node/p2p-node.env"
STATE = "/var/lib/p2p-node"
CONTROL = "/run/p2p-node/control.sock"

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def in_network(machine, work):
    """Runs `work` with the machine's network; sockets that it opens stay there."""
    outcome = {}

    def body():
        try:
            space = os.open(f"/run/netns/{machine.namespace}", os.O_RDONLY)
            try:
                if _libc.setns(space, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(space)
            outcome["value"] = work()
        except BaseException as error:  # pylint: disable=broad-except
            outcome["error"] = error

    # A namespace belongs to a thread, so it takes one that ends afterwards.
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def configure(machine, **variables):
    """Adds lines to the env file, without restart or reload."""
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    machine.run("sh", "-euc", f"cat >> {ENV_FILE}", data=lines)


def drop_in(machine, text, name="test"):
    """Adds a drop-in to the unit, without restart."""
    machine.write(f"/etc/systemd/system/{UNIT}.d/{name}.conf", text)
    machine.systemctl("daemon-reload")


def main_pid(machine):
    """The daemon's process as its own systemd counts; 0 when it has none."""
    return int(machine.show("MainPID"))


def restarts(machine):
    """How often systemd has restarted the service by itself."""
    return int(machine.show("NRestarts"))


def wait_active(machine):
    """Waits until the unit is active, which a service of Type=notify is when it
    has said that it is ready."""
    def look():
        state = machine.show("ActiveState")
        expect(state != "failed", "the unit has failed")
        return state == "active"
    try:
        eventually("the service is active", look)
    except Failure as failure:
        raise Failure(f"{failure}\n{machine.journal('-n', '20')}") from failure


def wait_inactive(machine):
    """Waits until the unit has ended, well or badly; returns its state."""
    return eventually("the service has ended", lambda: (
        machine.show("ActiveState") in ("inactive", "failed")) and machine.show("ActiveState"))


def wait_new_process(machine, old):
    """Waits until systemd has put another process in the place of `old`, and it
    is ready; returns it."""
    def look():
        pid = main_pid(machine)
        return pid not in (0, old) and machine.show("ActiveState") == "active" and pid
    try:
        return eventually(f"another process in the place of {old}", look)
    except Failure as failure:
        raise Failure(f"{failure}\n{machine.journal('-n', '20')}") from failure


def cli(machine, *argv, **more):
    """Runs a command of the program and returns what it prints."""
    return machine.out("p2p-node", *argv, **more)


def asked(machine, *argv):
    """What a command of the program prints with --json."""
    return json.loads(cli(machine, "--json", *argv))


def identity(machine):
    """The peer id."""
    return asked(machine, "id")["peer_id"]


def door(machine):
    """An address at which another machine can dial this one."""
    return f"/ip4/{machine.address}/tcp/4001/p2p/{identity(machine)}"


def http_get(machine, path, port=9100, host="127.0.0.1"):
    """Status and body of a page on the metrics port."""
    def work():
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
    return in_network(machine, work)


def metric(machine, sample):
    """The value of a sample of /metrics; 0 when it is not there yet."""
    _, text = http_get(machine, "/metrics")
    for line in text.splitlines():
        if line.startswith(sample + " "):
            return float(line.rpartition(" ")[2])
    return 0.0


def noise(machine, inside, mebibytes):
    """Writes a file of random bytes inside the machine."""
    machine.run("dd", "if=/dev/urandom", f"of={inside}", "bs=1M", f"count={mebibytes}",
                "status=none")


def digest(machine, inside):
    """SHA-256 of a file inside the machine."""
    return machine.out("sha256sum", inside).split()[0]


def put(machine, inside):
    """Stores a file and returns its CID."""
    return cli(machine, "put", "-q", inside)


def get(machine, cid, inside, **more):
    """Fetches content into a file."""
    return machine.run("p2p-node", "get", "-q", cid, "-o", inside, **more)
