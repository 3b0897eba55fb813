"""systemctl reload, with a good and a bad file."""

from machine import eventually, expect
from node import ENV_FILE, UNIT, configure, main_pid, metric, restarts, wait_active

LIMIT = "p2p_connections_limit"


def test_reload(lab):
    """a good file takes effect without a restart, a bad one fails visibly and changes nothing"""
    node = lab.node()
    wait_active(node)
    pid = main_pid(node)
    default = metric(node, LIMIT)
    configure(node, P2P_MAX_CONNECTIONS="123")
    node.systemctl("reload", UNIT)
    expect(metric(node, LIMIT) == 123, f"the limit is {metric(node, LIMIT)} after the reload")

    configure(node, P2P_MAX_CONNECTIONS="many")
    done = node.systemctl("reload", UNIT, check=False)
    expect(done.status != 0, "systemctl reload of a bad file has succeeded")
    expect(node.show("ActiveState") == "active", "the service suffers from a bad file")
    expect(metric(node, LIMIT) == 123, "a bad file has changed something")
    said = node.journal()
    expect("P2P_MAX_CONNECTIONS" in said and "many" in said, f"the journal does not say why:\n{said}")

    # A variable that is taken out again goes back to its default.
    node.run("sed", "-i", "/^P2P_MAX_CONNECTIONS/d", ENV_FILE)
    node.systemctl("reload", UNIT)
    expect(metric(node, LIMIT) == default, f"{metric(node, LIMIT)}, not the default {default}")

    configure(node, P2P_MAX_CONNECTIONS="77")
    node.run("kill", "-HUP", str(pid))
    eventually("SIGHUP does the same", lambda: metric(node, LIMIT) == 77)

    # What cannot change while it runs is named.
    configure(node, P2P_METRICS_PORT="9101")
    node.systemctl("reload", UNIT)
    expect("P2P_METRICS_PORT" in node.journal() and "restart" in node.journal(),
           "nobody says that P2P_METRICS_PORT needs a restart")
    expect(main_pid(node) == pid and restarts(node) == 0, "a reload has restarted it")
