"""The private event loop behind the synchronous client: one daemon thread per process.

Its own thread, because the caller's may run an event loop of its own (Jupyter), and because leases must be renewed
while the caller computes.
"""

import asyncio
import atexit
import concurrent.futures
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from treeroll.client import fork
from treeroll.errors import TreerollError
from treeroll.forks import generation

T = TypeVar("T")

# The main thread sleeps in slices of this length, so that Ctrl-C is seen on every platform.
SLICE_S = 0.2
# Longest time that the end of the process waits for unfinished finalisers.
EXIT_S = 3.0


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._made_in = generation()
        self._background: set[concurrent.futures.Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="treeroll-client", daemon=True)
        self._thread.start()

    @property
    def usable(self) -> bool:
        """Whether this process and thread may wait for the loop: a forked child has the object, but not the thread."""
        return self._made_in == generation() and threading.current_thread() is not self._thread

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run on the loop and wait for the result. If this thread is interrupted, the work is cancelled.

        Raises what the work raises, and TimeoutError when it is not done in time.
        """
        if not self.usable:
            work.close()
            fork.check_use(self._made_in)
            raise TreerollError("the synchronous client cannot be used on its own event loop; use connect_async there")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            self._wait(future, timeout_s)
        except BaseException:
            future.cancel()
            raise
        return future.result()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run on the loop without waiting, from any thread; for finalisers, which must not block."""
        if self._made_in != generation():
            work.close()
            return
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    def finish(self, timeout_s: float) -> None:
        """Wait for what `start` has started."""
        if self.usable:
            concurrent.futures.wait(list(self._background), timeout_s)

    @staticmethod
    def _wait(future: "concurrent.futures.Future[Any]", timeout_s: float | None) -> None:
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = SLICE_S if end is None else min(end - time.monotonic(), SLICE_S)
            if concurrent.futures.wait([future], max(left, 0.0)).done:
                return
            if left <= 0:
                raise TimeoutError


_shared: LoopThread | None = None
_lock = threading.Lock()


def shared_loop() -> LoopThread:
    """The process's loop thread, started on first use; a forked child gets its own."""
    global _shared
    fork.check_opening()  # before a lock that another thread may have held when this process was forked
    with _lock:
        if _shared is None:
            _shared = LoopThread()
        return _shared


@atexit.register
def _finish() -> None:
    if _shared is not None:
        _shared.finish(EXIT_S)
