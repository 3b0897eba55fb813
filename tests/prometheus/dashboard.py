"""The dashboard as a file: what Grafana and its readers need, and its queries."""

import json
import pathlib
import re
import sys

PATH = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "grafana" / "p2p-node.json"
ROWS = ["Is it healthy?", "Who is connected?", "How fast is it?", "What is being refused?"]
SOURCE = "${datasource}"


def load():
    return json.loads(PATH.read_text())


def panels(dashboard):
    """Every panel that shows something."""
    return [p for p in dashboard["panels"] if p["type"] != "row"]


def queries(dashboard):
    """(where it stands, expression) of every panel's query and annotation."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


def substitute(expression, instance=".*", rate_interval="30s"):
    """The expression as Grafana sends it."""
    text = expression.replace("$instance", instance).replace("$__rate_interval", rate_interval)
    assert "$" not in text, f"an unknown variable in {expression}"
    return text


def faults(dashboard):
    if dashboard["uid"] != "p2p-node" or dashboard["id"] is not None:
        yield "the uid must stay p2p-node, and the id empty"
    # 36 is Grafana 9.0.
    if not 36 <= dashboard["schemaVersion"] <= 39:
        yield f"schemaVersion {dashboard['schemaVersion']}"
    rows = [p["title"] for p in dashboard["panels"] if p["type"] == "row"]
    if rows != ROWS:
        yield f"rows {rows}"
    for found in re.findall(r'"uid": "([^"]*)"', PATH.read_text()):
        if found not in ("p2p-node", SOURCE):
            yield f"a data source by its own uid {found}, which nobody else has"
    ids = [p["id"] for p in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        yield "ids of panels occur twice"
    taken = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or (x, y) in taken:
                    yield f"{panel['title']} does not fit beside {taken.get((x, y))}"
                taken[x, y] = panel["title"]
    for panel in panels(dashboard):
        title = panel["title"]
        if not panel.get("description"):
            yield f"{title} has no description"
        if panel["type"] != "table" and not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{title} has no unit"
        for target in panel["targets"]:
            if 'job="p2p-node"' not in target["expr"]:
                yield f"{title} {target['refId']} asks about other jobs too"
            if 'instance=~"$instance"' not in target["expr"]:
                yield f"{title} {target['refId']} does not follow the chosen node"
    names = {v["name"] for v in dashboard["templating"]["list"]}
    if names != {"datasource", "instance"}:
        yield f"variables {names}"


def main():
    dashboard = load()
    found = list(faults(dashboard))
    for line in found:
        print(line)
    count = len(list(queries(dashboard)))
    print(f"{len(panels(dashboard))} panels, {count} queries, {len(found)} faults")
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
