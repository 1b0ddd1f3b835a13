"""A server as scorer, with a real one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from treeroll.scorers import registry
from treeroll.scorers.base import ErrorKind, ScoreItem, ScoreRequest
from treeroll.scorers.inline import InlineScorers

ITEM = ScoreItem("1+2?", "It is 3.", "3", {"level": 2})


ANSWERS = {
    "/sure": "0.75",
    "/object": '{"score": 1}',
    "/true": "true",
    "/text": "no idea",
    "/null": "null",
    "/abstains": '{"score": null}',
    "/nothing": "{}",
}


class Judge(BaseHTTPRequestHandler):
    """Answers with what the path says: /sure a number, /score an object, anything else as it is."""

    asked: ClassVar[list[dict[str, object]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(body))
        answer = ANSWERS.get(self.path)
        self.send_response(200 if answer else 503)
        self.end_headers()
        self.wfile.write((answer or "").encode())

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "score"), [("/sure", 0.75), ("/object", 1.0), ("/null", None), ("/abstains", None)])
def test_the_score_is_what_the_server_answers(url: str, path: str, score: float | None) -> None:
    Judge.asked.clear()
    assert registry.build(url + path).score(ITEM) == score
    assert Judge.asked == [{"prompt": "1+2?", "completion": "It is 3.", "answer": "3", "extra": {"level": 2}}]


@pytest.mark.parametrize("through", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_server_on_this_machine_is_asked_without_a_proxy(
    url: str, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(through, "http://127.0.0.1:9")
    assert registry.build(url + "/sure").score(ITEM) == 0.75


def test_a_server_elsewhere_is_asked_through_the_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", url)  # which gets the whole URL as path, and answers 503
    with pytest.raises(ValueError, match=r"http://scorer\.example/sure answers 503"):
        registry.build("http://scorer.example/sure").score(ITEM)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/true", "neither a number"),
        ("/text", "JSONDecodeError"),
        ("/nothing", "neither a number"),
        ("/away", "answers 503"),
    ],
)
async def test_any_other_answer_is_an_error_of_the_item(url: str, path: str, said: str) -> None:
    [result] = await InlineScorers().score([ScoreRequest("k", url + path, ITEM)])
    assert result.value is None
    assert said in result.error
    assert result.kind is ErrorKind.RAISED


async def test_nobody_at_the_url_is_an_error_of_the_item() -> None:
    [result] = await InlineScorers().score([ScoreRequest("k", "http://127.0.0.1:1/score", ITEM)])
    assert (result.value, result.kind) == (None, ErrorKind.RAISED)
    assert "refused" in result.error
