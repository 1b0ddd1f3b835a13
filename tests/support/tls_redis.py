"""A Redis that is reached by TLS: `python -m tests.support.tls_redis HOST PORT PASSWORD CERTS DIRECTORY`.

The bundled server has no TLS; a proxy in front of it has, as stunnel or a cloud's load balancer would.
"""

import asyncio
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from redis import Redis

from treeroll.store.embedded import EmbeddedRedis


@asynccontextmanager
async def tls_in_front_of(server: EmbeddedRedis, certs: Path, host: str, port: int = 0) -> AsyncIterator[int]:
    """The port of a proxy that takes TLS off."""
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(certs / "server.pem", certs / "server.key")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(unquote(urlsplit(server.url).path))
        passing = [asyncio.create_task(one) for one in (passed(reader, outer), passed(inner, writer))]
        tasks.update(passing)
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        for end in (outer, writer):
            end.close()

    async def passed(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()

    listening = await asyncio.start_server(serve, host, port, ssl=shown)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def main(host: str, port: str, password: str, certs: str, directory: str) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    with EmbeddedRedis(directory) as server:
        with Redis.from_url(server.url) as redis:
            redis.config_set("requirepass", password)
        async with tls_in_front_of(server, Path(certs), host, int(port)) as listens:
            print(f"listens at {host}:{listens}", flush=True)
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
