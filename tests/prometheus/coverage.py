"""No alert without a test in which it fires, one in which it does not, an
annotation that says what to do, and a runbook under its own name."""

import pathlib
import re
import sys

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "prometheus"
SEVERITIES = {"info", "warning", "critical"}


def blocks(text):
    """Name and text of each alert."""
    parts = re.split(r"^ +- alert: (\w+)\n", text, flags=re.M)
    return list(zip(parts[1::2], parts[2::2]))


def cases(text):
    """The tests of a file, each as text."""
    return re.split(r"^  - name: ", text, flags=re.M)[1:]


def main():
    rules = (SHIPPED / "p2p-node.rules.yml").read_text()
    tests = [c for f in sorted((SHIPPED / "tests").glob("*.yml")) for c in cases(f.read_text())]
    wrong = []
    for name, body in blocks(rules):
        body = re.split(r"^ +- record:|^  - name:", body, flags=re.M)[0]
        for want in ("summary:", "description:", f'runbook: "man 8 p2p-node.service, {name}"'):
            if want not in body:
                wrong.append(f"{name} lacks {want}")
        severity = re.search(r"severity: (\w+)", body)
        if not severity or severity.group(1) not in SEVERITIES:
            wrong.append(f"{name} has no severity of {sorted(SEVERITIES)}")
        # A test in which it fires names it. One in which it does not: the same test
        # at another moment, where the alerts expected are others or none.
        firing = [c for c in tests if f'alertname="{name}", alertstate="firing"' in c]
        if not firing:
            wrong.append(f"{name} fires in no test")
        if not any(quiet(name, case) for case in firing):
            wrong.append(f"{name} is never expected to be silent where it could fire")
    for line in wrong:
        print(line)
    print(f"{len(blocks(rules))} alerts, {len(wrong)} faults")
    if wrong:
        sys.exit(1)


def quiet(name, case):
    """Whether a moment of `case` expects the alert not to fire."""
    moments = re.split(r"(?=eval_time: )", case)[1:]
    return any(
        "exp_samples" in moment and f'alertname="{name}"' not in moment and "*" not in moment
        for moment in moments
    )


if __name__ == "__main__":
    main()
