"""Stopping: the drain, and its bounds."""

import time

from machine import eventually, expect
from node import (UNIT, configure, digest, door, drop_in, http_get, main_pid, metric, noise, put,
                  wait_active)

MEBIBYTES = 24
RATE = 3

SENT = 'p2p_block_bytes_total{direction="out"}'


def test_under_load(lab):
    """stop with a transfer in flight: it finishes, readiness turns 503, Result=success"""
    provider, fetcher = lab.node("provider"), lab.node("fetcher")
    wait_active(provider)
    wait_active(fetcher)
    # The transfer takes longer than systemd's own patience, which the drain extends.
    configure(provider, P2P_MAX_UPLOAD_RATE=f"{RATE}MiB", P2P_DRAIN_TIMEOUT="90s")
    drop_in(provider, "[Service]\nTimeoutStopSec=4s\n")
    provider.systemctl("restart", UNIT)
    noise(provider, "/root/film", MEBIBYTES)
    cid = put(provider, "/root/film")
    fetcher.run("p2p-node", "connect", door(provider))
    pid = main_pid(provider)
    transfer = fetcher.spawn("p2p-node", "get", "-q", cid, "-o", "/root/copy")
    eventually("some of it has been sent", lambda: metric(provider, SENT) > (1 << 20))
    began = time.monotonic()
    stop = provider.spawn("systemctl", "stop", UNIT)
    eventually("readiness turns", lambda: (
        stop.poll() is not None or http_get(provider, "/health/ready")[0] == 503))
    expect(stop.poll() is None, "it stopped before anybody could see that it drains")
    expect(transfer.poll() is None, "the transfer was over before the stop: nothing is tested")
    _, err = transfer.communicate(timeout=300)
    expect(transfer.returncode == 0, f"the transfer broke: {err}")
    expect(digest(fetcher, "/root/copy") == digest(provider, "/root/film"), "other bytes")
    _, err = stop.communicate(timeout=300)
    took = time.monotonic() - began
    expect(stop.returncode == 0, err)
    expect(provider.show("Result") == "success", f"Result={provider.show('Result')}")
    expect(provider.show("ExecMainStatus") == "0", "not exit 0")
    expect(provider.show("ActiveState") == "inactive", "not inactive")
    expect(took > 4, f"the stop took {took:.1f} s: it did not reach TimeoutStopSec")
    expect(provider.run("test", "-e", f"/proc/{pid}", check=False).status != 0, "it still runs")
    lab.figure("stop with a transfer in flight (TimeoutStopSec=4s)", f"{took:.1f} s")


def test_bounded(lab):
    """stop with a transfer that does not end in time: over at P2P_DRAIN_TIMEOUT, Result=success"""
    provider, fetcher = lab.node("provider"), lab.node("fetcher")
    wait_active(provider)
    wait_active(fetcher)
    configure(provider, P2P_MAX_UPLOAD_RATE="512KiB", P2P_DRAIN_TIMEOUT="3s")
    provider.systemctl("restart", UNIT)
    noise(provider, "/root/film", MEBIBYTES)
    cid = put(provider, "/root/film")
    fetcher.run("p2p-node", "connect", door(provider))
    transfer = fetcher.spawn("p2p-node", "get", "-q", cid, "-o", "/root/copy")
    eventually("the transfer has begun", lambda: metric(provider, SENT) > 0)
    began = time.monotonic()
    provider.systemctl("stop", UNIT)
    took = time.monotonic() - began
    transfer.kill()
    transfer.communicate()
    expect(provider.show("Result") == "success", f"Result={provider.show('Result')}")
    expect(took < 30, f"the stop took {took:.1f} s")
    lab.figure("stop with an endless transfer (P2P_DRAIN_TIMEOUT=3s)", f"{took:.1f} s")


def test_idle(lab):
    """stop of an idle node is over at once, and stop while it starts as well"""
    node = lab.node()
    wait_active(node)
    began = time.monotonic()
    node.systemctl("stop", UNIT)
    lab.figure("stop of an idle node", f"{time.monotonic() - began:.2f} s")
    expect(node.show("Result") == "success", f"Result={node.show('Result')}")
    for _ in range(5):
        node.systemctl("start", "--no-block", UNIT)
        node.systemctl("stop", UNIT)
        expect(node.show("ActiveState") in ("inactive",), f"{node.show('ActiveState')}")
    node.systemctl("start", UNIT)
