"""Scorers that run code, or ask servers: who may name which, and what comes back of them."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from tests.support.access import Credentials

from treeroll.client import connect_async
from treeroll.config import ScorersConfig
from treeroll.errors import InvalidInput
from treeroll.scorers import registry
from treeroll.scorers.base import Job, ScoreItem, ScoreResult
from treeroll.scorers.pool import ScorerPool
from treeroll.scorers.process import ScorerProcess
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 8, "max_depth": 1}
SECRET = "the internal answer"


class Internal(BaseHTTPRequestHandler):
    """A server that a client cannot reach, and one that points to it."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(*{"/away": (307, "Temporary"), "/fails": (500, SECRET)}.get(self.path, (200, "OK")))
        if self.path == "/away":
            self.send_header("Location", "/secret")
        self.end_headers()
        self.wfile.write(f'"{SECRET}"'.encode() if self.path == "/secret" else b"1")

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


class OneProcess:
    """A worker that is a child of this process."""

    def __init__(self) -> None:
        self._process, self._thread = ScorerProcess(), ThreadPoolExecutor(1)

    async def score(self, jobs: list[Job]) -> list[ScoreResult]:
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(self._thread, self._process.score, job) for job in jobs]

    def close(self) -> None:
        self._thread.submit(self._process.close)
        self._thread.shutdown()


async def one_process() -> OneProcess:
    return OneProcess()


@pytest.fixture
def internal() -> Iterator[str]:
    Internal.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Internal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_clients_with_tokens_name_nothing_that_the_operator_has_not(
    credentials: Credentials, internal: str
) -> None:
    token = credentials.token("client", "alice")
    sys.modules.pop("antigravity", None)
    async with (
        local_service(access=credentials.config()) as service,
        await connect_async(service.address, token=token) as client,
    ):
        for scorer in ("python:venv:create", "python:antigravity:fly", "verifiers:anything", f"{internal}/secret"):
            with pytest.raises(InvalidInput, match="allowed are: none"):
                await client.create_run("run", scorer=scorer, **RUN)
        with pytest.raises(InvalidInput, match="allows 60 at most"):
            await client.create_run("run", scorer="arith", scorer_timeout_s=3600, **RUN)
    assert Internal.asked == []
    assert "antigravity" not in sys.modules


async def test_what_the_operator_names_is_imported_by_a_worker_and_not_by_the_service(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credentials.directory / "their_rewards.py").write_text("def length(prompt, completion, answer, extra): return 1")
    monkeypatch.syspath_prepend(credentials.directory)
    token = credentials.token("client", "alice")
    names = ("this", "their_rewards")
    for name in names:
        sys.modules.pop(name, None)
    pool = ScorerPool(1, one_process)
    await pool.start()
    try:
        async with (
            local_service(
                access=credentials.config(), allowed=ScorersConfig(python_modules=names), scorers=pool
            ) as service,
            await connect_async(service.address, token=token) as client,
        ):
            await client.create_run("good", scorer="python:their_rewards:length", **RUN)
            with pytest.raises(InvalidInput, match="module this has no 'nothing'"):
                await client.create_run("bad", scorer="python:this:nothing", **RUN)
    finally:
        await pool.stop()
    assert not set(names) & set(sys.modules)


@pytest.mark.parametrize(
    ("path", "said"), [("/away", "answers 307"), ("/fails", "answers 500"), ("/secret", "neither")]
)
def test_nothing_that_a_server_says_is_read_back_and_nobody_is_sent_elsewhere(
    path: str, said: str, internal: str
) -> None:
    with pytest.raises(ValueError, match=said) as error:
        registry.build(internal + path).score(ScoreItem("", ""))
    assert SECRET not in str(error.value)
    assert Internal.asked == [path]
