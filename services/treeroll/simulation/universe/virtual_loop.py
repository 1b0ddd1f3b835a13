"""An asyncio event loop of one simulated process, in the virtual time of its universe. It has no threads and no I/O.

What is ready at the same time runs in the order in which it was asked for, so equal worlds run equally.
"""

import asyncio
import sys
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

from treeroll import clock
from treeroll.simulation.event_queue import EventQueue

T = TypeVar("T")
_SOON_S = 1e-6
"""What is to happen soon takes this long, so that a loop that never waits still lets time pass."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """`offset` is what this process' clock shows at the beginning of the world, `rate` how many of its seconds a second
    of the world has, and `wall` the time of day."""

    def __init__(self, queue: EventQueue, offset: float, wall: Callable[[], float], rate: float = 1.0) -> None:
        self.alive = True
        self.stands_until = 0.0
        """The process is stopped up to then, in the world's time: what is due happens afterwards."""
        self.errors: list[BaseException] = []
        """What nobody else took."""
        self._queue, self._offset, self._wall, self._rate = queue, offset, wall, rate
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task of this process. What it raises is the process' error."""
        task = self.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    def die(self) -> None:
        """The process is gone: nothing of it runs any more, not even what it would do at its end."""
        self.alive = False

    def bury(self) -> None:
        """End what it left behind, without letting any of it happen. Call it when nothing of it runs."""
        self.alive = False
        self._as_running(self._close_all)

    def _close_all(self) -> None:
        while self._tasks:
            _close(self._tasks.pop())

    # What asyncio asks of a loop:

    def time(self) -> float:
        """Seconds, on the process' own clock."""
        return self._queue.now * self._rate + self._offset

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """After what is ready now."""
        handle = asyncio.Handle(callback, args, self, context)
        self._queue.at(self._queue.now + _SOON_S, partial(self._run, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """After so many seconds."""
        at = self._queue.now + max(delay / self._rate, _SOON_S)
        handle = asyncio.TimerHandle(self.time() + delay, callback, args, self, context)
        self._queue.at(at, partial(self._run, handle))
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """When its clock shows this."""
        return self.call_later(when - self.time(), callback, *args, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> "asyncio.Task[Any]":
        """A task of this loop."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **kwargs)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # a process that dies leaves tasks behind
        self._tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """What others give to threads takes no time here."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """As long as it lives."""
        return self.alive

    def is_closed(self) -> bool:
        """When it is dead."""
        return not self.alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Callbacks must not raise; what they raise is the process' error."""
        if self.alive and isinstance(error := context.get("exception"), BaseException):
            self.errors.append(error)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when its time comes."""

    def _run(self, handle: asyncio.Handle, now: float) -> None:
        if not self.alive or handle.cancelled():
            return
        if now < self.stands_until:
            self._queue.at(self.stands_until, partial(self._run, handle))
            return
        self._as_running(handle._run)

    def _as_running(self, action: Callable[[], object]) -> None:
        """Whatever asks for the time, or for the running loop, gets this process'."""
        hooks = sys.get_asyncgen_hooks()
        clock.read_from(self.time, self._wall)
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(finalizer=_left_behind)
        try:
            action()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(None)
            clock.read_from()


def _left_behind(generator: object) -> None:
    """One that a death left behind does nothing more."""


def _close(task: "asyncio.Task[Any]") -> None:
    """What a coroutine would still wait for at its end is over at once."""
    if task.done():
        return
    work = task.get_coro()
    while isinstance(work, Coroutine):
        try:
            work.close()
        except RuntimeError:  # it waited for something else
            continue
        return
