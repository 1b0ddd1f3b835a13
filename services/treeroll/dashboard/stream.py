"""Stream: the state of every second for all who listen, worked out and written as JSON once, however many they are."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

log = logging.getLogger(__name__)

# How often it looks for news, seconds.
LOOK_S = 0.25

Live = Callable[[], tuple[int, Any]]
NOTHING = (-1, b"")


class Stream:
    """Server-sent events. Each is whole, so who reads slowly misses some and no more."""

    def __init__(self, live: Live) -> None:
        """`live` may block: the state of now, fit for JSON, and its number, which is another one when there is news."""
        self._live = live
        self._said = NOTHING
        self._news = asyncio.Event()
        self._listeners = 0
        self._watching: asyncio.Task[None] | None = None

    async def listen(self) -> AsyncIterator[bytes]:
        """What there is, and then what comes."""
        self._listeners += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        shown = NOTHING[0]
        try:
            while True:
                news, (number, message) = self._news, self._said
                if number == shown:
                    await news.wait()
                else:
                    shown = number
                    if message:
                        yield message
        finally:
            self._listeners -= 1

    async def _watch(self) -> None:
        while self._listeners:
            try:
                number, state = await run_in_threadpool(self._live)
                if number != self._said[0]:
                    self._said = number, await run_in_threadpool(_event, number, state)
                    self._news.set()
                    self._news = asyncio.Event()
            except Exception:  # who listens gets the next one
                log.exception("no page was told how the service is")
            await asyncio.sleep(LOOK_S)
        self._said = NOTHING  # who comes next is not told what was long ago


def _event(number: int, state: Any) -> bytes:
    text = json.dumps(state, allow_nan=False, separators=(",", ":"))
    return f"id: {number}\nevent: state\ndata: {text}\n\n".encode()
