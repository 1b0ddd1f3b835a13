"""A directory of real results, the dashboard on it, and a browser that looks at it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from tests.support.rollouts import grown_trees

from treeroll.dashboard.app import application
from treeroll.dashboard.guard import Door
from treeroll.dashboard.server import listen, server
from treeroll.dashboard.sources.base import Source
from treeroll.dashboard.sources.results import ResultSource
from treeroll.results.directory import ResultDir
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session

TOKEN = "a-token-of-tests"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
PORT = 7071
# Ends a test that hangs, and says nothing of how fast pages are: milliseconds.
PATIENCE_MS = 300_000


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six trees in two parts, as a rollout writes them on its way."""
    path = tmp_path_factory.mktemp("results")
    trees = grown_trees()
    writer = PartWriter(ResultDir(path), 0)
    writer.write(trees[:4], Session("run", wall_s=1.5, replicas=1))
    writer.write(trees[4:], Session("run", wall_s=2.5, replicas=1))
    return path


@pytest.fixture(scope="session")
def source(results: Path) -> ResultSource:
    return ResultSource(results)


@pytest.fixture
def client(source: ResultSource) -> Iterator[TestClient]:
    """Asks as a page does, with the token."""
    yield from asking(source)


def asking(source: Source) -> Iterator[TestClient]:
    app = application(source, Door("127.0.0.1", PORT, TOKEN))
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}", headers=HEADERS, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def served(source: Source) -> Iterator[str]:
    """The dashboard at a port of its own; yields the address that a person opens."""
    listener = listen("127.0.0.1", 0)
    door = Door("127.0.0.1", listener.getsockname()[1], TOKEN)
    running = server(source, door)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield door.url
    finally:
        running.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser. Without one these tests fail: they are not to be passed over.

    Of one module, since Playwright's event loop runs for as long, and asynchronous tests have loops of their own.
    """
    from playwright.sync_api import expect, sync_playwright

    place = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    assert Path(place).exists(), f"there is no browser at {place}: apt-get install chromium, or name one with CHROMIUM"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield browser
        browser.close()


def rewritten(path: Path, column: str, value: Any) -> None:
    """Write a column of a Parquet file anew: `value(row index)` for every row."""
    with pq.ParquetFile(path) as file:
        table = file.read()
    made = pa.array([value(i) for i in range(table.num_rows)], table.schema.field(column).type)
    pq.write_table(table.set_column(table.schema.get_field_index(column), table.schema.field(column), made), path)
