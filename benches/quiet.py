#!/usr/bin/env python3
"""What a silent network does: real daemons on loopback under default limits.

    benches/quiet.py PROGRAM NODES BOOTSTRAP_NODES MINUTES FOLDER

starts NODES daemons, of which the first BOOTSTRAP_NODES are bootstrap nodes that
all others enter through, and prints a line a minute: connections kept and active,
connections made since the start, resident memory and CPU. Connections made are the
sum over all nodes, so that each is counted at both of its ends; handshakes are half
of them. It ends by itself, and so do the daemons. FOLDER is emptied first.
"""
import os
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "common"))
import harness  # pylint: disable=wrong-import-position

MIB = 2**20

def start(program, folder, name, is_bootstrap, entrances):
    """A daemon that knows how it is reached from outside, as on loopback nobody can
    find out."""
    address = harness.own_address()
    variables = {
        "P2P_LISTEN_ADDRS": address,
        "P2P_EXTERNAL_ADDRS": address,
        # What a daemon takes that is told nothing else.
        "P2P_DHT_MODE": "auto",
    }
    if is_bootstrap:
        variables["P2P_BOOTSTRAP"] = "true"
    if entrances:
        variables["P2P_BOOTSTRAP_PEERS"] = ",".join(entrances)
    return harness.Node(program, folder, name, **variables).run()


def metrics(node):
    """Its metrics by name and labels, or None when it does not answer."""
    try:
        return node.metrics()
    except OSError:
        return None


def spread(values):
    values = sorted(values)
    return f"min {values[0]} med {values[len(values) // 2]} max {values[-1]}"


def start_all(nodes, program, count, bootstrap_count, folder):
    """Adds the daemons to `nodes` as they start."""
    entrances = []
    for number in range(count):
        is_bootstrap = number < bootstrap_count
        node = start(program, folder, str(number), is_bootstrap, entrances)
        nodes.append(node)
        if is_bootstrap:
            entrances.append(node.wait_ready().address())
        else:
            # The pace at which they come, not a wait for something to happen.
            time.sleep(0.15)
    for node in nodes[bootstrap_count:]:
        node.wait_ready()


def watch(nodes, bootstrap_count, minutes):
    """Prints a line a minute."""
    begin = time.time()
    before = None
    while time.time() - begin < minutes * 60:
        time.sleep(60)
        samples = [metrics(node) for node in nodes]
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
            node.kill()


if __name__ == "__main__":
    main()
