"""Who may do what on the host."""

from machine import expect
from node import CONTROL, STATE, main_pid, wait_active


def test_modes(lab):
    """files have the owners and modes of the contract, the daemon its own user"""
    node = lab.node()
    wait_active(node)
    for path, wanted in (
            (STATE, "700 p2p-node p2p-node"),
            (f"{STATE}/identity.key", "600 p2p-node p2p-node"),
            (CONTROL, "660 p2p-node p2p-node"),
            ("/etc/p2p-node/p2p-node.env", "644 root root"),
            ("/usr/bin/p2p-node", "755 root root")):
        found = node.out("stat", "-c", "%a %U %G", path)
        expect(found == wanted, f"{path}: {found}, not {wanted}")
    open_ = node.out("find", STATE, "-perm", "/077", "!", "-type", "l")
    expect(open_ == "", f"others may look at {open_}")
    pid = main_pid(node)
    status = node.read(f"/proc/{pid}/status")
    uid = node.out("id", "-u", "p2p-node")
    expect(f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status, f"not its own user:\n{status}")
    for line in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000",
                 "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        expect(line in status, f"no {line!r} in\n{status}")


def test_group(lab):
    """a member of the group steers the node; another user cannot and is told why"""
    node = lab.node()
    wait_active(node)
    node.run("useradd", "-m", "member")
    node.run("useradd", "-m", "stranger")
    node.run("usermod", "-a", "-G", "p2p-node", "member")
    said = node.run("p2p-node", "status", user="member")
    expect(said.out, "a member sees nothing")
    node.run("sh", "-c", "echo hello | p2p-node put -q -", user="member")
    refused = node.run("p2p-node", "status", user="stranger", check=False)
    expect(refused.status != 0, "a stranger may look")
    expect("group" in refused.err and "p2p-node" in refused.err,
           f"a stranger is not told of the group: {refused}")
    # The identity is nobody's but the node's, a member's neither.
    for user in ("member", "stranger"):
        peek = node.run("cat", f"{STATE}/identity.key", user=user, check=False)
        expect(peek.status != 0, f"{user} can read the identity")
