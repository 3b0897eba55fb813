"""Three nodes with traffic and a Prometheus that scrapes them with the shipped
rules: every metric of the contract answers on each node, every rule evaluates,
every query of the dashboard has data, and an alert fires when a node is ended.

    live.py P2P_NODE_BINARY
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse

import dashboard as grafana

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))
import harness  # pylint: disable=wrong-import-position
from harness import eventually, get  # pylint: disable=wrong-import-position

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "prometheus"
TOPIC = "news"

CONTRACT = [
    "libp2p_connections_opened_total",
    "libp2p_connections_active",
    "libp2p_dht_query_duration_seconds_bucket",
    "libp2p_gossipsub_messages_received_total",
    "libp2p_gossipsub_peers",
    "libp2p_relay_connections_active",
    "libp2p_nat_traversal",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
    'p2p_messages_total{direction="in", protocol="gossip"}',
    'p2p_messages_total{direction="out", protocol="gossip"}',
    "p2p_message_processing_seconds_bucket",
    "p2p_peer_dial_failures_total",
    "p2p_blacklist_total",
]

# What the traffic of this test must have moved, on at least one node: a panel
# that is drawn from zeros alone would prove little.
MOVED = [
    "libp2p_connections_opened_total",
    "libp2p_dht_query_duration_seconds_count",
    "libp2p_gossipsub_messages_received_total",
    "libp2p_gossipsub_peers",
    "libp2p_dht_routing_table_peers",
    "libp2p_ping_rtt_seconds_count",
    "p2p_block_bytes_total",
    "p2p_store_blocks",
    'p2p_message_processing_seconds_count{protocol="gossip"}',
    'p2p_message_processing_seconds_count{protocol="dht"}',
    "p2p_peer_dial_failures_total",
    "p2p_connections_refused_total",
    "p2p_blacklist_total",
    "p2p_bans_active",
]

# Queries that may have no data, each with the reason.
MAY_BE_EMPTY = {
    "annotation Starts": "no node is started twice under one address here",
}


def node(binary, folder, name, **more):
    """A node of the network of this test, which runs and is not waited for."""
    variables = {"P2P_NETWORK": "prometheus-test", "P2P_TOPICS": TOPIC}
    return harness.Node(binary, folder, name, **(variables | more)).run()


class Prometheus(harness.Program):
    def __init__(self, folder, targets):
        super().__init__(folder, "prometheus")
        shutil.copy(SHIPPED / "p2p-node.rules.yml", self.folder)
        # JSON is YAML.
        (self.folder / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": ["p2p-node.rules.yml"],
                    "scrape_configs": [
                        {"job_name": "p2p-node", "static_configs": [{"targets": targets}]}
                    ],
                }
            )
        )
        self.url = "http://{}:{}".format(*harness.own_socket())

    def start(self):
        self.launch(
            [
                "prometheus",
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            {},
        )
        eventually("Prometheus starts", self.ready)
        return self

    def ready(self):
        self.must_run()
        with contextlib.suppress(OSError):
            get(f"{self.url}/-/ready")
            return True
        return False

    def api(self, path, **query):
        try:
            text = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        answer = json.loads(text)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """Samples of now that are numbers."""
        result = self.api("query", query=expression)["result"]
        return [s for s in result if s["value"][1] != "NaN"]


def traffic(nodes, folder, halt):
    """Content, DHT, gossip and what is refused, over and over: rates need change."""
    file = folder / "file"
    round_number = 0
    while not halt.is_set():
        round_number += 1
        try:
            for node in nodes:
                if node.process.poll() is None:
                    node.cli("publish", TOPIC, f"message {round_number} of {node.name}")
            file.write_bytes(os.urandom(300_000))
            cid = nodes[0].cli("put", str(file)).split()[0]
            nodes[1].cli("get", cid, "-o", str(folder / f"out-{round_number}"))
            nodes[1].cli("dht", "put", f"/test/{round_number}", "value", check=False)
            nodes[1].cli("dht", "provide", cid)
            nodes[0].cli("dht", "find-providers", cid)
            # Nobody listens there.
            nodes[1].cli("connect", "/ip4/127.0.0.1/tcp/1", check=False)
            # The second has banned the third.
            nodes[2].cli("connect", nodes[1].address(), check=False)
        except AssertionError as error:
            if not halt.is_set():
                print(f"traffic: {error}", file=sys.stderr)
        halt.wait(1)


def check_contract(prometheus, nodes):
    for node in nodes:
        for metric in CONTRACT:
            name, brace, labels = metric.partition("{")
            inside = labels.rstrip("}") + ", " if brace else ""
            query = f'{name}{{{inside}job="p2p-node", instance="{node.http}"}}'
            eventually(f"data for {query}", lambda q=query: prometheus.query(q))
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=get(f"http://{node.http}/metrics"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, f"promtool check metrics:\n{checked.stdout}{checked.stderr}"
    print(f"ok: {len(CONTRACT)} metrics of the contract on each of {len(nodes)} nodes")
    print("ok: promtool check metrics on each")
    for metric in MOVED:
        eventually(f"{metric} is moved", lambda m=metric: prometheus.query(f"sum({m}) > 0"))
    print(f"ok: {len(MOVED)} metrics are moved by the traffic")


def check_rules(prometheus):
    def evaluated():
        groups = prometheus.api("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        bad = [r for r in rules if r["health"] not in ("ok", "unknown")]
        assert not bad, bad
        return rules if rules and all(r["health"] == "ok" for r in rules) else None

    rules = eventually("every rule is evaluated", evaluated)
    recorded = [r for r in rules if r["type"] == "recording"]
    for rule in recorded:
        eventually(f"{rule['name']} has data", lambda r=rule: prometheus.query(r["name"]))
    print(f"ok: {len(rules)} rules evaluate, {len(recorded)} record data")


def check_alert(prometheus, nodes):
    """Ends the last node; the alert comes after the two minutes of its rule."""
    gone = nodes[-1]
    gone.stop()
    query = f'ALERTS{{alertname="P2PNodeDown", alertstate="firing", instance="{gone.http}"}}'
    eventually("P2PNodeDown fires", lambda: prometheus.query(query))
    others = prometheus.query('ALERTS{alertname="P2PNodeDown"}')
    assert len(others) == 1, others
    for alert in prometheus.api("alerts")["alerts"]:
        for text in alert["annotations"].values():
            assert "<error" not in text and "{{" not in text, alert
    shown = [
        a["annotations"]["summary"]
        for a in prometheus.api("alerts")["alerts"]
        if a["labels"]["alertname"] == "P2PNodeDown"
    ]
    assert shown == [f"p2p-node on {gone.http} does not answer Prometheus"], shown
    print(f"ok: {shown[0]}")


def check_dashboard(prometheus):
    board = grafana.load()
    values = prometheus.api("label/instance/values", **{"match[]": 'up{job="p2p-node"}'})
    assert len(values) == 3, values
    empty = {}
    count = 0
    for where, expression in grafana.queries(board):
        count += 1
        # As Grafana asks for one node, for some, and for all.
        for instance in (values[0], "|".join(values)):
            prometheus.query(grafana.substitute(expression, instance))
        query = grafana.substitute(expression)
        if where in MAY_BE_EMPTY:
            prometheus.query(query)
            continue
        try:
            eventually(query, lambda q=query: prometheus.query(q))
        except AssertionError as error:
            empty[where] = str(error)
    for where, error in empty.items():
        print(f"no data: {where}: {error}")
    assert not empty, f"{len(empty)} queries of the dashboard have no data"
    print(f"ok: {count - len(MAY_BE_EMPTY)} of {count} queries of the dashboard have data")
    for where, reason in MAY_BE_EMPTY.items():
        print(f"    not asked to: {where}, because {reason}")


def main():
    binary = os.path.abspath(sys.argv[1])
    # So that what was made is cleared away also when this is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    halt = threading.Event()
    with tempfile.TemporaryDirectory(prefix="p2p-prometheus-") as name:
        folder = pathlib.Path(name)
        with harness.stopped_at_the_end() as programs:
            # The first has all there is: a relay, and ceilings of bandwidth.
            first = node(
                binary,
                folder,
                "bootstrap",
                P2P_BOOTSTRAP="true",
                P2P_MAX_UPLOAD_RATE="100MiB",
                P2P_MAX_DOWNLOAD_RATE="100MiB",
            )
            programs.append(first)
            first.wait_ready()
            for name in ("second", "third"):
                programs.append(node(binary, folder, name, P2P_BOOTSTRAP_PEERS=first.address()))
                programs[-1].wait_ready()
            nodes = list(programs)
            nodes[1].cli("ban", nodes[2].id["peer_id"], "--reason", "a test")
            prometheus = Prometheus(folder, [node.http for node in nodes])
            programs.append(prometheus)
            prometheus.start()
            worker = threading.Thread(target=traffic, args=(nodes, folder, halt))
            worker.start()
            try:
                check_contract(prometheus, nodes)
                check_rules(prometheus)
                check_alert(prometheus, nodes)
                check_dashboard(prometheus)
            finally:
                halt.set()
                worker.join()


if __name__ == "__main__":
    main()
