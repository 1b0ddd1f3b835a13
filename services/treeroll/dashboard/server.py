"""Serving the dashboard until a signal, or until the process that started it is gone."""

import asyncio
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable

import uvicorn

from treeroll import web
from treeroll.access.config import AccessConfig
from treeroll.access.tls import web_context
from treeroll.config import DashboardConfig
from treeroll.dashboard.app import application
from treeroll.dashboard.guard import Door
from treeroll.dashboard.sources.base import Source
from treeroll.errors import InvalidInput

PORT = 7071
# How long one whose owner is gone may take to end.
ORPHAN_S = 5.0


def serve(
    source: Source,
    place: DashboardConfig,
    access: AccessConfig,
    *,
    auth: bool = True,
    lifeline: bool = False,
    ready: Callable[[str], None],
) -> None:
    """Listen, tell `ready` the address to open, and serve until SIGINT, SIGTERM or, with `lifeline`, the end of
    standard input. InvalidInput if that cannot be."""
    # What is off beside a service was asked for by hand here.
    listener = listen(place.host, None if place.port == "off" else place.port)
    try:
        door = Door.new(place.host, listener.getsockname()[1], access, auth=auth)
        tls = web_context(access.certificate, access.key) if access.certificate and access.key else None
    except InvalidInput:
        listener.close()
        raise
    running = server(source, door, tls)
    if lifeline:
        threading.Thread(target=_end_with_stdin, args=(running,), daemon=True).start()
    ready(door.url)
    asyncio.run(running.serve(sockets=[listener]))


def server(source: Source, door: Door, tls: ssl.SSLContext | None = None) -> uvicorn.Server:
    """The server, not running."""
    return web.server(application(source, door), tls)


def listen(host: str, port: int | None) -> socket.socket:
    """A listening socket. Port 0 takes a free one; None 7071, or a free one if that is taken. InvalidInput if the
    address cannot be had."""
    return web.listen(host, *((PORT, 0) if port is None else (port,)), what="the dashboard", setting="--port")


def _end_with_stdin(running: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    running.should_exit = True
    timer = threading.Timer(ORPHAN_S, os._exit, (1,))
    timer.daemon = True
    timer.start()
