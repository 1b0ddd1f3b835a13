"""Serving HTTP: a listening socket, and a server that is ready to run."""

import socket
import ssl
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from treeroll.errors import InvalidInput


def listen(host: str, *ports: int, what: str, setting: str) -> socket.socket:
    """A socket that listens at the first port that can be had; 0 is any free one. InvalidInput if none can be: `what`
    cannot listen there, and `setting` names another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    wanted, why = 0, ""
    for wanted in ports:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, wanted))
            listener.listen(128)
        except OSError as error:
            listener.close()
            why = error.strerror or str(error)
        else:
            return listener
    raise InvalidInput(f"{what} cannot listen at {host}:{wanted} ({why}); give another {setting}")


def server(app: ASGIApp, tls: ssl.SSLContext | None = None) -> uvicorn.Server:
    """The server, not running."""
    # Its own way to TLS, which would read the files but once.
    secured: dict[str, Any] = {"ssl_context_factory": lambda config, default: tls} if tls is not None else {}
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,  # streams of live pages never end by themselves
        **secured,
    )
    return uvicorn.Server(config)
