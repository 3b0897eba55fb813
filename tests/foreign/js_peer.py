"""js-libp2p as a gossip peer: messages both ways on a plain topic, and none of it
costs either side anything."""

import asyncio
import json
import os
import sys

from p2pclient.pb import p2pd_pb2 as pb
from p2pclient.utils import read_pbmsg_safe

import checks
import harness
from python_client import Side

TOPIC = "js-and-us"


class Js:
    """The other peer, in a process of its own."""

    def __init__(self):
        self.process = None
        self.id = None

    async def start(self, address):
        # ES modules are found from the folder of the script.
        script = os.path.join(os.environ["JS_MODULES"], "js_peer.mjs")
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            "node", script, address, TOPIC, stdin=pipe, stdout=pipe,
            preexec_fn=harness.die_with_parent,
        )
        self.id = (await self.line())["id"]

    async def line(self):
        line = await asyncio.wait_for(self.process.stdout.readline(), checks.DEADLINE)
        assert line, "js has ended"
        return json.loads(line)

    async def publish(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        await self.process.stdin.drain()

    async def stop(self):
        if self.process and self.process.returncode is None:
            self.process.stdin.close()
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except asyncio.TimeoutError:
                self.process.kill()


async def subscribers(ours):
    return [str(p) for p in await ours.client.pubsub_list_peers(TOPIC)]


async def js_connects_and_subscribes(ours, js):
    ours.id, ours.addrs = await ours.client.identify()
    ours.stream = await ours.client.pubsub_subscribe(TOPIC)
    tcp = next(str(a) for a in ours.addrs if "/tcp/" in str(a))
    await js.start(tcp if "/p2p/" in tcp else f"{tcp}/p2p/{ours.id}")

    async def known():
        return js.id in await subscribers(ours)

    await checks.eventually(known, "js subscribes")


async def a_hundred_messages_from_js_arrive(ours, js):
    heard = set()
    end = asyncio.get_running_loop().time() + checks.DEADLINE
    # Until js knows that we subscribe, its messages go nowhere.
    n = 0
    while len(heard) < 100:
        assert asyncio.get_running_loop().time() < end, f"{len(heard)} heard"
        await js.publish(f"m{n}")
        n += 1
        try:
            message = pb.PSMessage()
            await asyncio.wait_for(read_pbmsg_safe(ours.stream, message), 0.5)
        except asyncio.TimeoutError:
            continue
        heard.add(message.data)


async def a_message_of_ours_arrives_at_js(ours, js):
    await ours.client.pubsub_publish(TOPIC, b"from us")
    while True:
        line = await js.line()
        assert "lost" not in line, line
        if line.get("heard") == "from us":
            assert line["from"] == str(ours.id), line
            return


async def js_is_still_connected_and_in_good_repute(ours, js):
    command = [os.environ["NODE_UNDER_TEST"], "--socket", ours.daemon.socket, "--json", "peers"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    text = out.decode()
    assert js.id in text, text
    try:
        rows = json.loads(text)
    except json.JSONDecodeError:
        rows = [json.loads(line) for line in text.splitlines() if line]
    rows = rows.get("peers", [rows]) if isinstance(rows, dict) else rows
    row = next(r for r in rows if js.id in json.dumps(r))
    assert float(row.get("reputation") or 0) >= 0, row


ALL = [
    js_connects_and_subscribes,
    a_hundred_messages_from_js_arrive,
    a_message_of_ours_arrives_at_js,
    js_is_still_connected_and_in_good_repute,
]


async def main():
    with checks.running(lambda f: checks.ours(f, "ours")) as (ours,):
        js = Js()
        try:
            side = Side(ours, harness.own_address())
            return await checks.run(ALL, side, js)
        finally:
            await js.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
