"""What is in the journal."""

import json

from machine import expect
from node import UNIT, configure, drop_in, wait_active


def test_priorities(lab):
    """journald has the priorities: -p err shows errors alone, and no prefix is left"""
    node = lab.node()
    wait_active(node)
    node.run("sh", "-euc", "p2p-node ban 198.51.100.0/24 && p2p-node unban 198.51.100.0/24")
    configure(node, P2P_MAX_CONNECTIONS="none")
    node.systemctl("restart", UNIT, check=False)
    node.run("journalctl", "--sync")
    # Lines of the daemon itself, not those that systemd writes about it.
    own = ("-q", "-t", "p2p-node", "-o", "json", f"_SYSTEMD_UNIT={UNIT}")
    lines = [json.loads(line) for line in node.out("journalctl", *own).splitlines()]
    expect(lines, "nothing of the daemon in the journal")
    found = {line["PRIORITY"] for line in lines}
    expect({"3", "6"} <= found, f"priorities {found}, not errors and infos")
    for line in lines:
        message = line["MESSAGE"]
        expect(not message.startswith("<"), f"a prefix is left: {message}")
        expect("\x1b" not in message, f"colours in the journal: {message!r}")
    errors = node.journal("-p", "err")
    expect("P2P_MAX_CONNECTIONS" in errors, f"-p err does not show the error: {errors}")
    expect("listening" not in errors and "ready" not in errors, f"-p err shows infos: {errors}")
    infos = [line for line in lines if line["PRIORITY"] == "6"]
    expect(any("listening" in line["MESSAGE"] for line in infos), "no info line")


def test_fail2ban(lab):
    """the packaged filter of fail2ban finds the node's lines in the journal, and only those"""
    node = lab.node()
    wait_active(node)
    line = "p2p_node::misbehaviour: misbehaving peer at {}: invalid-signature"
    # As the node writes it, from within its unit: journald says where a line is from.
    drop_in(node, "[Service]\nSyslogIdentifier=p2p-node\nExecStartPre=+/bin/sh -c 'echo \"<4>"
            + line.format("198.51.100.7") + "\" >&2'\n")
    node.systemctl("restart", UNIT)
    # Anybody may write to the journal; the address must not be blocked for it.
    node.run("systemd-cat", "-t", "p2p-node", "echo", line.format("198.51.100.8"))
    node.run("journalctl", "--sync")
    said = node.out("fail2ban-regex", "--print-all-matched", "systemd-journal",
                    "/usr/share/p2p-node/fail2ban/filter.d/p2p-node.conf")
    expect("198.51.100.7" in said and "1 matched" in said, said)
    expect("198.51.100.8" not in said, f"a line of somebody else counts:\n{said}")
