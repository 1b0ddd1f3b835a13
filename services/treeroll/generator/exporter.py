"""A replica's own metrics over HTTP, in a thread: a scrape neither waits for the engine's loop nor holds it up."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from treeroll import web
from treeroll.access.tls import web_context
from treeroll.access.tokens import Tokens
from treeroll.access.viewers import refused_viewer
from treeroll.addresses import is_loopback, join
from treeroll.generator.exporter_config import ExporterConfig
from treeroll.metrics.metric import CONTENT_TYPE
from treeroll.metrics.render import render_replica
from treeroll.metrics.replica import ReplicaSeen

PATH = "/metrics"
# How long a scrape that is under way may hold up a replica's end, seconds.
END_S = 2.0


@contextmanager
def exporting(config: ExporterConfig, look: Callable[[], ReplicaSeen], *, with_process: bool) -> Iterator[str]:
    """Answer Prometheus from here on. Gives the URL, "" where no port is set.

    `look` is called in another thread. `with_process`: also what is in this process's registry of prometheus_client,
    where vLLM has its own metrics. InvalidInput if the port or a file cannot be had.
    """
    if config.port is None:
        yield ""
        return
    tokens = Tokens(config.tokens) if config.tokens is not None else None
    secured = config.certificate is not None and config.key is not None
    tls = web_context(config.certificate, config.key) if config.certificate and config.key else None
    listener = web.listen(config.host, config.port, what="a replica", setting="generator.metrics.port")

    def scrape(request: Request) -> Response:
        if tokens and (refused := refused_viewer(tokens, request.headers.get("authorization", ""), "this replica")):
            return PlainTextResponse(refused[1], refused[0])
        text = render_replica(look()) + (generate_latest(REGISTRY) if with_process else b"")
        return Response(text, media_type=CONTENT_TYPE, headers={"cache-control": "no-store"})

    server = web.server(Starlette(routes=[Route(PATH, scrape)]), tls)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="metrics", daemon=True)
    thread.start()
    try:
        host = config.host if is_loopback(config.host) else socket.gethostname()
        yield f"{'https' if secured else 'http'}://{join(host, listener.getsockname()[1])}{PATH}"
    finally:
        server.should_exit = True
        thread.join(END_S)
        listener.close()
