"""Who is let in, by every route there is; and what answers let a browser do."""

import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.testclient import TestClient
from tests.dashboard.conftest import PORT, TOKEN
from tests.support.access import Credentials

from treeroll.access.config import AccessConfig
from treeroll.access.tls import web_context
from treeroll.dashboard.app import application
from treeroll.dashboard.guard import HEADERS, Door, Guard
from treeroll.dashboard.server import listen, server
from treeroll.dashboard.sources.results import ResultSource
from treeroll.errors import InvalidInput

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


@pytest.mark.parametrize("given", [{}, {"tls": True, "tokens": False}, {"tls": False}])
def test_beyond_loopback_it_does_not_listen_without_tls_and_tokens(tmp_path: Path, given: dict[str, bool]) -> None:
    credentials = Credentials(tmp_path)
    credentials.token("viewer", "eve")
    access = credentials.config(**given) if given else AccessConfig()
    with pytest.raises(InvalidInput, match=r"dashboard\.host is 192\.0\.2\.1, and without"):
        Door.new("192.0.2.1", PORT, access)
    with pytest.raises(InvalidInput, match=r"--no-auth is for loopback"):
        Door.new("192.0.2.1", PORT, credentials.config(tls=True), auth=False)


def test_with_a_services_tokens_those_who_may_look_at_all_its_runs_are_let_in(
    source: ResultSource, tmp_path: Path
) -> None:
    credentials = Credentials(tmp_path)
    viewer, operator = credentials.token("viewer", "eve"), credentials.token("operator", "otto")
    client, own = credentials.token("client", "trainer"), credentials.token("viewer", "guest", "runs=guest-")
    door = Door.new("192.0.2.1", PORT, credentials.config(tls=True))
    assert door.url == f"https://192.0.2.1:{PORT}/"  # a token of the file is nobody's to print
    with TestClient(application(source, door), base_url="https://dashboard.example") as asked:
        said = {token: asked.get("/api/1/about", headers={"authorization": f"Bearer {token}"}) for token in (
            viewer, operator, client, own, "treeroll_none", ""
        )}  # fmt: skip
        assert [answer.status_code for answer in said.values()] == [200, 200, 403, 403, 401, 401]
        assert "is not for looking at all runs" in said[client].json()["error"]
        headers = {"authorization": f"Bearer {viewer}"}
        assert asked.get("/api/1/about", headers={**headers, "origin": "https://evil.example"}).status_code == 403
        assert asked.get("/api/1/about", headers={**headers, "origin": "https://dashboard.example"}).status_code == 200


def test_tls_is_that_of_the_files_also_after_they_were_exchanged(source: ResultSource, tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    token = credentials.token("viewer", "eve")
    access = credentials.config(tls=True)
    assert access.certificate is not None
    assert access.key is not None
    listener = listen("127.0.0.1", 0)
    door = Door.new("127.0.0.1", listener.getsockname()[1], access)
    running = server(source, door, web_context(access.certificate, access.key))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()

    def shown() -> str:
        asked = Request(f"{door.url}api/1/about", headers={"authorization": f"Bearer {token}"})  # noqa: S310 - ours
        with urlopen(asked, context=ssl.create_default_context(cafile=credentials.ca)) as answer:  # noqa: S310
            assert answer.status == 200
        return ssl.get_server_certificate(("127.0.0.1", door.port))

    try:
        first = shown()
        credentials.certificate("127.0.0.1", "another.example")
        assert shown() != first
    finally:
        running.should_exit = True
        thread.join()


def test_every_start_has_a_token_of_its_own_in_the_fragment() -> None:
    first, second = Door.new("127.0.0.1", 1), Door.new("127.0.0.1", 1)
    assert first.token != second.token
    assert first.url == f"http://127.0.0.1:1/#token={first.token}"
    assert Door.new("127.0.0.1", 1, auth=False).url == "http://127.0.0.1:1/"
