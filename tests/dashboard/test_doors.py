"""Who is let in, by every route there is; and what answers let a browser do."""

import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.testclient import TestClient
from tests.dashboard.conftest import PORT, TOKEN

from treeroll.dashboard.app import application
from treeroll.dashboard.guard import HEADERS, Door, Guard
from treeroll.dashboard.sources.results import ResultSource

OPEN = {"/healthz"}  # says that the process lives, and no more


@pytest.fixture
def app(source: ResultSource) -> Guard:
    guard = application(source, Door("127.0.0.1", PORT, TOKEN))
    assert isinstance(guard, Guard)
    return guard


@pytest.fixture
def stranger(app: Guard) -> Iterator[TestClient]:
    """Without the token."""
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        yield client


def paths(app: Guard) -> list[str]:
    """Every path of every route, with something for its parameters."""
    inner = app._app
    assert isinstance(inner, Starlette)
    return [re.sub(r"\{[^}]*\}", "1", path) for path in walked(inner.routes, "")]


def walked(routes: list[BaseRoute], above: str) -> Iterator[str]:
    for route in routes:
        if isinstance(route, Mount):
            yield from walked(route.routes, above + route.path) if route.routes else [f"{above}{route.path}/app.css"]
        else:
            assert isinstance(route, Route)
            yield above + route.path


def test_all_that_reads_data_asks_for_the_token(app: Guard, stranger: TestClient) -> None:
    reading = [path for path in paths(app) if path.startswith("/api/")]
    assert len(reading) >= 8
    for path in reading:
        for headers in (
            {},
            {"authorization": "Bearer another"},
            {"authorization": TOKEN},
            {"authorization": f"Basic {TOKEN}"},
        ):
            answer = stranger.get(path, headers=headers)
            assert (path, answer.status_code) == (path, 401)
            assert "open the address" in answer.json()["error"]


def test_what_asks_for_no_token_is_the_same_for_all_and_holds_no_data(app: Guard, stranger: TestClient) -> None:
    for path in paths(app):
        if not path.startswith("/api/"):
            answer = stranger.get(path)
            assert (path, answer.status_code) == (path, 200)
            assert path in OPEN or path.startswith("/static/") or answer.text.startswith("<!doctype html>")


FOREIGN = [
    {"host": "evil.example"},
    {"host": f"127.0.0.1.evil.example:{PORT}"},
    {"host": "127.0.0.1:1"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
]


def test_a_foreign_host_or_origin_is_refused_by_every_route(app: Guard, client: TestClient) -> None:
    for path in paths(app):
        for headers in FOREIGN:
            assert client.get(path, headers=headers).status_code == 403


def test_our_own_names_are_let_in(client: TestClient) -> None:
    for host in (f"localhost:{PORT}", f"127.0.0.1:{PORT}", f"[::1]:{PORT}"):
        assert client.get("/api/1/about", headers={"host": host, "origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2E%2E/%2E%2E/cli/main.py", "/%5cstatic"]
)
def test_ways_out_of_a_folder_lead_nowhere(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_nothing_can_be_changed(app: Guard, client: TestClient) -> None:
    for path in paths(app):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert client.request(method, path).status_code == 405


def test_every_answer_ties_the_browsers_hands(app: Guard, client: TestClient, stranger: TestClient) -> None:
    answers = [client.get(path) for path in paths(app)] + [stranger.get("/api/1/about"), client.get("/none")]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
    assert "trusted-types 'none'" in HEADERS["content-security-policy"]
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_beyond_loopback_it_does_not_listen() -> None:
    with pytest.raises(ValueError, match="loopback only"):
        Door.new("192.0.2.1", PORT)


def test_every_start_has_a_token_of_its_own_in_the_fragment() -> None:
    first, second = Door.new("127.0.0.1", 1), Door.new("127.0.0.1", 1)
    assert first.token != second.token
    assert first.url == f"http://127.0.0.1:1/#token={first.token}"
    assert Door.new("127.0.0.1", 1, auth=False).url == "http://127.0.0.1:1/"
