"""Tests the tests of the alert rules: each rule is broken in several ways, and
`promtool test rules` must notice every one.

An alert that can never fire shows that a test expects it to; a guard that is
left out, and a threshold moved by a tenth (by one where it counts things), show
that a test expects it not to. So no alert lacks either kind of test.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SHIPPED = HERE.parent.parent / "packaging" / "prometheus"
RULES = "p2p-node.rules.yml"


def alerts(text):
    """(name, start, end) of the expression of each alert, in characters."""
    for match in re.finditer(r"- alert: (\w+)\n(?: +#.*\n)* +expr: (?:>-\n)?", text):
        end = re.compile(r"\n        (for|labels):").search(text, match.end())
        yield match.group(1), match.end(), end.start()


def mutants(expression):
    """(what was done, broken expression)."""
    yield "never fires", "vector(0) > 1"
    lines = expression.split("\n")
    for at, line in enumerate(lines):
        if re.match(r"\s*(and|or|unless)\b", line):
            # A clause goes on until the next one begins.
            to = at + 1
            while to < len(lines) and not re.match(r"\s*(and|or|unless)\b", lines[to]):
                to += 1
            yield f"without {line.strip()!r}", "\n".join(lines[:at] + lines[to:])
    for match in re.finditer(r"(?<=[<>=] )(\d+(?:\.\d+)?)(?![\d.]*[smhd\]])", expression):
        number = match.group(1)
        if "p2p_node_up:seconds >" in expression[: match.start()].rsplit("\n", 1)[-1]:
            # How long a start is waited out is no threshold; the guard itself is tested.
            continue
        if number == "0":
            # One more than nothing is, for what is counted and extrapolated, the same.
            others = ["-1"]
        elif number.endswith(".5") and float(number) > 1:
            # Between two counts.
            others = [str(float(number) - 1), str(float(number) + 1)]
        elif "." in number or float(number) >= 1000:
            others = [f"{float(number) * factor:.6g}" for factor in (0.9, 1.1)]
        else:
            others = [str(int(number) - 1), str(int(number) + 1)]
        for other in others:
            broken = expression[: match.start()] + other + expression[match.end() :]
            yield f"{number} becomes {other}", broken


def tests_of(alert):
    """A file of those tests in which the alert is expected, which are quicker than all."""
    files = []
    for path in sorted((SHIPPED / "tests").glob("*.yml")):
        head, *cases = re.split(r"^(?=  - name: )", path.read_text(), flags=re.M)
        # What a case refers to may be defined in one that is left out.
        whole = "".join(cases)
        shared = dict(re.findall(r"- &(up|ready) (\{.*\})\n", whole))
        kept = [c for c in cases if f'"{alert}"' in c or f"alertname: {alert}\n" in c]
        if kept:
            text = re.sub(r"- &(?:up|ready) ", "- ", "".join(kept))
            text = re.sub(r"\*(up|ready)\b", lambda m: shared[m.group(1)], text)
            files.append(head + text)
    assert len(files) == 1, f"{alert} is tested in {len(files)} files"
    return files[0].replace("../p2p-node.rules.yml", RULES)


def passes(folder):
    """Whether the tests pass with the rules in `folder`."""
    done = subprocess.run(
        ["promtool", "test", "rules", str(folder / "test.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0


def main():
    text = (SHIPPED / RULES).read_text()
    survived = []
    count = 0
    with tempfile.TemporaryDirectory(prefix="p2p-rules-") as name:
        folder = pathlib.Path(name)
        for alert, start, end in list(alerts(text)):
            (folder / RULES).write_text(text)
            (folder / "test.yml").write_text(tests_of(alert))
            if not passes(folder):
                sys.exit(f"the tests of {alert} fail with the rules as they are")
            for what, broken in mutants(text[start:end]):
                count += 1
                (folder / RULES).write_text(text[:start] + broken + text[end:])
                if passes(folder):
                    survived.append(f"{alert}: {what}")
    for line in survived:
        print(f"no test notices: {line}")
    names = [alert for alert, _, _ in alerts(text)]
    print(f"{len(names)} alerts, {count} broken rules, {len(survived)} unnoticed")
    if survived or len(names) != text.count("- alert:"):
        sys.exit(1)


if __name__ == "__main__":
    main()
