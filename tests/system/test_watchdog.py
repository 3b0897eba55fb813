"""The watchdog: what does not turn is killed and comes back, what idles is left alone."""

import os
import shutil

from machine import eventually, expect
from node import (UNIT, asked, drop_in, get, digest, identity, main_pid, noise, put,
                  restarts, wait_active, wait_new_process)

# Short, so that the test is; long enough for a machine that is busy otherwise.
PERIOD = 3


def watched(lab):
    """A node with a short watchdog and some content; with its identity and the content's CID."""
    node = lab.node()
    wait_active(node)
    drop_in(node, f"[Service]\nWatchdogSec={PERIOD}s\nRestartSec=100ms\n")
    node.systemctl("restart", UNIT)
    noise(node, "/root/film", 2)
    return node, identity(node), put(node, "/root/film")


def check_return(node, old, who, cid, cause):
    """It came back through the watchdog, with its state."""
    wait_new_process(node, old)
    expect(restarts(node) >= 1, "systemd has not restarted it")
    said = node.journal()
    expect("Watchdog timeout" in said, f"it was not the watchdog that acted on {cause}:\n{said}")
    expect(identity(node) == who, "another identity")
    get(node, cid, "/root/copy")
    expect(digest(node, "/root/copy") == digest(node, "/root/film"), "other bytes")


def test_stopped(lab):
    """a daemon stopped with SIGSTOP is killed by the watchdog and comes back with its state"""
    node, who, cid = watched(lab)
    pid = main_pid(node)
    node.run("kill", "-STOP", str(pid))
    check_return(node, pid, who, cid, "SIGSTOP")


def test_idle(lab):
    """an idle node is not restarted over several periods of the watchdog"""
    node, _, _ = watched(lab)
    pid = main_pid(node)
    # Time that passes is what is tested; the node's own clock says when it has.
    eventually("five periods have passed",
               lambda: asked(node, "status")["uptime_seconds"] > 5 * PERIOD, every=PERIOD)
    expect(main_pid(node) == pid and restarts(node) == 0, node.journal())


def test_stuck_loop(lab):
    """an event loop that is stuck, in a test build, is killed by the watchdog and comes back"""
    if not lab.packages.faulty:
        lab.skip("needs --faulty FILE, a build with --features fault-injection")
    node = lab.node()
    wait_active(node)
    node.systemctl("stop", UNIT)
    inside = node.path("/usr/bin/p2p-node")
    os.unlink(inside)
    shutil.copy(lab.packages.faulty, inside)
    drop_in(node, f"[Service]\nWatchdogSec={PERIOD}s\nRestartSec=100ms\n")
    node.systemctl("start", UNIT)
    noise(node, "/root/film", 2)
    who, cid, pid = identity(node), put(node, "/root/film"), main_pid(node)
    node.run("kill", "-USR2", str(pid))
    check_return(node, pid, who, cid, "a stuck loop")
