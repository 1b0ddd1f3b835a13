"""Poller: one process reads a store once a second, however many look at it; they are served from memory."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from treeroll.dashboard.happenings import Happenings
from treeroll.dashboard.sources.store_reader import StoreReader
from treeroll.errors import StoreError
from treeroll.pb.v1.watch_pb2 import Snapshot
from treeroll.watch.view import StoreLook, View

EVERY_S = 1.0
# Redis is asked how it is itself every so many turns.
STORE_TURNS = 5
# Points that are kept: of a quarter of an hour.
KEPT = 900
# How long an answer of the store is waited for by who asks for a page.
ANSWER_S = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """What is known now."""

    turn: int = 0
    latest: Snapshot | None = None
    points: tuple[Snapshot, ...] = ()
    at: float = 0.0
    """When it was read, by the clock of this machine."""
    silent_s: float = float("inf")
    """Since the latest snapshot came; from its own time on until a second one has come, as clocks may differ."""
    error: str = ""
    """Why the store does not answer."""
    info: dict[str, str] = field(default_factory=dict)
    keys: int = 0

    def view(self) -> View:
        """For verdicts. Time is the coordinator's: its last snapshot's, and how long there was none after it."""
        now = self.at if self.latest is None else self.latest.at + self.silent_s
        evicted = int(self.info.get("evicted_keys", "0"))
        return View(now, self.latest, self.points, StoreLook(self.error, evicted))


class Poller:
    """Reads in a thread with an event loop of its own, from `start` to `stop`."""

    def __init__(self, reader: StoreReader) -> None:
        self.reader = reader
        self.look = Look()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="dashboard-poller", daemon=True)
        self.happenings = Happenings()
        self._after = ""
        self._points: deque[Snapshot] = deque(maxlen=KEPT)
        self._came: float | None = None  # monotonic, of the latest snapshot; None until it has changed once

    def start(self) -> None:
        """Begin, and wait for the first look."""
        self._thread.start()
        self.ask(self._turn())
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._go_on()))

    def stop(self) -> None:
        """End."""
        with contextlib.suppress(Exception):
            self.ask(self.reader.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of something that reads, from another thread. StoreError."""
        answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return answer.result(ANSWER_S)
        except TimeoutError:
            answer.cancel()
            raise StoreError(
                f"{self.reader.address} is slow: no answer within {ANSWER_S:.0f} s; try again, and look at what else "
                "asks it for much"
            ) from None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._turn()

    async def _turn(self) -> None:
        before = self.look
        turn, info, keys = before.turn + 1, before.info, before.keys
        try:
            raw = await self.reader.snapshot()
            latest = None if raw is None else Snapshot.FromString(raw)
            await self._read_points(latest)
            await self._read_happenings()
            if turn % STORE_TURNS == 1:
                info, keys = await self.reader.info(), await self.reader.size()
        except StoreError as error:
            self.look = Look(
                turn, before.latest, before.points, time.time(), self._silent(before.latest), str(error), info, keys
            )
            return
        if latest is not None and before.latest is not None and latest != before.latest:
            self._came = time.monotonic()
        points = tuple(point for point in self._points if latest is not None and point.at < latest.at)
        self.look = Look(turn, latest, points, time.time(), self._silent(latest), "", info, keys)

    async def _read_points(self, latest: Snapshot | None) -> None:
        if not self._after and latest is not None:
            self._after = f"{max(0, int(1000 * (latest.at - KEPT)))}-0"
        while page := await self.reader.points(self._after):
            self._after = page[-1][0]
            self._points += [Snapshot.FromString(point) for _, point in page]

    async def _read_happenings(self) -> None:
        if await self.reader.log_end("happenings") < self.happenings.place:
            self.happenings.began_anew()
        while page := await self.reader.log("happenings", self.happenings.place):
            self.happenings.take(page)

    def _silent(self, latest: Snapshot | None) -> float:
        if latest is None:
            return float("inf")
        if self._came is None:
            return max(0.0, time.time() - latest.at)
        return time.monotonic() - self._came
