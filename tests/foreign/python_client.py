"""PyPI p2pclient, as published, drives two daemons of ours."""

import asyncio
import os
import sys

import anyio
from cid import make_cid
from multiaddr import Multiaddr
import multihash
from p2pclient import Client
from p2pclient.exceptions import ControlFailure
from p2pclient.pb import p2pd_pb2 as pb
from p2pclient.utils import read_pbmsg_safe

import checks
import harness

PROTOCOL = "/foreign/echo/1.0.0"


class Side:
    """One daemon as its client sees it."""

    def __init__(self, daemon, listen):
        self.daemon = daemon
        self.client = Client(Multiaddr(f"/unix{daemon.socket}"), Multiaddr(listen))
        self.id = None
        self.addrs = None


async def refused(awaitable):
    try:
        await awaitable
    except ControlFailure as error:
        text = str(error)
        assert "\n" not in text, text
        return text
    raise AssertionError("was not refused")


async def identify(a, b):
    for side in (a, b):
        side.id, side.addrs = await side.client.identify()
        assert side.addrs
    assert a.id != b.id


async def connect_over_tcp_and_list_peers(a, b):
    tcp = [x for x in b.addrs if "/tcp/" in str(x)]
    await a.client.connect(b.id, tcp)
    assert b.id in [p.peer_id for p in await a.client.list_peers()]
    await checks.eventually(lambda: knows(b, a), "b lists a")


async def connect_to_nobody_is_refused_with_one_line(a, b):
    why = await refused(a.client.connect(b.id.__class__(b.id.to_bytes()[:-1] + b"\0"), []))
    assert why


async def knows(side, other):
    return other.id in [p.peer_id for p in await side.client.list_peers()]


async def read_all(stream):
    got = b""
    while True:
        try:
            got += await stream.receive()
        except anyio.EndOfStream:
            return got


async def read_exactly(stream, length):
    got = b""
    while len(got) < length:
        got += await stream.receive()
    return got


async def echo(opener, handler_side, half_close=True, protocol=PROTOCOL):
    """A stream from one side to a handler of the other, with bytes both ways.
    go's daemon closes both directions when one ends; without `half_close` each
    side knows the length instead."""
    seen = asyncio.get_running_loop().create_future()
    sent = os.urandom(300_000)

    async def handle(info, stream):
        data = await (read_all(stream) if half_close else read_exactly(stream, len(sent)))
        await stream.send(data[::-1])
        if half_close:
            await stream.send_eof()
        else:
            # The opener closes when it has all.
            await read_all(stream)
        await stream.aclose()
        if not seen.done():
            seen.set_result(info)

    async with handler_side.client.listen():
        await handler_side.client.stream_handler(protocol, handle)
        info, stream = await opener.client.stream_open(
            handler_side.id, ("/foreign/unknown/1", protocol)
        )
        assert info.peer_id == handler_side.id
        assert info.proto == protocol
        await stream.send(sent)
        if half_close:
            await stream.send_eof()
            back = await read_all(stream)
        else:
            back = await read_exactly(stream, len(sent))
        await stream.aclose()
        assert back == sent[::-1], (len(back), len(sent))
        info = await asyncio.wait_for(seen, checks.DEADLINE)
        assert info.peer_id == opener.id


async def stream_from_a_to_a_handler_over_tcp(a, b):
    await echo(a, b)


async def stream_from_b_to_a_handler_over_a_unix_socket(a, b):
    await echo(b, a)


async def a_handler_is_replaced_by_the_next(a, b):
    await echo(a, b)


async def stream_nobody_handles_is_refused(a, b):
    why = await refused(a.client.stream_open(b.id, ("/foreign/none/1",)))
    assert "/foreign/none/1" in why, why


async def dht_value(a, b):
    key, value = b"/foreign/" + os.urandom(8), os.urandom(200)
    await a.client.dht_put_value(key, value)
    assert await b.client.dht_get_value(key) == value
    assert value in await b.client.dht_search_value(key)
    await refused(b.client.dht_get_value(b"/foreign/none"))


def content_id(data):
    return make_cid(1, "raw", multihash.digest(data, "sha2-256").encode()).buffer


async def dht_provide_and_find_providers(a, b):
    cid = content_id(os.urandom(16))
    await a.client.dht_provide(cid)
    found = await b.client.dht_find_providers(cid, 5)
    assert a.id in [p.peer_id for p in found], found
    await refused(b.client.dht_provide(b"no cid"))


async def dht_find_peer(a, b):
    found = await a.client.dht_find_peer(b.id)
    assert found.peer_id == b.id and found.addrs


async def dht_closest_peers(a, b):
    assert b.id in await a.client.dht_get_closest_peers(b.id.to_bytes())


async def dht_public_key(a, b):
    key = await a.client.dht_get_public_key(b.id)
    assert key.data


async def dht_removed_request_is_refused(a, b):
    await refused(a.client.dht_find_peers_connected_to_peer(b.id))


async def pubsub(a, b):
    topic = "foreign"
    stream = await b.client.pubsub_subscribe(topic)
    assert topic in await b.client.pubsub_get_topics()

    async def a_sees_b():
        return b.id in await a.client.pubsub_list_peers(topic)

    await checks.eventually(a_sees_b, "a knows that b subscribes")
    await a.client.pubsub_publish(topic, b"hello")
    message = pb.PSMessage()
    await asyncio.wait_for(read_pbmsg_safe(stream, message), checks.DEADLINE)
    # "from" is a word of Python.
    assert getattr(message, "from") == a.id.to_bytes()
    assert message.data == b"hello" and list(message.topicIDs) == [topic]
    assert len(message.seqno) == 8
    await stream.aclose()

    async def gone():
        return topic not in await b.client.pubsub_get_topics()

    await checks.eventually(gone, "closing the connection unsubscribes")


async def connection_manager(a, b):
    await a.client.connmgr_tag_peer(b.id, "friend", 100)
    await a.client.connmgr_untag_peer(b.id, "friend")
    await a.client.connmgr_untag_peer(b.id, "never was")
    # Far below the low-water mark: nothing may close.
    await a.client.connmgr_trim()
    assert await knows(a, b)


async def disconnect(a, b):
    await a.client.disconnect(b.id)

    async def apart():
        return not await knows(a, b) and not await knows(b, a)

    await checks.eventually(apart, "both list nobody")
    await refused(a.client.disconnect(b.id))


async def connect_over_quic(a, b):
    quic = [x for x in b.addrs if "quic-v1" in str(x)]
    assert quic, b.addrs
    await a.client.connect(b.id, quic)
    assert await knows(a, b)
    await echo(a, b)


ALL = [
    identify,
    connect_over_tcp_and_list_peers,
    connect_to_nobody_is_refused_with_one_line,
    stream_from_a_to_a_handler_over_tcp,
    stream_from_b_to_a_handler_over_a_unix_socket,
    a_handler_is_replaced_by_the_next,
    stream_nobody_handles_is_refused,
    dht_value,
    dht_provide_and_find_providers,
    dht_find_peer,
    dht_closest_peers,
    dht_public_key,
    dht_removed_request_is_refused,
    pubsub,
    connection_manager,
    disconnect,
    connect_over_quic,
]


async def main():
    starters = [lambda f: checks.ours(f, "a"), lambda f: checks.ours(f, "b")]
    with checks.running(*starters) as (a, b):
        sides = (
            Side(a, f"/unix{a.folder}/handler.sock"),
            Side(b, harness.own_address()),
        )
        return await checks.run(ALL, *sides)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
