"""Serving the dashboard until a signal."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from treeroll.dashboard.app import application
from treeroll.dashboard.guard import Door
from treeroll.dashboard.sources.base import Source
from treeroll.errors import InvalidInput


def serve(source: Source, host: str, port: int, *, auth: bool = True, ready: Callable[[str], None]) -> None:
    """Listen, tell `ready` the address to open, and serve until SIGINT or SIGTERM. InvalidInput if that cannot be."""
    listener = listen(host, port)
    try:
        door = Door.new(host, listener.getsockname()[1], auth=auth)
    except ValueError as error:
        listener.close()
        raise InvalidInput(str(error)) from None
    ready(door.url)
    asyncio.run(server(source, door).serve(sockets=[listener]))


def server(source: Source, door: Door) -> uvicorn.Server:
    """The server, not running."""
    config = uvicorn.Config(
        application(source, door),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,  # streams of live pages never end by themselves
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. InvalidInput if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InvalidInput(
            f"the dashboard cannot listen at {host}:{port} ({error.strerror}); give another --port"
        ) from None
    return listener
