"""One request inside the simulated engine: its tokens so far, and where its output goes."""

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from treeroll.generator.engine import Delta, EngineRequest, Finish, VersionSpan
from treeroll.generator.simulated_cache import Holding
from treeroll.generator.simulated_text import Piece

# Logprobs of text that follows from what is before it: certain, but never exactly.
_FORCED = [-0.001 * (1 + 7 * i % 31) for i in range(64)]


class SimulatedRequest:
    """State of one request. The engine's loop calls `decode`; the caller's iterator reads `outputs`."""

    def __init__(self, request: EngineRequest, ids_of: dict[str, int], order: int, salt: str, began: int) -> None:
        """`salt` is of its KV, `began` the version of the weights that it begins with. Needs `follow`."""
        self.request = request
        self.salt = salt
        self.began = began
        self.ids = array("i", request.prefix_ids)
        self.order = order
        self.holding: Holding | None = None
        self.cached_tokens: int | None = None
        self.outputs: deque[Delta | Exception] = deque()
        self.ready = asyncio.Event()
        self.finished = False
        self._pieces: Iterator[Piece] = iter(())
        self._sureness = 1.0
        self._ids_of = ids_of
        self._buffer: deque[tuple[int, float]] = deque()
        self._first = True
        self._written = len(self.ids)  # position of the next token to be buffered
        self._may_end_after = len(self.ids) + request.sampling.min_tokens

    @property
    def rank(self) -> tuple[int, int]:
        """Lower is served first and preempted last."""
        return self.request.priority, self.order

    def follow(self, pieces: Iterator[Piece], sureness: float) -> None:
        """From here on, text from these pieces, and logprobs that are so many times as large as theirs."""
        self._pieces, self._sureness = pieces, sureness
        self._buffer.clear()
        self._written = len(self.ids)

    def decode(self, steps: int, label: Callable[[int], VersionSpan]) -> int:
        """Produce up to `steps` tokens as one delta, in one span. Returns how many."""
        room = self.request.max_total - len(self.ids)
        ids: list[int] = []
        logprobs: list[float] = []
        while len(ids) < min(steps, room):
            if not self._buffer:
                self._fill()
            token, logprob = self._buffer.popleft()
            ids.append(token)
            logprobs.append(logprob)
            if token in self.request.sampling.stop_token_ids and len(self.ids) + len(ids) > self._may_end_after:
                self._put(ids, logprobs, "eos", [label(len(ids))])
                return len(ids)
        self._put(ids, logprobs, "length" if len(ids) == room else None, [label(len(ids))])
        return len(ids)

    def abort(self) -> None:
        """Finish now; everything decoded has been handed over already."""
        if not self.finished:
            self._put([], [], "abort", [])

    def fail(self, error: Exception) -> None:
        """Let the caller's iterator raise."""
        self.finished = True
        self.outputs.append(error)
        self.ready.set()

    def _fill(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            stop = self.request.sampling.stop_token_ids
            # Without a stop id, or too early for one, the text can only go on: new lines until then.
            may_end = stop and self._written >= self._may_end_after
            self._written += 1
            self._buffer.append((stop[0] if may_end else self._ids_of["\n"], -0.01 * self._sureness))
            return
        for letter in piece.text:
            forced = _FORCED[self._written % len(_FORCED)]
            self._written += 1
            logprob = forced if piece.logprob is None else piece.logprob
            self._buffer.append((self._ids_of[letter], logprob * self._sureness))

    def _put(self, ids: list[int], logprobs: list[float], finish: Finish | None, spans: Sequence[VersionSpan]) -> None:
        self.ids.extend(ids)
        entropies = None
        if self.request.sampling.top_logprobs > 0:
            entropies = [min(2.3, -3.0 * logprob) for logprob in logprobs]
        cached = self.cached_tokens if self._first else None
        self._first = False
        self.finished = finish is not None
        self.outputs.append(Delta(ids, logprobs, spans, entropies, cached, finish))
        self.ready.set()
