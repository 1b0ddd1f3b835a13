"""The HTTP application: /api/1/ on a source, and the static pages. docs/dashboard.md describes the API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from treeroll.dashboard.decisions import DecisionQuery
from treeroll.dashboard.downloads import TYPES, download, finite
from treeroll.dashboard.guard import Door, Guard
from treeroll.dashboard.happenings import HappeningQuery
from treeroll.dashboard.query import TaskQuery, TreeQuery
from treeroll.dashboard.shape import CHUNK
from treeroll.dashboard.sources.base import MOST_NODES, Source
from treeroll.dashboard.stream import Stream
from treeroll.errors import (
    CallerError,
    InvalidInput,
    StoreError,
    TreerollError,
    Unavailable,
    UnknownNode,
    UnknownRun,
    UnknownTree,
)
from treeroll.metrics.metric import CONTENT_TYPE

STATIC = Path(__file__).parent / "static"
# Every page is the same file: its script reads the address.
PAGES = (
    "/",
    "/overview",
    "/replicas",
    "/runs",
    "/runs/{run_id}",
    "/trees",
    "/trees/{tree_id}",
    "/feed",
    "/store",
    "/events",
    "/about",
)

# Runs of one answer, unless another number is asked for.
RUNS = 100
MOST_RUNS = 1000

_STATUS: dict[type[Exception], int] = {
    UnknownRun: 404,
    UnknownTree: 404,
    UnknownNode: 404,
    CallerError: 400,
    Unavailable: 503,
    StoreError: 503,
}


class Api:
    """The answers under /api/1/. Starlette calls plain functions in threads, so a source may block."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stream = Stream(self._now)

    def about(self, request: Request) -> Response:
        """What the source is."""
        return self._answer(self._source.about())

    def runs(self, request: Request) -> Response:
        """A page of runs, newest first."""
        found = self._source.runs()[::-1]
        wanted = request.query_params.get("q", "")
        matching = [run for run in found if wanted in run["run_id"]]
        skip, limit = _integer(request, "skip", 0), _integer(request, "limit", RUNS)
        if skip < 0 or not 0 < limit <= MOST_RUNS:
            raise InvalidInput(f"skip must not be negative, and limit from 1 to {MOST_RUNS}")
        items = matching[skip : skip + limit]
        return self._answer({"items": items, "matching": len(matching), "total": len(found)})

    def run(self, request: Request) -> Response:
        """One run."""
        return self._answer(self._source.run(request.path_params["run_id"]))

    def tasks(self, request: Request) -> Response:
        """A page of a run's tasks."""
        query = TaskQuery.parse(request.path_params["run_id"], dict(request.query_params))
        return self._answer(self._source.tasks(query))

    def trees(self, request: Request) -> Response:
        """A page of trees."""
        return self._answer(self._source.trees(TreeQuery.parse(dict(request.query_params))))

    def tree(self, request: Request) -> Response:
        """A tree's header."""
        return self._answer(self._source.tree(request.path_params["tree_id"]))

    def shape(self, request: Request) -> Response:
        """Its nodes as columns, from one on."""
        first, most = _integer(request, "from", 0), _integer(request, "most", CHUNK)
        if first < 0 or not 0 < most <= CHUNK:
            raise InvalidInput(f"from must not be negative, and most is from 1 to {CHUNK}")
        shape = self._source.shape(request.path_params["tree_id"])
        return Response(
            shape.encoded(first, most),
            media_type="application/octet-stream",
            headers={"x-total-nodes": str(shape.nodes), "cache-control": "no-store"},
        )

    def export(self, request: Request) -> Response:
        """A tree as a file."""
        tree_id = request.path_params["tree_id"]
        name = "".join(character for character in tree_id[:16] if character.isascii() and character.isalnum())
        headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="tree-{name}.jsonl"'}
        return StreamingResponse(self._source.export(tree_id), media_type="application/jsonl", headers=headers)

    def nodes(self, request: Request) -> Response:
        """Some nodes with their texts."""
        numbers = _integers(request, "numbers")
        if not 0 < len(numbers) <= MOST_NODES:
            raise InvalidInput(f"numbers must name 1 to {MOST_NODES} nodes, joined by commas")
        return self._answer(
            {"items": self._source.nodes(request.path_params["tree_id"], numbers, whole=_flag(request, "whole"))}
        )

    def find(self, request: Request) -> Response:
        """Where in a tree a text is."""
        wanted = request.query_params.get("q", "")
        return self._answer(self._source.find(request.path_params["tree_id"], wanted))

    def path(self, request: Request) -> Response:
        """The nodes from the root to one."""
        tree_id, number = request.path_params["tree_id"], request.path_params["number"]
        return self._answer({"items": self._source.path(tree_id, number, whole=_flag(request, "whole"))})

    def feed(self, request: Request) -> Response:
        """Runs with their consumer groups."""
        return self._answer(self._source.feed())

    def group(self, request: Request) -> Response:
        """What a group has not acknowledged."""
        return self._answer(self._source.group(request.path_params["run_id"], request.path_params["group"]))

    def store(self, request: Request) -> Response:
        """The store itself."""
        return self._answer(self._source.store())

    def events(self, request: Request) -> Response:
        """A page of what happened."""
        return self._answer(self._source.events(HappeningQuery.parse(dict(request.query_params))))

    def decisions(self, request: Request) -> Response:
        """A page of what was decided of trees."""
        return self._answer(self._source.decisions(DecisionQuery.parse(dict(request.query_params))))

    def history(self, request: Request) -> Response:
        """The last quarter of an hour, a value a second."""
        return self._answer(self._source.history())

    def metrics(self, request: Request) -> Response:
        """The service, as Prometheus scrapes it."""
        return Response(self._source.metrics(), media_type=CONTENT_TYPE, headers={"cache-control": "no-store"})

    def targets(self, request: Request) -> Response:
        """Replicas with metrics of their own, as Prometheus' HTTP service discovery reads them."""
        return JSONResponse(self._source.targets(), headers={"cache-control": "no-store"})

    def download(self, request: Request) -> Response:
        """All of a list as a file."""
        name, form = request.path_params["name"], request.path_params["form"]
        parts = download(self._source, name, form, dict(request.query_params))
        headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}.{form}"'}
        return StreamingResponse(parts, media_type=TYPES[form], headers=headers)

    async def live(self, request: Request) -> Response:
        """The state of every second, as server-sent events."""
        await run_in_threadpool(self._source.live)  # what cannot be followed is refused before the stream begins
        events = self._stream.listen()
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})

    def _now(self) -> tuple[int, Any]:
        number, state = self._source.live()
        return number, finite(state)

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        table: dict[str, Callable[[Request], Any]] = {
            "/about": self.about,
            "/live": self.live,
            "/history": self.history,
            "/feed": self.feed,
            "/feed/{run_id}/{group}": self.group,
            "/store": self.store,
            "/events": self.events,
            "/decisions": self.decisions,
            "/metrics": self.metrics,
            "/targets": self.targets,
            "/download/{name}.{form}": self.download,
            "/runs": self.runs,
            "/runs/{run_id}": self.run,
            "/runs/{run_id}/tasks": self.tasks,
            "/trees": self.trees,
            "/trees/{tree_id}": self.tree,
            "/trees/{tree_id}/shape": self.shape,
            "/trees/{tree_id}/export": self.export,
            "/trees/{tree_id}/nodes": self.nodes,
            "/trees/{tree_id}/find": self.find,
            "/trees/{tree_id}/path/{number:int}": self.path,
        }
        return [Route(path, endpoint) for path, endpoint in table.items()]

    def _answer(self, values: dict[str, Any]) -> Response:
        as_of, epoch = self._source.as_of()
        return Answer({"as_of": as_of, "epoch": epoch, **values}, headers={"cache-control": "no-store"})


