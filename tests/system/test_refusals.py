"""Starts that must fail, and how."""

from machine import eventually, expect
from node import (ENV_FILE, STATE, UNIT, configure, identity, main_pid, restarts, wait_active,
                  wait_inactive)


def test_bad_configuration(lab):
    """a misspelt variable: exit 78, not started again, and the journal says what to do"""
    node = lab.node()
    wait_active(node)
    node.systemctl("stop", UNIT)
    configure(node, P2P_MAX_CONECTIONS="5")
    done = node.systemctl("start", UNIT, check=False)
    expect(done.status != 0, "systemctl start has succeeded")
    expect(wait_inactive(node) == "failed", "the unit is not failed")
    expect(node.show("ExecMainStatus") == "78", f"exit {node.show('ExecMainStatus')}, not 78")
    expect(restarts(node) == 0, "systemd starts it again and again")
    said = node.journal("-p", "err")
    expect("P2P_MAX_CONECTIONS" in said and "P2P_MAX_CONNECTIONS" in said,
           f"the journal's errors do not name the variable and its neighbour:\n{said}")
    node.run("sed", "-i", "/CONECTIONS/d", ENV_FILE)
    node.systemctl("start", UNIT)
    expect(node.show("ActiveState") == "active", "not active once it is mended")


def test_taken_port(lab):
    """a taken metrics port: named with its likely owner and the variable; it comes when the port is free"""
    node = lab.node()
    wait_active(node)
    node.systemctl("stop", UNIT)
    node.run("systemd-run", "--unit=squatter", "python3", "-m", "http.server", "9100")
    eventually("the port is taken", lambda: ":9100" in node.out("ss", "-Hltn"))
    done = node.systemctl("start", UNIT, check=False)
    expect(done.status != 0, "systemctl start has succeeded")
    said = node.journal("-p", "err")
    for word in ("node_exporter", "P2P_METRICS_PORT", "9100"):
        expect(word in said, f"the journal's errors do not say {word}:\n{said}")
    # It goes on trying: the other may go away, and nobody is there to start it.
    node.systemctl("stop", "squatter")
    wait_active(node)


def test_second_daemon(lab):
    """a second daemon on the same state is refused and does the first no harm"""
    node = lab.node()
    wait_active(node)
    who, pid = identity(node), main_pid(node)
    common = ["env", f"P2P_DATA_DIR={STATE}", "P2P_METRICS_PORT=0",
              "P2P_LISTEN_ADDRS=/ip4/127.0.0.1/tcp/0"]
    for socket in ("/run/p2p-node/control.sock", "/var/lib/p2p-node/second.sock"):
        done = node.run(*common, f"P2P_CONTROL_SOCKET={socket}", "p2p-node", "run",
                        check=False, user="p2p-node")
        expect(done.status not in (0, None), f"a second daemon runs: {done}")
        expect(len(done.err.strip().splitlines()) <= 3 and "panicked" not in done.err,
               f"it does not say in few words why: {done}")
        lab.figure(f"a second daemon ({socket.rpartition('/')[2]})",
                   f"exit {done.status}: {done.err.strip().splitlines()[-1]}")
    expect(main_pid(node) == pid and identity(node) == who, "the first has suffered")
