"""One TCP edge of a world: passes on what goes through it, or holds, loses, delays, cuts or refuses it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK_BYTES, CHUNKS = 64 << 10, 1024
# Closing with this option tells the other side of a reset, not of an orderly end.
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Way(Enum):
    """Which bytes: those to the server, or those from it."""

    UP = "up"
    DOWN = "down"


@dataclass(slots=True)
class _Rule:
    """What becomes of the bytes of one way."""

    delay_s: float = 0.0
    lost: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Set unless they are held."""


class Edge:
    """A proxy on a loopback port, which stays its own. Faults last until `heal`, for connections to come as well."""

    def __init__(self, connect: Callable[[], Awaitable[Ends]]) -> None:
        """`connect` opens a connection to the server; OSError from it is passed on as a reset."""
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._rules = {way: _Rule() for way in Way}
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken = False
        self.port = 0

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Edge":
        await self.heal()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        while self._tasks:  # one that was accepted a moment ago may come late
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    async def heal(self) -> None:
        """Pass everything on. Connections of which bytes were lost are reset: nobody could make sense of the rest."""
        for rule in self._rules.values():
            rule.delay_s, rule.lost = 0.0, False
            rule.open.set()
        if self._broken:
            self._broken = False
            self.reset()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK_BYTES)
            self.port = self._server.sockets[0].getsockname()[1]

    def hold(self, *ways: Way) -> None:
        """Keep bytes back, and ends of connections with them: a cable that is cut. No way named: both."""
        for way in ways or Way:
            self._rules[way].open.clear()

    def lose(self, *ways: Way) -> None:
        """Take bytes and pass none on."""
        self._broken = True
        for way in ways or Way:
            self._rules[way].lost = True

    def delay(self, seconds: float, *ways: Way) -> None:
        """Pass bytes on so much later, in order."""
        for way in ways or Way:
            self._rules[way].delay_s = seconds

    def reset(self) -> None:
        """End all connections at once; new ones may come."""
        for client, server in self._connections:
            _reset(client)
            _reset(server)

    def refuse(self) -> None:
        """End all connections and take no new ones."""
        self._stop_listening()
        self.reset()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A coroutine here would be a task of asyncio's, which complains of those that are cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also of one that was cancelled before it began

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await self._connect()
        except OSError:
            _reset(writer)
            return
        pair = (writer, server[1])
        self._connections.add(pair)
        try:
            await _first(self._pass(Way.UP, reader, server[1]), self._pass(Way.DOWN, server[0], writer))
        finally:
            for end in pair:
                end.close()
            with contextlib.suppress(OSError):
                await asyncio.gather(*(end.wait_closed() for end in pair))
            self._connections.discard(pair)

    async def _pass(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side ends the connection."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
        await _first(self._take(way, reader, chunks), self._give(way, chunks, writer))

    async def _take(self, way: Way, reader: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop, rule = asyncio.get_running_loop(), self._rules[way]
        chunk = b"first"
        while chunk:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                chunk = b""
            await chunks.put((loop.time() + rule.delay_s, chunk))
        await asyncio.Event().wait()  # the end of the connection is passed on in its turn

    async def _give(self, way: Way, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop, rule = asyncio.get_running_loop(), self._rules[way]
        with contextlib.suppress(OSError):
            while True:
                due, chunk = await chunks.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await rule.open.wait()
                if not chunk:
                    return
                if not rule.lost:
                    writer.write(chunk)
                    await writer.drain()


async def _first(*work: Awaitable[None]) -> None:
    """Until one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    own: socket.socket | None = writer.get_extra_info("socket")
    if own is not None and own.family != socket.AF_UNIX and own.fileno() >= 0:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    writer.transport.abort()
