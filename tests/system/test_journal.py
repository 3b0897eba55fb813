"""What is in the journal."""

import json

from machine import expect
from node import UNIT, configure, wait_active


def test_priorities(lab):
    """journald has the priorities: -p err shows errors alone, and no prefix is left"""
    node = lab.node()
    wait_active(node)
    node.run("sh", "-euc", "p2p-node ban 198.51.100.0/24 && p2p-node unban 198.51.100.0/24")
    configure(node, P2P_MAX_CONNECTIONS="none")
    node.systemctl("restart", UNIT, check=False)
    pid = node.show("ExecMainPID")
    lines = [json.loads(line) for line in node.out(
        "journalctl", "--sync") .splitlines()] + [json.loads(line) for line in node.out(
            "journalctl", "-q", "-o", "json", "-u", UNIT, "_COMM=p2p-node").splitlines()]
    expect(lines, "nothing of the daemon in the journal")
    found = {line["PRIORITY"] for line in lines}
    expect({"3", "6"} <= found, f"priorities {found}, not errors and infos")
    for line in lines:
        message = line["MESSAGE"]
        expect(not message.startswith("<"), f"a prefix is left: {message}")
        expect("\x1b" not in message, f"colours in the journal: {message!r}")
    errors = node.journal("-p", "err", "_COMM=p2p-node")
    expect("P2P_MAX_CONNECTIONS" in errors, f"-p err does not show the error: {errors}")
    expect("listening" not in errors and "ready" not in errors, f"-p err shows infos: {errors}")
    infos = [line for line in lines if line["PRIORITY"] == "6"]
    expect(any("listening" in line["MESSAGE"] for line in infos), "no info line")
    expect(pid, "no process")
