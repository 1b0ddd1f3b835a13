"""The proxy that chaos puts on every connection does what each fault says, and heals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from treeroll.chaos.edge import Edge, Ends, Way

LATE_S = 0.05


@dataclass
class Wire:
    """A connection through an edge, and both of its ends."""

    edge: Edge
    client: Ends
    server: Ends


async def close(*every: Ends) -> None:
    for _, writer in every:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def say(end: Ends, text: bytes) -> None:
    end[1].write(text)
    await end[1].drain()


async def heard(end: Ends, count: int) -> bytes:
    async with asyncio.timeout(60):
        return await end[0].readexactly(count)


async def ends(end: Ends) -> bool:
    """Whether the connection is over, once what was under way has come."""
    async with asyncio.timeout(60):
        try:
            return await end[0].read(1) == b""
        except ConnectionError:
            return True


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    accepted: list[Ends] = []
    came = asyncio.Event()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append((reader, writer))
        came.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Edge(lambda: asyncio.open_connection("127.0.0.1", port)) as edge:
        client = await asyncio.open_connection("127.0.0.1", edge.port)
        await came.wait()
        yield Wire(edge, client, accepted[0])
        await close(client, *accepted)
    server.close()


async def test_bytes_pass_both_ways(wire: Wire) -> None:
    await say(wire.client, b"up")
    await say(wire.server, b"down")
    assert (await heard(wire.server, 2), await heard(wire.client, 4)) == (b"up", b"down")


async def test_what_is_held_one_way_comes_after_it_is_healed_and_the_other_way_goes_on(wire: Wire) -> None:
    wire.edge.hold(Way.UP)
    await say(wire.client, b"up")
    listening = asyncio.create_task(heard(wire.server, 2))
    for _ in range(5):
        await say(wire.server, b"down")
        assert await heard(wire.client, 4) == b"down"
    assert not listening.done()
    await wire.edge.heal()
    assert await listening == b"up"


async def test_what_is_lost_never_comes_and_ends_the_connection_when_it_is_healed(wire: Wire) -> None:
    wire.edge.lose(Way.UP)
    await say(wire.client, b"up")
    await say(wire.server, b"down")
    assert await heard(wire.client, 4) == b"down"
    await wire.edge.heal()
    assert await ends(wire.server)
    assert await ends(wire.client)


async def test_what_is_delayed_comes_late_and_in_order(wire: Wire) -> None:
    wire.edge.delay(LATE_S, Way.UP)
    began = asyncio.get_running_loop().time()
    for number in range(9):
        await say(wire.client, b"%d" % number)
    assert await heard(wire.server, 9) == b"012345678"
    assert asyncio.get_running_loop().time() - began >= LATE_S


async def test_a_reset_ends_both_ends_and_new_connections_may_come(wire: Wire) -> None:
    wire.edge.reset()
    assert await ends(wire.client)
    assert await ends(wire.server)
    await close(await asyncio.open_connection("127.0.0.1", wire.edge.port))


async def test_who_is_refused_may_come_to_the_same_port_when_it_is_healed(wire: Wire) -> None:
    port = wire.edge.port
    wire.edge.refuse()
    assert await ends(wire.client)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await wire.edge.heal()
    await close(await asyncio.open_connection("127.0.0.1", port))
    assert wire.edge.port == port
