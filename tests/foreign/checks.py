"""What the foreign tests share: daemons of ours and of go-libp2p, started as a
user starts them, and a list of named checks with one line of result each."""

import asyncio
import contextlib
import os
import pathlib
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))
import harness  # pylint: disable=wrong-import-position

DEADLINE = float(os.environ.get("DEADLINE", "30"))
harness.DEADLINE = DEADLINE


def ours(folder, name, **more):
    """A p2p-node on loopback."""
    variables = {
        "P2P_LISTEN_ADDRS": "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1",
        "P2P_NETWORK": "foreign-test",
    }
    node = harness.Node(os.environ["NODE_UNDER_TEST"], folder, name, **(variables | more))
    return node.run().wait_for_socket()


@contextlib.contextmanager
def running(*starters):
    """Daemons in a temporary folder, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="p2p-foreign-") as folder:
        with harness.stopped_at_the_end() as daemons:
            for starter in starters:
                daemons.append(starter(folder))
            yield daemons


async def eventually(question, what):
    """Asks until the answer is true, and gives it."""
    end = time.monotonic() + DEADLINE
    while True:
        answer = await question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"still not after {DEADLINE:.0f} s: {what}")
        await asyncio.sleep(0.1)


async def run(checks, *arguments):
    """Runs the checks in order. A failed one does not stop those after it."""
    passed = failed = 0
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(check(*arguments), 2 * DEADLINE)
            passed += 1
            print(f"ok      {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {error!r}", flush=True)
            traceback.print_exc(limit=4, file=sys.stdout)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
