"""go-libp2p as a peer: a daemon of ours and go's p2pd, over TCP and over QUIC,
both driven by the same client through their control sockets."""

import asyncio
import itertools
import os
import sys


from p2pclient.exceptions import ControlFailure
from p2pclient.pb import p2pd_pb2 as pb
from p2pclient.utils import raise_if_failed, read_pbmsg_safe, write_pbmsg

import checks
import harness
from python_client import Side, content_id, echo, knows


def go(folder):
    daemon = harness.ControlledProgram(folder, "go")
    command = [
        os.environ["P2PD"],
        f"-listen=/unix{daemon.socket}",
        "-hostAddrs=/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1",
        "-dhtServer",
        "-pubsub",
        "-gossipsubHeartbeatInterval=200ms",
        "-relay=false",
        "-autoRelay=false",
    ]
    return daemon.start(command, {})


def speak_to_go(client):
    """This build of p2pd is a fork that requires one more field in a handler's
    registration, `bool balanced = 3`; the client does not know it."""
    control = client.control

    async def stream_handler(proto, handler_cb):
        ask = pb.StreamHandlerRequest(addr=control.listen_maddr.to_bytes(), proto=[proto])
        ask.MergeFromString(b"\x18\x00")
        stream = await control.daemon_connector.open_connection()
        request = pb.Request(type=pb.Request.STREAM_HANDLER, streamHandler=ask)
        await write_pbmsg(stream, request)
        response = pb.Response()
        await read_pbmsg_safe(stream, response)
        await stream.aclose()
        raise_if_failed(response)
        control.handlers[proto] = handler_cb

    control.stream_handler = stream_handler


def at(side, kind):
    addrs = [x for x in side.addrs if kind in str(x)]
    assert addrs, (kind, side.addrs)
    return addrs


names = (f"/foreign/echo/{n}" for n in itertools.count())


async def stream(opener, side):
    # This p2pd refuses a second handler of one name.
    await echo(opener, side, half_close=False, protocol=next(names))


async def identify(ours, theirs):
    for side in (ours, theirs):
        side.id, side.addrs = await side.client.identify()


async def we_dial_over_tcp(ours, theirs):
    await ours.client.connect(theirs.id, at(theirs, "/tcp/"))
    await checks.eventually(lambda: knows(theirs, ours), "go lists us")


async def a_stream_from_us_to_go(ours, theirs):
    await stream(ours, theirs)


async def a_stream_from_go_to_us(ours, theirs):
    await stream(theirs, ours)


async def provider_record_from_us_to_go(ours, theirs):
    await provide(ours, theirs)


async def provide(provider, seeker):
    """Only from us to go: on loopback go's routing table was seen to stay empty,
    so its daemon has nobody whom it could tell of a record of its own."""
    cid = content_id(os.urandom(16))

    async def placed():
        # Our DHT knows go a moment after the connection, when it has identified.
        try:
            await provider.client.dht_provide(cid)
        except ControlFailure:
            return False
        return provider.id in [p.peer_id for p in await seeker.client.dht_find_providers(cid, 1)]

    await checks.eventually(placed, "the provider is found")


async def a_topic_of_ours_is_found_by_go(ours, theirs):
    """go-libp2p's pubsub looks for the members of a topic as providers of the CID of
    its namespace. This p2pd has no option that makes it look, so it is asked."""
    topic = f"found-{os.urandom(4).hex()}"
    joined = await ours.client.pubsub_subscribe(topic)
    cid = content_id(b"floodsub:" + topic.encode())

    async def found():
        return ours.id in [p.peer_id for p in await theirs.client.dht_find_providers(cid, 1)]

    await checks.eventually(found, "the member is found")
    await joined.aclose()


async def pubsub_from_us_to_go(ours, theirs):
    await gossip(ours, theirs, "to-go")


async def pubsub_from_go_to_us(ours, theirs):
    await gossip(theirs, ours, "to-us")


async def gossip(publisher, subscriber, topic):
    stream = await subscriber.client.pubsub_subscribe(topic)

    async def known():
        return subscriber.id in await publisher.client.pubsub_list_peers(topic)

    await checks.eventually(known, "the publisher knows the subscriber")
    # go publishes only into topics that somebody of its clients has joined.
    joined = await publisher.client.pubsub_subscribe(topic)
    await publisher.client.pubsub_publish(topic, b"over")
    message = pb.PSMessage()
    await asyncio.wait_for(read_pbmsg_safe(stream, message), checks.DEADLINE)
    assert message.data == b"over"
    assert getattr(message, "from") == publisher.id.to_bytes()
    await stream.aclose()
    await joined.aclose()


async def part(ours, theirs):
    await ours.client.disconnect(theirs.id)

    async def apart():
        return not await knows(ours, theirs) and not await knows(theirs, ours)

    await checks.eventually(apart, "both list nobody")


async def go_dials_over_tcp(ours, theirs):
    await part(ours, theirs)
    await theirs.client.connect(ours.id, at(ours, "/tcp/"))
    await checks.eventually(lambda: knows(ours, theirs), "we list go")
    await stream(ours, theirs)


async def we_dial_over_quic(ours, theirs):
    await part(ours, theirs)
    await ours.client.connect(theirs.id, at(theirs, "quic-v1"))
    await checks.eventually(lambda: knows(theirs, ours), "go lists us")
    await stream(ours, theirs)
    await stream(theirs, ours)


async def go_dials_over_quic(ours, theirs):
    await part(ours, theirs)
    await theirs.client.connect(ours.id, at(ours, "quic-v1"))
    await checks.eventually(lambda: knows(ours, theirs), "we list go")
    await stream(theirs, ours)


async def provider_and_pubsub_over_quic(ours, theirs):
    await provide(ours, theirs)
    await gossip(theirs, ours, "quic")


ALL = [
    identify,
    we_dial_over_tcp,
    a_stream_from_us_to_go,
    a_stream_from_go_to_us,
    provider_record_from_us_to_go,
    a_topic_of_ours_is_found_by_go,
    pubsub_from_us_to_go,
    pubsub_from_go_to_us,
    go_dials_over_tcp,
    we_dial_over_quic,
    go_dials_over_quic,
    provider_and_pubsub_over_quic,
]


async def main():
    # go's daemon knows only the DHT of IPFS.
    # go drops a provider record without addresses, and ours carries those that
    # are known to be reachable from outside: on loopback only configured ones.
    tcp = harness.own_address()
    more = {
        "P2P_KAD_PROTOCOL": "/ipfs/kad/1.0.0",
        "P2P_LISTEN_ADDRS": f"{tcp},/ip4/127.0.0.1/udp/0/quic-v1",
        "P2P_EXTERNAL_ADDRS": tcp,
    }
    starters = [lambda f: checks.ours(f, "ours", **more), go]
    with checks.running(*starters) as (ours, theirs):
        sides = (
            Side(ours, harness.own_address()),
            Side(theirs, harness.own_address()),
        )
        speak_to_go(sides[1].client)
        return await checks.run(ALL, *sides)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
