"""Calls that are being answered, by who made them: how many there may be, and how they end when their token does."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from treeroll import clock
from treeroll.access.token_file import TokenLine
from treeroll.errors import NotAuthenticated, TooManyCalls

# How often it is asked whether tokens of calls under way are in force, seconds.
LOOK_S = 1.0
WAITING = frozenset({"LeaseTrees", "LeaseBatch", "CollectTrees"})
"""What may wait for trees by design."""
SESSION = "Session"


@dataclass(slots=True)
class _Rate:
    """Calls of one name: as many as a second allows may come at once."""

    left: float
    at: float


@dataclass(eq=False, slots=True)
class _Call:
    """One call."""

    token: TokenLine
    task: "asyncio.Task[object]"
    over: str = ""
    """Why its token is in force no more."""


class CallsUnderWay:
    """All calls that a service answers, and its limits on them. Belongs to the event loop."""

    def __init__(self, most: int, most_per_s: int, why_over: Callable[[TokenLine], str]) -> None:
        """`most`: of one name at once, three quarters of them waiting for trees, so that it can still acknowledge what
        it has; sessions of replicas do not count. `most_per_s`: begun. `why_over` says why a token is in force no more,
        "" while it is."""
        self._most, self._most_waiting, self._per_s = most, max(1, most - most // 4), most_per_s
        self._why_over = why_over
        self._counts: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._rates: dict[str, _Rate] = {}
        self._calls: set[_Call] = set()
        self._looks = False

    @contextmanager
    def one(self, token: TokenLine, method: str) -> Iterator[None]:
        """A call while it is answered, in the task that does that. TooManyCalls if there may be no more; when its token
        is in force no more the task is cancelled, and that turns into NotAuthenticated."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("calls are answered in tasks")
        name, waits, counts = token.identity.name, method in WAITING, method != SESSION
        self._check(name, waits)
        call = _Call(token, task)
        self._calls.add(call)
        self._counts[name] += counts
        self._waiting[name] += waits
        self._keep_looking()
        try:
            yield
        except asyncio.CancelledError:
            if not call.over:
                raise
            task.uncancel()
            raise NotAuthenticated(call.over) from None
        finally:
            self._calls.discard(call)
            self._counts[name] -= counts
            self._waiting[name] -= waits

    def _check(self, name: str, waits: bool) -> None:
        if self._counts[name] >= self._most:
            raise TooManyCalls(
                f"'{name}' has {self._most} calls under way, and may have no more; see access.calls of the service"
            )
        if waits and self._waiting[name] >= self._most_waiting:
            raise TooManyCalls(
                f"'{name}' has {self._most_waiting} calls that wait for trees, and may have no more; see access.calls "
                "of the service"
            )
        now = clock.monotonic()
        rate = self._rates.setdefault(name, _Rate(self._per_s, now))
        rate.left, rate.at = min(self._per_s, rate.left + (now - rate.at) * self._per_s), now
        if rate.left < 1:
            raise TooManyCalls(
                f"'{name}' makes more than {self._per_s} calls a second; see access.calls_per_s of the service"
            )
        rate.left -= 1

    def _keep_looking(self) -> None:
        """Nobody looks while nothing is under way."""
        if self._calls and not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._looks = False
        for call in self._calls:
            if not call.over and (why := self._why_over(call.token)):
                call.over = why
                call.task.cancel()
        self._keep_looking()
