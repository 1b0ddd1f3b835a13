"""A server that scores: a process reward model, or a judge."""

import json
from typing import Any
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

from treeroll.addresses import is_loopback
from treeroll.scorers.base import ScoreItem
from treeroll.scorers.rules import origin_of

# A server that sends no end of its answer is cut by the item's timeout; this is for one that sends too much of it.
MAX_ANSWER_BYTES = 1 << 20


class _NoRedirects(request.HTTPRedirectHandler):
    """Who may ask one server may not be sent to another."""

    def redirect_request(self, *_: Any) -> None:
        """No request follows."""


class HttpScorer:
    """Posts one JSON object per item, `{"prompt", "completion", "answer", "extra"}`, to a URL.

    The answer is a JSON number, or an object with the number as `score`; null instead of a number abstains. Any status
    but 200 is an error of the item, also one that points elsewhere. What else it says is told to nobody: whoever names
    a server must not read through us what it answers. One connection per item; the item's timeout is the pool's.
    Proxies of the environment are for servers elsewhere, not for one on this machine.
    """

    version = 1

    def __init__(self, url: str) -> None:
        """InvalidInput if it is no URL of a server. Nobody is asked."""
        origin_of(url)
        self.name = url
        self._url = url
        proxies = request.ProxyHandler({} if is_loopback(urlsplit(url).hostname or "") else None)
        self._opener = request.build_opener(proxies, _NoRedirects)

    def score(self, item: ScoreItem) -> float | None:
        """The server's number, None if it abstains. ValueError for another answer, OSError if there is no answer."""
        asked = {"prompt": item.prompt, "completion": item.completion, "answer": item.answer, "extra": item.extra}
        post = request.Request(  # noqa: S310 - the scheme was checked
            self._url, json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(post) as reply:
                return _number(json.loads(reply.read(MAX_ANSWER_BYTES)))
        except HTTPError as error:
            error.close()
            raise ValueError(f"{self._url} answers {error.code}") from None


def _number(answer: Any) -> float | None:
    score = answer["score"] if isinstance(answer, dict) and "score" in answer else answer
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ValueError("the server's answer is neither a number nor an object with a 'score'")
    return float(score)