class Answer(JSONResponse):
    """JSON in which what is no finite number is null: browsers read nothing else."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return super().render(finite(content))


def application(source: Source, door: Door) -> ASGIApp:
    """The whole server."""
    pages: list[BaseRoute] = [Route(path, _page) for path in PAGES]
    app = Starlette(
        routes=[
            Route("/healthz", _health),
            Mount("/api/1", routes=Api(source).routes()),
            Mount("/static", StaticFiles(directory=STATIC)),
            *pages,
        ],
        exception_handlers={TreerollError: _told, 404: _missing, 405: _not_allowed, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return Guard(app, door)


def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html", headers={"cache-control": "no-cache"})


def _health(request: Request) -> Response:
    return JSONResponse({"ok": True})


def _told(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)
    return JSONResponse({"error": str(error), "code": status}, status)


def _missing(request: Request, error: Exception) -> Response:
    """People get a page that says so, with a way on; programs a sentence."""
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(("/api/", "/static/")):
        return FileResponse(STATIC / "index.html", 404, media_type="text/html", headers={"cache-control": "no-cache"})
    return JSONResponse({"error": f"there is nothing at {request.url.path}", "code": 404}, 404)


def _not_allowed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"{request.method} is not for {request.url.path}", "code": 405}, 405)


def _failed(request: Request, error: Exception) -> Response:
    """A bug of ours: the log has the traceback, the reader a sentence."""
    sentence = f"the dashboard failed at this ({type(error).__name__}); its log has more"
    return JSONResponse({"error": sentence, "code": 500}, 500)


def _integer(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise InvalidInput(f"{name} {text!r} is not a whole number") from None


def _integers(request: Request, name: str) -> list[int]:
    text = request.query_params.get(name, "")
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError:
        raise InvalidInput(f"{name} must be whole numbers, joined by commas") from None


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "") in ("1", "true")
