#!/usr/bin/env python3
"""What a silent network does: real daemons on loopback under default limits.

    benches/quiet.py PROGRAM NODES BOOTSTRAP_NODES MINUTES FOLDER

starts NODES daemons, of which the first BOOTSTRAP_NODES are bootstrap nodes that
all others enter through, and prints a line a minute: connections kept and active,
connections made since the start, resident memory and CPU. Connections made are the
sum over all nodes, so that each is counted at both of its ends; handshakes are half
of them. It ends by itself, and so do the daemons. FOLDER is emptied first.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

MIB = 2**20
SAMPLE = re.compile(r"^([a-z_0-9]+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


class Node:
    """A daemon with a folder of its own."""

    def __init__(self, program, folder, is_bootstrap, entrances):
        os.makedirs(folder)
        self.program = program
        self.data = os.path.join(folder, "data")
        self.metrics_port = free_port()
        self.address = f"/ip4/127.0.0.1/tcp/{free_port()}"
        environment = {
            "PATH": os.environ["PATH"],
            "P2P_DATA_DIR": self.data,
            "P2P_METRICS_PORT": str(self.metrics_port),
            "P2P_LISTEN_ADDRS": self.address,
            "P2P_EXTERNAL_ADDRS": self.address,
        }
        if is_bootstrap:
            environment["P2P_BOOTSTRAP"] = "true"
        if entrances:
            environment["P2P_BOOTSTRAP_PEERS"] = ",".join(entrances)
        with open(os.path.join(folder, "log"), "w") as log:
            self.process = subprocess.Popen(
                [program, "run"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def peer_id(self):
        command = [self.program, "--socket", self.data + "/control.sock", "id", "--json"]
        for _ in range(600):
            answer = subprocess.run(command, capture_output=True, text=True)
            if answer.returncode == 0:
                return json.loads(answer.stdout)["peer_id"]
            time.sleep(0.2)
        raise SystemExit("a daemon does not say its peer id")

    def metrics(self):
        """Its metrics by name and labels, or None when it does not answer."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        return {name: float(value) for name, value in SAMPLE.findall(text)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spread(values):
    values = sorted(values)
    return f"min {values[0]} med {values[len(values) // 2]} max {values[-1]}"


def start_all(nodes, program, count, bootstrap_count, folder):
    """Adds the daemons to `nodes` as they start."""
    entrances = []
    for number in range(count):
        is_bootstrap = number < bootstrap_count
        node = Node(program, os.path.join(folder, str(number)), is_bootstrap, entrances)
        nodes.append(node)
        if is_bootstrap:
            entrances.append(f"{node.address}/p2p/{node.peer_id()}")
        else:
            time.sleep(0.15)


def watch(nodes, bootstrap_count, minutes):
    """Prints a line a minute."""
    begin = time.time()
    before = None
    while time.time() - begin < minutes * 60:
        time.sleep(60)
        samples = [node.metrics() for node in nodes]
        answered = [sample for sample in samples if sample]
        if not answered:
            raise SystemExit("no daemon answers")
        now = time.time()

        def total(name):
            return sum(sample.get(name, 0) for sample in answered)

        opened = total("libp2p_connections_opened_total")
        cpu = total("process_cpu_seconds_total")
        memory = total("process_resident_memory_bytes") / len(answered) / MIB
        errors = total('libp2p_connections_closed_total{cause="error"}')
        kept = [sample.get("libp2p_connections_kept", -1) for sample in answered]
        active = [sample["libp2p_connections_active"] for sample in answered]
        kept_by_bootstrap = [
            sample.get("libp2p_connections_kept")
            for sample in samples[:bootstrap_count]
            if sample
        ]
        fields = [
            f"{(now - begin) / 60:.1f}min nodes {len(answered)}",
            f"kept {spread(kept)}",
            f"active {spread(active)}",
            f"boot kept {kept_by_bootstrap}",
            f"opened {opened} errors {errors}",
            f"rss {memory:.1f}MiB",
        ]
        if before:
            opened_before, cpu_before, then = before
            seconds = now - then
            handshakes = (opened - opened_before) / 2 / len(answered) / (seconds / 60)
            share = (cpu - cpu_before) / len(answered) / seconds
            fields.append(f"handshakes/node/min {handshakes:.3f}")
            fields.append(f"cpu/node {share * 100:.2f}%")
        print(" ".join(fields), flush=True)
        before = (opened, cpu, now)


def main():
    program, count, bootstrap_count, minutes, folder = sys.argv[1:]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    nodes = []
    try:
        start_all(nodes, program, int(count), int(bootstrap_count), folder)
        watch(nodes, int(bootstrap_count), float(minutes))
    finally:
        for node in nodes:
            node.process.kill()
        for node in nodes:
            node.process.wait()


if __name__ == "__main__":
    main()
