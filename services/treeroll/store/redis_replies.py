"""Replies of a Redis connection, parsed as they leave the socket.

redis-py reads through an asyncio.StreamReader, which copies every reply twice and stops the socket whenever 128 KiB
wait; trees come in replies of megabytes.
"""

import asyncio
from collections.abc import Iterator
from typing import cast

import hiredis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError

_BUFFER_BYTES = 256 << 10


class Inlet(asyncio.BufferedProtocol):
    """Takes the place of a stream's protocol: what arrives goes to a hiredis reader, all other events to the stream."""

    def __init__(self, reader: hiredis.Reader, writer: asyncio.StreamWriter) -> None:
        """Take the replies over: the stream's own reader gets none of them."""
        transport = cast(asyncio.Transport, writer.transport)
        self._reader = reader
        self._stream = cast(asyncio.Protocol, transport.get_protocol())
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))  # asyncio's TLS takes slices of it to write to
        self._waiter: asyncio.Future[None] | None = None
        self.ended = False
        """Nothing more will come."""
        transport.pause_reading()  # event loops look at the kind of protocol when they start to read
        transport.set_protocol(self)
        transport.resume_reading()

    async def more(self) -> None:
        """Wait until the reader was fed. ConnectionError at the end of the connection."""
        if self.ended:
            raise ConnectionError("Connection closed by server.")
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.feed(self._buffer, 0, nbytes)
        self._wake()

    def eof_received(self) -> bool | None:
        self._end()
        return self._stream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()

    def _end(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class DirectParser(DefaultParser):  # type: ignore[misc, valid-type]
    """redis-py's parser on an Inlet."""

    def on_connect(self, connection: AbstractConnection) -> None:
        super().on_connect(connection)
        self._inlet = Inlet(self._reader, cast(asyncio.StreamWriter, connection._writer))  # noqa: SLF001

    async def can_read(self) -> bool:
        """Whether there is an answer that nobody waits for, or the connection has ended: not to be used then."""
        return bool(self._reader.has_data() or self._inlet.ended)

    async def read_from_socket(self) -> bool:
        await self._inlet.more()
        return True


def pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The fields and values of a hash, which Redis gives in turn."""
    return zip(flat[::2], flat[1::2], strict=True)
